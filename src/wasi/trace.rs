//! The interface of a trace, which sees a guest's calls.

use std::any::Any;

use super::fd::{Descriptor, Fds};
use super::{Mem, Row};
use crate::errno::Errno;
use crate::vfs::path;

/// The outcome of a call, as a [`Trace`] sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// The call returned an errno; `None` is success.
    Done(Option<Errno>),
    /// The call has to wait. The trace will see it again.
    Parked,
    /// The call lets other guests run first. The trace will see it again.
    Yielded,
    /// The call ended the guest with this status.
    Exit(u32),
}

impl CallOutcome {
    /// Whether the call is complete.
    pub fn is_end(self) -> bool {
        !matches!(self, CallOutcome::Parked | CallOutcome::Yielded)
    }
}

/// A call as a [`Trace`] sees it: its row, its arguments, and the guest's memory and descriptors.
pub struct TracedCall<'a> {
    /// The syscall.
    pub row: &'static Row,
    /// The raw arguments, in the order of the row's parameters.
    pub args: &'a [u64],
    /// The guest's memory.
    pub mem: &'a Mem<'a>,
    fds: &'a Fds,
}

impl<'a> TracedCall<'a> {
    pub(super) fn new(
        row: &'static Row,
        args: &'a [u64],
        mem: &'a Mem<'a>,
        fds: &'a Fds,
    ) -> TracedCall<'a> {
        TracedCall { row, args, mem, fds }
    }

    /// The descriptor with this number, if it is open now.
    pub fn descriptor(&self, fd: u32) -> Option<&'a Descriptor> {
        self.fds.at(fd)
    }

    /// The argument with this name in the specification, if the call has one.
    pub fn arg(&self, name: &str) -> Option<u64> {
        let index = self.row.params.iter().position(|param| param.name == name)?;
        Some(self.args[index])
    }

    /// The argument with this name, if it fits 32 bits.
    pub fn arg_u32(&self, name: &str) -> Option<u32> {
        self.arg(name).and_then(|raw| u32::try_from(raw).ok())
    }

    /// The path argument named `path`, joined to the path of the directory in the argument named
    /// `fd`. For display: it is not resolved, and the files need not exist.
    pub fn path(&self, fd: &str, path: &str) -> Option<String> {
        let index = self.row.params.iter().position(|param| param.name == path)?;
        let text = |at: usize| u32::try_from(self.args[at]).ok();
        let text = self.mem.bytes(text(index)?, text(index + 1)?).ok()?;
        let text = String::from_utf8_lossy(text);
        let dir = self.descriptor(self.arg_u32(fd)?);
        Some(dir.map_or_else(|| text.to_string(), |dir| join(&dir.path, &text)))
    }
}

/// Bytes of a joined path that are kept at the most.
const JOINED_MAX: usize = 4096;

/// `rest`, which was given relative to a directory known as `dir`, in one piece: for people
/// to read, not to be walked.
pub(super) fn join(dir: &str, rest: &str) -> String {
    // A guest can open a directory in itself for ever.
    if dir.len() + rest.len() > JOINED_MAX && !matches!(rest, "" | "." | "./") {
        return format!("...{rest}");
    }
    path::join(dir, rest)
}

/// Sees the calls of a guest. Set it with [`CtxBuilder::trace`](super::CtxBuilder::trace).
///
/// ```
/// use std::sync::mpsc::{Sender, channel};
/// use tinyhost::wasi::{CallOutcome, TracedCall, Trace};
/// use tinyhost::{Guest, Program, WasiCtx};
///
/// struct Names(Sender<&'static str>);
///
/// impl Trace for Names {
///     fn call(&mut self, call: &TracedCall<'_>, _: CallOutcome) {
///         let _ = self.0.send(call.row.name);
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
pub trait Trace: Any + Send {
    /// A call is about to be made, or to be run again after it was parked or yielded.
    fn begin(&mut self, call: &TracedCall<'_>) {
        let _ = call;
    }

    /// The call was made, with this outcome. If it was parked or yielded, it will be run again.
    fn call(&mut self, call: &TracedCall<'_>, outcome: CallOutcome);
}

/// Several traces of the same calls. Each sees a call in turn.
#[derive(Default)]
pub struct Tee(pub Vec<Box<dyn Trace>>);

impl Trace for Tee {
    fn begin(&mut self, call: &TracedCall<'_>) {
        self.0.iter_mut().for_each(|each| each.begin(call));
    }

    fn call(&mut self, call: &TracedCall<'_>, outcome: CallOutcome) {
        self.0.iter_mut().for_each(|each| each.call(call, outcome));
    }
}

/// The trace of type `T` in `trace`, which may be a [`Tee`].
pub(crate) fn find<T: Trace>(trace: &dyn Trace) -> Option<&T> {
    let any: &dyn Any = trace;
    match any.downcast_ref::<Tee>() {
        Some(tee) => tee.0.iter().find_map(|each| find(&**each)),
        None => any.downcast_ref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joined_path_is_not_longer_than_is_kept() {
        assert_eq!(join("/data", "./a"), "/data/a");
        assert!(join(&"x/".repeat(3000), "end").len() < 10);
    }
}
