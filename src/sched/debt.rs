//! The time that computing guests owe to the others.

use std::time::{Duration, Instant};

/// How long guests that only compute may run before the others do.
const PER_TURN: Duration = Duration::from_millis(1);

/// Time of a slice among others that are served, and of one while nothing else happens: coming
/// back from the interpreter and asking the system what is new costs some microseconds each time.
pub(super) const SLICE_TIME: Duration = Duration::from_micros(100);
const LONE_TIME: Duration = Duration::from_micros(500);

/// How long after the last event the scheduler counts as quiet.
const QUIET_AFTER: Duration = Duration::from_millis(10);

/// The most that is owed.
const MAX: Duration = Duration::from_secs(1);

/// A slice can't be interrupted in a call, which may take far longer than a turn has for it (a
/// sync of a slow disk). What it took too much is owed: the others get as much time before any
/// guest computes again.
pub(super) struct Debt {
    owed: Duration,
    /// When guests last computed, or it was last paid.
    since: Instant,
    /// When there was last something else to be done.
    last_activity: Instant,
}

/// The time that computing guests are given.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grant {
    /// For all of them together.
    pub until: Instant,
    /// For each.
    pub slice: Duration,
}

impl Debt {
    pub fn new(now: Instant) -> Debt {
        Debt { owed: Duration::ZERO, since: now, last_activity: now }
    }

    /// How long guests may compute that begin now. `None` if it is the turn of others, and there
    /// are any.
    pub fn grant(&mut self, now: Instant, others: bool) -> Option<Grant> {
        self.owed = self.owed.saturating_sub(now.saturating_duration_since(self.since));
        self.since = now;
        if others {
            self.last_activity = now;
        }
        if others && !self.owed.is_zero() {
            return None;
        }
        let quiet = now.saturating_duration_since(self.last_activity) > QUIET_AFTER;
        let slice = if quiet { LONE_TIME } else { SLICE_TIME };
        Some(Grant { until: now + PER_TURN, slice })
    }

    /// The computing guests stopped at `now` and should have stopped at `until`.
    pub fn settle(&mut self, until: Instant, now: Instant) {
        self.owed = (self.owed + now.saturating_duration_since(until)).min(MAX);
        self.since = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_too_long_is_paid_back_to_others_if_there_are_any() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut debt = Debt::new(start);
        let until = |ms, slice| Some(Grant { until: at(ms), slice });
        assert_eq!(debt.grant(start, true), until(1, SLICE_TIME));
        debt.settle(at(1), at(51));
        assert_eq!(debt.grant(at(60), true), None, "9 of 50 ms");
        assert_eq!(debt.grant(at(100), true), None, "49 of 50 ms");
        assert_eq!(debt.grant(at(101), true), until(102, SLICE_TIME));
        debt.settle(at(102), at(202));
        let lone = until(204, LONE_TIME);
        assert_eq!(debt.grant(at(203), false), lone, "nobody else wants the time");
        debt.settle(at(204), at(100_000));
        assert_eq!(
            debt.grant(at(101_001), true),
            until(101_002, SLICE_TIME),
            "there is an end to it"
        );
    }
}
