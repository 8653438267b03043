//! Signals that end `run`: the guest is ended, its reports are written, and then the process
//! ends by the signal, as its parent expects. A second one ends it at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use tinyhost::Interrupt;

use crate::cli::failure::{CliResult, Failure, plain};

/// Signals that end a guest in order, once they are caught.
#[derive(Default)]
pub struct Caught {
    /// What ends the guest.
    pub interrupt: Arc<Interrupt>,
    /// What asks for a checkpoint. Raised as well when the guest is to end.
    pub checkpoint: Arc<Interrupt>,
    /// The first that came; 0: none has.
    signal: Arc<AtomicI32>,
    begun: AtomicBool,
}

impl Caught {
    /// The signal that came, if one has.
    pub fn signal(&self) -> Option<i32> {
        Some(self.signal.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
    }

    /// Catches them from now on.
    ///
    /// # Errors
    ///
    /// If the system has no thread or descriptor left for it.
    pub fn catch(&self) -> CliResult<()> {
        self.begin(&[SIGHUP, SIGINT, SIGTERM])
    }

    /// The same, and SIGUSR1, which asks for a checkpoint.
    ///
    /// # Errors
    ///
    /// If the system has no thread or descriptor left for it.
    pub fn catch_checkpoint(&self) -> CliResult<()> {
        self.begin(&[SIGHUP, SIGINT, SIGTERM, SIGUSR1])
    }

    fn begin(&self, wanted: &[i32]) -> CliResult<()> {
        if self.begun.swap(true, Ordering::SeqCst) {
            return Ok(());
        }
        let failed = |error: std::io::Error| {
            Failure::not_started(format!("can't handle signals: {}", plain(&error)))
        };
        let ignored = ignored();
        let wanted = wanted.iter().filter(|signal| !ignored.contains(signal));
        let mut signals = Signals::new(wanted).map_err(failed)?;
        let (interrupt, signal) = (self.interrupt.clone(), self.signal.clone());
        let checkpoint = self.checkpoint.clone();
        let obey = move || {
            for came in signals.forever() {
                if came == SIGUSR1 {
                    checkpoint.raise();
                    continue;
                }
                if signal.swap(came, Ordering::SeqCst) != 0 {
                    end_by(came);
                }
                interrupt.raise();
                checkpoint.raise();
            }
        };
        std::thread::Builder::new().name("signals".into()).spawn(obey).map_err(failed)?;
        Ok(())
    }
}

/// Signals that the parent of this process wants ignored, as nohup(1) does. What is not known
/// is taken for none.
fn ignored() -> Vec<i32> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    (1..=64).filter(|signal| mask >> (signal - 1) & 1 == 1).collect()
}

/// As people call it.
pub fn name(signal: i32) -> &'static str {
    match signal {
        SIGHUP => "SIGHUP",
        SIGINT => "SIGINT",
        SIGTERM => "SIGTERM",
        _ => "a signal",
    }
}

/// Ends the process by a signal.
pub fn end_by(signal: i32) -> ! {
    // The first process of a container is spared its signals.
    if std::process::id() != 1 {
        let _ = signal_hook::low_level::emulate_default_handler(signal);
    }
    std::process::exit(128 + signal)
}
