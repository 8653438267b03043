//! Arguments, environment, clocks, randomness, and the process itself.

use super::limits::BYTES_PER_FUEL;
use super::{Call, Mem, Stop, Strings, Sys};
use crate::errno::Errno;

/// Random bytes made before the guest gives way to others.
const RANDOM_CHUNK: u32 = 64 << 10;

/// Fuel for a random byte: the system makes some 400 MB of them in a second.
const RANDOM_FUEL: u64 = 2;

/// Fuel for asking the system for random bytes at all.
const RANDOM_CALL_FUEL: u64 = 300;

/// Fuel for an argument or a variable: its end is searched for, and its pointer written.
const STRING_FUEL: u64 = 10;

/// Fuel for leaving the interpreter and coming back, which a guest that gives way makes the host
/// do.
const YIELD_FUEL: u64 = 150;

impl Strings {
    /// What it costs to write them.
    fn fuel(&self) -> u64 {
        u64::from(self.count) * STRING_FUEL + self.bytes().len() as u64 / BYTES_PER_FUEL
    }

    /// Writes how many there are, and their length in bytes.
    fn put_sizes(&self, mem: &mut Mem<'_>, count: u32, size: u32) -> Sys {
        let bytes = u32::try_from(self.bytes().len()).map_err(|_| Errno::Overflow)?;
        mem.check(size, 4)?;
        mem.put_u32(count, self.count)?;
        Ok(mem.put_u32(size, bytes)?)
    }

    /// Writes the strings at `buf`, and a pointer to each at `pointers`.
    fn put(&self, mem: &mut Mem<'_>, pointers: u32, buf: u32) -> Sys {
        let bytes = u32::try_from(self.bytes().len()).map_err(|_| Errno::Overflow)?;
        mem.check(pointers, self.count.checked_mul(4).ok_or(Errno::Overflow)?)?;
        mem.bytes_mut(buf, bytes)?.copy_from_slice(self.bytes());
        let mut pointer = pointers;
        let mut string = buf;
        for text in self.bytes().split_inclusive(|byte| *byte == 0) {
            mem.put_u32(pointer, string)?;
            pointer = pointer.wrapping_add(4);
            string = string.wrapping_add(u32::try_from(text.len()).map_err(|_| Errno::Overflow)?);
        }
        Ok(())
    }
}

pub(super) fn args_get(c: &mut Call<'_>, argv: u32, argv_buf: u32) -> Sys {
    c.charge_fuel(c.cx.args.fuel());
    c.cx.args.put(&mut c.mem, argv, argv_buf)
}

pub(super) fn args_sizes_get(c: &mut Call<'_>, argc: u32, argv_buf_size: u32) -> Sys {
    c.cx.args.put_sizes(&mut c.mem, argc, argv_buf_size)
}

pub(super) fn environ_get(c: &mut Call<'_>, environ: u32, environ_buf: u32) -> Sys {
    c.charge_fuel(c.cx.env.fuel());
    c.cx.env.put(&mut c.mem, environ, environ_buf)
}

pub(super) fn environ_sizes_get(c: &mut Call<'_>, environc: u32, environ_buf_size: u32) -> Sys {
    c.cx.env.put_sizes(&mut c.mem, environc, environ_buf_size)
}

/// The clocks there are. A guest has no CPU-time clocks: the spec's answer to an
/// unsupported clock is EINVAL.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum ClockId {
    Realtime,
    Monotonic,
}

impl ClockId {
    pub(super) fn parse(id: u32) -> Result<ClockId, Errno> {
        match id {
            0 => Ok(ClockId::Realtime),
            1 => Ok(ClockId::Monotonic),
            _ => Err(Errno::Inval),
        }
    }
}

pub(super) fn clock_res_get(c: &mut Call<'_>, id: u32, resolution: u32) -> Sys {
    ClockId::parse(id)?;
    Ok(c.mem.put_u64(resolution, c.cx.clock.resolution())?)
}

pub(super) fn clock_time_get(c: &mut Call<'_>, id: u32, _precision: u64, time: u32) -> Sys {
    let now = match ClockId::parse(id)? {
        ClockId::Realtime => c.cx.clock.realtime(),
        ClockId::Monotonic => c.cx.clock.monotonic(),
    };
    Ok(c.mem.put_u64(time, now)?)
}

/// Goes in chunks, so that a guest that asks for gigabytes doesn't hold up the others. What
/// was filled before it gave way stays filled: the guest can't tell it from what comes later.
pub(super) fn random_get(c: &mut Call<'_>, buf: u32, buf_len: u32) -> Sys {
    let bytes = c.mem.bytes_mut(buf, buf_len)?;
    let done = c.cx.frame.progress;
    let chunk = (buf_len - done).min(RANDOM_CHUNK);
    let from = usize::try_from(done).map_err(|_| Errno::Fault)?;
    let len = usize::try_from(chunk).map_err(|_| Errno::Fault)?;
    c.cx.random.fill(&mut bytes[from..from + len]).map_err(|_| Errno::Io)?;
    c.cx.frame.progress = done + chunk;
    c.charge_fuel(RANDOM_CALL_FUEL + u64::from(chunk) * RANDOM_FUEL);
    if done + chunk < buf_len { Err(Stop::Yield) } else { Ok(()) }
}

pub(super) fn proc_exit(_c: &mut Call<'_>, rval: u32) -> Sys {
    Err(Stop::Exit(rval))
}

/// There are no signals to be handled here; what is left of a signal is its default
/// action: to end the process with the status a shell shows for it, or to do nothing.
pub(super) fn proc_raise(_c: &mut Call<'_>, sig: u32) -> Sys {
    const NONE: u32 = 0;
    const CHLD: u32 = 16;
    const CONT: u32 = 17;
    const URG: u32 = 22;
    const WINCH: u32 = 27;
    const SYS: u32 = 30;
    match sig {
        NONE | CHLD | CONT | URG | WINCH => Ok(()),
        1..=SYS => Err(Stop::Exit(128 + sig)),
        _ => Err(Errno::Inval.into()),
    }
}

pub(super) fn sched_yield(c: &mut Call<'_>) -> Sys {
    if std::mem::replace(&mut c.cx.frame.gave_way, true) {
        return Ok(());
    }
    c.charge_fuel(YIELD_FUEL);
    Err(Stop::Yield)
}
