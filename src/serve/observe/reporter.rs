//! Counting and logging what becomes of guests and connections.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::logging::{ENDED_PER_SECOND, STDERR_PER_SECOND, TARGET};
use super::metrics::{Counters, Outcome, Refusal, add};
use crate::program::Warmth;
use crate::serve::admission::party;
use crate::serve::client::wire::Stage;
use crate::serve::shared::WorkerHandle;
use crate::vfs::Peer;
use crate::wasi::MemoryRefusal;

/// Log records a second about clients closed to make room for others.
const CROWDED_PER_SECOND: u32 = 1;

/// Records a second of connections that were refused.
const REFUSALS_PER_SECOND: u32 = 10;

/// Allows `per_second` events in each second.
pub(crate) struct RateLimiter {
    per_second: u32,
    left: u32,
    filled: Instant,
    /// Events refused since this was last read.
    pub missed: u64,
}

impl RateLimiter {
    pub fn new(per_second: u32) -> RateLimiter {
        RateLimiter { per_second, left: per_second, filled: Instant::now(), missed: 0 }
    }

    pub fn take(&mut self, now: Instant) -> bool {
        if now.saturating_duration_since(self.filled) >= Duration::from_secs(1) {
            self.left = self.per_second;
            self.filled = now;
        }
        let allowed = self.left > 0;
        self.left = self.left.saturating_sub(1);
        self.missed += u64::from(!allowed);
        allowed
    }

    /// Takes the number of refused events, if there are any.
    pub fn missed(&mut self) -> Option<u64> {
        Some(std::mem::take(&mut self.missed)).filter(|missed| *missed > 0)
    }
}

/// A rate limit shared by many clients. A client is allowed an event only while more are left
/// than it has had in this second, so no client can take all of them.
struct FairLimiter {
    limiter: RateLimiter,
    by_client: HashMap<IpAddr, u32>,
}

impl FairLimiter {
    fn new(per_second: u32) -> Mutex<FairLimiter> {
        Mutex::new(FairLimiter { limiter: RateLimiter::new(per_second), by_client: HashMap::new() })
    }

    fn take(&mut self, client: Peer, now: Instant) -> bool {
        if now.saturating_duration_since(self.limiter.filled) >= Duration::from_secs(1) {
            self.limiter.left = self.limiter.per_second;
            self.limiter.filled = now;
            self.by_client.clear();
        }
        let had = self.by_client.entry(party(client.ip())).or_default();
        if *had >= self.limiter.left {
            self.limiter.missed += 1;
            return false;
        }
        *had += 1;
        self.limiter.take(now)
    }
}

/// Logs whether the guests of a program start from an image, and what comes of that.
pub(crate) fn report_warmth(program: &str, warmth: Option<&Warmth>) {
    match warmth {
        Some(Warmth::Warm(warm)) => {
            let frozen = warm.frozen.join(", ");
            let cpu_us = u64::try_from(warm.cpu.as_micros()).unwrap_or(u64::MAX);
            log::info!(target: TARGET, program, source = warm.source, image_bytes = warm.image_bytes, memory_bytes = warm.memory_bytes, cpu_us, frozen = frozen.as_str(); "program is warm");
            log::info!(target: TARGET, program; "guests find their client in /dev/client, not in variables");
            for line in warm.stderr.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let text = String::from_utf8_lossy(line);
                log::info!(target: TARGET, program, text = &*text; "stderr");
            }
        }
        Some(Warmth::Cold(why)) => {
            log::warn!(target: TARGET, program, why = why.as_str(); "program stays cold");
        }
        None => {}
    }
}

/// Counts and logs what happens at one worker.
pub(crate) struct Reporter {
    pub program: String,
    worker: Arc<WorkerHandle>,
    stderr: Mutex<FairLimiter>,
    ended: Mutex<FairLimiter>,
    crowded: Mutex<RateLimiter>,
    refusals: Mutex<RateLimiter>,
}

/// What is known of a guest that has ended.
pub(crate) struct Report<'a> {
    pub client: Peer,
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
        let stderr = FairLimiter::new(STDERR_PER_SECOND);
        let ended = FairLimiter::new(ENDED_PER_SECOND);
        let crowded = Mutex::new(RateLimiter::new(CROWDED_PER_SECOND));
        let refusals = Mutex::new(RateLimiter::new(REFUSALS_PER_SECOND));
        Reporter { program: program.into(), worker, stderr, ended, crowded, refusals }
    }

    pub fn counters(&self) -> &Counters {
        &self.worker.counters
    }

    /// One line a guest wrote to its stderr.
    pub fn stderr(&self, client: Peer, line: &[u8]) {
        let mut limiter = self.stderr.lock().unwrap_or_else(PoisonError::into_inner);
        if !limiter.take(client, Instant::now()) {
            return;
        }
        if let Some(missed) = limiter.limiter.missed() {
            log::warn!(target: TARGET, program = self.program.as_str(), lines = missed; "stderr lines dropped: too many a second");
        }
        drop(limiter);
        let text = String::from_utf8_lossy(line);
        log::info!(target: TARGET, client:% = client, program = self.program.as_str(), text = &*text; "stderr");
    }

    /// A warm program does not send its replies before it asks for another line.
    pub fn replies_late(&self) {
        log::warn!(target: TARGET, program = self.program.as_str(); "replies are sent only when the guests exit: flush standard output after each line (python -u)");
    }

    /// Lines of one guest's stderr were dropped.
    pub fn missed(&self, client: Peer, missed: u64) {
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

    /// A request was refused before a guest ran; `bytes` of it had been received.
    pub fn refused(&self, client: Peer, outcome: Outcome, elapsed: Duration, bytes: usize) {
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

    /// A connection is closed because no bytes moved in time.
    pub fn idle(&self, client: Peer, why: &str) {
        add(&self.counters().conns_idle, 1);
        log::info!(target: TARGET, client:% = client, why = why; "idle connection closed");
    }

    /// A proxy did not say whose connection this is, or the client and the server could not agree on
    /// TLS.
    pub fn not_opened(&self, client: Peer, stage: Stage, error: &io::Error) {
        self.count_not_opened(stage);
        // It only asked whether a server listens.
        if error.kind() == io::ErrorKind::ConnectionAborted {
            return;
        }
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if ended.take(client, Instant::now()) {
            drop(ended);
            match stage {
                Stage::Header => {
                    log::info!(target: TARGET, client:% = client, why:% = error; "PROXY header refused");
                }
                Stage::Handshake => {
                    log::info!(target: TARGET, client:% = client, why:% = error; "handshake failed");
                }
            }
        }
    }

    /// Counts a connection that is closed in this stage.
    pub fn count_not_opened(&self, stage: Stage) {
        let counters = self.counters();
        match stage {
            Stage::Header => add(&counters.proxy_headers_failed, 1),
            #[cfg(feature = "tls")]
            Stage::Handshake => add(&counters.handshakes_failed, 1),
            #[cfg(not(feature = "tls"))]
            Stage::Handshake => {}
        }
    }

    /// A connection was refused.
    pub fn connection_refused(&self, client: Peer, refusal: Refusal, now: Instant) {
        self.counters().refused(refusal);
        let mut limiter = self.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        if limiter.take(now) {
            let unreported = limiter.missed().unwrap_or(0);
            drop(limiter);
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

    /// The program's guests can't be started ahead of their lines.
    pub fn not_ahead(&self, why: &str) {
        log::warn!(target: TARGET, program = self.program.as_str(), why = why; "guests are not run ahead of their lines");
    }

    /// A client that had sent no request was closed to make room for another.
    pub fn crowded(&self, clients: usize, now: Instant) {
        let mut limiter = self.crowded.lock().unwrap_or_else(PoisonError::into_inner);
        if limiter.take(now) {
            log::warn!(target: TARGET, clients = clients; "the metrics have too many clients: the oldest is closed");
        }
    }

    /// A guest was refused memory or descriptors while it ran.
    #[cold]
    pub fn guest_refused(&self, client: Peer, memory: Option<MemoryRefusal>, fds: bool) {
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
        if log::log_enabled!(target: TARGET, level) && self.may_log(level, report) {
            self.write(level, report);
        }
    }

    /// Whether a record of this end may be written. A client whose guests all fail must not fill
    /// the log; at level debug, which asks for a record of each line, every one is written.
    fn may_log(&self, level: log::Level, report: &Report<'_>) -> bool {
        if level == log::Level::Debug || log::log_enabled!(target: TARGET, log::Level::Debug) {
            return true;
        }
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        if !ended.take(report.client, Instant::now()) {
            return false;
        }
        if let Some(missed) = ended.limiter.missed() {
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
        let mut limiter = RateLimiter::new(3);
        let given = (0..10).filter(|_| limiter.take(start)).count();
        assert_eq!((given, limiter.missed()), (3, Some(7)));
        assert!(limiter.take(start + Duration::from_secs(2)));
        assert_eq!(limiter.missed(), None);
    }

    #[test]
    fn no_client_takes_all_records_of_a_second() {
        let mut limiter = FairLimiter { limiter: RateLimiter::new(100), by_client: HashMap::new() };
        let now = limiter.limiter.filled;
        let mut allowed = |from: &str, now| {
            let from = Peer::Inet(from.parse().unwrap());
            (0..200).filter(|_| limiter.take(from, now)).count()
        };
        assert_eq!(allowed("10.0.0.1:1", now), 50);
        assert_eq!(allowed("10.0.0.1:2", now), 0, "its other connections are its own");
        assert_eq!(allowed("10.0.0.2:1", now), 25);
        assert_eq!(allowed("10.0.0.1:1", now + Duration::from_secs(1)), 50);
        assert_eq!(limiter.limiter.missed(), Some(150 + 200 + 175 + 150));
    }
}
