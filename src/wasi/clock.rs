//! Time and randomness, as values a host can supply.

use std::sync::OnceLock;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

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

/// The clocks of the host.
pub struct SystemClock;

impl Clock for SystemClock {
    fn realtime(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH);
        since.map_or(0, |since| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX))
    }

    fn monotonic(&self) -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        // Not from 0: a guest may take 0 for "never".
        let since = START.get_or_init(Instant::now).elapsed();
        1_000_000_000 + u64::try_from(since.as_nanos()).unwrap_or(u64::MAX / 2)
    }
}

/// A guest's source of random bytes.
pub trait Random: Send {
    /// Fills all of `bytes`.
    ///
    /// # Errors
    ///
    /// If the source has failed; the guest sees EIO.
    fn fill(&mut self, bytes: &mut [u8]) -> std::io::Result<()>;
}

/// The randomness of the operating system.
pub struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        getrandom::fill(bytes).map_err(std::io::Error::other)
    }
}
