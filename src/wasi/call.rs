//! A call under way: what a row's function is given, and what it answers.

use super::frame::WaitTarget;
use super::limits::BYTES_PER_FUEL;
use super::{Mem, WasiCtx, abi};
use crate::errno::Errno;
use crate::vfs::Interest;

/// Why a call did not end with success.
pub(crate) enum Stop {
    /// The guest is told.
    Errno(Errno),
    /// What it waits for is in the frame; the call is to be run again.
    Park,
    /// The guest gives way to others; the call is to be run again.
    Yield,
    /// The guest has ended itself.
    Exit(u32),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Stop {
        Stop::Errno(errno)
    }
}

/// What a syscall function answers.
pub(crate) type Sys = Result<(), Stop>;

/// A call: the guest's memory, and its context.
pub(crate) struct Call<'a> {
    pub mem: Mem<'a>,
    pub cx: &'a mut WasiCtx,
}

impl Call<'_> {
    /// The one place where blocking and NONBLOCK part: an Again from descriptor `fd`
    /// parks the guest, or is its answer if the descriptor says so.
    pub fn park_unless_nonblock<T>(
        &mut self,
        fd: u32,
        want: Interest,
        answer: Result<T, Errno>,
    ) -> Result<T, Stop> {
        match answer {
            Err(Errno::Again) if !self.cx.fds.any(fd)?.flags.has(abi::Fdflags::NONBLOCK) => {
                self.cx.frame.wait(WaitTarget::Fd(fd), want);
                Err(Stop::Park)
            }
            other => Ok(other?),
        }
    }

    /// An EAGAIN of a verb that has no NONBLOCK form (stat, sync, readdir): the file has asked
    /// somebody, and the guest waits whatever its descriptor says.
    pub fn park_on_again<T>(&mut self, fd: u32, answer: Result<T, Errno>) -> Result<T, Stop> {
        match answer {
            Err(Errno::Again) => {
                self.cx.frame.wait(WaitTarget::Fd(fd), Interest::READ);
                Err(Stop::Park)
            }
            other => Ok(other?),
        }
    }

    /// Notes work done for the guest, for which it is charged fuel: a call can take as long as
    /// thousands of instructions, and a slice of fuel must not be hours of calls.
    pub fn charge_fuel(&mut self, fuel: u64) {
        let moved = fuel.saturating_mul(BYTES_PER_FUEL);
        self.cx.uncharged = self.cx.uncharged.saturating_add(moved);
    }

    /// When this call was first made, in the guest's monotonic ns.
    pub fn start(&mut self) -> u64 {
        let clock = &self.cx.clock;
        *self.cx.frame.start.get_or_insert_with(|| clock.monotonic())
    }
}
