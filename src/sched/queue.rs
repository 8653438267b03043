//! Who is run next, and for how long.
//!
//! Slices are counted in fuel, which can be metered; what a unit of it takes depends on what a
//! guest does (one that touches memory for the first time takes twenty times as long as one
//! that adds numbers, for each page is a fault). So a guest whose slices take too long is
//! given shorter ones.

use std::collections::VecDeque;
use std::time::Duration;

use super::{FIRST_FUEL, GuestId, SLICE_FUEL};

/// What a slice may take before the next one is made shorter.
const SLICE_TIME: Duration = Duration::from_micros(250);

/// The shortest slice.
const FUEL_MIN: u64 = SLICE_FUEL / 64;

/// Fuel after which a guest that computes goes behind those that have used less: who has an
/// answer soon need not wait for those that will not have one for long.
const YOUNG_FUEL: u64 = 16 * SLICE_FUEL;

/// What is known of a guest's running so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    /// Fuel of its next slice.
    pub slice: u64,
    /// Fuel used in all.
    used: u64,
    /// Fuel used since it last came to the end of a slice by itself.
    spent: u64,
    /// It used most of its last slice: it computes more than it waits.
    busy: bool,
}

impl Record {
    /// Of a guest that has used this much before.
    pub fn new(used: u64) -> Record {
        Record { slice: FIRST_FUEL, used, spent: used, busy: false }
    }

    /// A slice is over, which took this long; `used` is what the guest has used in all.
    pub fn ran(&mut self, used: u64, took: Duration) {
        let last = used.saturating_sub(self.used);
        self.busy = last >= self.slice / 2;
        self.spent = if self.busy { self.spent.saturating_add(last) } else { 0 };
        self.used = used;
        if self.busy && took > SLICE_TIME {
            // A slice can be long by chance, for something else had the processor: so it is
            // not made short all at once.
            let fuel = u128::from(self.slice) * SLICE_TIME.as_nanos() / took.as_nanos();
            let fuel = u64::try_from(fuel).unwrap_or(FUEL_MIN);
            self.slice = fuel.max(self.slice / 8).max(FUEL_MIN);
        } else if took < SLICE_TIME / 2 {
            self.slice = (self.slice * 2).min(SLICE_FUEL);
        }
    }

    fn is_young(&self) -> bool {
        self.spent < YOUNG_FUEL
    }
}

/// Guests that can be run, and some that could.
#[derive(Default)]
pub(super) struct Queue {
    /// Those that something has happened for.
    woken: VecDeque<GuestId>,
    /// Those that only compute, by what they have used.
    young: VecDeque<GuestId>,
    old: VecDeque<GuestId>,
}

impl Queue {
    pub fn len(&self) -> usize {
        self.woken.len() + self.computing()
    }

    pub fn woken(&self) -> usize {
        self.woken.len()
    }

    pub fn computing(&self) -> usize {
        self.young.len() + self.old.len()
    }

    /// A guest that is new.
    pub fn begin(&mut self, id: GuestId) {
        self.woken.push_back(id);
    }

    /// A guest that was parked. One that computes for the most part has no precedence for that.
    pub fn wake(&mut self, id: GuestId, record: &Record) {
        if record.busy { self.go_on(id, record) } else { self.woken.push_back(id) }
    }

    /// A guest that is computing.
    pub fn go_on(&mut self, id: GuestId, record: &Record) {
        if record.is_young() { self.young.push_back(id) } else { self.old.push_back(id) }
    }

    pub fn next_woken(&mut self) -> Option<GuestId> {
        self.woken.pop_front()
    }

    /// The next of a turn. The first is an old one, so that all of them come on, then come the
    /// young.
    pub fn next_computing(&mut self, first: bool) -> Option<GuestId> {
        let old = if first { self.old.pop_front() } else { None };
        old.or_else(|| self.young.pop_front()).or_else(|| self.old.pop_front())
    }

    /// All entries.
    #[cfg(test)]
    pub fn all(&self) -> impl Iterator<Item = &GuestId> {
        self.woken.iter().chain(&self.young).chain(&self.old)
    }

    /// Gives back memory that longer queues needed.
    pub fn shrink(&mut self) {
        for queue in [&mut self.woken, &mut self.young, &mut self.old] {
            queue.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_micros(50);

    fn id(slot: usize) -> GuestId {
        GuestId { slot, generation: 1 }
    }

    /// A guest that has used `used` and uses its slices up.
    fn computing(used: u64) -> Record {
        let mut record = Record::new(0);
        (0..10).for_each(|_| record.ran(0, SHORT));
        record.ran(used, SHORT);
        record
    }

    #[test]
    fn slices_that_take_long_become_shorter_and_longer_again() {
        let mut record = Record::new(0);
        (0..10).for_each(|_| record.ran(0, SHORT));
        assert_eq!(record.slice, SLICE_FUEL);
        record.ran(100_000, SLICE_TIME * 2);
        assert_eq!(record.slice, SLICE_FUEL / 2, "as much as fits");
        record.ran(200_000, Duration::from_secs(1));
        assert_eq!(record.slice, SLICE_FUEL / 16, "not all at once");
        record.ran(201_000, Duration::from_secs(1));
        assert_eq!(record.slice, SLICE_FUEL / 16, "what ends early is not made to by a slice");
        (3..20).for_each(|n| record.ran(n * 100_000, Duration::from_secs(1)));
        assert_eq!(record.slice, FUEL_MIN, "and not to nothing");
        record.ran(2_000_000, SLICE_TIME * 3 / 4);
        assert_eq!(record.slice, FUEL_MIN, "good as it is");
        (0..20).for_each(|_| record.ran(2_000_000, SHORT));
        assert_eq!(record.slice, SLICE_FUEL);
    }

    #[test]
    fn who_computes_has_no_precedence_when_it_is_woken() {
        let mut queue = Queue::default();
        queue.wake(id(1), &computing(SLICE_FUEL));
        queue.wake(id(2), &computing(SLICE_FUEL / 10));
        assert_eq!((queue.next_woken(), queue.next_woken()), (Some(id(2)), None));
        assert_eq!(queue.next_computing(true), Some(id(1)));
    }

    #[test]
    fn the_young_go_before_the_old_but_for_one_a_turn() {
        let mut queue = Queue::default();
        for (slot, used) in [(1, YOUNG_FUEL), (2, YOUNG_FUEL), (3, 0), (4, YOUNG_FUEL - 1)] {
            queue.go_on(id(slot), &computing(used));
        }
        let turn: Vec<_> = (0..5).map(|nth| queue.next_computing(nth == 0)).collect();
        assert_eq!(turn, [1, 3, 4, 2, 0].map(|slot| (slot > 0).then(|| id(slot))));
        queue.go_on(id(5), &computing(0));
        assert_eq!(queue.next_computing(true), Some(id(5)), "if there is no old one");
        assert_eq!(queue.len(), 0);
        let mut record = computing(YOUNG_FUEL);
        record.ran(YOUNG_FUEL + 1, SHORT);
        assert!(record.is_young(), "who waits now and then begins anew");
    }
}
