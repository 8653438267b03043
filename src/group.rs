//! Several guests, stepped together from the program's own loop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use crate::guest::Guest;
use crate::step::Step;
use crate::vfs::Armed;

/// Fuel a guest may use before the next guest runs.
const SLICE_FUEL: u64 = 100_000;

/// The least a step is counted for, so that guests which only yield use up a turn's fuel.
const STEP_FUEL: u64 = 100;

/// How often to step a guest whose readiness no waker announces.
const ASK_AGAIN: Duration = Duration::from_millis(5);

/// A set of guests for a program that has its own loop: a game, a GUI, an event loop.
///
/// [`turn`](Group::turn) runs all runnable guests in rounds until every guest waits or the
/// turn's fuel is used up. It never blocks and needs no operating system. A guest that waits
/// for a pipe is woken by the pipe's other end. A guest that sleeps or waits for a file
/// descriptor is stepped once a turn. For many such guests use the scheduler (`sched`, with the
/// feature `net`).
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

/// Identifies a guest of a [`Group`]. A value is never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Member(u64);

/// The result of [`Group::turn`].
#[derive(Debug)]
pub struct Turn {
    /// The guests that ended in this turn, each with its last step. They have left the group.
    pub ended: Vec<(Member, Step, Guest)>,
    /// Fuel used by all guests in this turn.
    pub fuel_used: u64,
    /// When to call `turn` again even if no guest is woken. Zero if the turn ran out of fuel,
    /// `None` if every guest waits for a waker. A loop that runs at its own rate can ignore it.
    pub next: Option<Duration>,
}

struct Slot {
    member: Member,
    guest: Guest,
    flag: Arc<WakeFlag>,
    waker: Waker,
    /// Set if no waker announces when the guest can run: it is stepped every turn, and the next
    /// turn should come within this time.
    poll_after: Option<Duration>,
}

/// Whether a guest was woken, and the waker of its group.
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
    /// An empty group.
    pub fn new() -> Group {
        Group::default()
    }

    /// An empty group that calls `waker` when a waiting guest becomes runnable. The call comes from
    /// whichever thread woke the guest.
    pub fn with_waker(waker: Waker) -> Group {
        Group { waker: Some(waker), ..Group::default() }
    }

    /// Adds a guest. It first runs in the next turn.
    pub fn spawn(&mut self, guest: Guest) -> Member {
        self.last += 1;
        let member = Member(self.last);
        let flag = WakeFlag { woken: AtomicBool::new(true), group: self.waker.clone() };
        let flag = Arc::new(flag);
        let waker = Waker::from(flag.clone());
        self.members.push_back(Slot { member, guest, flag, waker, poll_after: None });
        member
    }

    /// The number of guests, all of which have not ended.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether the group has no guests.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The guest, if it is still in the group.
    pub fn guest(&self, member: Member) -> Option<&Guest> {
        self.members.iter().find(|slot| slot.member == member).map(|slot| &slot.guest)
    }

    /// Removes a guest in whatever state it is, and returns it. Drop it to cancel it.
    pub fn cancel(&mut self, member: Member) -> Option<Guest> {
        let index = self.members.iter().position(|slot| slot.member == member)?;
        self.members.remove(index).map(|slot| slot.guest)
    }

    /// Runs every runnable guest for a slice, round after round, until every guest waits or `fuel`
    /// is used up. A guest that the end of the fuel interrupts is the first of the next turn.
    pub fn turn(&mut self, fuel: u64) -> Turn {
        let mut turn = Turn { ended: Vec::new(), fuel_used: 0, next: None };
        for slot in self.members.iter().filter(|slot| slot.poll_after.is_some()) {
            slot.flag.woken.store(true, Ordering::Release);
        }
        // Guests skipped since one last ran. When that is all of them, every guest waits.
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
                        // A file that claims to be ready each time would keep the turn busy.
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
