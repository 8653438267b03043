//! A call under way: what a row's function is given, and what it answers.

#[cfg(feature = "sockets")]
use std::time::Duration;

use super::frame::WaitTarget;
use super::limits::BYTES_PER_FUEL;
use super::{Mem, WasiCtx, abi};
use crate::errno::Errno;
use crate::vfs::Interest;

/// Why a call did not end with success.
pub(crate) enum Stop {
    /// The call fails with this errno.
    Errno(Errno),
    /// The call has to wait for what its frame lists, and is then run again.
    Park,
    /// The guest lets others run first; the call is then run again.
    Yield,
    /// The guest has exited with this status.
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
    /// Parks the guest if `answer`, from descriptor `fd`, is EAGAIN, or hands the EAGAIN to it, as
    /// [`wait_for`](Call::wait_for) decides.
    pub fn park_unless_nonblock<T>(
        &mut self,
        fd: u32,
        want: Interest,
        answer: Result<T, Errno>,
    ) -> Result<T, Stop> {
        match answer {
            Err(Errno::Again) => Err(self.wait_for(fd, want)),
            other => Ok(other?),
        }
    }

    /// Has the call wait for a descriptor, and answers how it stops: parked, or with the EAGAIN that
    /// a guest gets with NONBLOCK, and when the time that it has set for the socket (`SO_RCVTIMEO`,
    /// `SO_SNDTIMEO`) is over. This is the one place that tells them apart.
    pub fn wait_for(&mut self, fd: u32, want: Interest) -> Stop {
        match self.cx.fds.any(fd) {
            Ok(descriptor) if descriptor.flags.has(abi::Fdflags::NONBLOCK) => {
                return Stop::Errno(Errno::Again);
            }
            Ok(_) => {}
            Err(errno) => return Stop::Errno(errno),
        }
        #[cfg(feature = "sockets")]
        if let Some(time) = self.timeout(fd, want) {
            let time = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
            let until = self.start().saturating_add(time);
            if until <= self.cx.clock.monotonic() {
                return Stop::Errno(Errno::Again);
            }
            self.cx.frame.deadline = Some(until);
        }
        self.cx.frame.wait(WaitTarget::Fd(fd), want);
        Stop::Park
    }

    /// How long a call may wait for a socket.
    #[cfg(feature = "sockets")]
    fn timeout(&mut self, fd: u32, want: Interest) -> Option<Duration> {
        let descriptor = self.cx.fds.any(fd).ok()?;
        if !descriptor.filetype.is_socket() {
            return None;
        }
        descriptor.file.endpoint().ok()?.timeout(want)
    }

    /// Parks the guest if `answer` is EAGAIN, whatever the flags of descriptor `fd`. For verbs
    /// without a NONBLOCK form (stat, sync, readdir) of files that ask a server.
    pub fn park_on_again<T>(&mut self, fd: u32, answer: Result<T, Errno>) -> Result<T, Stop> {
        match answer {
            Err(Errno::Again) => {
                self.cx.frame.wait(WaitTarget::Fd(fd), Interest::READ);
                Err(Stop::Park)
            }
            other => Ok(other?),
        }
    }

    /// Charges the guest `fuel` for work done on its behalf. A call can take as long as thousands
    /// of instructions, and a slice of fuel must not be hours of calls.
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
