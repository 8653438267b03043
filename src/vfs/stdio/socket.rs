//! A standard stream that is a socket, as socat, inetd and systemd hand to a program.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::net::sockopt::socket_type;
use rustix::net::{AddressFamily, SocketType};

use super::super::net::{Inherited, Quota, Socket};
use super::super::{File, Filetype, Result};

/// Connections that may be open at once which one of them accepted; more are ENFILE.
const ACCEPTED_MAX: u32 = 1024;

/// The file of a socket, whatever it is connected to or listens at.
pub(super) fn open(fd: OwnedFd) -> Result<Box<dyn File>> {
    let quota: Arc<Quota> = Quota::new(ACCEPTED_MAX);
    let kind = match socket_type(&fd)? {
        SocketType::STREAM => Filetype::SocketStream,
        // One read is one message, as of a datagram: that is what a program has to know.
        _ => Filetype::SocketDgram,
    };
    if !listens(&fd) {
        return Ok(Socket::open(fd, kind, quota.take()?.into()));
    }
    let unix = rustix::net::getsockname(&fd)?.address_family() == AddressFamily::UNIX;
    Ok(Inherited::open(fd, kind, unix, quota))
}

#[cfg(not(target_vendor = "apple"))]
fn listens(fd: &OwnedFd) -> bool {
    rustix::net::sockopt::socket_acceptconn(fd).unwrap_or(false)
}

/// This can't be asked there: a stream socket that has no peer is taken to listen.
#[cfg(target_vendor = "apple")]
fn listens(fd: &OwnedFd) -> bool {
    let stream = socket_type(fd).is_ok_and(|kind| kind == SocketType::STREAM);
    stream && rustix::net::getpeername(fd).is_err()
}
