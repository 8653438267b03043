//! In place of `signals.rs` where there are none, as under WASI.

use tinyhost::Interrupt;

use crate::cli::failure::{CliResult, Failure};

/// Nothing is waited for.
#[derive(Default)]
pub struct Caught {
    /// Never raised.
    pub interrupt: Interrupt,
    /// Never raised.
    pub checkpoint: Interrupt,
}

impl Caught {
    /// None comes.
    pub fn signal(&self) -> Option<i32> {
        None
    }

    /// # Errors
    ///
    /// There are no signals to ask for a checkpoint by.
    pub fn catch_checkpoint(&self) -> CliResult<()> {
        Err(Failure::usage("--checkpoint needs signals, which this system doesn't have"))
    }

    /// # Errors
    ///
    /// None.
    pub fn catch(&self) -> CliResult<()> {
        Ok(())
    }
}

/// As people call it.
pub fn name(_signal: i32) -> &'static str {
    "a signal"
}

/// Ends the process.
pub fn end_by(signal: i32) -> ! {
    std::process::exit(128 + signal)
}
