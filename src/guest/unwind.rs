//! Bringing a guest out of a call in which it waits, and out of its functions, for one that has
//! been made to return when it is asked to.

use wasmi::{ResumableCall, Val};

use super::{Guest, State};
use crate::step::Step;

/// Fuel to return with: more than any stack takes.
const FUEL: u64 = u64::MAX / 2;

/// What came of [`Guest::unwind`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unwound {
    /// The function that the host had called has returned.
    Returned {
        /// It was that of the start section: `_start` is still to be called.
        in_start: bool,
    },
    /// It did not wait, called the host again, or trapped.
    Failed,
}

impl Guest {
    /// Completes the call in which the guest waits with `errno`, without making it, and runs the
    /// guest until its function has returned. That takes fuel that no limit counts. The guest
    /// can't be stepped after that.
    pub(crate) fn unwind(&mut self, errno: i32) -> Unwound {
        let ended = State::Ended(Step::Exited(0));
        let State::Parked(call) = std::mem::replace(&mut self.state, ended) else {
            return Unwound::Failed;
        };
        let store = &mut self.instance.store;
        store.set_fuel(FUEL).expect("fuel is metered");
        match call.resume(&mut *store, &[Val::I32(errno)], &mut []) {
            Ok(ResumableCall::Finished) => Unwound::Returned { in_start: !self.then.is_empty() },
            _ => Unwound::Failed,
        }
    }
}
