//! What is logged of guests.

use std::net::SocketAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::log::{STDERR_PER_SECOND, TARGET};
use super::metrics::Outcome;

/// Allows so many things a second, and as many at once after a quiet time.
pub(crate) struct Bucket {
    per_second: u32,
    left: u32,
    filled: Instant,
    /// How many were not allowed since one last was.
    pub missed: u64,
}

impl Bucket {
    pub fn new(per_second: u32) -> Bucket {
        Bucket { per_second, left: per_second, filled: Instant::now(), missed: 0 }
    }

    pub fn take(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.filled) >= Duration::from_secs(1) {
            (self.left, self.filled) = (self.per_second, now);
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        self.missed += u64::from(!allowed);
        allowed
    }

    /// How many were missed, forgetting them.
    pub fn missed(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.missed)).filter(|missed| *missed > 0)
    }
}

/// Writes the records of one worker.
pub(crate) struct Reporter {
    pub program: String,
    stderr: Mutex<Bucket>,
}

/// What is known of a guest that has ended.
pub(crate) struct Report<'a> {
    pub client: SocketAddr,
    pub outcome: Outcome,
    pub why: &'a str,
    pub elapsed: Duration,
    pub fuel: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub memory_peak: usize,
}

impl Reporter {
    pub fn new(program: &str) -> Reporter {
        let stderr = Mutex::new(Bucket::new(STDERR_PER_SECOND));
        Reporter { program: program.into(), stderr }
    }

    /// One line a guest wrote to its stderr.
    pub fn stderr(&self, client: SocketAddr, line: &[u8]) {
        let mut bucket = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        if !bucket.take(Instant::now()) {
            return;
        }
        if let Some(missed) = bucket.missed() {
            log::warn!(target: TARGET, program = self.program.as_str(), lines = missed; "stderr lines dropped: too many a second");
        }
        drop(bucket);
        let text = String::from_utf8_lossy(line);
        log::info!(target: TARGET, client:% = client, program = self.program.as_str(), text = &*text; "stderr");
    }

    /// One guest dropped part of what it said.
    pub fn missed(&self, client: SocketAddr, missed: u64) {
        log::warn!(target: TARGET, client:% = client, program = self.program.as_str(), lines = missed; "stderr lines dropped: too many a second");
    }

    /// One guest has ended: for each line, or each connection.
    #[inline]
    pub fn ended(&self, report: &Report<'_>) {
        let level = match report.outcome {
            Outcome::Ok => log::Level::Debug,
            Outcome::ClientGone | Outcome::Stopped | Outcome::Idle => log::Level::Info,
            _ => log::Level::Warn,
        };
        if log::log_enabled!(target: TARGET, level) {
            self.write(level, report);
        }
    }

    #[cold]
    fn write(&self, level: log::Level, report: &Report<'_>) {
        log::log!(
            target: TARGET, level,
            client:% = report.client,
            program = self.program.as_str(),
            outcome = report.outcome.name(),
            why = report.why,
            us = u64::try_from(report.elapsed.as_micros()).unwrap_or(u64::MAX),
            fuel = report.fuel,
            bytes_in = report.bytes_in,
            bytes_out = report.bytes_out,
            memory_peak = report.memory_peak;
            "guest ended"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_gives_no_more_than_its_measure() {
        let start = Instant::now();
        let mut bucket = Bucket::new(3);
        let given = (0..10).filter(|_| bucket.take(start)).count();
        assert_eq!((given, bucket.missed()), (3, Some(7)));
        assert!(bucket.take(start + Duration::from_secs(2)));
        assert_eq!(bucket.missed(), None);
    }
}
