//! The run queue: which guest runs next, and for how long.

use std::collections::VecDeque;
use std::time::Duration;

use super::GuestId;
use super::debt::SLICE_TIME;
use crate::guest::Pace;

/// Time of a slice of a guest that was woken: there may be many of them in one turn.
pub(super) const WOKEN_TIME: Duration = Duration::from_micros(100);

/// Time after which a computing guest queues after those that have used less. So a guest that is
/// nearly done need not wait for those that are not.
const YOUNG_TIME: Duration = Duration::from_millis(2);

/// What is known of a guest's running so far.
///
/// It goes by time and not by fuel: a guest that waits for a disk in its calls holds up the
/// others as much as one that computes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record {
    pub pace: Pace,
    /// Time used since the guest last waited of its own accord.
    spent: Duration,
    /// It used most of its last slice: it computes more than it waits.
    busy: bool,
}

impl Record {
    pub fn new() -> Record {
        Record { pace: Pace::new(), spent: Duration::ZERO, busy: false }
    }

    /// Notes a slice that took this long. `used_up` says that the guest was interrupted.
    pub fn record_slice(&mut self, took: Duration, used_up: bool) {
        self.busy = used_up || took >= SLICE_TIME / 2;
        self.spent = if self.busy { self.spent.saturating_add(took) } else { Duration::ZERO };
    }

    fn is_young(&self) -> bool {
        self.spent < YOUNG_TIME
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
    pub fn push_new(&mut self, id: GuestId) {
        self.woken.push_back(id);
    }

    /// A guest that was parked. One that computes for the most part has no precedence for that.
    pub fn wake(&mut self, id: GuestId, record: &Record) {
        if record.busy { self.requeue(id, record) } else { self.woken.push_back(id) }
    }

    /// A guest that is computing.
    pub fn requeue(&mut self, id: GuestId, record: &Record) {
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

    fn id(slot: usize) -> GuestId {
        GuestId { slot, generation: 1 }
    }

    /// A guest that has computed for this long.
    fn computing(time: Duration) -> Record {
        let mut record = Record::new();
        record.record_slice(time, true);
        record
    }

    #[test]
    fn who_computes_has_no_precedence_when_it_is_woken() {
        let mut queue = Queue::default();
        let (mut slow, mut quick) = (Record::new(), Record::new());
        // In calls that take long, or with many instructions: it comes to the same.
        slow.record_slice(SLICE_TIME, false);
        quick.record_slice(SLICE_TIME / 10, false);
        queue.wake(id(1), &computing(SLICE_TIME));
        queue.wake(id(2), &slow);
        queue.wake(id(3), &quick);
        assert_eq!((queue.next_woken(), queue.next_woken()), (Some(id(3)), None));
        assert_eq!(queue.next_computing(true), Some(id(1)));
    }

    #[test]
    fn the_young_go_before_the_old_but_for_one_a_turn() {
        let mut queue = Queue::default();
        let almost = YOUNG_TIME - Duration::from_nanos(1);
        for (slot, used) in [(1, YOUNG_TIME), (2, YOUNG_TIME), (3, Duration::ZERO), (4, almost)] {
            queue.requeue(id(slot), &computing(used));
        }
        let turn: Vec<_> = (0..5).map(|nth| queue.next_computing(nth == 0)).collect();
        assert_eq!(turn, [1, 3, 4, 2, 0].map(|slot| (slot > 0).then(|| id(slot))));
        queue.requeue(id(5), &computing(Duration::ZERO));
        assert_eq!(queue.next_computing(true), Some(id(5)), "if there is no old one");
        assert_eq!(queue.len(), 0);
        let mut record = computing(YOUNG_TIME);
        record.record_slice(SLICE_TIME / 10, false);
        assert!(record.is_young(), "who waits now and then begins anew");
    }
}
