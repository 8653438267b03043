//! Who is at the other end of a connection.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// The client of a connection.
///
/// As text it is `127.0.0.1:52812`, or `unix:4242:7`: the seventh connection of the process's Unix
/// sockets, made by process 4242, or `unix:7` if it is not known which process that was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// A client of TCP, by its address.
    Inet(SocketAddr),
    /// A client of a Unix socket.
    Unix(UnixPeer),
}

/// A client of a Unix socket. It has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct UnixPeer {
    /// The number of the connection, which tells it from others.
    pub number: u64,
    /// Who called connect(2), if the system can say so (Linux).
    pub credentials: Option<Credentials>,
}

/// Who a process was when it called connect(2). Its numbers are those of the host's namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Credentials {
    /// The process, which may have ended since. `None` for one that this process can't see, because
    /// it is outside of its PID namespace.
    pub pid: Option<u32>,
    /// Its effective user.
    pub uid: u32,
    /// Its effective group.
    pub gid: u32,
}

impl Peer {
    /// The address by which a client is counted. One of a Unix socket is on this machine, so it
    /// is counted as a client on the loopback interface.
    pub fn ip(&self) -> IpAddr {
        match self {
            Peer::Inet(addr) => addr.ip(),
            Peer::Unix(_) => Ipv4Addr::LOCALHOST.into(),
        }
    }
}

impl From<SocketAddr> for Peer {
    fn from(addr: SocketAddr) -> Peer {
        Peer::Inet(addr)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Inet(addr) => write!(f, "{addr}"),
            Peer::Unix(UnixPeer { number, credentials }) => {
                match credentials.and_then(|by| by.pid) {
                    Some(pid) => write!(f, "unix:{pid}:{number}"),
                    None => write!(f, "unix:{number}"),
                }
            }
        }
    }
}
