//! Many guests on one thread.
//!
//! Events and timers never run a guest: they only mark it runnable. The run queues run
//! them, each for one slice of fuel. A guest that was woken goes before all that are only
//! computing, and those get a bounded time a turn, so that one that spins costs the others
//! no more than that.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use mio::{Events, Poll, Registry, Token};

use crate::guest::{Guest, Step, Trap};
use crate::wasi;
use crate::watch::Watched;

/// Fuel of one slice; a few hundred microseconds of computing.
pub const SLICE_FUEL: u64 = 100_000;

/// How long guests that only compute may go on before everybody else is looked after.
const COMPUTING_PER_TURN: Duration = Duration::from_millis(1);

const EVENTS_PER_TURN: usize = 1024;

/// The scheduler's own waker.
const WAKE: Token = Token(usize::MAX);

/// Tokens from here on are the caller's, below are guests'.
pub const FOREIGN: usize = 1 << 32;

/// A guest of a scheduler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GuestId {
    slot: usize,
    generation: u64,
}

/// How a guest came to its end.
#[derive(Debug)]
pub enum End {
    /// By itself, with this status.
    Exited(u32),
    /// By the host, with this reason.
    Trapped(Trap),
    /// Its time was up.
    TimedOut,
    /// The host could not wait for what it waits for.
    Failed(io::Error),
}

/// What a turn brought.
#[derive(Debug)]
pub enum Happened {
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
        /// Both directions are over: the other end has reset it, or is gone.
        hangup: bool,
    },
    /// A time set by the caller has come.
    Time(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Alarm {
    /// A parked guest's own deadline; only if it still is in that park.
    Park { slot: usize, park: u64 },
    /// The end of a guest's time.
    End { slot: usize, generation: u64 },
    /// The caller's.
    Foreign(u64),
}

/// See the [module](self).
pub struct Scheduler {
    poll: Poll,
    events: Events,
    slots: Vec<Slot>,
    free: Vec<usize>,
    woken: VecDeque<usize>,
    computing: VecDeque<usize>,
    alarms: BinaryHeap<Reverse<(Instant, Alarm)>>,
    /// How many there were when they were last tidied.
    alarms_kept: usize,
    /// Counts parks and guests; never used twice.
    serial: u64,
    mailbox: Arc<Mailbox>,
    slice_fuel: u64,
}

struct Slot {
    generation: u64,
    waker: Waker,
    running: Option<Running>,
}

struct Running {
    guest: Box<Guest>,
    watched: Watched,
    queued: bool,
    /// Number of the park it is in.
    park: u64,
}

/// Where wakers of any thread leave the slots to be run.
struct Mailbox {
    slots: Mutex<Vec<usize>>,
    asleep: AtomicBool,
    waker: mio::Waker,
}

impl Mailbox {
    fn put(&self, slot: usize) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).push(slot);
        // A system call only if there is somebody to be woken.
        if self.asleep.swap(false, Ordering::SeqCst) {
            // If this fails the loop still comes round with its next timer or event.
            let _ = self.waker.wake();
        }
    }
}

struct SlotWaker {
    slot: usize,
    mailbox: Arc<Mailbox>,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.mailbox.put(self.slot);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.mailbox.put(self.slot);
    }
}

/// No guest has this slot: waking it only ends the poll.
const NO_SLOT: usize = usize::MAX;

impl Scheduler {
    /// A scheduler with no guests.
    ///
    /// # Errors
    ///
    /// If the system has no poll to give.
    pub fn new() -> io::Result<Scheduler> {
        let poll = Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKE)?;
        let mailbox = Mailbox { slots: Mutex::default(), asleep: AtomicBool::new(false), waker };
        Ok(Scheduler {
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            slots: Vec::new(),
            free: Vec::new(),
            woken: VecDeque::new(),
            computing: VecDeque::new(),
            alarms: BinaryHeap::new(),
            alarms_kept: 0,
            serial: 0,
            mailbox: Arc::new(mailbox),
            slice_fuel: SLICE_FUEL,
        })
    }

    /// Where the caller registers descriptors of its own, with tokens from [`FOREIGN`] on.
    pub fn registry(&self) -> &Registry {
        self.poll.registry()
    }

    /// Ends the wait of a turn, from any thread.
    pub fn waker(&self) -> Waker {
        Waker::from(Arc::new(SlotWaker { slot: NO_SLOT, mailbox: self.mailbox.clone() }))
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
        self.len().saturating_sub(self.woken.len() + self.computing.len())
    }

    /// Takes a guest that was stepped already and is computing still: it has no claim to go
    /// before the others that are.
    pub fn spawn_computing(&mut self, guest: Guest, until: Option<Instant>) -> GuestId {
        let id = self.spawn(guest, until);
        let slot = self.woken.pop_back().expect("spawn has put it there");
        self.computing.push_back(slot);
        id
    }

    /// Takes a guest, to be run in the next turn, and ended if it still runs at `until`.
    pub fn spawn(&mut self, guest: Guest, until: Option<Instant>) -> GuestId {
        let slot = self.free.pop().unwrap_or_else(|| {
            let slot = self.slots.len();
            let waker = SlotWaker { slot, mailbox: self.mailbox.clone() };
            self.slots.push(Slot { generation: 0, waker: Arc::new(waker).into(), running: None });
            slot
        });
        let generation = self.next_serial();
        let watched = Watched::default();
        let running = Running { guest: Box::new(guest), watched, queued: true, park: 0 };
        self.slots[slot].generation = generation;
        self.slots[slot].running = Some(running);
        self.woken.push_back(slot);
        if let Some(until) = until {
            self.alarms.push(Reverse((until, Alarm::End { slot, generation })));
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

    /// Has [`Happened::Time`] come with `key` at `when`. A time can't be taken back; the
    /// caller sees for itself whether it still means anything.
    pub fn alarm(&mut self, when: Instant, key: u64) {
        self.alarms.push(Reverse((when, Alarm::Foreign(key))));
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    fn take(&mut self, slot: usize) -> Option<Box<Guest>> {
        let mut running = self.slots[slot].running.take()?;
        running.watched.disarm(self.poll.registry());
        self.free.push(slot);
        Some(running.guest)
    }

    /// Marks a guest runnable.
    fn wake(&mut self, slot: usize) {
        let running = self.slots.get_mut(slot).and_then(|slot| slot.running.as_mut());
        let Some(running) = running.filter(|running| !running.queued) else { return };
        running.queued = true;
        self.woken.push_back(slot);
    }

    /// Waits until something happens, at most for `idle`, and runs every guest that is
    /// runnable for a slice.
    ///
    /// # Errors
    ///
    /// If polling fails, which no guest can bring about.
    pub fn turn(&mut self, idle: Option<Duration>, happened: &mut Vec<Happened>) -> io::Result<()> {
        self.wait(idle)?;
        for event in &self.events {
            let Token(token) = event.token();
            if token < FOREIGN {
                self.mailbox.slots.lock().unwrap_or_else(PoisonError::into_inner).push(token);
            } else if token != WAKE.0 {
                happened.push(Happened::Io {
                    token: event.token(),
                    readable: event.is_readable() || event.is_error(),
                    writable: event.is_writable() || event.is_error(),
                    hangup: event.is_error() || event.is_write_closed(),
                });
            }
        }
        let slots = std::mem::take(&mut *self.mailbox());
        slots.into_iter().for_each(|slot| self.wake(slot));
        self.ring(happened);
        for _ in 0..self.woken.len() {
            let Some(slot) = self.woken.pop_front() else { break };
            self.run(slot, happened);
        }
        let started = Instant::now();
        for _ in 0..self.computing.len() {
            let Some(slot) = self.computing.pop_front() else { break };
            self.run(slot, happened);
            if started.elapsed() >= COMPUTING_PER_TURN {
                break;
            }
        }
        Ok(())
    }

    fn mailbox(&self) -> std::sync::MutexGuard<'_, Vec<usize>> {
        self.mailbox.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&mut self, idle: Option<Duration>) -> io::Result<()> {
        let next = self
            .alarms
            .peek()
            .map(|Reverse((when, _))| when.saturating_duration_since(Instant::now()));
        let mut timeout = match (next, idle) {
            (Some(next), Some(idle)) => Some(next.min(idle)),
            (next, idle) => next.or(idle),
        };
        // From here on a waker rings; what came before is in the mailbox already.
        self.mailbox.asleep.store(true, Ordering::SeqCst);
        let busy = !self.woken.is_empty() || !self.computing.is_empty();
        if busy || !self.mailbox().is_empty() {
            timeout = Some(Duration::ZERO);
        }
        let result = self.poll.poll(&mut self.events, timeout);
        self.mailbox.asleep.store(false, Ordering::SeqCst);
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            other => other,
        }
    }

    /// Forgets alarms that mean nothing any more, once they are most of all there are: a
    /// guest that ends or goes on leaves its own behind.
    fn tidy_alarms(&mut self) {
        if self.alarms.len() < self.alarms_kept * 2 + 1024 {
            return;
        }
        let slots = &self.slots;
        self.alarms.retain(|Reverse((_, alarm))| match *alarm {
            Alarm::Foreign(_) => true,
            Alarm::Park { slot, park } => {
                slots[slot].running.as_ref().is_some_and(|running| running.park == park)
            }
            Alarm::End { slot, generation } => {
                slots[slot].generation == generation && slots[slot].running.is_some()
            }
        });
        self.alarms_kept = self.alarms.len();
    }

    /// Handles the alarms that are due.
    fn ring(&mut self, happened: &mut Vec<Happened>) {
        if self.alarms.is_empty() {
            return;
        }
        self.tidy_alarms();
        let now = Instant::now();
        while let Some(Reverse((when, alarm))) = self.alarms.peek().copied() {
            if when > now {
                break;
            }
            self.alarms.pop();
            match alarm {
                Alarm::Foreign(key) => happened.push(Happened::Time(key)),
                Alarm::Park { slot, park } => {
                    let running = self.slots[slot].running.as_ref();
                    if running.is_some_and(|running| running.park == park) {
                        self.wake(slot);
                    }
                }
                Alarm::End { slot, generation } => {
                    if self.slots[slot].generation == generation {
                        self.end(slot, End::TimedOut, happened);
                    }
                }
            }
        }
    }

    fn end(&mut self, slot: usize, end: End, happened: &mut Vec<Happened>) {
        let generation = self.slots[slot].generation;
        if let Some(guest) = self.take(slot) {
            happened.push(Happened::Ended(GuestId { slot, generation }, end, guest));
        }
    }

    /// Runs one guest for a slice.
    fn run(&mut self, slot: usize, happened: &mut Vec<Happened>) {
        let Some(running) = self.slots[slot].running.as_mut() else { return };
        running.queued = false;
        running.park = 0;
        running.watched.disarm(self.poll.registry());
        match running.guest.step(self.slice_fuel) {
            Step::Exited(code) => self.end(slot, End::Exited(code), happened),
            Step::Trapped(trap) => self.end(slot, End::Trapped(trap), happened),
            Step::Yielded => {
                running.queued = true;
                self.computing.push_back(slot);
            }
            Step::Parked => self.park(slot, happened),
        }
    }

    /// Arms what a guest waits for.
    fn park(&mut self, slot: usize, happened: &mut Vec<Happened>) {
        let park = self.next_serial();
        let Slot { running: Some(running), waker, .. } = &mut self.slots[slot] else { return };
        running.park = park;
        let cx = running.guest.context_mut();
        match running.watched.arm(cx, waker, self.poll.registry(), Token(slot)) {
            Ok(true) => {
                // A sleep for longer than the clock can count is for ever.
                let when = wasi::remaining(cx).and_then(|left| Instant::now().checked_add(left));
                if let Some(when) = when {
                    self.alarms.push(Reverse((when, Alarm::Park { slot, park })));
                }
            }
            Ok(false) => {
                running.queued = true;
                self.computing.push_back(slot);
            }
            Err(error) => self.end(slot, End::Failed(error), happened),
        }
    }
}
