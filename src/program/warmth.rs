//! Whether a program's guests start from an image, and of what.

use std::fmt;
use std::time::Duration;

use crate::wasi::WasiCtx;
use crate::wasi::reopen::Kept;

/// How [`Program::warm`](crate::Program::warm) went.
#[derive(Clone, Debug)]
pub enum Warmth {
    /// Guests go on from the program's first read of standard input.
    Warm(Warm),
    /// Guests start at the beginning, for this reason. It says what would help, if anything does.
    Cold(String),
}

/// What guests start from.
#[derive(Clone, Debug, Default)]
pub struct Warm {
    /// How the program was brought to its first read, in a word: `reactor`, `wizer`, `asyncify` or
    /// `capture`.
    pub source: &'static str,
    /// Bytes of memory a guest has when it starts.
    pub memory_bytes: usize,
    /// Bytes of those that are not zero.
    pub image_bytes: usize,
    /// CPU time the start took.
    pub cpu: Duration,
    /// What happened during the start and is the same for all guests, such as `the clock` or
    /// `3 files of /lib`.
    pub frozen: Vec<String>,
    /// What the program wrote to standard error.
    pub stderr: Vec<u8>,
    /// What the program wrote to standard output. Each guest begins its output with it.
    pub(crate) stdout: Vec<u8>,
    /// Files that were open.
    pub(crate) files: Kept,
    /// A guest begins in `fd_read` of standard input, and does nothing else before.
    pub(crate) begins_with_read: bool,
}

impl Warm {
    /// Opens in a new context what was open, and begins its standard output.
    pub(crate) fn prepare(&self, cx: &mut WasiCtx) -> Result<(), String> {
        self.files.reopen(cx)?;
        if !self.stdout.is_empty() {
            cx.precede_stdout(&self.stdout);
        }
        Ok(())
    }
}

impl fmt::Display for Warm {
    /// One line for an operator.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kib = |bytes: usize| bytes.div_ceil(1024);
        write!(
            f,
            "{}, image {} KiB of {} KiB",
            self.source,
            kib(self.image_bytes),
            kib(self.memory_bytes)
        )?;
        write!(f, ", started in {} ms", self.cpu.as_millis())?;
        if !self.frozen.is_empty() {
            write!(f, "; the same for all guests: {}", self.frozen.join(", "))?;
        }
        Ok(())
    }
}
