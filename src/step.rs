//! What a step of a guest comes to, and what its end is.

use std::fmt;

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The guest has ended itself, with this status.
    Exited(u32),
    /// The guest was ended.
    Trapped(Trap),
    /// It has used up its fuel, or gave way: step it again.
    Yielded,
    /// It waits: [`Guest::arm`](crate::Guest::arm) says for what. Stepping it again any time is allowed, and
    /// does nothing if it was too early.
    Parked,
}

impl Step {
    /// Whether the guest is at its end, and no further step will change that.
    pub fn is_end(&self) -> bool {
        matches!(self, Step::Exited(_) | Step::Trapped(_))
    }
}

/// How a guest came to its end.
#[derive(Debug)]
pub enum End {
    /// By itself, with this status.
    Exited(u32),
    /// By the host, with this reason.
    Trapped(Trap),
    /// Its time was up.
    TimedOut,
    /// The host could not wait for what it waits for.
    Failed(std::io::Error),
}

/// Why a guest was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// What kind of reason.
    pub cause: Cause,
    /// The reason in words.
    pub text: String,
}

/// Kinds of [`Trap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A trap of WebAssembly: unreachable, out of bounds, stack exhausted, ...
    Wasm,
    /// It went on after it was refused memory, and failed.
    Memory,
    /// All the fuel it was given is used.
    Fuel,
    /// All the CPU time it was given is used.
    Cpu,
    /// It did what can't be done here.
    Host,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Trap {}

pub(crate) fn fuel_trap() -> Trap {
    Trap { cause: Cause::Fuel, text: "it used up all its fuel".into() }
}

pub(crate) fn cpu_trap() -> Trap {
    Trap { cause: Cause::Cpu, text: "it used up all its CPU time".into() }
}
