//! Being told of each call.

use super::frame::Args;
use super::{Mem, Row};
use crate::Errno;

/// How a call ended, for a [`Trace`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// With success or an errno (`None` is success).
    Done(Option<Errno>),
    /// It has to wait; the same call comes again.
    Parked,
    /// It ended the guest with this status.
    Exit(u32),
    /// The host ended the guest.
    Fault,
}

/// Sees every call of a guest.
///
/// ```
/// use std::sync::mpsc::{Sender, channel};
/// use tinyhost::wasi::{Args, Mem, Outcome, Row, Trace};
/// use tinyhost::{Guest, Program, WasiCtx};
///
/// struct Names(Sender<&'static str>);
///
/// impl Trace for Names {
///     fn call(&mut self, row: &'static Row, _: &Args, _: &Mem<'_>, _: Outcome) {
///         let _ = self.0.send(row.name);
///     }
/// }
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let program = Program::new(std::fs::read("fixtures/exit42.wasm")?)?;
/// let (names, called) = channel();
/// Guest::new(&program, WasiCtx::builder().trace(Names(names)).build()).run()?;
/// assert_eq!(called.try_iter().collect::<Vec<_>>(), ["proc_exit"]);
/// # Ok(())
/// # }
/// ```
pub trait Trace: Send {
    /// A call has been made: its row, raw arguments, the guest's memory after it and how
    /// it ended.
    fn call(&mut self, row: &'static Row, args: &Args, mem: &Mem<'_>, outcome: Outcome);
}
