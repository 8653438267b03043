//! Options of sockets: those that concern the socket alone, and hold up no other guest.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use rustix::net::sockopt as os;

use crate::vfs::{Errno, Filetype, Result};

/// Options of the level `SOL_SOCKET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of socket(7)")]
pub enum OptionName {
    ReuseAddr,
    Type,
    Error,
    Broadcast,
    SndBuf,
    RcvBuf,
    KeepAlive,
    Linger,
    RcvTimeo,
    SndTimeo,
    AcceptConn,
    DontRoute,
    OobInline,
    RcvLowat,
    BindToDevice,
}

/// The value of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OptionValue {
    /// On or off.
    Flag(bool),
    /// Bytes.
    Size(u32),
    /// Of streams or of datagrams.
    Type(Filetype),
    /// An error that was kept, or none.
    Error(Option<Errno>),
    /// How long a close waits; `None` is the system's way, zero resets the connection.
    Linger(Option<Duration>),
    /// How long a call waits; `None` is for ever.
    Timeout(Option<Duration>),
    /// The name of an interface; empty is none.
    Device(Box<[u8]>),
}

/// How long the calls of a guest wait for a socket. The host's socket never blocks, so the system is
/// not asked for it.
#[derive(Clone, Copy, Default)]
pub(in crate::vfs::net) struct IoTimeouts {
    pub receive: Option<Duration>,
    pub send: Option<Duration>,
}

/// The largest buffer that a guest can ask for: the kernel's memory is not counted as the guest's.
const BUFFER_MAX: u32 = 1 << 20;

pub(super) fn get(fd: BorrowedFd<'_>, kind: Filetype, name: OptionName) -> Result<OptionValue> {
    let size = |bytes: usize| OptionValue::Size(u32::try_from(bytes).unwrap_or(u32::MAX));
    Ok(match name {
        OptionName::ReuseAddr => OptionValue::Flag(os::socket_reuseaddr(fd)?),
        OptionName::Type => OptionValue::Type(kind),
        OptionName::Broadcast => OptionValue::Flag(os::socket_broadcast(fd)?),
        OptionName::SndBuf => size(os::socket_send_buffer_size(fd)?),
        OptionName::RcvBuf => size(os::socket_recv_buffer_size(fd)?),
        OptionName::KeepAlive => OptionValue::Flag(os::socket_keepalive(fd)?),
        OptionName::Linger => OptionValue::Linger(os::socket_linger(fd)?),
        OptionName::AcceptConn => OptionValue::Flag(os::socket_acceptconn(fd)?),
        OptionName::OobInline => OptionValue::Flag(os::socket_oobinline(fd)?),
        // What no guest can change is as the system has it at first.
        OptionName::DontRoute => OptionValue::Flag(false),
        OptionName::RcvLowat => OptionValue::Size(1),
        OptionName::BindToDevice => OptionValue::Device([].into()),
        OptionName::Error | OptionName::RcvTimeo | OptionName::SndTimeo => {
            return Err(Errno::Noprotoopt);
        }
    })
}

/// What would let one guest hold up or hear others is ENOPROTOOPT: a close that waits blocks the
/// thread that all guests run on, whatever the flags of the socket, and a datagram socket with
/// `SO_REUSEADDR` can take over the port of another one. So is what would go past the rules, which
/// are for addresses: another interface, or a way around the routes.
pub(super) fn set(
    fd: BorrowedFd<'_>,
    kind: Filetype,
    name: OptionName,
    value: OptionValue,
) -> Result<()> {
    let bytes = |size: u32| usize::try_from(size.min(BUFFER_MAX)).unwrap_or_default();
    match (name, value) {
        (OptionName::ReuseAddr, OptionValue::Flag(on)) if kind == Filetype::SocketStream => {
            os::set_socket_reuseaddr(fd, on)?;
        }
        (OptionName::ReuseAddr, OptionValue::Flag(false)) => {}
        (OptionName::Broadcast, OptionValue::Flag(on)) => os::set_socket_broadcast(fd, on)?,
        (OptionName::SndBuf, OptionValue::Size(size)) => {
            os::set_socket_send_buffer_size(fd, bytes(size))?;
        }
        (OptionName::RcvBuf, OptionValue::Size(size)) => {
            os::set_socket_recv_buffer_size(fd, bytes(size))?;
        }
        (OptionName::KeepAlive, OptionValue::Flag(on)) => os::set_socket_keepalive(fd, on)?,
        (OptionName::OobInline, OptionValue::Flag(on)) => os::set_socket_oobinline(fd, on)?,
        (OptionName::DontRoute, OptionValue::Flag(false)) => {}
        (OptionName::RcvLowat, OptionValue::Size(1)) => {}
        (OptionName::BindToDevice, OptionValue::Device(name)) if name.is_empty() => {}
        (OptionName::Linger, OptionValue::Linger(None)) => os::set_socket_linger(fd, None)?,
        (OptionName::Linger, OptionValue::Linger(Some(Duration::ZERO))) => {
            os::set_socket_linger(fd, Some(Duration::ZERO))?;
        }
        _ => return Err(Errno::Noprotoopt),
    }
    Ok(())
}
