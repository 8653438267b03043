//! What is remembered of a call that has to wait.
//!
//! A call is restartable: before it answers Again it has written no guest memory and
//! changed nothing. So its row and arguments are enough to run it again; what must not
//! happen twice (starting the clock of a sleep, dialling) is kept here as well. The calls that
//! move many bytes in parts (writes, `random_get`, `sock_recv` with WAITALL) keep how far they
//! came, and go on after it.

use std::borrow::Cow;
use std::task::Waker;
use std::time::{Duration, Instant};

use smallvec::SmallVec;

use super::abi::{Fdflags, Rights};
use super::fd::Fds;
use super::syscall::Row;
use crate::clock::Clock;
use crate::vfs::walk::Place;
use crate::vfs::{Access, Fd, Filetype, Interest, Memo, Pending, Wait};

/// Parameters of the call with the most (`path_open`).
pub const ARGS_MAX: usize = 9;

/// The raw arguments of a call.
pub type Args = [u64; ARGS_MAX];

/// A call under way.
#[derive(Default)]
pub struct Frame {
    /// The syscall, and its arguments.
    pub(crate) row: &'static Row,
    pub(crate) args: Args,
    /// The guest's monotonic clock when the call was first made, ns.
    pub(crate) start: Option<u64>,
    /// When to run it again even if nothing happened, in the guest's monotonic ns.
    pub(crate) deadline: Option<u64>,
    /// An open under way. Few calls have one, and a context is moved for each guest.
    pub(crate) pending: Option<Box<PendingOpen>>,
    /// What nodes have asked others for it, and what they answered.
    pub(crate) memo: Memo,
    /// What it waits for.
    pub(crate) waits: SmallVec<[(WaitTarget, Interest); 2]>,
    /// It does not wait, it only lets others run.
    pub(crate) yields: bool,
    /// How much of a long call is done already.
    pub(crate) progress: u32,
    /// It has given way once, which is all `sched_yield` asks.
    pub(crate) gave_way: bool,
}

/// What a call waits on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WaitTarget {
    /// A descriptor of the guest.
    Fd(u32),
    /// The frame's pending open.
    Pending,
    /// The frame's memo: the answer to a question.
    Memo,
}

/// An open under way, and what its descriptor will be.
pub struct PendingOpen {
    pub(crate) pending: Box<dyn Pending>,
    pub(crate) shape: NewDescriptor,
}

/// What a descriptor will be once its file is open.
pub struct NewDescriptor {
    pub(crate) filetype: Filetype,
    /// Where it is, if it is a directory.
    pub(crate) place: Option<Place>,
    pub(crate) flags: Fdflags,
    /// The directions it was opened for, if the file has them.
    pub(crate) access: Access,
    /// The rights it may have at the most; fewer if the file has fewer.
    pub(crate) base: Rights,
    pub(crate) inheriting: Rights,
    pub(crate) identity: (u64, u64),
    pub(crate) path: Cow<'static, str>,
}

impl Frame {
    /// Makes it that of a new call.
    #[inline(always)]
    pub(crate) fn begin(&mut self) {
        let clean = self.start.is_none() && self.waits.is_empty() && self.progress == 0;
        if !clean || self.gave_way || self.memo.is_used() {
            self.clear();
        }
    }

    /// Out of the way of the calls that find it clean, which are nearly all.
    #[cold]
    #[inline(never)]
    fn clear(&mut self) {
        *self = Frame::default();
    }

    /// Before the call is run again.
    pub(crate) fn prepare_rerun(&mut self) {
        self.waits.clear();
        self.deadline = None;
        self.memo.rewind();
    }

    /// Waits for a descriptor; several waits for one become one.
    pub(crate) fn wait(&mut self, target: WaitTarget, want: Interest) {
        match self.waits.iter_mut().find(|(there, _)| *there == target) {
            Some((_, interest)) => *interest = interest.or(want),
            None => self.waits.push((target, want)),
        }
    }

    /// Asks each file that is waited for how its readiness will be known. `watch` is
    /// called for those that the operating system watches. `false` means that one is
    /// ready already, and nothing needs to be waited for.
    pub(crate) fn arm(
        &mut self,
        fds: &mut Fds,
        waker: &Waker,
        watch: &mut dyn FnMut(Fd<'_>, Interest),
    ) -> bool {
        for (on, want) in &self.waits {
            let mut now = false;
            let mut arm = |wait: Wait<'_>| match wait {
                Wait::Now => now = true,
                Wait::Waker | Wait::Never(_) => {}
                Wait::Fd(fd) => watch(fd, *want),
                Wait::FdFor(fd, want) => watch(fd, want),
            };
            match on {
                WaitTarget::Fd(fd) => match fds.any(*fd) {
                    Ok(open) => arm(open.file.wait(*want, waker)),
                    Err(_) => now = true,
                },
                WaitTarget::Pending => match &mut self.pending {
                    Some(open) => arm(open.pending.wait(waker)),
                    None => now = true,
                },
                WaitTarget::Memo => self.memo.wait(waker, arm),
            }
            if now {
                return false;
            }
        }
        true
    }

    /// How long the guest may be left waiting, if not for ever: until the call's own
    /// deadline, or that of the open it waits for.
    pub(crate) fn remaining(&self, clock: &dyn Clock) -> Option<Duration> {
        let own = self.deadline.map(|deadline| deadline.saturating_sub(clock.monotonic()));
        let pending = self.pending.as_ref().and_then(|open| open.pending.deadline());
        let deadline = pending.into_iter().chain(self.memo.deadline()).min();
        let left = deadline.map(|when| when.saturating_duration_since(Instant::now()));
        own.map(Duration::from_nanos).into_iter().chain(left).min()
    }
}
