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
pub trait Trace: Send {
    /// A call has been made: its row, raw arguments, the guest's memory after it and how
    /// it ended.
    fn call(&mut self, row: &'static Row, args: &Args, mem: &Mem<'_>, outcome: Outcome);
}
