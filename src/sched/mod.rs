//! A scheduler: many guests on one thread.
//!
//! Events and timers never run a guest, they only mark it runnable. The run queue then runs
//! runnable guests, each for a slice of time. Woken guests run before guests that only compute.
//! Computing guests get a bounded time each turn, so a guest that spins delays the others by no
//! more than that; among them, those that have used little time run first. A call can't be
//! interrupted and may take longer than a turn, such as a sync of a slow disk. What it takes too
//! much is owed: no guest computes until the others have had as much time.

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

/// Token of the scheduler's own waker.
const WAKE: Token = Token(usize::MAX);

/// The first token for the caller's own descriptors. Smaller tokens are the scheduler's.
pub const FOREIGN: usize = 1 << (usize::BITS / 2);

/// Identifies a guest of a scheduler. A value is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GuestId {
    slot: usize,
    generation: u64,
}

/// An event that [`Scheduler::turn`] reports.
#[derive(Debug)]
pub enum Event {
    /// A guest has ended, or its time is up. The guest is returned: drop it to cancel it.
    Ended(GuestId, End, Box<Guest>),
    /// A descriptor registered by the caller is ready.
    Io {
        /// The caller's token.
        token: Token,
        /// A read will not block.
        readable: bool,
        /// A write will not block.
        writable: bool,
        /// The peer has shut down its writing direction. No further event announces the end.
        read_closed: bool,
        /// Both directions are closed: the peer has reset the connection, or is gone.
        hangup: bool,
    },
    /// A time set with [`Scheduler::alarm`] has come. Holds the key.
    Time(u64),
}

/// A scheduler for many guests on one thread, see the [module](self).
pub struct Scheduler {
    poll: Poll,
    events: Events,
    slots: Vec<Slot>,
    free: Vec<usize>,
    queue: Queue,
    /// Runnable guests. The queue may also have entries of guests that have ended.
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
    /// If the operating system can't create a poll.
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

    /// The registry for your own descriptors. Use tokens from [`FOREIGN`] on.
    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// A waker that ends the wait of a turn. It can be used from any thread.
    pub fn waker(&self) -> Waker {
        self.mailbox.waker(NO_SLOT)
    }

    /// The number of guests, all of which have not ended.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Whether the scheduler has no guests.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of guests that wait.
    pub fn parked(&self) -> usize {
        self.len() - self.runnable
    }

    /// Adds a guest that was already stepped and computes. It queues with the computing guests
    /// rather than run first as a new one does. `until` is as for [`spawn`](Scheduler::spawn).
    pub fn spawn_computing(&mut self, guest: Guest, until: Option<Instant>) -> GuestId {
        let record = Record::new();
        let id = self.insert(guest, record, until);
        self.queue.requeue(id, &record);
        id
    }

    /// Adds a guest. It runs in the next turn. If it has not ended at `until`, it is returned with
    /// [`End::TimedOut`].
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

    /// Removes a guest in whatever state it is, and returns it. Drop it to cancel it.
    pub fn cancel(&mut self, id: GuestId) -> Option<Box<Guest>> {
        self.guest(id)?;
        self.take(id.slot)
    }

    /// The guest, if it has not ended.
    pub fn guest(&self, id: GuestId) -> Option<&Guest> {
        let slot = self.slots.get(id.slot).filter(|slot| slot.generation == id.generation)?;
        slot.running.as_ref().map(|running| &*running.guest)
    }

    /// Reports [`Event::Time`] with `key` at `when`. An alarm can't be cancelled: ignore the event
    /// if it is no longer wanted.
    pub fn alarm(&mut self, when: Instant, key: u64) {
        self.alarms.set(when, Alarm::Foreign(key));
    }

    /// Releases memory that larger tables needed.
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

    /// Waits for an event, at most for `idle`, and runs the runnable guests for a slice each.
    /// Appends what happened to `events`.
    ///
    /// # Errors
    ///
    /// If polling fails. No guest can cause that.
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

    /// Runs guests that only compute. `others` says whether there is other work.
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
        // From here on a waker ends the poll. Earlier wakes are already in the mailbox.
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

    /// Runs one guest for a slice that begins `now`, and returns the time after it. `None` if the
    /// guest has ended since it was queued.
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
                // Registering many descriptors can take longer than the guest's slice.
                after = Instant::now();
                if let Some(running) = &mut self.slots[slot].running {
                    running.record.record_slice(after.saturating_duration_since(now), false);
                }
            }
        }
        Some(after)
    }

    /// Queues a guest that has more to compute.
    fn requeue(&mut self, slot: usize) {
        let Slot { running: Some(running), generation, .. } = &mut self.slots[slot] else { return };
        running.queued = true;
        self.runnable += 1;
        self.queue.requeue(GuestId { slot, generation: *generation }, &running.record);
    }

    /// Registers for what a guest waits for.
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
