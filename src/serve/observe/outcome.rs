//! What becomes of a job, and what is refused.

use std::borrow::Cow;

use crate::step::{Cause, End};
use crate::wasi::MemoryRefusal;

macro_rules! outcomes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// What became of a line, or of a connection if a guest serves a whole one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Outcome { $($(#[doc = $doc])* $name,)* }

        impl Outcome {
            /// All there are.
            pub const ALL: &[Outcome] = &[$(Outcome::$name,)*];

            /// Its name in metrics and logs.
            pub fn name(self) -> &'static str {
                match self { $(Outcome::$name => $text,)* }
            }
        }
    };
}

outcomes! {
    /// The guest ended with status 0.
    Ok = "ok",
    /// It ended with another status.
    Exit = "exit",
    /// It trapped.
    Trap = "trap",
    /// Its time was up, or the line's before it was whole.
    Timeout = "timeout",
    /// It failed for want of memory.
    Memory = "memory",
    /// It used up its fuel.
    Fuel = "fuel",
    /// It used up its CPU time.
    Cpu = "cpu",
    /// The line was too long; no guest saw it.
    LineTooLong = "line_too_long",
    /// It wrote more than a reply may have.
    ReplyTooLong = "reply_too_long",
    /// The client went away before it had ended.
    ClientGone = "client_gone",
    /// A connection on which nothing moved for too long, and its guest with it.
    Idle = "idle",
    /// It ran still when the server's patience at shutdown was over.
    Stopped = "stopped",
    /// The host could not run it.
    Failed = "failed",
}

impl Outcome {
    /// Whether the guest was ended by a trap, or by the host for what it did.
    pub(crate) fn is_crash(self) -> bool {
        use Outcome::{Cpu, Failed, Fuel, Memory, ReplyTooLong, Timeout, Trap};
        matches!(self, Trap | Timeout | Memory | Fuel | Cpu | ReplyTooLong | Failed)
    }
}

macro_rules! refusals {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// What was refused for a limit.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal { $($(#[doc = $doc])* $name,)* }

        impl Refusal {
            /// All there are.
            pub const ALL: &[Refusal] = &[$(Refusal::$name,)*];

            /// Its name in metrics.
            pub fn name(self) -> &'static str {
                match self { $(Refusal::$name => $text,)* }
            }
        }
    };
}

refusals! {
    /// A connection, for there were too many.
    Conns = "conns",
    /// A connection, for its client's address had too many.
    ConnsPerAddr = "conns_per_addr",
    /// Accepting, for the system had no descriptors left; once for each pause.
    Accept = "accept",
    /// Memory, to a guest; once for each guest.
    Memory = "memory",
    /// The same, for all of them together had too much.
    MemoryTotal = "memory_total",
    /// Descriptors, to a guest; once for each guest.
    Fds = "fds",
}

/// What became of a job by the end of its guest, which was refused memory perhaps; and why.
pub(crate) fn of_end(end: End, refused: Option<MemoryRefusal>) -> (Outcome, Cow<'static, str>) {
    let more = match refused {
        Some(MemoryRefusal::Shared) => " (allow more with --memory-total SIZE)",
        Some(MemoryRefusal::Own) => " (allow more with --memory SIZE)",
        None => "",
    };
    match end {
        End::Exited(0) => (Outcome::Ok, "".into()),
        End::Exited(code) if refused.is_some() => {
            let why = format!("exit status {code} after it was refused memory{more}");
            (Outcome::Memory, why.into())
        }
        End::Exited(code) => (Outcome::Exit, format!("exit status {code}").into()),
        End::Trapped(trap) => {
            let outcome = match trap.cause {
                Cause::Memory => return (Outcome::Memory, format!("{trap}{more}").into()),
                Cause::Fuel => Outcome::Fuel,
                Cause::Cpu => Outcome::Cpu,
                Cause::Wasm => Outcome::Trap,
                Cause::Host => Outcome::Failed,
            };
            (outcome, trap.text.into())
        }
        End::TimedOut => (Outcome::Timeout, "".into()),
        End::Failed(error) => (Outcome::Failed, error.to_string().into()),
    }
}
