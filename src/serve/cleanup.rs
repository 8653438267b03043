//! Freeing memory that is not needed any more: of ended guests in small pieces, and of a busy time
//! in a quiet one.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::guest::Guest;
use crate::pool::Pool;

/// A guest whose memory has grown to this, in bytes, is not freed at once: the kernel takes
/// some 30 µs for each MiB, and many such guests can end in one turn.
const LARGE: usize = 4 << 20;

/// How long such guests are freed in one turn. To fill their memory took ten times as long,
/// so they do not pile up.
const FREEING_PER_TURN: Duration = Duration::from_millis(1);

/// How often a worker checks what is not needed any more.
pub(super) const CLEANUP_EVERY: Duration = Duration::from_secs(2);

/// Fewer guests and connections than this make no difference worth the work.
pub(super) const FEW: usize = 16;

/// The state since memory was last released.
#[derive(Default)]
pub(super) struct Cleanup {
    /// A guest or a connection has come or gone since the last check.
    pub changed: bool,
    /// An alarm is set.
    alarm_set: bool,
    /// The most guests and connections there were at once.
    high_water: usize,
    /// Guests that are over and hold nothing but memory.
    large: VecDeque<Guest>,
}

impl Cleanup {
    /// Whether there is something to be freed in the next turn.
    pub fn has_large(&self) -> bool {
        !self.large.is_empty()
    }

    /// A guest is over, whether it has ended or not: all it held is closed.
    pub fn release(&mut self, pool: &mut Pool, mut guest: Guest) {
        if guest.memory_grown() < LARGE {
            return pool.recycle(guest);
        }
        guest.close();
        self.large.push_back(guest);
    }

    /// Frees memory of guests that are over, for a while.
    pub fn free_for_a_while(&mut self) {
        if !self.has_large() {
            return;
        }
        let until = Instant::now() + FREEING_PER_TURN;
        while self.large.pop_front().is_some() && Instant::now() < until {}
    }

    /// At the end of a turn, with so many guests and connections. Says whether an alarm is to
    /// be set for the next [check](Cleanup::check).
    pub fn end_turn(&mut self, size: usize) -> bool {
        self.high_water = self.high_water.max(size);
        self.changed && !std::mem::replace(&mut self.alarm_set, true)
    }

    /// Says what is to be done, with so many guests and connections.
    pub fn check(&mut self, size: usize) -> Check {
        let changed = std::mem::take(&mut self.changed);
        let less = self.high_water - size.min(self.high_water);
        let give_back = !changed || less >= FEW.max(self.high_water / 4);
        if give_back {
            self.high_water = size;
        }
        // A last check follows the last stir.
        self.alarm_set = changed;
        Check { give_back, again: changed }
    }
}

/// What a [check](Cleanup::check) says.
pub(super) struct Check {
    /// Give memory back: when much less is there than there was, for it is some work, and when
    /// all is quiet, for then it delays no client.
    pub give_back: bool,
    /// Set an alarm for the next one.
    pub again: bool,
}
