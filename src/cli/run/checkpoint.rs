//! `run --checkpoint`: on SIGUSR1 the guest becomes a file, at its next read of standard input.

use std::time::Instant;

use tinyhost::trace::escape::Line;
use tinyhost::{Capturable, End, Guest};

use super::{Plan, fresh};
use crate::cli::failure::{CliResult, Failure};
use crate::cli::output::Output;

/// A checkpoint that may be asked for.
pub struct Checkpoint {
    pub capturable: Capturable,
    pub path: String,
    pub file: Output,
}

/// What came of a guest.
pub enum Came {
    /// It is over.
    Ended(Box<Guest>, End),
    /// It is a file.
    Written,
}

impl Checkpoint {
    /// Runs a guest to its end, or to where it becomes a file.
    ///
    /// # Errors
    ///
    /// If it can't be written. The guest is over then.
    pub fn run(&self, mut guest: Guest, plan: &Plan, until: Option<Instant>) -> CliResult<Came> {
        let name = &plan.program;
        let opened = loop {
            let asked = &plan.signals.checkpoint;
            let end = guest.run_until_interrupted(until, asked);
            let over = until.is_some_and(|until| Instant::now() >= until);
            if !matches!(end, End::TimedOut) || plan.signals.signal().is_some() || over {
                return Ok(Came::Ended(Box::new(guest), end));
            }
            asked.clear();
            if !guest.waits_for_stdin() {
                log::info!("{name}: the checkpoint is taken at its next read of standard input");
            }
            if let Some(end) = guest.run_to_read(until, &plan.signals.interrupt) {
                return Ok(Came::Ended(Box::new(guest), end));
            }
            match self.capturable.check(&mut guest, fresh(plan)?) {
                Ok(opened) => break opened,
                Err(error) => log::warn!("{name}: no checkpoint: {}", Line(&error.to_string())),
            }
        };
        let failed = |error: tinyhost::CaptureError| {
            let why = Line(&error.to_string()).to_string();
            Failure::not_started(format!("{name}: no checkpoint, and the guest is over: {why}"))
        };
        let image = self.capturable.capture_opened(guest, &opened).map_err(failed)?;
        self.file.write(&image)?;
        let path = &self.path;
        log::info!("{name}: checkpoint written: continue it with tinyhost run {path}");
        Ok(Came::Written)
    }
}
