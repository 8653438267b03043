//! What the threads of a server have in common.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;

use super::admission::Admission;
use super::config::Config;
use super::door::tcp::Arrival;
use super::observe::metrics::{Counters, Metrics};
use super::reload;
use crate::program::Program;
use crate::sched::Scheduler;
use crate::wasi::{MemoryBudget, Strings};

/// What workers, handles and the other threads have in common.
pub(super) struct Shared {
    pub config: Config,
    pub args: Strings,
    pub env: Strings,
    pub admission: Arc<Admission>,
    /// What all guests have of memory, beyond a little each.
    pub memory: Arc<MemoryBudget>,
    pub program: Mutex<Program>,
    /// Counts programs: a worker looks into `program` only when this has changed.
    pub generation: AtomicU64,
    pub stopping: AtomicBool,
    pub seats: Vec<Seat>,
    pub reloads: reload::Requests,
}

/// A worker as the others see it.
pub(super) struct Seat {
    pub waker: Waker,
    /// Its connections, those on the way to it included.
    pub live: AtomicUsize,
    pub inbox: Mutex<Vec<Arrival>>,
    /// Something is in the inbox.
    pub mail: AtomicBool,
    pub counters: Counters,
}

impl Shared {
    pub(super) fn metrics(&self) -> Metrics {
        Metrics::sum(self.seats.iter().map(|seat| &seat.counters))
    }

    pub(super) fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// New lines run this program from now on.
    pub(super) fn replace(&self, program: Program) {
        *self.program.lock().unwrap_or_else(PoisonError::into_inner) = program;
        self.generation.fetch_add(1, Ordering::Release);
        // What they hold of the old one goes at once.
        self.wake_all();
    }

    pub(super) fn wake_all(&self) {
        self.seats.iter().for_each(|seat| seat.waker.wake_by_ref());
    }
}

impl Shared {
    pub(super) fn new(config: Config, schedulers: &[Scheduler]) -> io::Result<Shared> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let (mut args, mut env) = (Strings::default(), Strings::default());
        for arg in std::iter::once(&config.name).chain(&config.args) {
            args.push(&[arg.as_bytes()]).map_err(invalid)?;
        }
        for (key, value) in &config.env {
            env.push(&[key.as_bytes(), b"=", value.as_bytes()]).map_err(invalid)?;
        }
        let seat = |scheduler: &Scheduler| Seat {
            waker: scheduler.waker(),
            live: AtomicUsize::new(0),
            inbox: Mutex::default(),
            mail: AtomicBool::new(false),
            counters: Counters::default(),
        };
        Ok(Shared {
            args,
            env,
            admission: Arc::new(Admission::new(&config.limits)),
            memory: Arc::new(MemoryBudget::new(config.limits.memory_total)),
            program: Mutex::new(config.program.clone()),
            generation: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            seats: schedulers.iter().map(seat).collect(),
            reloads: reload::Requests::new(config.watch.as_deref()),
            config,
        })
    }
}
