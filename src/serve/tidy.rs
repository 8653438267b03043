//! Memory that is not needed any more: of guests that are over, bit by bit; of a busy time,
//! in a quiet one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::guest::Guest;
use crate::pool::Pool;
use crate::serve::worker::{TIDY, Worker};

/// A guest whose memory has grown to this, in bytes, is not freed at once: the kernel takes
/// some 30 µs for each MiB, and many such guests can end in one turn.
const LARGE: usize = 4 << 20;

/// How long such guests are freed in one turn. To fill their memory took ten times as long,
/// so they do not pile up.
const FREEING_PER_TURN: Duration = Duration::from_millis(1);

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
    /// Guests that are over and hold nothing but memory.
    large: VecDeque<Guest>,
}

impl Tidy {
    /// Whether there is something to be freed in the next turn.
    pub fn owes(&self) -> bool {
        !self.large.is_empty()
    }
}

impl Worker {
    /// A guest is over, whether it has ended or not: all it held is closed.
    pub(super) fn let_go(&mut self, mut guest: Guest) {
        if guest.memory_grown() < LARGE {
            return self.pool.recycle(guest);
        }
        guest.close();
        self.tidy.large.push_back(guest);
    }

    /// Frees memory of guests that are over, for a while.
    pub(super) fn free_some(&mut self) {
        if !self.tidy.owes() {
            return;
        }
        let until = Instant::now() + FREEING_PER_TURN;
        while self.tidy.large.pop_front().is_some() && Instant::now() < until {}
    }

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
