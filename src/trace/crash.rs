//! Reports of guests that were ended: what they did last, and what they held.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::time::Duration;

use super::Since;
use super::decode;
use super::escape::Line;
use super::record::{Value, errno_name};
use super::units::{Bytes, Nanos};
use crate::guest::Guest;
use crate::wasi::{Args, CallOutcome, Kind, Row, Trace, TracedCall};

/// Calls that are kept.
pub const CALLS: usize = 32;

/// Bytes of a path that are kept.
const PATH_MAX: usize = 256;

/// Keeps the last [`CALLS`] calls of a guest: which, with what numbers, and how they ended.
pub struct Last {
    start: Since,
    calls: VecDeque<Call>,
    /// The last one is parked, and will come again.
    parked: bool,
}

struct Call {
    at: Duration,
    row: &'static Row,
    args: Args,
    /// The first path among them: memory may have changed since.
    path: Option<Box<str>>,
    /// `None`: it had not ended.
    outcome: Option<CallOutcome>,
}

impl Default for Last {
    fn default() -> Last {
        let calls = VecDeque::with_capacity(CALLS);
        Last { start: Since::now(), calls, parked: false }
    }
}

impl Trace for Last {
    fn begin(&mut self, call: &TracedCall<'_>) {
        if std::mem::take(&mut self.parked) {
            return;
        }
        if self.calls.len() == CALLS {
            self.calls.pop_front();
        }
        let path = call.row.params.iter().position(|param| param.kind == Kind::Path);
        let path = path.and_then(|index| {
            let number = |at: usize| u32::try_from(call.args[at]).ok();
            let max = u32::try_from(PATH_MAX).unwrap_or(u32::MAX);
            let bytes = call.mem.bytes(number(index)?, number(index + 1)?.min(max)).ok()?;
            Some(String::from_utf8_lossy(bytes).into())
        });
        let at = self.start.elapsed();
        let mut args = Args::default();
        args.iter_mut().zip(call.args).for_each(|(kept, arg)| *kept = *arg);
        self.calls.push_back(Call { at, row: call.row, args, path, outcome: None });
    }

    fn call(&mut self, _call: &TracedCall<'_>, outcome: CallOutcome) {
        self.parked = !outcome.is_end();
        if let Some(last) = self.calls.back_mut() {
            last.outcome = Some(outcome);
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>10.6} {}(", self.at.as_secs_f64(), self.row.name)?;
        let mut path = self.path.as_deref();
        for (index, param) in self.row.params.iter().enumerate() {
            let raw = self.args[index];
            let between = if index > 0 { ", " } else { "" };
            write!(f, "{between}{}=", param.name)?;
            match (param.kind, path.filter(|_| param.kind == Kind::Path)) {
                (_, Some(text)) => {
                    path = None;
                    write!(f, "{text:?}")?;
                }
                (Kind::Fd | Kind::Size, _) => write!(f, "{raw}")?,
                (Kind::I64, _) => write!(f, "{}", raw.cast_signed())?,
                (Kind::U32 | Kind::U64, _) => {
                    let value: Value = decode::number(self.row.name, param.name, raw);
                    write!(f, "{value}")?;
                }
                _ => write!(f, "{raw:#x}")?,
            }
        }
        match self.outcome {
            Some(CallOutcome::Done(None)) => f.write_str(") = 0"),
            Some(CallOutcome::Done(Some(errno))) => {
                write!(f, ") = {} ({errno})", errno_name(errno))
            }
            Some(CallOutcome::Exit(_)) => f.write_str(") = ?"),
            Some(CallOutcome::Parked | CallOutcome::Yielded) => f.write_str(") <parked>"),
            None => f.write_str(") <not finished>"),
        }
    }
}

/// What is known of a guest at its end, as text for people.
///
/// `program` and `why` are one line each; `elapsed` is its time. The last calls are
/// there if the guest was given a [`Last`].
pub fn report(program: &str, why: &str, elapsed: Duration, guest: &Guest) -> String {
    let mut out = String::new();
    let cx = guest.context();
    let nanos = Nanos(u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX));
    let (fuel, peak) = (guest.fuel_used(), Bytes(cx.memory_peak() as u64));
    // Writing to a String can't fail.
    let _ = writeln!(out, "tinyhost {} crash report", env!("CARGO_PKG_VERSION"));
    let _ =
        writeln!(out, "\nprogram   {}\nended     {}\nin        _start", Line(program), Line(why));
    let _ = writeln!(out, "elapsed   {nanos}\nfuel      {fuel}\nmemory    {peak} (peak)");
    let _ = writeln!(out, "\nopen descriptors (offset, path)");
    for (fd, descriptor) in cx.descriptors() {
        let (offset, path) = (descriptor.offset, super::text::behind(&descriptor.path));
        let _ = writeln!(out, "  {fd:>3} {offset:>12} {path}");
    }
    if let Some(last) = cx.trace::<Last>() {
        let count = last.calls.len();
        let _ = writeln!(out, "\nlast {count} calls (time, call, result)");
        for call in &last.calls {
            let _ = writeln!(out, "{call}");
        }
    }
    out
}
