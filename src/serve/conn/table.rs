//! The connections of a worker: the place of each in the table.

use std::time::Instant;

use super::session::Session;
use crate::sched::{FOREIGN, truncate_free};

/// A key is a token of the poll. From the top: a bit that keeps it from the guests' tokens,
/// a bit for listeners, the number of the connection, so that an event for one that is closed
/// does not reach the next one in its place, and the slot.
const CONN: usize = 1 << (usize::BITS - 1);
const SLOT_BITS: u32 = usize::BITS / 2;
const GENERATION_BITS: u32 = usize::BITS - 2 - SLOT_BITS;
const _: () = assert!(CONN >= FOREIGN);

/// Tokens of listeners: this, and a number.
pub(crate) const LISTENER: usize = CONN | CONN >> 1;

/// The token of what the worker dials to [fetch](crate::serve::from) its work. The last one is the
/// scheduler's.
pub(crate) const FETCHED: usize = usize::MAX - 1;

/// The table.
#[derive(Default)]
pub(crate) struct Table {
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// Counts connections.
    generation: usize,
}

struct Slot {
    generation: usize,
    session: Option<Box<Session>>,
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

impl Table {
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// A key for a new connection.
    pub fn reserve(&mut self) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { generation: 0, session: None, alarm: None });
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
    pub fn take(&mut self, key: usize) -> Option<Box<Session>> {
        let slot = self.slots.get_mut(slot_of(key))?;
        if slot.generation != generation_of(key) { None } else { slot.session.take() }
    }

    /// Puts one in its place. Returns the alarm to be set so that its deadline is seen, if there
    /// is not an earlier one: when, and what it will be known by.
    pub fn put(&mut self, session: Box<Session>) -> Option<(Instant, u64)> {
        let number = slot_of(session.key);
        let slot = &mut self.slots[number];
        let deadline = session.conn.deadline();
        slot.session = Some(session);
        let due = deadline.filter(|due| slot.alarm.is_none_or(|alarm| *due < alarm))?;
        slot.alarm = Some(due);
        Some((due, number as u64))
    }

    /// Those that are not taken out.
    pub fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.slots.iter().filter_map(|slot| slot.session.as_deref())
    }

    /// Gives back memory that a longer table needed.
    pub fn shrink(&mut self) {
        truncate_free(&mut self.slots, &mut self.free);
    }

    /// All keys in use.
    pub fn keys(&self) -> Vec<usize> {
        self.sessions().map(|session| session.key).collect()
    }

    /// An alarm has come: the connection it is for, if there is one.
    pub fn on_alarm(&mut self, slot: u64, now: Instant) -> Option<Box<Session>> {
        let slot = self.slots.get_mut(usize::try_from(slot).ok()?)?;
        if slot.alarm.is_some_and(|alarm| alarm > now) {
            return None;
        }
        slot.alarm = None;
        slot.session.take()
    }
}
