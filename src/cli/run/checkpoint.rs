//! `run --checkpoint`: on SIGUSR1 the guest becomes a file, at its next read of standard input.

use std::time::Instant;

use tinyhost::trace::escape::Line;
use tinyhost::wasi::Descriptor;
use tinyhost::{Capturable, End, Guest};

use super::Plan;
use crate::cli::failure::{Failure, Outcome};
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
    pub fn run(&self, mut guest: Guest, plan: &Plan, until: Option<Instant>) -> Outcome<Came> {
        let name = &plan.program;
        loop {
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
            let why = match self.capturable.check(&guest) {
                Ok(()) => open_file(&guest),
                Err(error) => Some(error.to_string()),
            };
            let Some(why) = why else { break };
            log::warn!("{name}: no checkpoint: {}", Line(&why));
        }
        let failed = |error: tinyhost::CaptureError| {
            let why = Line(&error.to_string()).to_string();
            Failure::not_started(format!("{name}: no checkpoint, and the guest is over: {why}"))
        };
        self.file.write(&self.capturable.capture(guest).map_err(failed)?)?;
        let path = &self.path;
        log::info!("{name}: checkpoint written: continue it with tinyhost run {path}");
        Ok(Came::Written)
    }
}

/// What is said of a guest that has more open than any host opens for a program, which is its streams
/// and directories.
pub fn open_file(guest: &Guest) -> Option<String> {
    let mut descriptors = guest.context().descriptors();
    let open =
        |(number, descriptor): &(usize, &Descriptor)| *number > 2 && descriptor.preopen.is_none();
    let (_, descriptor) = descriptors.find(open)?;
    Some(format!(
        "it has {} open when it reads standard input, which can't be opened again: close it before",
        descriptor.path
    ))
}
