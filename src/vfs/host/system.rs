//! What differs between the operating systems whose directories are a backend.

use std::io::IoSlice;
use std::os::fd::OwnedFd;

use rustix::fs::{FileType, OFlags, Stat};
use rustix::io::Errno as Os;
#[cfg(target_os = "linux")]
use rustix::io::retry_on_intr;

/// How a directory is opened for going through it. With O_PATH it need not be readable, and
/// no filesystem is asked.
#[cfg(target_os = "linux")]
pub const WALK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
pub const WALK: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// How a name is opened to be asked about. A link is opened itself, as O_PATH and O_NOFOLLOW
/// come together; elsewhere that can't be done.
#[cfg(target_os = "linux")]
pub const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
pub const LOOK: OFlags = OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Whether it is a FIFO. Under WASI a FIFO looks like an unknown type.
pub fn is_fifo(kind: FileType) -> bool {
    #[cfg(not(target_os = "wasi"))]
    return kind == FileType::Fifo;
    #[cfg(target_os = "wasi")]
    return kind == FileType::Unknown;
}

/// Times of last access, modification and change: seconds since 1970, and nanoseconds.
#[cfg(not(target_os = "wasi"))]
#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between systems")]
pub fn times(stat: &Stat) -> [(i64, u64); 3] {
    [
        (stat.st_atime as i64, stat.st_atime_nsec as u64),
        (stat.st_mtime as i64, stat.st_mtime_nsec as u64),
        (stat.st_ctime as i64, stat.st_ctime_nsec as u64),
    ]
}

#[cfg(target_os = "wasi")]
pub fn times(stat: &Stat) -> [(i64, u64); 3] {
    [stat.st_atim, stat.st_mtim, stat.st_ctim]
        .map(|time| (time.tv_sec, u64::try_from(time.tv_nsec).unwrap_or(0)))
}

/// Appends in one step, also if others do, and says where that ended: -1 has the call move
/// the description's own position, which nothing else here does.
#[cfg(target_os = "linux")]
pub fn append(fd: &OwnedFd, bufs: &[IoSlice<'_>]) -> Result<(usize, u64), Os> {
    use rustix::io::{ReadWriteFlags, pwritev2};
    let written = retry_on_intr(|| pwritev2(fd, bufs, u64::MAX, ReadWriteFlags::APPEND))?;
    Ok((written, rustix::fs::tell(fd)?))
}

#[cfg(not(target_os = "linux"))]
pub fn append(_fd: &OwnedFd, _bufs: &[IoSlice<'_>]) -> Result<(usize, u64), Os> {
    Err(Os::NOSYS)
}

#[cfg(target_os = "linux")]
pub fn allocate(fd: &OwnedFd, offset: u64, len: u64) -> Result<(), Os> {
    let mode = rustix::fs::FallocateFlags::empty();
    retry_on_intr(|| rustix::fs::fallocate(fd, mode, offset, len))
}

/// macOS can only reserve room in a way that cuts a file which is longer.
#[cfg(not(target_os = "linux"))]
pub fn allocate(_fd: &OwnedFd, _offset: u64, _len: u64) -> Result<(), Os> {
    Err(Os::NOSYS)
}

/// Opens what is at `path` below `from`, if there is no link on the way.
#[cfg(target_os = "linux")]
pub fn open_beneath(from: &OwnedFd, path: &str, flags: OFlags) -> Result<OwnedFd, Os> {
    use rustix::fs::{Mode, ResolveFlags, openat2};
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    retry_on_intr(|| openat2(from, path, flags, Mode::empty(), resolve))
}

#[cfg(not(target_os = "linux"))]
pub fn open_beneath(_from: &OwnedFd, _path: &str, _flags: OFlags) -> Result<OwnedFd, Os> {
    Err(Os::NOSYS)
}
