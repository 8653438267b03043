//! Several guests, stepped together from a loop that is somebody else's.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use crate::guest::Guest;
use crate::step::Step;
use crate::vfs::Armed;

/// Fuel a guest may use before the next has its turn.
const SLICE_FUEL: u64 = 100_000;

/// What a step costs at the least, so that guests which only give way use up a turn too.
const STEP_FUEL: u64 = 100;

/// How soon to ask again for what nobody tells of.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// Guests for a program that has a loop of its own: a game, a GUI, another event loop.
///
/// [`turn`](Group::turn) runs those that can go on, in rounds, until all wait or the turn's
/// fuel is used up; it never blocks. It needs no operating system: a guest that waits for
/// another guest or for its host is woken by them, and one that sleeps or waits for a
/// descriptor of the system is simply polled once a turn. For many of the latter there is
/// the scheduler (`sched`, with the feature `net`).
///
/// ```
/// use tinyhost::{Group, Guest, Program, Step, WasiCtx};
/// use tinyhost::vfs::pipe::{Capture, pipe};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let program = Program::new(std::fs::read("fixtures/cat.wasm")?)?;
/// let ((end, mut feed), (from, to)) = (pipe(16), pipe(16));
/// let out = Capture::new(4096);
/// let mut group = Group::new();
/// group.spawn(Guest::new(&program, WasiCtx::builder().stdin(end).stdout(to).build()));
/// group.spawn(Guest::new(&program, WasiCtx::builder().stdin(from).stdout(out.clone()).build()));
///
/// feed.write(b"through both\n")?;
/// assert!(group.turn(10_000_000).ended.is_empty()); // both wait for more
/// assert_eq!(out.take(), b"through both\n");
/// drop(feed);
/// let ended = group.turn(10_000_000).ended;
/// assert!(ended.iter().all(|(_, step, _)| *step == Step::Exited(0)) && ended.len() == 2);
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Group {
    members: VecDeque<Slot>,
    last: u64,
    waker: Option<Waker>,
}

/// A guest of a [`Group`]; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member(u64);

/// What a turn brought.
#[derive(Debug)]
pub struct Turn {
    /// The guests that came to their end, and how. They are no longer in the group.
    pub ended: Vec<(Member, Step, Guest)>,
    /// Fuel used by all.
    pub fuel_used: u64,
    /// After which time to call again even if nothing was woken: at once if only fuel was
    /// lacking, `None` if all wait for what a waker tells. A loop that comes round anyway
    /// has no use for it.
    pub next: Option<Duration>,
}

struct Slot {
    member: Member,
    guest: Guest,
    flag: Arc<WakeFlag>,
    waker: Waker,
    /// No waker knows when it can go on: it is polled every turn, which should come within
    /// this time.
    poll_after: Option<Duration>,
}

/// Whether a guest was woken, and who is to know.
struct WakeFlag {
    woken: AtomicBool,
    group: Option<Waker>,
}

impl Wake for WakeFlag {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let woken = self.woken.swap(true, Ordering::AcqRel);
        if let (false, Some(group)) = (woken, &self.group) {
            group.wake_by_ref();
        }
    }
}

impl Group {
    /// A group of no guests.
    pub fn new() -> Group {
        Group::default()
    }

    /// A group that calls `waker` whenever a guest that waited can go on, from whatever
    /// thread that happens on: an event loop's own wake-up, or a thread's `unpark`.
    pub fn with_waker(waker: Waker) -> Group {
        Group { waker: Some(waker), ..Group::default() }
    }

    /// Takes a guest; it first runs in the next turn.
    pub fn spawn(&mut self, guest: Guest) -> Member {
        self.last += 1;
        let member = Member(self.last);
        let flag = WakeFlag { woken: AtomicBool::new(true), group: self.waker.clone() };
        let flag = Arc::new(flag);
        let waker = Waker::from(flag.clone());
        self.members.push_back(Slot { member, guest, flag, waker, poll_after: None });
        member
    }

    /// Guests that have not ended.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// A guest that has not ended.
    pub fn guest(&self, member: Member) -> Option<&Guest> {
        self.members.iter().find(|slot| slot.member == member).map(|slot| &slot.guest)
    }

    /// Takes a guest out, wherever it is; dropping it cancels it.
    pub fn cancel(&mut self, member: Member) -> Option<Guest> {
        let index = self.members.iter().position(|slot| slot.member == member)?;
        self.members.remove(index).map(|slot| slot.guest)
    }

    /// Runs every guest that can go on, a slice each, round after round, until all wait or
    /// `fuel` is used up. Whoever was cut short is the first in the next turn.
    pub fn turn(&mut self, fuel: u64) -> Turn {
        let mut turn = Turn { ended: Vec::new(), fuel_used: 0, next: None };
        for slot in self.members.iter().filter(|slot| slot.poll_after.is_some()) {
            slot.flag.woken.store(true, Ordering::Release);
        }
        // Guests passed by since one was run: after a whole round of them all wait.
        let mut passed = 0;
        while passed < self.members.len() {
            let Some(mut slot) = self.members.pop_front() else { break };
            if !slot.flag.woken.load(Ordering::Acquire) {
                passed += 1;
                self.members.push_back(slot);
                continue;
            }
            let left = fuel.saturating_sub(turn.fuel_used);
            if left == 0 {
                self.members.push_front(slot);
                turn.next = Some(Duration::ZERO);
                return turn;
            }
            passed = 0;
            let before = slot.guest.fuel_used();
            let step = slot.step(left.min(SLICE_FUEL));
            turn.fuel_used += (slot.guest.fuel_used() - before).max(STEP_FUEL);
            if step.is_end() {
                turn.ended.push((slot.member, step, slot.guest));
            } else {
                self.members.push_back(slot);
            }
        }
        turn.next = self.members.iter().filter_map(|slot| slot.poll_after).min();
        turn
    }
}

impl Slot {
    fn step(&mut self, fuel: u64) -> Step {
        self.flag.woken.store(false, Ordering::Release);
        let polled = self.poll_after.take().is_some();
        let step = self.guest.step(fuel);
        match step {
            Step::Yielded => self.flag.woken.store(true, Ordering::Release),
            Step::Parked => {
                let mut watched = None;
                self.poll_after =
                    match self.guest.arm(&self.waker, &mut |_, _| watched = Some(ASK_AGAIN)) {
                        Armed::Until(time) => time.into_iter().chain(watched).min(),
                        // A file that says so again and again is not believed.
                        Armed::Now if polled => Some(ASK_AGAIN),
                        Armed::Now => {
                            self.flag.woken.store(true, Ordering::Release);
                            Some(ASK_AGAIN)
                        }
                    };
            }
            Step::Exited(_) | Step::Trapped(_) => {}
        }
        step
    }
}
