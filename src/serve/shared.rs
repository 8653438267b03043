//! What the threads of a server have in common.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::config::ServeConfig;
use super::door::Arrival;
#[cfg(feature = "tls")]
use super::door::tls::Current;
use super::door::unix::Bound;
use super::observe::metrics::{Counters, Metrics, Process};
use super::reload;
use crate::program::{Program, Warmth};
use crate::sched::Scheduler;
use crate::wasi::{MemoryBudget, Strings};

/// What workers, handles and the other threads have in common.
pub(super) struct Shared {
    pub config: ServeConfig,
    born: Instant,
    /// The same as a time since 1970.
    started: Duration,
    pub args: Strings,
    pub env: Strings,
    /// What all guests have of memory, beyond a little each.
    pub memory: Arc<MemoryBudget>,
    pub program: Mutex<Program>,
    /// Counts programs: a worker looks into `program` only when this has changed.
    pub generation: AtomicU64,
    /// The end of the drain, in milliseconds since the server was made; 0 if it has not begun.
    drained_at: AtomicU64,
    pub stopping: AtomicBool,
    /// All workers that run guests have ended, so the worker that reports on them ends, too.
    pub ended: AtomicBool,
    /// The files of the Unix sockets that it made, until it stops accepting.
    bound: Mutex<Vec<Bound>>,
    /// There is a status page to report on the workers.
    pub reports: bool,
    /// The workers that run guests.
    pub workers: Vec<Arc<WorkerHandle>>,
    pub reloads: reload::ReloadRequests,
    /// What new connections are shown, if they are served by TLS.
    #[cfg(feature = "tls")]
    pub identity: Option<Arc<Current>>,
}

/// A worker as the others see it.
pub(super) struct WorkerHandle {
    waker: Waker,
    /// Its connections, those on the way to it included.
    pub live: AtomicUsize,
    inbox: Mutex<Vec<Arrival>>,
    /// Something is in the inbox.
    mail: AtomicBool,
    pub counters: Counters,
    /// When it last began a turn, in milliseconds since the server was made.
    turned: AtomicU64,
}

impl WorkerHandle {
    pub fn new(scheduler: &Scheduler) -> WorkerHandle {
        WorkerHandle {
            waker: scheduler.waker(),
            live: AtomicUsize::new(0),
            inbox: Mutex::default(),
            mail: AtomicBool::new(false),
            counters: Counters::default(),
            turned: AtomicU64::new(0),
        }
    }

    /// Ends the wait of its turn.
    pub fn wake(&self) {
        self.waker.wake_by_ref();
    }

    /// Passes it a connection that another worker has accepted.
    pub fn post(&self, arrival: Arrival) {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
        self.mail.store(true, Ordering::Release);
        self.wake();
    }

    /// What was posted.
    pub fn take_mail(&self) -> Vec<Arrival> {
        if !self.mail.load(Ordering::Relaxed) || !self.mail.swap(false, Ordering::AcqRel) {
            return Vec::new();
        }
        std::mem::take(&mut *self.inbox.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Shared {
    pub fn metrics(&self) -> Metrics {
        let mut metrics = Metrics::sum(self.workers.iter().map(|worker| &worker.counters));
        metrics.reloads = self.reloads.done.load(Ordering::Relaxed);
        metrics.reloads_failed = self.reloads.failed.load(Ordering::Relaxed);
        metrics.process = Process::now(self.started);
        match self.program.lock().unwrap_or_else(PoisonError::into_inner).warmth() {
            Some(Warmth::Warm(warm)) => metrics.image_bytes = warm.image_bytes as u64,
            Some(Warmth::Cold(why)) => metrics.cold_because = Some(why.clone()),
            None => {}
        }
        metrics
    }

    /// Notes that a worker has begun a turn.
    pub fn turned(&self, worker: &WorkerHandle, now: Instant) {
        worker.turned.store(self.age(now), Ordering::Relaxed);
    }

    fn age(&self, now: Instant) -> u64 {
        let age = now.saturating_duration_since(self.born).as_millis();
        u64::try_from(age).unwrap_or(u64::MAX)
    }

    /// A worker that has not turned for [too long](ServeConfig::stuck_after), which all of them do
    /// every [second](super::worker::TURN_EVERY) if anything asks for this: its number, and for
    /// how long.
    pub fn stuck(&self, now: Instant) -> Option<(usize, Duration)> {
        let age = self.age(now);
        let since =
            |worker: &WorkerHandle| age.saturating_sub(worker.turned.load(Ordering::Relaxed));
        let longest = self.workers.iter().map(|worker| since(worker)).enumerate();
        let (index, since) = longest.max_by_key(|(_, since)| *since)?;
        let since = Duration::from_millis(since);
        (since >= self.config.stuck_after).then_some((index, since))
    }

    /// Has the server accept for some time more, if it is to, and then stop. Says whether it
    /// stops at once, as it does when asked again.
    pub fn drain(&self, now: Instant) -> bool {
        let time = self.config.drain;
        let until = self.age(now.checked_add(time).unwrap_or(now)).max(1);
        let begins = !time.is_zero()
            && self
                .drained_at
                .compare_exchange(0, until, Ordering::AcqRel, Ordering::Acquire)
                .is_ok();
        if begins {
            self.wake_all();
        } else {
            self.stop();
        }
        !begins
    }

    /// When the drain ends, if it has begun.
    pub fn drained_at(&self) -> Option<Instant> {
        match self.drained_at.load(Ordering::Acquire) {
            0 => None,
            ms => Some(self.born + Duration::from_millis(ms)),
        }
    }

    /// Makes all workers end: they stop accepting, and running guests may finish.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        // While the sockets still accept: another server that is started now finds its place free.
        self.bound.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.wake_all();
    }

    /// Whether a thread for reloading is needed.
    pub fn reloads_anything(&self) -> bool {
        #[cfg(feature = "tls")]
        if self.config.reload_tls.is_some() {
            return true;
        }
        self.config.reload.is_some()
    }

    pub fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// New lines run this program from now on.
    pub fn replace(&self, program: Program) {
        *self.program.lock().unwrap_or_else(PoisonError::into_inner) = program;
        self.generation.fetch_add(1, Ordering::Release);
        // They drop what they hold of the old program at once.
        self.wake_all();
    }

    pub fn wake_all(&self) {
        self.workers.iter().for_each(|worker| worker.wake());
    }
}

impl Shared {
    pub fn new(
        config: ServeConfig,
        bound: Vec<Bound>,
        reports: bool,
        schedulers: &[Scheduler],
    ) -> io::Result<Shared> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let args = Strings::arguments(&config.name, &config.args).map_err(invalid)?;
        let env = Strings::environment(&config.env).map_err(invalid)?;
        Ok(Shared {
            args,
            env,
            memory: Arc::new(MemoryBudget::new(config.limits.memory_total)),
            program: Mutex::new(config.program.clone()),
            generation: AtomicU64::new(0),
            drained_at: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            workers: schedulers.iter().map(|s| Arc::new(WorkerHandle::new(s))).collect(),
            bound: Mutex::new(bound),
            reports,
            born: Instant::now(),
            started: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            reloads: reload::ReloadRequests::new(config.watch.as_deref()),
            #[cfg(feature = "tls")]
            identity: config.tls.clone().map(|identity| Arc::new(Current::new(identity))),
            config,
        })
    }
}
