//! Sockets as programs know them: opened first, then bound, listening or connected.
//!
//! The names in `/dev` open what is connected already. A socket of `sock_open` begins as nothing,
//! and each step of it is judged by the same [`Policy`](super::Policy): where it connects to, where
//! it listens, and where each datagram goes.

mod bsd;
mod dns;
mod names;
mod option;
mod system;

use std::io::{IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use rustix::net::{getpeername, getsockname};

pub(crate) use names::LookedUp;
pub(super) use option::IoTimeouts;
pub use option::{OptionName, OptionValue};

use crate::vfs::charge;
use crate::vfs::{Errno, Filetype, Interest, Result};

/// The family of a socket's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: SocketAddr) -> Family {
        if address.is_ipv4() { Family::V4 } else { Family::V6 }
    }
}

/// What is received, and from where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// Bytes put into the buffers.
    pub count: usize,
    /// The sender.
    pub from: SocketAddr,
    /// The end of the datagram had no room and is lost.
    pub truncated: bool,
}

/// The verbs of a socket that a file has not. A [`File`](crate::vfs::File) that is a socket answers
/// itself as one.
///
/// # Errors
///
/// Those of the call of the same name in POSIX; EAGAIN means that nothing was done, as for files.
pub trait Endpoint {
    /// The socket of the host.
    fn fd(&self) -> BorrowedFd<'_>;

    /// Whether it is of streams or of datagrams.
    fn kind(&self) -> Filetype;

    /// Gives it an address of this machine.
    fn bind(&mut self, _at: SocketAddr) -> Result<()> {
        Err(Errno::Inval)
    }

    /// Lets up to `backlog` clients wait to be accepted.
    fn listen(&mut self, _backlog: u32) -> Result<()> {
        Err(Errno::Inval)
    }

    /// Begins to connect. Success means that it is connected, EINPROGRESS that it will be, or will
    /// fail: [`connected`](Endpoint::connected) answers which.
    fn connect(&mut self, _to: SocketAddr) -> Result<()> {
        Err(Errno::Isconn)
    }

    /// How the connect under way has ended; EAGAIN while it has not.
    fn connected(&mut self) -> Result<()> {
        Ok(())
    }

    /// When the connect under way has to have ended.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// What an operator would write to allow what was asked of it last, as a name in `/dev`.
    fn name(&self) -> Option<String> {
        None
    }

    /// Receives, from wherever it comes. With `peek` it stays to be received again.
    fn receive_from(&mut self, _bufs: &mut [IoSliceMut<'_>], _peek: bool) -> Result<Received> {
        Err(Errno::Notconn)
    }

    /// Sends one datagram.
    fn send_to(&mut self, _bufs: &[IoSlice<'_>], _to: SocketAddr) -> Result<usize> {
        Err(Errno::Isconn)
    }

    /// The own address.
    fn local_addr(&mut self) -> Result<SocketAddr> {
        charge::ask_kernel();
        getsockname(self.fd())?.try_into().map_err(|_| Errno::Afnosupport)
    }

    /// The peer's address.
    fn peer_addr(&mut self) -> Result<SocketAddr> {
        charge::ask_kernel();
        let peer = getpeername(self.fd())?.ok_or(Errno::Notconn)?;
        peer.try_into().map_err(|_| Errno::Afnosupport)
    }

    /// The error that is kept for the next to ask, and forgotten then (`SO_ERROR`).
    fn take_error(&mut self) -> Result<Option<Errno>> {
        charge::ask_kernel();
        Ok(rustix::net::sockopt::socket_error(self.fd())?.err().map(Errno::from))
    }

    /// How long a call that has to wait for it does; `None` is for ever. Then it answers EAGAIN.
    fn timeout(&self, _want: Interest) -> Option<Duration> {
        None
    }

    /// Sets how long calls wait, for reading or for writing.
    fn set_timeout(&mut self, _want: Interest, _time: Option<Duration>) -> Result<()> {
        Err(Errno::Noprotoopt)
    }

    /// The value of an option.
    fn option(&mut self, name: OptionName) -> Result<OptionValue> {
        charge::ask_kernel();
        match name {
            OptionName::Error => Ok(OptionValue::Error(self.take_error()?)),
            OptionName::RcvTimeo => Ok(OptionValue::Timeout(self.timeout(Interest::READ))),
            OptionName::SndTimeo => Ok(OptionValue::Timeout(self.timeout(Interest::WRITE))),
            name => option::get(self.fd(), self.kind(), name),
        }
    }

    /// Sets an option.
    fn set_option(&mut self, name: OptionName, value: OptionValue) -> Result<()> {
        charge::ask_kernel();
        match (name, value) {
            (OptionName::RcvTimeo, OptionValue::Timeout(time)) => {
                self.set_timeout(Interest::READ, time)
            }
            (OptionName::SndTimeo, OptionValue::Timeout(time)) => {
                self.set_timeout(Interest::WRITE, time)
            }
            (name, value) => option::set(self.fd(), self.kind(), name, value),
        }
    }
}
