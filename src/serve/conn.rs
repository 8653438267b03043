//! The connections of a worker: what is known of each, and its place in the table.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::frame::Frame;
use super::limits::Ticket;
use super::link::Link;
use crate::sched::{FOREIGN, GuestId, cut};
use crate::wasi::Strings;

/// A client.
pub(super) struct Conn {
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
pub(super) enum Phase {
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
pub(super) enum Watched {
    /// Nothing yet: many are over before there was anything to wait for.
    Not,
    /// That something can be read.
    Reads,
    /// That there is room to write, too.
    Both,
}

/// What to do with a connection that was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
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

/// A key is a token of the poll. From the top: a bit that keeps it from the guests' tokens,
/// a bit for listeners, the number of the connection, so that an event for one that is closed
/// does not reach the next one in its place, and the slot.
const CONN: usize = 1 << (usize::BITS - 1);
const SLOT_BITS: u32 = usize::BITS / 2;
const GENERATION_BITS: u32 = usize::BITS - 2 - SLOT_BITS;
const _: () = assert!(CONN >= FOREIGN);

/// Tokens of listeners: this, and a number.
pub(super) const LISTENER: usize = CONN | CONN >> 1;

/// The table.
#[derive(Default)]
pub(super) struct Conns {
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Counts connections.
    generation: usize,
}

struct Slot {
    generation: usize,
    conn: Option<Box<Conn>>,
    /// The earliest alarm that is set for this slot. Alarms can't be taken back; by
    /// setting one only if it is earlier than this, there are never many.
    alarm: Option<Instant>,
}

fn slot_of(key: usize) -> usize {
    key & ((1 << SLOT_BITS) - 1)
}

fn generation_of(key: usize) -> usize {
    key >> SLOT_BITS & ((1 << GENERATION_BITS) - 1)
}

impl Conns {
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// A key for a new connection.
    pub fn reserve(&mut self) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, conn: None, alarm: None });
            self.slots.len() - 1
        });
        self.generation = (self.generation + 1) % (1 << GENERATION_BITS);
        self.slots[slot].generation = self.generation;
        CONN | self.generation << SLOT_BITS | slot
    }

    /// Gives a key back.
    pub fn release(&mut self, key: usize) {
        self.free.push(slot_of(key));
    }

    /// Takes a connection out, to be [put back](Self::put) or released.
    pub fn take(&mut self, key: usize) -> Option<Box<Conn>> {
        let slot = self.slots.get_mut(slot_of(key))?;
        if slot.generation != generation_of(key) { None } else { slot.conn.take() }
    }

    pub fn put(&mut self, conn: Box<Conn>) {
        let slot = slot_of(conn.key);
        self.slots[slot].conn = Some(conn);
    }

    /// Gives back memory that a longer table needed.
    pub fn shrink(&mut self) {
        cut(&mut self.slots, &mut self.free);
    }

    /// All keys in use.
    pub fn keys(&self) -> Vec<usize> {
        self.slots.iter().filter_map(|slot| slot.conn.as_ref()).map(|conn| conn.key).collect()
    }

    /// The alarm to be set so that the connection is looked at when it is due, if there is
    /// not one earlier already: when, and what it will be known by.
    pub fn alarm(&mut self, conn: &Conn) -> Option<(Instant, u64)> {
        let (due, slot) = (conn.deadline?, slot_of(conn.key));
        let alarm = &mut self.slots[slot].alarm;
        if alarm.is_some_and(|alarm| alarm <= due) {
            return None;
        }
        *alarm = Some(due);
        Some((due, slot as u64))
    }

    /// An alarm has come: the connection it is for, if there is one.
    pub fn rang(&mut self, slot: u64, now: Instant) -> Option<Box<Conn>> {
        let slot = self.slots.get_mut(usize::try_from(slot).ok()?)?;
        if slot.alarm.is_some_and(|alarm| alarm > now) {
            return None;
        }
        slot.alarm = None;
        slot.conn.take()
    }
}
