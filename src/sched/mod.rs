//! Many guests on one thread.
//!
//! Events and timers never run a guest: they only mark it runnable. The run queue runs
//! them, each for a slice of time. A guest that was woken goes before all that are only
//! computing, and those get a bounded time a turn, so that one that spins costs the others
//! no more than that; among them those go first that have used little yet. A call that takes
//! longer than a turn (a sync of a slow disk can't be interrupted) is owed to the others: until
//! they have had as much, nobody computes.

mod alarms;
mod debt;
mod mailbox;
mod queue;
mod slot;
mod table;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use mio::{Events, Poll, Registry, Token};

use alarms::{Alarm, Alarms};
use debt::{Debt, Grant};
use mailbox::{Mailbox, NO_SLOT};
use queue::{Queue, Record, WOKEN_TIME};
use slot::{Running, Slot, is_guest, is_in_park};
pub(crate) use table::truncate_free;

use crate::guest::Guest;
use crate::step::{End, Step};
use crate::wasi;
use crate::wasi::watch::Watched;

const EVENTS_PER_TURN: usize = 1024;

/// The scheduler's own waker.
const WAKE: Token = Token(usize::MAX);

/// Tokens from here on are the caller's, below are guests'.
pub const FOREIGN: usize = 1 << (usize::BITS / 2);

/// A guest of a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GuestId {
    slot: usize,
    generation: u64,
}

/// What a turn brought.
#[derive(Debug)]
pub enum Event {
    /// A guest has ended. It is handed back: what it holds is closed by dropping it.
    Ended(GuestId, End, Box<Guest>),
    /// A descriptor registered by the caller is ready.
    Io {
        /// The caller's token.
        token: Token,
        /// Reading won't block, or is at its end.
        readable: bool,
        /// Writing won't block, or fails.
        writable: bool,
        /// The other end sends no more: reading comes to an end without another event.
        read_closed: bool,
        /// Both directions are over: the other end has reset it, or is gone.
        hangup: bool,
    },
    /// A time set by the caller has come.
    Time(u64),
}

/// See the [module](self).
pub struct Scheduler {
    poll: Poll,
    events: Events,
    slots: Vec<Slot>,
    free: Vec<usize>,
    queue: Queue,
    /// Guests that are in it. Entries of those that have ended may be there as well.
    runnable: usize,
    alarms: Alarms,
    /// Counts parks and guests; never used twice.
    serial: u64,
    debt: Debt,
    mailbox: Arc<Mailbox>,
}

impl Scheduler {
    /// A scheduler with no guests.
    ///
    /// # Errors
    ///
    /// If the system has no poll to give.
    pub fn new() -> io::Result<Scheduler> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKE)?;
        let mailbox = Mailbox::new(waker);
        Ok(Scheduler {
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            slots: Vec::new(),
            free: Vec::new(),
            queue: Queue::default(),
            runnable: 0,
            alarms: Alarms::default(),
            serial: 0,
            debt: Debt::new(Instant::now()),
            mailbox,
        })
    }

    /// Where the caller registers descriptors of its own, with tokens from [`FOREIGN`] on.
    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Ends the wait of a turn, from any thread.
    pub fn waker(&self) -> Waker {
        self.mailbox.waker(NO_SLOT)
    }

    /// Guests that have not ended.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Guests that wait for something.
    pub fn parked(&self) -> usize {
        self.len() - self.runnable
    }

    /// Takes a guest that was stepped already and is computing still: it has no claim to go
    /// before the others that are.
    pub fn spawn_computing(&mut self, guest: Guest, until: Option<Instant>) -> GuestId {
        let record = Record::new();
        let id = self.insert(guest, record, until);
        self.queue.requeue(id, &record);
        id
    }

    /// Takes a guest, to be run in the next turn, and ended if it still runs at `until`.
    pub fn spawn(&mut self, guest: Guest, until: Option<Instant>) -> GuestId {
        let record = Record::new();
        let id = self.insert(guest, record, until);
        self.queue.push_new(id);
        id
    }

    fn insert(&mut self, guest: Guest, record: Record, until: Option<Instant>) -> GuestId {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = self.slots.len();
            let waker = self.mailbox.waker(slot);
            self.slots.push(Slot { generation: 0, waker, running: None });
            slot
        });
        let generation = self.next_serial();
        let watched = Watched::default();
        let running = Running { guest: Box::new(guest), watched, queued: true, record, park: 0 };
        self.slots[slot].generation = generation;
        self.slots[slot].running = Some(running);
        self.runnable += 1;
        if let Some(until) = until {
            self.alarms.set(until, Alarm::Deadline { slot, generation });
        }
        GuestId { slot, generation }
    }

    /// Takes a guest out, wherever it is.
    pub fn cancel(&mut self, id: GuestId) -> Option<Box<Guest>> {
        self.guest(id)?;
        self.take(id.slot)
    }

    /// A guest that has not ended.
    pub fn guest(&self, id: GuestId) -> Option<&Guest> {
        let slot = self.slots.get(id.slot).filter(|slot| slot.generation == id.generation)?;
        slot.running.as_ref().map(|running| &*running.guest)
    }

    /// Has [`Event::Time`] come with `key` at `when`. A time can't be taken back; the
    /// caller sees for itself whether it still means anything.
    pub fn alarm(&mut self, when: Instant, key: u64) {
        self.alarms.set(when, Alarm::Foreign(key));
    }

    /// Gives back memory of tables that were longer once.
    pub fn shrink(&mut self) {
        truncate_free(&mut self.slots, &mut self.free);
        self.queue.shrink();
        self.alarms.shrink();
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn take(&mut self, slot: usize) -> Option<Box<Guest>> {
        let mut running = self.slots[slot].running.take()?;
        running.watched.disarm(self.poll.registry());
        self.runnable -= usize::from(running.queued);
        self.free.push(slot);
        Some(running.guest)
    }

    /// Marks a guest runnable.
    fn wake(&mut self, slot: usize) {
        let Some(Slot { running: Some(running), generation, .. }) = self.slots.get_mut(slot) else {
            return;
        };
        if !std::mem::replace(&mut running.queued, true) {
            self.runnable += 1;
            self.queue.wake(GuestId { slot, generation: *generation }, &running.record);
        }
    }

    /// Waits until something happens, at most for `idle`, and runs every guest that is
    /// runnable for a slice.
    ///
    /// # Errors
    ///
    /// If polling fails, which no guest can bring about.
    pub fn turn(&mut self, idle: Option<Duration>, events: &mut Vec<Event>) -> io::Result<()> {
        self.wait(idle)?;
        let mut slots = self.mailbox.take();
        for event in &self.events {
            let Token(token) = event.token();
            if token < FOREIGN {
                slots.push(token);
            } else if token != WAKE.0 {
                events.push(Event::Io {
                    token: event.token(),
                    readable: event.is_readable() || event.is_error(),
                    writable: event.is_writable() || event.is_error(),
                    read_closed: event.is_read_closed(),
                    hangup: event.is_error() || event.is_write_closed(),
                });
            }
        }
        slots.into_iter().for_each(|slot| self.wake(slot));
        self.handle_alarms(events);
        let mut clock = Instant::now();
        let woken = self.queue.woken();
        for _ in 0..woken {
            let Some(id) = self.queue.next_woken() else { break };
            clock = self.run(id, events, clock, WOKEN_TIME).unwrap_or(clock);
        }
        let others = woken > 0 || !events.is_empty() || idle == Some(Duration::ZERO);
        self.compute(events, clock, others);
        Ok(())
    }

    /// Runs guests that only compute; `others` if there is something else to be done.
    fn compute(&mut self, events: &mut Vec<Event>, mut clock: Instant, others: bool) {
        let Some(Grant { until, slice }) = self.debt.grant(clock, others) else { return };
        let mut first = true;
        for _ in 0..self.queue.computing() {
            let Some(id) = self.queue.next_computing(first) else { break };
            if let Some(after) = self.run(id, events, clock, slice) {
                clock = after;
                first = false;
            }
            if clock >= until {
                break;
            }
        }
        self.debt.settle(until, clock);
    }

    fn wait(&mut self, idle: Option<Duration>) -> io::Result<()> {
        let mut timeout = wasi::min_timeout(self.alarms.next().map(wasi::time_until), idle);
        // From here on a waker rings; what came before is in the mailbox already.
        let mail = self.mailbox.begin_wait();
        if mail || self.queue.len() > 0 {
            timeout = Some(Duration::ZERO);
        }
        let result = self.poll.poll(&mut self.events, timeout);
        self.mailbox.end_wait();
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            other => other,
        }
    }

    /// Handles the alarms that are due.
    fn handle_alarms(&mut self, events: &mut Vec<Event>) {
        let slots = &self.slots;
        self.alarms.remove_stale(|alarm| match alarm {
            Alarm::Foreign(_) => true,
            Alarm::Park { slot, park } => is_in_park(slots, slot, park),
            Alarm::Deadline { slot, generation } => is_guest(slots, slot, generation),
        });
        if self.alarms.next().is_none() {
            return;
        }
        let now = Instant::now();
        while let Some(alarm) = self.alarms.pop_due(now) {
            match alarm {
                Alarm::Foreign(key) => events.push(Event::Time(key)),
                Alarm::Park { slot, park } => {
                    if is_in_park(&self.slots, slot, park) {
                        self.wake(slot);
                    }
                }
                Alarm::Deadline { slot, generation } => {
                    if is_guest(&self.slots, slot, generation) {
                        self.end(slot, End::TimedOut, events);
                    }
                }
            }
        }
    }

    fn end(&mut self, slot: usize, end: End, events: &mut Vec<Event>) {
        let generation = self.slots[slot].generation;
        if let Some(guest) = self.take(slot) {
            events.push(Event::Ended(GuestId { slot, generation }, end, guest));
        }
    }

    /// Runs one guest for a slice, which begins `now`; the time after it. `None` if it has
    /// ended since it was queued.
    fn run(
        &mut self,
        id: GuestId,
        events: &mut Vec<Event>,
        now: Instant,
        time: Duration,
    ) -> Option<Instant> {
        let slot = id.slot;
        let place = self.slots.get_mut(slot).filter(|place| place.generation == id.generation);
        let running = place?.running.as_mut()?;
        self.runnable -= usize::from(std::mem::take(&mut running.queued));
        running.park = 0;
        running.watched.disarm(self.poll.registry());
        let slice = running.guest.slice(&mut running.record.pace, now, time);
        let mut after = slice.end_time;
        if slice.step != Step::Parked {
            running.record.record_slice(after.saturating_duration_since(now), slice.used_up);
        }
        match slice.step {
            Step::Exited(code) => self.end(slot, End::Exited(code), events),
            Step::Trapped(trap) => self.end(slot, End::Trapped(trap), events),
            Step::Yielded => self.requeue(slot),
            Step::Parked => {
                self.park(slot, events);
                // Telling the system of many descriptors takes longer than the guest may have.
                after = Instant::now();
                if let Some(running) = &mut self.slots[slot].running {
                    running.record.record_slice(after.saturating_duration_since(now), false);
                }
            }
        }
        Some(after)
    }

    /// Has a guest run on, as it was not done.
    fn requeue(&mut self, slot: usize) {
        let Slot { running: Some(running), generation, .. } = &mut self.slots[slot] else { return };
        running.queued = true;
        self.runnable += 1;
        self.queue.requeue(GuestId { slot, generation: *generation }, &running.record);
    }

    /// Arms what a guest waits for.
    fn park(&mut self, slot: usize, events: &mut Vec<Event>) {
        let park = self.next_serial();
        let Slot { running: Some(running), waker, .. } = &mut self.slots[slot] else { return };
        running.park = park;
        let cx = running.guest.context_mut();
        match running.watched.arm(cx, waker, self.poll.registry(), Token(slot)) {
            Ok(true) => {
                // A sleep for longer than the clock can count is for ever.
                let when = wasi::wait_timeout(cx).and_then(|left| Instant::now().checked_add(left));
                if let Some(when) = when {
                    self.alarms.set(when, Alarm::Park { slot, park });
                }
            }
            Ok(false) => self.requeue(slot),
            Err(error) => self.end(slot, End::Failed(error), events),
        }
    }
}
