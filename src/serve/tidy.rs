//! What a busy time needed, given back in a quiet one.

use std::time::Duration;

use super::worker::{TIDY, Worker};
use crate::recycle::Pool;

/// How often it is looked at what is not needed any more.
const EVERY: Duration = Duration::from_secs(2);

/// Fewer guests and connections than this make no difference worth the work.
const FEW: usize = 16;

/// Since memory was last given back.
#[derive(Default)]
pub(super) struct Tidy {
    /// A guest or a connection has come or gone since the last look.
    pub stirred: bool,
    /// An alarm is set.
    set: bool,
    /// The most guests and connections there were at once.
    height: usize,
}

impl Worker {
    /// At the end of a turn.
    pub(super) fn watch_height(&mut self) {
        self.tidy.height = self.tidy.height.max(self.size());
        if self.tidy.stirred && !self.tidy.set {
            self.look_later();
        }
    }

    fn look_later(&mut self) {
        self.tidy.set = true;
        self.sched.alarm(self.now + EVERY, TIDY);
    }

    /// Guests and connections, counted as far as they take memory.
    fn size(&self) -> usize {
        self.conns.len() + self.sched.len() + self.ahead.len() + self.pool.idle()
    }

    /// Gives back what is not needed any more: when much less is there than there was, for it
    /// is some work, and when all is quiet, for then it delays nobody.
    pub(super) fn tidy_up(&mut self) {
        self.tidy.set = false;
        self.pool.trim();
        let (stirred, size) = (std::mem::take(&mut self.tidy.stirred), self.size());
        let less = self.tidy.height - size.min(self.tidy.height);
        if !stirred || less >= FEW.max(self.tidy.height / 4) {
            self.sched.shrink();
            self.conns.shrink();
            self.guests.shrink_to(self.guests.len() * 2);
            self.ready.shrink_to(self.ready.len() * 2);
            self.dirty_keys.shrink_to(FEW);
            self.dirty.shrink();
            Pool::give_back();
            self.tidy.height = size;
        }
        // A last look follows the last stir.
        if stirred {
            self.look_later();
        }
    }
}
