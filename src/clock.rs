//! A guest's clocks.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The clocks of a guest: `CLOCK_REALTIME` and `CLOCK_MONOTONIC` of preview1.
pub trait Clock: Send + Sync {
    /// Nanoseconds since 1970-01-01 00:00:00 UTC.
    fn realtime(&self) -> u64;

    /// Nanoseconds since an arbitrary fixed point. Must never decrease: the deadlines of sleeping
    /// guests are times of this clock.
    fn monotonic(&self) -> u64;

    /// Resolution of both clocks in nanoseconds, as `clock_res_get` reports it.
    fn resolution(&self) -> u64 {
        1
    }
}

/// Where monotonic clocks begin. Not 0, which some guests take for "never".
const FIRST_NS: u64 = 1_000_000_000;

/// Whether the standard library panics when asked for the time on this target.
const NO_CLOCK: bool = cfg!(all(target_family = "wasm", target_os = "unknown"));

/// The clocks of the host. On wasm32-unknown-unknown the standard library has no clock, and
/// these return a constant: supply your own [`Clock`] there.
pub struct SystemClock;

impl Clock for SystemClock {
    fn realtime(&self) -> u64 {
        if NO_CLOCK {
            return FIRST_NS;
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        if NO_CLOCK {
            return FIRST_NS;
        }
        let since = START.get_or_init(Instant::now).elapsed();
        FIRST_NS + u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2)
    }
}

/// A clock that changes only when you [`advance`](ManualClock::advance) it. Use it for
/// repeatable runs, or when a game or a simulation sets the time.
///
/// A guest that sleeps on this clock is parked until the clock has been advanced past its
/// deadline and the guest is stepped. Don't use [`Guest::run`](crate::Guest::run) with it: it
/// would wait for the host's own time to pass.
///
/// ```
/// use std::sync::Arc;
/// use tinyhost::{Armed, Guest, ManualClock, Program, Step, WasiCtx};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let program = Program::new(std::fs::read("fixtures/sleeper.wasm")?)?;
/// let clock = Arc::new(ManualClock::new(0));
/// let cx = WasiCtx::builder().arg("sleeper")?.arg("3600000")?.clock(clock.clone()).build();
/// let mut guest = Guest::new(&program, cx);
/// let mut slept = std::time::Duration::ZERO;
/// loop {
///     match guest.step(1_000_000) {
///         Step::Yielded => {}
///         Step::Parked => {
///             let armed = guest.arm(std::task::Waker::noop(), &mut |_, _| {});
///             let Armed::Until(Some(time)) = armed else { panic!("{armed:?}") };
///             clock.advance(time);
///             slept += time;
///         }
///         end => break assert_eq!(end, Step::Exited(0)),
///     }
/// }
/// assert_eq!(slept.as_secs(), 3600); // and no time has passed
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ManualClock {
    realtime_at_start: u64,
    monotonic: AtomicU64,
}

impl ManualClock {
    /// A clock set to `realtime_ns` nanoseconds since 1970-01-01 00:00:00 UTC.
    pub fn new(realtime_ns: u64) -> ManualClock {
        ManualClock { realtime_at_start: realtime_ns, monotonic: AtomicU64::new(FIRST_NS) }
    }

    /// Advances both clocks. This wakes no guest: step the guests whose deadlines have passed.
    pub fn advance(&self, by: Duration) {
        let by = u64::try_from(by.as_nanos()).unwrap_or(u64::MAX);
        let moved = |now: u64| Some(now.saturating_add(by));
        let _ = self.monotonic.fetch_update(Ordering::AcqRel, Ordering::Acquire, moved);
    }
}

impl Clock for ManualClock {
    fn realtime(&self) -> u64 {
        self.realtime_at_start.saturating_add(self.monotonic() - FIRST_NS)
    }

    fn monotonic(&self) -> u64 {
        self.monotonic.load(Ordering::Acquire)
    }
}
