//! Counting and logging what becomes of guests and connections.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::log::{ENDED_PER_SECOND, STDERR_PER_SECOND, TARGET};
use super::metrics::{Counters, Outcome, Refusal, add};
use crate::serve::admission::party;
use crate::serve::shared::WorkerHandle;
use crate::wasi::MemoryRefusal;

/// Records a second that a client was closed for the sake of another.
const CROWDED_PER_SECOND: u32 = 1;

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

/// A bucket for many clients, none of whom can take all of it: a client has one more only while
/// more are left than it has had this second.
struct Divided {
    bucket: Bucket,
    by_client: HashMap<IpAddr, u32>,
}

impl Divided {
    fn new(per_second: u32) -> Mutex<Divided> {
        Mutex::new(Divided { bucket: Bucket::new(per_second), by_client: HashMap::new() })
    }

    fn take(&mut self, client: SocketAddr, now: Instant) -> bool {
        if now.saturating_duration_since(self.bucket.filled) >= Duration::from_secs(1) {
            (self.bucket.left, self.bucket.filled) = (self.bucket.per_second, now);
            self.by_client.clear();
        }
        let had = self.by_client.entry(party(client.ip())).or_default();
        if *had >= self.bucket.left {
            self.bucket.missed += 1;
            return false;
        }
        *had += 1;
        self.bucket.take(now)
    }
}

/// Counts and logs what happens at one worker.
pub(crate) struct Reporter {
    pub program: String,
    worker: Arc<WorkerHandle>,
    stderr: Mutex<Divided>,
    ended: Mutex<Divided>,
    crowded: Mutex<Bucket>,
}

/// What is known of a guest that has ended.
pub(crate) struct Report<'a> {
    pub client: SocketAddr,
    pub outcome: Outcome,
    pub why: &'a str,
    pub elapsed: Duration,
    pub cpu: Duration,
    pub fuel: u64,
    pub bytes_in: u64,
    pub bytes_out: u64,
    pub memory_peak: usize,
}

impl Reporter {
    pub fn new(program: &str, worker: Arc<WorkerHandle>) -> Reporter {
        let stderr = Divided::new(STDERR_PER_SECOND);
        let ended = Divided::new(ENDED_PER_SECOND);
        let crowded = Mutex::new(Bucket::new(CROWDED_PER_SECOND));
        Reporter { program: program.into(), worker, stderr, ended, crowded }
    }

    pub fn counters(&self) -> &Counters {
        &self.worker.counters
    }

    /// One line a guest wrote to its stderr.
    pub fn stderr(&self, client: SocketAddr, line: &[u8]) {
        let mut bucket = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        if !bucket.take(client, Instant::now()) {
            return;
        }
        if let Some(missed) = bucket.bucket.missed() {
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

    /// A guest has ended: for each line, or each connection.
    pub fn ended(&self, report: &Report<'_>) {
        let counters = self.counters();
        counters.outcome(report.outcome, report.elapsed);
        add(&counters.fuel, report.fuel);
        add(&counters.cpu_ns, u64::try_from(report.cpu.as_nanos()).unwrap_or(u64::MAX));
        add(&counters.bytes_in, report.bytes_in);
        add(&counters.bytes_out, report.bytes_out);
        self.log_end(report);
    }

    /// A request that no guest was run for, of which so many bytes had come.
    pub fn refused(&self, client: SocketAddr, outcome: Outcome, elapsed: Duration, bytes: usize) {
        self.counters().outcome(outcome, elapsed);
        self.log_end(&Report {
            client,
            outcome,
            why: "no guest was run",
            elapsed,
            cpu: Duration::ZERO,
            fuel: 0,
            bytes_in: bytes as u64,
            bytes_out: 0,
            memory_peak: 0,
        });
    }

    /// A connection is closed because nothing moved.
    pub fn idle(&self, client: SocketAddr, why: &str) {
        add(&self.counters().conns_idle, 1);
        log::info!(target: TARGET, client:% = client, why = why; "idle connection closed");
    }

    /// A connection was refused; so many before it had no record.
    pub fn connection_refused(&self, client: SocketAddr, refusal: Refusal, log: Option<u64>) {
        self.counters().refused(refusal);
        if let Some(unreported) = log {
            log::warn!(target: TARGET, client:% = client, limit = refusal.name(), unreported = unreported; "connection refused");
        }
    }

    /// The system had no descriptors left.
    pub fn starved(&self, error: &io::Error) {
        self.counters().refused(Refusal::Accept);
        log::error!(target: TARGET, error:% = error; "can't accept connections, trying again (raise the limit on open files)");
    }

    /// A socket will not accept again.
    pub fn listener_failed(&self, error: &io::Error) {
        self.counters().refused(Refusal::Accept);
        log::error!(target: TARGET, error:% = error; "can't accept connections, listener closed");
    }

    /// A program turned out not to be suited for that.
    pub fn not_ahead(&self, why: &str) {
        log::warn!(target: TARGET, program = self.program.as_str(), why = why; "guests are not run ahead of their lines");
    }

    /// A client that asked nothing was closed for the sake of another.
    pub fn crowded(&self, clients: usize, now: Instant) {
        let mut bucket = self.crowded.lock().unwrap_or_else(PoisonError::into_inner);
        if bucket.take(now) {
            log::warn!(target: TARGET, clients = clients; "the metrics have too many clients: the oldest is closed");
        }
    }

    /// A guest was refused memory or descriptors while it ran.
    #[cold]
    pub fn guest_refused(&self, client: SocketAddr, memory: Option<MemoryRefusal>, fds: bool) {
        let memory = memory.map(|refused| match refused {
            MemoryRefusal::Own => Refusal::Memory,
            MemoryRefusal::Shared => Refusal::MemoryTotal,
        });
        for refusal in memory.into_iter().chain(fds.then_some(Refusal::Fds)) {
            self.counters().refused(refusal);
            log::info!(target: TARGET, client:% = client, limit = refusal.name(); "guest refused more");
        }
    }

    #[inline]
    fn log_end(&self, report: &Report<'_>) {
        let level = match report.outcome {
            Outcome::Ok => log::Level::Debug,
            Outcome::ClientGone | Outcome::Stopped | Outcome::Idle => log::Level::Info,
            _ => log::Level::Warn,
        };
        if log::log_enabled!(target: TARGET, level) && self.may_write(level, report) {
            self.write(level, report);
        }
    }

    /// A client whose guests fail one after the other must not fill the log. Whoever has asked
    /// for a record of each line gets one of each.
    fn may_write(&self, level: log::Level, report: &Report<'_>) -> bool {
        if level == log::Level::Debug || log::log_enabled!(target: TARGET, log::Level::Debug) {
            return true;
        }
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if !ended.take(report.client, Instant::now()) {
            return false;
        }
        if let Some(missed) = ended.bucket.missed() {
            log::warn!(target: TARGET, program = self.program.as_str(), records = missed; "records of ended guests dropped: too many a second");
        }
        true
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
            cpu_us = u64::try_from(report.cpu.as_micros()).unwrap_or(u64::MAX),
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

    #[test]
    fn no_client_takes_all_records_of_a_second() {
        let mut divided = Divided { bucket: Bucket::new(100), by_client: HashMap::new() };
        let now = divided.bucket.filled;
        let mut allowed = |from: &str, now| {
            let from = from.parse().unwrap();
            (0..200).filter(|_| divided.take(from, now)).count()
        };
        assert_eq!(allowed("10.0.0.1:1", now), 50);
        assert_eq!(allowed("10.0.0.1:2", now), 0, "its other connections are its own");
        assert_eq!(allowed("10.0.0.2:1", now), 25);
        assert_eq!(allowed("10.0.0.1:1", now + Duration::from_secs(1)), 50);
        assert_eq!(divided.bucket.missed(), Some(150 + 200 + 175 + 150));
    }
}
