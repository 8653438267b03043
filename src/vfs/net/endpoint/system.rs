//! What the systems do in two ways.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::retry_on_intr;
use rustix::net::{AddressFamily, SocketType};

use crate::vfs::Result;

/// A socket that never blocks and that no other program inherits.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn open(family: AddressFamily, ty: SocketType) -> Result<OwnedFd> {
    use rustix::net::SocketFlags;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    Ok(rustix::net::socket_with(family, ty, flags, None)?)
}

#[cfg(target_vendor = "apple")]
pub(super) fn open(family: AddressFamily, ty: SocketType) -> Result<OwnedFd> {
    let fd = rustix::net::socket(family, ty, None)?;
    rustix::io::ioctl_fionbio(&fd, true)?;
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    rustix::net::sockopt::set_socket_nosigpipe(&fd, true)?;
    Ok(fd)
}

/// The same of a client.
#[cfg(not(target_vendor = "apple"))]
pub(super) fn accept(listener: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    use rustix::net::SocketFlags;
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    retry_on_intr(|| rustix::net::accept_with(listener, flags))
}

#[cfg(target_vendor = "apple")]
pub(super) fn accept(listener: BorrowedFd<'_>) -> rustix::io::Result<OwnedFd> {
    let fd = retry_on_intr(|| rustix::net::accept(listener))?;
    rustix::io::ioctl_fionbio(&fd, true)?;
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC)?;
    rustix::net::sockopt::set_socket_nosigpipe(&fd, true)?;
    Ok(fd)
}
