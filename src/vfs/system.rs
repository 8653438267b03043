//! What differs between the operating systems that backends stand on (Linux, macOS, WASI). What
//! only directories of the host need is beside them, in `host/system.rs`.

use std::os::fd::AsFd;

use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::{Errno as Os, retry_on_intr};

use super::{Access, Filetype};

/// What preview1 calls a kind of file. It has no word for a FIFO.
pub fn filetype(kind: FileType) -> Filetype {
    match kind {
        FileType::RegularFile => Filetype::RegularFile,
        FileType::Directory => Filetype::Directory,
        FileType::Symlink => Filetype::SymbolicLink,
        #[cfg(not(target_os = "wasi"))]
        FileType::Socket => Filetype::SocketStream,
        FileType::CharacterDevice => Filetype::CharacterDevice,
        FileType::BlockDevice => Filetype::BlockDevice,
        _ => Filetype::Unknown,
    }
}

/// Whether it is `/dev/null` or one of its neighbours, which never wait.
pub fn is_memory_device(stat: &Stat) -> bool {
    // The major number of memory devices (devices.txt of the Linux kernel).
    #[cfg(target_os = "linux")]
    return rustix::fs::major(stat.st_rdev) == 1;
    #[cfg(not(target_os = "linux"))]
    {
        let _ = stat;
        false
    }
}

/// A standard stream of the process, kept open whatever becomes of its number.
#[cfg(not(target_os = "wasi"))]
pub type Standard = std::os::fd::OwnedFd;
#[cfg(target_os = "wasi")]
pub type Standard = std::os::fd::BorrowedFd<'static>;

/// Takes one of the process's standard streams; `None` if it is closed.
#[cfg(not(target_os = "wasi"))]
pub fn standard(fd: impl AsFd) -> Option<Standard> {
    rustix::io::fcntl_dupfd_cloexec(fd, 3).ok()
}

/// WASI has no dup(2): it is used as it is.
#[cfg(target_os = "wasi")]
pub fn standard(fd: impl AsFd) -> Option<Standard> {
    use std::os::fd::AsRawFd;
    match fd.as_fd().as_raw_fd() {
        0 => Some(rustix::stdio::stdin()),
        1 => Some(rustix::stdio::stdout()),
        2 => Some(rustix::stdio::stderr()),
        _ => None,
    }
}

/// What the description of a descriptor was opened for (`F_GETFL`).
pub fn access(fd: impl AsFd) -> Access {
    let Ok(flags) = rustix::fs::fcntl_getfl(fd) else { return Access::BOTH };
    #[cfg(target_os = "linux")]
    if flags.contains(OFlags::PATH) {
        return Access::NONE;
    }
    match flags & OFlags::RWMODE {
        OFlags::RDONLY => Access::READ,
        OFlags::WRONLY => Access::WRITE,
        OFlags::RDWR => Access::BOTH,
        _ => Access::NONE,
    }
}

/// A separate description of a terminal, to be written without waiting; `None` if it can't be
/// opened by its name, or that is another's here.
#[cfg(not(target_os = "wasi"))]
pub fn own_terminal(fd: impl AsFd, stat: &Stat) -> Option<Standard> {
    let name = rustix::termios::ttyname(fd, Vec::new()).ok()?;
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let own = rustix::fs::open(&name, flags, rustix::fs::Mode::empty()).ok()?;
    let same = rustix::fs::fstat(&own).is_ok_and(|own| own.st_rdev == stat.st_rdev);
    same.then_some(own)
}

/// WASI has no names of terminals.
#[cfg(target_os = "wasi")]
pub fn own_terminal(_fd: impl AsFd, _stat: &Stat) -> Option<Standard> {
    None
}

/// fsync or, where there is one, fdatasync.
pub fn sync(fd: impl AsFd, data_only: bool) -> Result<(), Os> {
    #[cfg(not(target_vendor = "apple"))]
    if data_only {
        return retry_on_intr(|| rustix::fs::fdatasync(&fd));
    }
    #[cfg(target_vendor = "apple")]
    let _ = data_only;
    retry_on_intr(|| rustix::fs::fsync(&fd))
}
