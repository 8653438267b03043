//! The one way into a call, for guests with a trace and without.

use wasmi::{AsContextMut, Caller, Extern, Memory};

use super::frame::{Args, WaitTarget};
use super::{
    Call, CallOutcome, Mem, Mode, Row, Stop, Suspended, Sys, TracedCall, WasiCtx, limits, wait,
};
use crate::errno::Errno;
use crate::vfs::{Interest, charge};

/// Work of calls, in bytes moved, from which on the guest is charged fuel for it. Without that
/// a guest could have a slice's worth of copying done for the fuel of a few calls.
const CHARGED_FROM: u64 = 64 << 10;

/// Makes a call of a guest.
///
/// Every call is [`invoke`]d and [`conclude`]d. A call that has a trace goes through
/// [`enter_slow`], which reports it around those two. The fast path pays one check for that:
/// whether `unwatched_memory` is set, which `enter_slow` sets only if there is no trace.
pub(super) fn enter<T>(
    mut caller: Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut WasiCtx + Copy,
    row: &'static Row,
    args: &[u64],
) -> Result<i32, wasmi::Error> {
    let cx = get(caller.data_mut());
    let Some(memory) = cx.unwatched_memory else { return enter_slow(caller, get, row, args) };
    let (bytes, data) = memory.data_and_store_mut(&mut caller);
    let mut call = Call { mem: Mem(bytes), cx: get(data) };
    call.cx.frame.begin();
    let answer = invoke(row, args, &mut call);
    if call.cx.uncharged < CHARGED_FROM && !charge::any() {
        match answer {
            Ok(()) => return Ok(0),
            // Programs probe: errors are as frequent as successes. Again may mean a wait.
            Err(Stop::Errno(errno)) if errno != Errno::Again && call.cx.on_error.is_none() => {
                return Ok(errno.code());
            }
            Err(_) => {}
        }
    }
    let answer = conclude(row, args, &mut call, answer);
    finish(caller, get, memory, row, args, answer)
}

/// Makes the first call of a guest, and all calls of a guest that has a trace.
#[cold]
#[inline(never)]
fn enter_slow<T>(
    mut caller: Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut WasiCtx + Copy,
    row: &'static Row,
    args: &[u64],
) -> Result<i32, wasmi::Error> {
    let memory = match get(caller.data_mut()).memory {
        Some(memory) => memory,
        None => find_memory(&mut caller, get)?,
    };
    let (bytes, data) = memory.data_and_store_mut(&mut caller);
    let cx = get(data);
    if cx.trace.is_none() {
        cx.unwatched_memory = Some(memory);
    }
    cx.frame.begin();
    let answer = run(row, args, bytes, cx);
    finish(caller, get, memory, row, args, answer)
}

/// Charges the fuel that is due, and parks, waits or exits if the call did not end.
#[cold]
#[inline(never)]
fn finish<T>(
    mut caller: Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut WasiCtx + Copy,
    memory: Memory,
    row: &'static Row,
    given: &[u64],
    answer: Result<i32, Stop>,
) -> Result<i32, wasmi::Error> {
    let cx = get(caller.data_mut());
    if cx.uncharged >= CHARGED_FROM {
        let uncharged = std::mem::take(&mut cx.uncharged);
        let owed = limits::charge(&mut caller, uncharged);
        let cx = get(caller.data_mut());
        cx.fuel_owed = cx.fuel_owed.saturating_add(owed);
    }
    let stop = match answer {
        Ok(errno) => return Ok(errno),
        Err(stop) => stop,
    };
    let cx = get(caller.data_mut());
    let mut args = Args::default();
    args[..given.len()].copy_from_slice(given);
    match (stop, cx.mode) {
        (Stop::Exit(code), _) => Err(wasmi::Error::i32_exit(code.cast_signed())),
        (stop, Mode::Suspend) => {
            cx.frame.row = row;
            cx.frame.args = args;
            cx.frame.yields = matches!(stop, Stop::Yield);
            Err(wasmi::Error::host(Suspended))
        }
        (stop, Mode::InPlace) => {
            let mut store = caller.as_context_mut();
            wait::in_place(&mut store, get, memory, row, &args, stop)
        }
    }
}

/// Runs a row once, and reports it to the guest's trace. Returns the errno for the guest.
pub(super) fn run(
    row: &'static Row,
    args: &[u64],
    bytes: &mut [u8],
    cx: &mut WasiCtx,
) -> Result<i32, Stop> {
    let mut call = Call { mem: Mem(bytes), cx };
    if let WasiCtx { trace: Some(trace), fds, .. } = &mut *call.cx {
        trace.begin(&TracedCall::new(row, args, &call.mem, fds));
    }
    let answer = invoke(row, args, &mut call);
    let answer = conclude(row, args, &mut call, answer);
    if let WasiCtx { trace: Some(trace), fds, .. } = &mut *call.cx {
        trace.call(&TracedCall::new(row, args, &call.mem, fds), outcome(&answer));
    }
    answer
}

/// Runs a row's function, and notes the work that every call of the row is charged for.
#[inline(always)]
fn invoke(row: &'static Row, args: &[u64], call: &mut Call<'_>) -> Sys {
    charge::begin();
    call.cx.uncharged += row.work;
    (row.run)(call, args)
}

/// Notes what the call cost the host, and turns its answer into an errno for the guest. A
/// failure is reported to [`WasiCtx::on_error`](super::CtxBuilder::on_error).
fn conclude(
    row: &'static Row,
    args: &[u64],
    call: &mut Call<'_>,
    answer: Sys,
) -> Result<i32, Stop> {
    call.charge_fuel(charge::take());
    match answer {
        Ok(()) => Ok(0),
        // A node waits for the answer to a question: the call waits, whatever the flags of its
        // descriptors.
        Err(Stop::Errno(Errno::Again)) if call.cx.frame.memo.is_waiting() => {
            call.cx.frame.wait(WaitTarget::Memo, Interest::READ);
            Err(Stop::Park)
        }
        Err(Stop::Errno(errno)) => {
            report_failure(row, args, call, errno);
            Ok(errno.code())
        }
        Err(stop) => Err(stop),
    }
}

#[cold]
#[inline(never)]
fn report_failure(row: &'static Row, args: &[u64], call: &mut Call<'_>, errno: Errno) {
    if let WasiCtx { on_error: Some(trace), fds, .. } = &mut *call.cx {
        let outcome = CallOutcome::Done(Some(errno));
        trace.call(&TracedCall::new(row, args, &call.mem, fds), outcome);
    }
}

/// The outcome that a trace sees for an answer.
fn outcome(answer: &Result<i32, Stop>) -> CallOutcome {
    match answer {
        Ok(code) => CallOutcome::Done(Errno::from_code(*code).filter(|_| *code != 0)),
        Err(Stop::Exit(code)) => CallOutcome::Exit(*code),
        Err(Stop::Yield) => CallOutcome::Yielded,
        Err(Stop::Park | Stop::Errno(_)) => CallOutcome::Parked,
    }
}

/// The guest's memory, looked up by name at its first call only.
fn find_memory<T>(
    caller: &mut Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut WasiCtx,
) -> Result<Memory, wasmi::Error> {
    match caller.get_export("memory") {
        Some(Extern::Memory(memory)) => {
            get(caller.data_mut()).memory = Some(memory);
            Ok(memory)
        }
        _ => Err(wasmi::Error::new(
            "the module exports no memory named 'memory', which WASI calls need: \
             build it as a WASI command",
        )),
    }
}
