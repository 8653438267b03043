//! Time, as a value that a host can supply.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A guest's clocks.
pub trait Clock: Send + Sync {
    /// Nanoseconds since 1970.
    fn realtime(&self) -> u64;

    /// Nanoseconds since some fixed point; never goes back. Deadlines are told in it.
    fn monotonic(&self) -> u64;

    /// Nanoseconds between two ticks, of both.
    fn resolution(&self) -> u64 {
        1
    }
}

/// What both clocks of a guest begin near: a guest may take 0 for "never".
const FIRST_NS: u64 = 1_000_000_000;

/// Whether the standard library has no clock here, and panics when it is asked.
const NO_CLOCK: bool = cfg!(all(target_family = "wasm", target_os = "unknown"));

/// The clocks of the host. On wasm32-unknown-unknown, where the standard library has none,
/// they stand still: supply your own there.
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

/// A clock that stands still until it is moved: for guests that must do the same each time,
/// and for hosts whose time is a game's or a simulation's.
///
/// A guest that sleeps on it is parked until it was moved far enough and the guest is
/// stepped. [`Guest::run`](crate::Guest::run) would wait for that for ever: step instead.
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
    /// A clock at this time, in nanoseconds since 1970.
    pub fn new(realtime_ns: u64) -> ManualClock {
        ManualClock { realtime_at_start: realtime_ns, monotonic: AtomicU64::new(FIRST_NS) }
    }

    /// Moves it on. It does not wake a guest: step those whose time has come.
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
