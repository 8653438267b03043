//! Listening on the host's own behalf, with errors for its operator.

use std::io;
use std::net::{SocketAddr, TcpListener};

/// Connections that wait to be accepted; the system may have a lower limit. The standard
/// library asks for 128, which a burst of clients exceeds: each then waits a second for its
/// next try.
pub(crate) const BACKLOG: i32 = 4096;

/// An error of the system in words, without its number.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_lowercase()
}

/// A socket that listens at an address, for a [`Listener`](super::Listener) or a server.
///
/// # Errors
///
/// What the system says, with the address and what to do.
pub fn listen(addr: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(addr).map_err(|error| {
        let hint = match error.kind() {
            io::ErrorKind::AddrInUse => ": another program listens there; choose another port",
            io::ErrorKind::PermissionDenied => {
                ": ports below 1024 need a privilege; choose another port"
            }
            io::ErrorKind::AddrNotAvailable => ": this machine has no such address",
            _ if rustix::io::Errno::from_io_error(&error) == Some(rustix::io::Errno::MFILE) => {
                ": raise the limit of this process (ulimit -n)"
            }
            _ => "",
        };
        let text = plain(&error);
        io::Error::new(error.kind(), format!("can't listen on {addr}: {text}{hint}"))
    })?;
    rustix::net::listen(&listener, BACKLOG)?;
    Ok(listener)
}
