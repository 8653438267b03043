//! Outcomes of jobs, and limits that refuse.

use std::borrow::Cow;

use crate::step::{Cause, End};
use crate::wasi::MemoryRefusal;

macro_rules! outcomes {
    ($($(#[doc = $doc:literal])* $name:ident = $text:literal,)*) => {
        /// The outcome of a line, or of a connection if a guest serves a whole one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Outcome { $($(#[doc = $doc])* $name,)* }

        impl Outcome {
            /// All values.
            pub const ALL: &[Outcome] = &[$(Outcome::$name,)*];

            /// The name in metrics and logs.
            pub fn name(self) -> &'static str {
                match self { $(Outcome::$name => $text,)* }
            }
        }
    };
}

outcomes! {
    /// The guest exited with status 0.
    Ok = "ok",
    /// The guest exited with another status.
    Exit = "exit",
    /// The guest trapped.
    Trap = "trap",
    /// The time limit was reached, by the guest or before the line was complete.
    Timeout = "timeout",
    /// The guest failed after it was refused memory.
    Memory = "memory",
    /// The guest used up its fuel.
    Fuel = "fuel",
    /// The guest used up its CPU time.
    Cpu = "cpu",
    /// The line was too long. No guest was run for it.
    LineTooLong = "line_too_long",
    /// What came was not a valid request of HTTP, or was too large.
    BadRequest = "bad_request",
    /// The guest wrote more than the limit of a reply.
    ReplyTooLong = "reply_too_long",
    /// The client closed the connection before the guest had ended.
    ClientGone = "client_gone",
    /// The connection was idle for too long, and was closed with its guest.
    Idle = "idle",
    /// The guest was still running when the server shut down.
    Stopped = "stopped",
    /// The host could not run the guest.
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
        /// A limit for which something was refused.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal { $($(#[doc = $doc])* $name,)* }

        impl Refusal {
            /// All values.
            pub const ALL: &[Refusal] = &[$(Refusal::$name,)*];

            /// The name in metrics.
            pub fn name(self) -> &'static str {
                match self { $(Refusal::$name => $text,)* }
            }
        }
    };
}

refusals! {
    /// A connection: too many were open.
    Conns = "conns",
    /// A connection: too many were open from its client's address.
    ConnsPerAddr = "conns_per_addr",
    /// A connection: it did not come from a trusted proxy.
    Untrusted = "untrusted",
    /// Accepting: the system had no descriptors left. Counted once for each pause.
    Accept = "accept",
    /// Memory of a guest, for its own limit. Counted once for each guest.
    Memory = "memory",
    /// Memory of a guest, for the limit of all guests. Counted once for each guest.
    MemoryTotal = "memory_total",
    /// Descriptors of a guest. Counted once for each guest.
    Fds = "fds",
}

/// The outcome of a job by the end of its guest, and the reason in words. `refused` is set if the
/// guest was refused memory.
pub(crate) fn of_end(end: End, refused: Option<MemoryRefusal>) -> (Outcome, Cow<'static, str>) {
    let more = match refused {
        Some(MemoryRefusal::Shared) => " (raise the limit with --memory-total)",
        Some(MemoryRefusal::Own) => " (raise the limit with --memory)",
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
