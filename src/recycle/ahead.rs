//! Guests that wait for their input before it is there.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Pool;
use crate::guest::{Guest, Step};
use crate::wasi::WasiCtx;

/// Fuel to come to the first read of standard input. A program that computes longer gains
/// little by waiting there.
const FUEL: u64 = 10_000_000;

/// Guests of one pool that have run up to their first read of standard input, each with
/// what its maker needs to feed it.
///
/// What a guest did on the way there it did before its input came: it has seen an earlier
/// time, and what it printed is printed. A program that ends, computes for long or waits for
/// something else on the way there is not run ahead any more.
pub struct Ahead<T> {
    waiting: VecDeque<Waiting<T>>,
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
    /// Room for `count` guests, each of which is dropped when it has waited for `ttl`.
    pub fn new(count: usize, ttl: Duration) -> Ahead<T> {
        Ahead { waiting: VecDeque::new(), count, ttl, suited: true }
    }

    /// Guests that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether there is room for another one.
    pub fn wants(&self) -> bool {
        self.suited && self.waiting.len() < self.count
    }

    /// The guest that has waited longest. It is parked: feed it, then step it.
    pub fn take(&mut self) -> Option<(Guest, T)> {
        self.waiting.pop_front().map(|waiting| (waiting.guest, waiting.with))
    }

    /// Runs one more guest up to its first read of standard input, if there is
    /// [room](Ahead::wants). `make` gives its context, whose standard input must answer
    /// Again until it is fed. `false` if the program turned out not to be suited.
    pub fn run(
        &mut self,
        pool: &mut Pool,
        now: Instant,
        make: impl FnOnce() -> (WasiCtx, T),
    ) -> bool {
        if !self.wants() {
            return self.suited;
        }
        let (cx, with) = make();
        let mut guest = pool.spawn(cx);
        self.suited = guest.step(FUEL) == Step::Parked && guest.waits_for_stdin();
        if self.suited {
            // A time too far to be told is never.
            let until = now.checked_add(self.ttl).unwrap_or(now + Duration::from_secs(1 << 30));
            self.waiting.push_back(Waiting { guest, with, until });
        } else {
            pool.recycle(guest);
        }
        self.suited
    }

    /// Takes out the guests whose time to live is over.
    pub fn expire(&mut self, pool: &mut Pool, now: Instant) {
        while self.waiting.front().is_some_and(|waiting| waiting.until <= now) {
            self.waiting.pop_front().into_iter().for_each(|waiting| pool.recycle(waiting.guest));
        }
    }

    /// When the next one's time is over.
    pub fn next_expiry(&self) -> Option<Instant> {
        self.waiting.front().map(|waiting| waiting.until)
    }

    /// Drops all of them, as when the program is loaded anew.
    pub fn clear(&mut self) {
        self.waiting.clear();
        self.suited = true;
    }
}

impl<T> std::fmt::Debug for Ahead<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ahead").field("waiting", &self.len()).field("suited", &self.suited).finish()
    }
}
