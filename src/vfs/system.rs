//! What differs between the operating systems that backends stand on (Linux, macOS, WASI). What
//! only directories of the host need is beside them, in `host/system.rs`.

use std::os::fd::AsFd;

use rustix::fs::{FileType, Stat};
use rustix::io::{Errno as Os, retry_on_intr};

use super::Filetype;

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

/// Whether it is `/dev/null` or one of its neighbours, which keep nobody waiting.
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
