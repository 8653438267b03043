//! The connections of a worker: what is known of each.

pub(crate) mod frame;
pub(crate) mod line;
pub(crate) mod table;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use crate::sched::GuestId;
use crate::serve::admission::Ticket;
use crate::serve::client::link::Link;
use crate::serve::conn::frame::Frame;
use crate::wasi::Strings;

/// A client.
pub(crate) struct Conn {
    pub key: usize,
    pub link: Arc<Link>,
    pub local: SocketAddr,
    pub env: Option<Strings>,
    pub frame: Frame,
    /// The guest that is at work for it, if it did not end in its first slice.
    pub guest: Option<GuestId>,
    pub phase: Phase,
    /// When the guest's line was whole.
    pub started: Instant,
    /// When the first byte of the line came that is not whole yet, or being answered.
    pub line_began: Option<Instant>,
    /// When anything last moved.
    pub active: Instant,
    /// Bytes that had moved when it was last asked how idle it is.
    pub moved: u64,
    /// When it must be looked at, whatever happens.
    pub deadline: Option<Instant>,
    /// It is in the worker's list of those to be gone on with.
    pub queued: bool,
    pub watched: Watched,
    /// The client was told that nothing more comes.
    pub shut: bool,
    /// Its place among all connections.
    _ticket: Ticket,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not yet begun.
    Fresh,
    /// Serving.
    Open,
    /// Nothing more is run; what was written is still sent.
    Closing,
    /// All is sent and the client told so; what it still sends is thrown away, for closing
    /// a socket with something unread resets it, and the reply may be lost with it.
    Lingering,
}

/// What the poll tells of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Watched {
    /// Nothing yet: many are over before there was anything to wait for.
    Not,
    /// That something can be read.
    Reads,
    /// That there is room to write, too.
    Both,
}

/// What to do with a connection that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Keep,
    Close,
}

impl Conn {
    pub fn new(key: usize, link: Link, local: SocketAddr, now: Instant, ticket: Ticket) -> Conn {
        Conn {
            key,
            link: Arc::new(link),
            local,
            env: None,
            frame: Frame::default(),
            guest: None,
            phase: Phase::Fresh,
            started: now,
            line_began: None,
            active: now,
            moved: 0,
            deadline: None,
            queued: false,
            watched: Watched::Not,
            shut: false,
            _ticket: ticket,
        }
    }
}
