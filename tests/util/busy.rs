//! What tests need to be right on a machine that has a lot else to do.
//!
//! A test waits for an event, up to [`LIMIT`]. It bounds work by processor time, not by a clock
//! on the wall. Where something has to be quicker than a time it is given, [`given_time`]
//! gives it more.

#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Whatever takes longer than this hangs.
pub const LIMIT: Duration = Duration::from_secs(300);

/// Locks, also after a panic of another thread: that one is the failure to be seen.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Processor time this thread has taken.
pub fn cpu_time() -> Duration {
    use rustix::time::{ClockId, clock_gettime};
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(time).expect("it is not negative")
}

/// Tries with `least`, and with ten and a hundred times as much, until that was enough.
#[track_caller]
pub fn given_time(least: Duration, mut enough: impl FnMut(Duration) -> bool) {
    let enough = [1, 10, 100].into_iter().any(|times| enough(least * times));
    assert!(enough, "not even {:?} were enough", least * 100);
}

/// What `run` says of a guest that was given this time.
pub fn timed_out(time: Duration) -> String {
    let shown = match time.subsec_millis() {
        0 => format!("{} s", time.as_secs()),
        _ => format!("{} ms", time.as_millis()),
    };
    format!("timed out after {shown} (raise the limit with --timeout)")
}

/// A time as an option of the command line has it.
pub fn in_ms(time: Duration) -> String {
    format!("{}ms", time.as_millis())
}
