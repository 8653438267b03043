//! Guests started before their input has arrived.

use std::any::Any;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::Pool;
use crate::guest::{Guest, Pace};
use crate::step::Step;
use crate::wasi::{CallOutcome, Trace, TracedCall, WasiCtx};

/// CPU time a guest may use up to its first read of standard input. More would be no gain, as it
/// is spent for each guest, and again after its time to live.
const TIME_MAX: Duration = Duration::from_millis(500);

/// The calls a guest may make before that: those with the same answer for all guests of a
/// program at any time, and random bytes, which no other guest gets.
const ALLOWED: [&str; 7] = [
    "args_get",
    "args_sizes_get",
    "fd_fdstat_get",
    "fd_prestat_dir_name",
    "fd_prestat_get",
    "fd_read",
    "random_get",
];

/// Guests of one pool that have run up to their first read of standard input. With each is a `T`
/// that its maker needs to feed it.
///
/// Such a guest can't be distinguished from one that is made when its input arrives. A program that reads
/// its environment, a clock or a file before its input, or that writes, ends, computes for long
/// or waits for something else, is not suited, and is not started ahead any more.
pub struct Ahead<T> {
    waiting: VecDeque<Waiting<T>>,
    /// One that is still on its way.
    starting: Option<(Guest, Pace, T, Called)>,
    count: usize,
    ttl: Duration,
    suited: bool,
}

struct Waiting<T> {
    guest: Guest,
    with: T,
    until: Instant,
}

impl<T> Ahead<T> {
    /// Room for `count` guests. Each is dropped after it has waited for `ttl`.
    pub fn new(count: usize, ttl: Duration) -> Ahead<T> {
        Ahead { waiting: VecDeque::new(), starting: None, count, ttl, suited: true }
    }

    /// The number of guests that wait for input.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The waiting guests, longest wait first, and then the one that is being started.
    pub fn guests(&self) -> impl Iterator<Item = &Guest> {
        let starting = self.starting.iter().map(|(guest, ..)| guest);
        self.waiting.iter().map(|waiting| &waiting.guest).chain(starting)
    }

    /// Whether no guest waits for input.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether another guest can be started.
    pub fn wants(&self) -> bool {
        self.suited && self.waiting.len() < self.count
    }

    /// Takes the guest that has waited longest. It is parked: feed it, then step it.
    pub fn take(&mut self) -> Option<(Guest, T)> {
        self.waiting.pop_front().map(|waiting| (waiting.guest, waiting.with))
    }

    /// Runs one guest towards its first read of standard input, for at most about `time`. If no
    /// guest is being started and there is [room](Ahead::wants), `make` supplies the context of a
    /// new one. Its standard input must answer EAGAIN until you feed it.
    ///
    /// # Errors
    ///
    /// The reason, if the program turns out not to be suited. This is reported once.
    pub fn run(
        &mut self,
        pool: &mut Pool,
        now: Instant,
        time: Duration,
        make: impl FnOnce() -> (WasiCtx, T),
    ) -> Result<(), String> {
        if !self.wants() {
            return Ok(());
        }
        let (mut guest, mut pace, with, called) = self.starting.take().unwrap_or_else(|| {
            let (mut cx, with) = make();
            let called = Called::default();
            cx.trace = Some(Box::new(Watch { called: called.clone(), before: cx.trace.take() }));
            (pool.spawn(cx), Pace::new(), with, called)
        });
        let step = guest.slice(&mut pace, Instant::now(), time).step;
        let why = match (called.get(), step) {
            (Some(name), _) => format!("it calls {name} before it reads its input"),
            (None, Step::Parked) if guest.waits_for_stdin() => {
                let cx = guest.instance.store.data_mut();
                cx.trace = cx.trace.take().and_then(unwatched);
                // Beyond what an Instant can count the time to live is unlimited.
                let until = now.checked_add(self.ttl).unwrap_or(now + Duration::from_secs(1 << 30));
                self.waiting.push_back(Waiting { guest, with, until });
                return Ok(());
            }
            (None, Step::Yielded) if guest.cpu_used() < TIME_MAX => {
                self.starting = Some((guest, pace, with, called));
                return Ok(());
            }
            (None, Step::Parked) => "it waits for something else than its input".to_owned(),
            (None, Step::Yielded) => "it computes for long before it reads its input".to_owned(),
            (None, _) => "it ends before it reads its input".to_owned(),
        };
        self.suited = false;
        pool.recycle(guest);
        Err(why)
    }

    /// Returns the guests whose time to live is over to the pool.
    pub fn expire(&mut self, pool: &mut Pool, now: Instant) {
        while self.waiting.front().is_some_and(|waiting| waiting.until <= now) {
            self.waiting.pop_front().into_iter().for_each(|waiting| pool.recycle(waiting.guest));
        }
    }

    /// When the time to live of the next guest ends.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.waiting.front().map(|waiting| waiting.until)
    }

    /// Drops all guests, such as when the program is reloaded.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.starting = None;
        self.suited = true;
    }
}

/// The first call a guest made that is not allowed.
type Called = Arc<OnceLock<&'static str>>;

/// Notes that call.
struct Watch {
    called: Called,
    /// The guest's own trace.
    before: Option<Box<dyn Trace>>,
}

impl Trace for Watch {
    fn begin(&mut self, call: &TracedCall<'_>) {
        let name = call.row.name;
        let reads_other = name == "fd_read" && call.arg_u32("fd") != Some(0);
        if reads_other || !ALLOWED.contains(&name) {
            self.called.get_or_init(|| name);
        }
        self.before.iter_mut().for_each(|before| before.begin(call));
    }

    fn call(&mut self, call: &TracedCall<'_>, outcome: CallOutcome) {
        self.before.iter_mut().for_each(|before| before.call(call, outcome));
    }
}

/// The guest's own trace, without the [`Watch`] around it.
fn unwatched(trace: Box<dyn Trace>) -> Option<Box<dyn Trace>> {
    let any: Box<dyn Any> = trace;
    any.downcast::<Watch>().ok()?.before
}

impl<T> std::fmt::Debug for Ahead<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ahead").field("waiting", &self.len()).field("suited", &self.suited).finish()
    }
}
