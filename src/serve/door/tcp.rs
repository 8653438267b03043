//! TCP sockets that listen.

use std::io;
use std::net::{self, SocketAddr};

use mio::net::TcpListener;
use mio::{Interest, Registry, Token};
use rustix::io::Errno as Os;

use super::{Accepted, Local, Source};

/// See the [module](self).
pub(crate) struct Tcp {
    socket: TcpListener,
    addr: SocketAddr,
}

impl Tcp {
    /// One more owner of a listening socket.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn new(listener: &net::TcpListener) -> io::Result<Tcp> {
        let listener = listener.try_clone()?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        // Replies are written in whole turns; waiting for more would only delay them.
        #[cfg(target_os = "linux")]
        let _ = rustix::net::sockopt::set_tcp_nodelay(&listener, true);
        Ok(Tcp { socket: TcpListener::from_std(listener), addr })
    }
}

impl Source for Tcp {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }

    fn accept(&mut self) -> io::Result<Accepted> {
        let (stream, peer) = self.socket.accept()?;
        // A listener on all addresses does not know which of them the client came to.
        let addr = self.addr;
        let local =
            if addr.ip().is_unspecified() { stream.local_addr().unwrap_or(addr) } else { addr };
        // Linux takes it over from the listener.
        #[cfg(not(target_os = "linux"))]
        let _ = stream.set_nodelay(true);
        Ok(Accepted {
            wire: Box::new(stream),
            peer: peer.into(),
            local: Local::Inet(local),
            refusal: None,
        })
    }
}

/// Errors of accept(2) that are the connection's, not the listener's: on Linux also what its
/// network has to say of it, and what a firewall has.
pub(crate) fn is_of_connection(error: &io::Error) -> bool {
    let clients = [
        Os::CONNABORTED,
        Os::CONNRESET,
        Os::HOSTDOWN,
        Os::HOSTUNREACH,
        Os::INTR,
        Os::NETDOWN,
        Os::NETUNREACH,
        Os::NOPROTOOPT,
        Os::PERM,
        Os::PROTO,
        Os::TIMEDOUT,
        #[cfg(target_os = "linux")]
        Os::NONET,
    ];
    Os::from_io_error(error).is_some_and(|error| clients.contains(&error))
}

/// Errors of accept(2) after which the listener will not accept again: it is something else, or
/// does not listen. Others pass, as a want of descriptors does.
pub(crate) fn is_final(error: &io::Error) -> bool {
    let last = [Os::BADF, Os::FAULT, Os::INVAL, Os::NOTSOCK, Os::OPNOTSUPP];
    Os::from_io_error(error).is_some_and(|error| last.contains(&error))
}
