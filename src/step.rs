//! The results of stepping and running a guest.

use std::fmt;

/// The result of [`Guest::step`](crate::Guest::step).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The guest exited with this status. Returning from `_start` is status 0.
    Exited(u32),
    /// The guest trapped, or the host ended it.
    Trapped(Trap),
    /// The guest used up the fuel of the step, or called `sched_yield`. Step it again.
    Yielded,
    /// The guest waits. [`Guest::arm`](crate::Guest::arm) reports what for. You can step it again
    /// at any time; if what it waits for has not happened, it stays parked.
    Parked,
}

impl Step {
    /// Whether the guest has ended. Every further step returns the same value.
    pub fn is_end(&self) -> bool {
        matches!(self, Step::Exited(_) | Step::Trapped(_))
    }
}

/// The result of [`Guest::run_until`](crate::Guest::run_until).
#[derive(Debug)]
pub enum End {
    /// The guest exited with this status.
    Exited(u32),
    /// The guest trapped, or the host ended it.
    Trapped(Trap),
    /// The deadline passed, or the run was interrupted. The guest has not ended.
    TimedOut,
    /// The host failed to wait for the guest's files, such as when it has no file descriptors
    /// left for a poll.
    Failed(std::io::Error),
}

/// Why a guest was ended before it exited.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// The kind of reason.
    pub cause: Cause,
    /// The reason, in words for an operator.
    pub text: String,
}

/// Kinds of [`Trap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A trap of the WebAssembly specification: `unreachable`, an access out of bounds, an
    /// exhausted stack, and so on.
    Wasm,
    /// The guest trapped after it was refused memory.
    Memory,
    /// The guest used up its [fuel](crate::Guest::limit_fuel).
    Fuel,
    /// The guest used up its [CPU time](crate::Guest::limit_cpu).
    Cpu,
    /// The guest needs something that this host can't do.
    Host,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Trap {}

pub(crate) fn fuel_trap() -> Trap {
    Trap { cause: Cause::Fuel, text: "ran out of fuel".into() }
}

pub(crate) fn cpu_trap() -> Trap {
    Trap { cause: Cause::Cpu, text: "ran out of CPU time".into() }
}
