//! Resuming a parked call in your own store.

use std::task::Waker;

use wasmi::{AsContextMut, StoreContextMut, Val};

use super::enter::run;
use super::{Stop, WasiCtx, frame, wait};
use crate::vfs::{Armed, Fd, Interest};

/// Whether the error of a wasmi `ResumableCall::HostTrap` means that a WASI call has to wait
/// (a context with [`Mode::Suspend`](super::Mode::Suspend)); any other is a real one.
pub fn is_parked(error: &wasmi::Error) -> bool {
    error.downcast_ref::<Suspended>().is_some()
}

/// The result of a [`retry`].
#[derive(Debug)]
pub enum Retried {
    /// The call is complete. Resume the guest with this value.
    Resume(Val),
    /// The call still has to wait. Use [`WasiCtx::arm`] or [`WasiCtx::wait`].
    Parked,
    /// The guest has exited with this status. Don't resume it.
    Exited(u32),
}

/// Runs the parked call of a guest again, in your own store. `get` finds the context, as in
/// [`add_to_linker`](super::add_to_linker).
///
/// You can call this at any time. If what the call waits for has not happened, it stays parked.
///
/// ```
/// use tinyhost::vfs::pipe::{Capture, pipe};
/// use tinyhost::wasi::{self, Mode, Retried, WasiCtx};
/// use tinyhost::wasmi::{Engine, Linker, Module, ResumableCall, Store};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let engine = Engine::default();
/// let module = Module::new(&engine, std::fs::read("fixtures/promptreply.wasm")?)?;
/// let mut linker = Linker::new(&engine);
/// wasi::add_to_linker(&mut linker, |cx: &mut WasiCtx| cx)?;
///
/// let ((stdin, mut feed), stdout) = (pipe(4096), Capture::new(4096));
/// let cx = WasiCtx::builder().stdin(stdin).stdout(stdout.clone()).mode(Mode::Suspend).build();
/// let mut store = Store::new(&engine, cx);
/// let instance = linker.instantiate_and_start(&mut store, &module)?;
/// let start = instance.get_func(&store, "_start").ok_or("no _start")?;
///
/// let mut call = start.call_resumable(&mut store, &[], &mut [])?;
/// while let ResumableCall::HostTrap(parked) = call {
///     if !wasi::is_parked(parked.host_error()) {
///         break; // proc_exit, or an error of a function of your own
///     }
///     match wasi::retry(&mut store, |cx| cx) {
///         Retried::Resume(value) => call = parked.resume(&mut store, &[value], &mut [])?,
///         Retried::Parked => {
///             feed.write(b"a line\n")?; // whatever else there is to do
///             call = ResumableCall::HostTrap(parked);
///         }
///         Retried::Exited(_) => break,
///     }
/// }
/// assert_eq!(stdout.take(), b"a line\n");
/// # Ok(())
/// # }
/// ```
pub fn retry<T: 'static>(
    mut store: impl AsContextMut<Data = T>,
    get: impl Fn(&mut T) -> &mut WasiCtx,
) -> Retried {
    loop {
        match run_again(store.as_context_mut(), &get) {
            Ok(errno) => return Retried::Resume(Val::I32(errno)),
            Err(Stop::Exit(code)) => return Retried::Exited(code),
            Err(Stop::Yield) => {}
            Err(Stop::Park | Stop::Errno(_)) => return Retried::Parked,
        }
    }
}

impl WasiCtx {
    /// Registers for what the parked call waits for, as [`Guest::arm`](crate::Guest::arm) does.
    pub fn arm(&mut self, waker: &Waker, watch: &mut dyn FnMut(Fd<'_>, Interest)) -> Armed {
        if !self.frame.arm(&mut self.fds, waker, watch) {
            return Armed::Now;
        }
        Armed::Until(wait::wait_timeout(self))
    }

    /// Blocks the thread until a [`retry`] of the parked call may succeed.
    ///
    /// # Errors
    ///
    /// If the host can't wait, such as when it has no file descriptors left for a poll.
    pub fn wait(&mut self) -> std::io::Result<()> {
        wait::Waiter::new()?.wait(self, None)
    }
}

/// Runs the parked call of a guest again, with the frame it left.
pub(crate) fn run_again<T>(
    mut store: StoreContextMut<'_, T>,
    get: impl Fn(&mut T) -> &mut WasiCtx,
) -> Result<i32, Stop> {
    let memory = get(store.data_mut()).memory;
    // Nothing was ever called with this context: there is nothing to run.
    let Some(memory) = memory else { return Err(Stop::Park) };
    let (bytes, data) = memory.data_and_store_mut(&mut store);
    let cx = get(data);
    cx.frame.prepare_rerun();
    let row = cx.frame.row;
    let args = cx.frame.args;
    let answer = run(row, &args, bytes, cx);
    if answer.is_ok() {
        cx.frame = frame::Frame::default();
    }
    answer
}

/// The host error of a call that has been parked. It carries nothing: what is to be waited
/// for is in the frame.
#[derive(Debug)]
pub(crate) struct Suspended;

impl std::fmt::Display for Suspended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the call has to wait, but was not made resumably (or as a tail call)")
    }
}

impl wasmi::errors::HostError for Suspended {}
