//! Where work comes from.
//!
//! A door has sources. A source accepts connections: the [`Wire`] that carries each one's bytes,
//! and who is at its ends. What lies between the socket and the protocol (TLS, the header of the
//! PROXY protocol) is put around the wire here.

mod peercred;
pub(crate) mod proxy;
pub(crate) mod tcp;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod unix;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mio::{Registry, Token};

use super::admission::Ticket;
use super::client::wire::Wire;
use super::conn::table::LISTENER;
use super::observe::metrics::Refusal;
use crate::vfs::Peer;

/// Connections accepted before the existing ones are advanced. Clients that come
/// faster than they are taken fill the system's queue, and a client that finds it full waits
/// a second for the next try: so this is done in big pieces, and making guests is not part
/// of it.
pub(super) const ACCEPTS_PER_TURN: usize = 512;

/// How long nothing is accepted after the system had no descriptors left.
pub(super) const PAUSE: Duration = Duration::from_millis(50);

/// Accepts connections. Each worker has a source of its own for a socket that they all share.
pub(crate) trait Source: Send {
    /// Has this token reported when there is something to be accepted.
    ///
    /// # Errors
    ///
    /// Those of the system.
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()>;

    /// The next connection, without waiting for it.
    ///
    /// # Errors
    ///
    /// WouldBlock if none is there; what [ends only that one](tcp::is_of_connection), or [the
    /// source](tcp::is_final), or else is the system's.
    fn accept(&mut self) -> io::Result<Accepted>;
}

/// A connection as it comes from its source.
pub(crate) struct Accepted {
    pub wire: Box<dyn Wire>,
    pub peer: Peer,
    pub local: Local,
    /// It may not be served, for this reason.
    pub refusal: Option<Refusal>,
}

/// The server's end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Local {
    Inet(SocketAddr),
    /// The path of a Unix socket, which is empty if it has none.
    Unix(Arc<Path>),
}

impl Local {
    /// The address, if it is one.
    pub fn inet(&self) -> Option<SocketAddr> {
        match self {
            Local::Inet(addr) => Some(*addr),
            Local::Unix(_) => None,
        }
    }
}

/// A connection that was admitted, on its way to a worker.
pub(crate) struct Arrival {
    pub accepted: Accepted,
    pub ticket: Ticket,
}

/// The sources of a worker.
pub(crate) struct Door {
    sources: Vec<Entry>,
    /// Accepting rests until this is [resumed](Door::resume).
    paused: bool,
    /// The system was short of descriptors, and nothing was accepted since.
    starved: bool,
}

struct Entry {
    source: Box<dyn Source>,
    /// There may be something.
    ready: bool,
    /// It will not accept again.
    failed: bool,
}

impl Door {
    pub fn new(sources: Vec<Box<dyn Source>>, registry: &Registry) -> io::Result<Door> {
        let mut registered = Vec::new();
        for (index, mut source) in sources.into_iter().enumerate() {
            source.register(registry, Token(LISTENER | index))?;
            // What waits there already makes no event on every system.
            registered.push(Entry { source, ready: true, failed: false });
        }
        Ok(Door { sources: registered, paused: false, starved: false })
    }

    /// The source of this token may have something.
    pub fn on_event(&mut self, token: usize) {
        if let Some(entry) = self.sources.get_mut(token & !LISTENER) {
            entry.ready = !entry.failed;
        }
    }

    /// Whether accepting is to go on in the next turn without waiting.
    pub fn pending(&self) -> bool {
        !self.paused && self.sources.iter().any(|entry| entry.ready)
    }

    /// Lets accepting rest: the system is short of something, and the sources stay ready, so that
    /// going on would only spin. Says whether that is news.
    pub fn pause(&mut self) -> bool {
        self.paused = true;
        !std::mem::replace(&mut self.starved, true)
    }

    pub fn resume(&mut self) {
        self.paused = false;
    }

    /// Whether all that there were will not accept again.
    pub fn has_failed(&self) -> bool {
        !self.sources.is_empty() && self.sources.iter().all(|entry| entry.failed)
    }

    /// Closes them.
    pub fn close(&mut self) {
        self.sources.clear();
    }

    /// The next connection.
    pub fn next(&mut self) -> Option<io::Result<Accepted>> {
        if self.paused {
            return None;
        }
        for entry in self.sources.iter_mut().filter(|entry| entry.ready) {
            match entry.source.accept() {
                Ok(accepted) => {
                    self.starved = false;
                    return Some(Ok(accepted));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => entry.ready = false,
                Err(error) => {
                    entry.failed = tcp::is_final(&error);
                    entry.ready = !entry.failed;
                    return Some(Err(error));
                }
            }
        }
        None
    }
}
