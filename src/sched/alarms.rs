//! Times at which something is to be done.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Alarm {
    /// A parked guest's own deadline; only if it still is in that park.
    Park { slot: usize, park: u64 },
    /// The end of a guest's time.
    Deadline { slot: usize, generation: u64 },
    /// The caller's.
    Foreign(u64),
}

/// Alarms can't be taken back; each is looked at when it rings.
#[derive(Default)]
pub(super) struct Alarms {
    heap: BinaryHeap<Reverse<(Instant, Alarm)>>,
    /// How many there were when they were last tidied.
    kept: usize,
}

impl Alarms {
    pub fn set(&mut self, when: Instant, alarm: Alarm) {
        self.heap.push(Reverse((when, alarm)));
    }

    /// When the first one rings.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((when, _))| *when)
    }

    /// Takes one that is due.
    pub fn pop_due(&mut self, now: Instant) -> Option<Alarm> {
        if self.next()? > now {
            return None;
        }
        self.heap.pop().map(|Reverse((_, alarm))| alarm)
    }

    /// Forgets those that mean nothing any more, once they are most of all there are: a
    /// guest that ends or runs on leaves its alarms in the heap.
    pub fn remove_stale(&mut self, meant: impl Fn(Alarm) -> bool) {
        if self.heap.len() >= self.kept * 2 + 1024 {
            self.heap.retain(|Reverse((_, alarm))| meant(*alarm));
            self.kept = self.heap.len();
        }
    }

    /// Gives back memory that a longer list of them needed.
    pub fn shrink(&mut self) {
        self.heap.shrink_to_fit();
        self.kept = self.kept.min(self.heap.len());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn they_ring_in_order_and_not_too_soon() {
        let (mut alarms, now) = (Alarms::default(), Instant::now());
        let at = |ms| now + Duration::from_millis(ms);
        alarms.set(at(20), Alarm::Foreign(2));
        alarms.set(at(10), Alarm::Foreign(1));
        assert_eq!(alarms.next(), Some(at(10)));
        assert_eq!(alarms.pop_due(at(9)), None);
        assert_eq!(alarms.pop_due(at(10)), Some(Alarm::Foreign(1)));
        assert_eq!(alarms.pop_due(at(10)), None);
        assert_eq!(alarms.pop_due(at(99)), Some(Alarm::Foreign(2)));
        assert_eq!(alarms.next(), None);
    }

    #[test]
    fn what_means_nothing_does_not_pile_up() {
        let (mut alarms, now) = (Alarms::default(), Instant::now());
        for slot in 0..100_000 {
            alarms.set(now, Alarm::Park { slot, park: 1 });
            alarms.remove_stale(|_| false);
        }
        assert!(alarms.heap.len() <= 1024);
    }
}
