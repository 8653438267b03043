//! The way in: every call of every guest comes through here.

use wasmi::{AsContextMut, Caller, Extern, Memory};

use super::frame::{Args, On};
use super::{Call, Mem, Mode, Row, Stop, Suspended, Sys, TABLE, WasiCtx, limits, trace, wait};
use crate::errno::Errno;
use crate::vfs::{Interest, charge};

/// Bytes moved by calls, or as much work, before their guest is charged fuel for them; so that
/// a guest can't get a slice's worth of copying for a handful of calls.
const CHARGED_FROM: u64 = 64 << 10;

/// Makes a call of a guest.
///
/// A guest that nobody watches pays nothing for that somebody could: the one check on the way
/// is whether its memory is known, and [`first`] never makes that of a watched guest known
/// here.
pub(super) fn enter<T>(
    mut caller: Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut WasiCtx + Copy,
    row: usize,
    given: &[u64],
) -> Result<i32, wasmi::Error> {
    let cx = get(caller.data_mut());
    let Some(memory) = cx.unwatched else { return first(caller, get, row, given) };
    let (bytes, data) = memory.data_and_store_mut(&mut caller);
    let mut call = Call { mem: Mem(bytes), cx: get(data) };
    call.cx.frame.begin();
    charge::begin();
    call.cx.moved += TABLE[row].work;
    match (TABLE[row].run)(&mut call, given) {
        Ok(()) if call.cx.moved < CHARGED_FROM && !charge::any() => Ok(0),
        answer => {
            call.worked(charge::take());
            let answer = told(&TABLE[row], given, &mut call, answer);
            after(caller, get, memory, row, given, answer)
        }
    }
}

/// Makes the first call of a guest, and all calls of one that is watched.
#[cold]
#[inline(never)]
fn first<T>(
    mut caller: Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut WasiCtx + Copy,
    row: usize,
    given: &[u64],
) -> Result<i32, wasmi::Error> {
    let memory = match get(caller.data_mut()).memory {
        Some(memory) => memory,
        None => find_memory(&mut caller, get)?,
    };
    let (bytes, data) = memory.data_and_store_mut(&mut caller);
    let cx = get(data);
    if cx.trace.is_none() {
        cx.unwatched = Some(memory);
    }
    cx.frame.begin();
    let answer = run(row, given, bytes, cx);
    after(caller, get, memory, row, given, answer)
}

/// What is left to do for a call that did not simply succeed, or moved much.
#[cold]
#[inline(never)]
fn after<T>(
    mut caller: Caller<'_, T>,
    get: impl Fn(&mut T) -> &mut WasiCtx + Copy,
    memory: Memory,
    row: usize,
    given: &[u64],
    answer: Result<i32, Stop>,
) -> Result<i32, wasmi::Error> {
    let cx = get(caller.data_mut());
    if cx.moved >= CHARGED_FROM {
        let moved = std::mem::take(&mut cx.moved);
        let owed = limits::charge(&mut caller, moved);
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
            (cx.frame.row, cx.frame.args) = (row, args);
            cx.frame.yields = matches!(stop, Stop::Yield);
            Err(wasmi::Error::host(Suspended))
        }
        (stop, Mode::InPlace) => {
            let mut store = caller.as_context_mut();
            wait::in_place(&mut store, get, memory, row, &args, stop)
        }
    }
}

/// Runs a row once; the errno it answers. Whoever watches is told.
pub(super) fn run(
    row: usize,
    args: &[u64],
    bytes: &mut [u8],
    cx: &mut WasiCtx,
) -> Result<i32, Stop> {
    let (row, mut call) = (&TABLE[row], Call { mem: Mem(bytes), cx });
    charge::begin();
    call.cx.moved += row.work;
    let answer = if call.cx.trace.is_some() {
        trace::run(row, args, &mut call)
    } else {
        make(row, args, &mut call)
    };
    call.worked(charge::take());
    answer
}

/// Makes a call; the errno it answers.
pub(super) fn make(row: &'static Row, args: &[u64], call: &mut Call<'_>) -> Result<i32, Stop> {
    let answer = (row.run)(call, args);
    told(row, args, call, answer)
}

/// Tells of a call that failed whoever wants to know of nothing else; the errno it answers.
fn told(row: &'static Row, args: &[u64], call: &mut Call<'_>, answer: Sys) -> Result<i32, Stop> {
    match answer {
        Ok(()) => Ok(0),
        // A node has asked somebody: whatever the descriptors' flags say, the call waits.
        Err(Stop::Errno(Errno::Again)) if call.cx.frame.memo.is_waiting() => {
            call.cx.frame.wait(On::Memo, Interest::READ);
            Err(Stop::Park)
        }
        Err(Stop::Errno(errno)) => {
            trace::failed(row, args, call, errno);
            Ok(errno.code())
        }
        Err(stop) => Err(stop),
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
