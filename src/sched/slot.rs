//! Places of guests, used again.

use std::task::Waker;

use super::queue::Record;
use crate::guest::Guest;
use crate::wasi::watch::Watched;

pub(super) struct Slot {
    pub generation: u64,
    pub waker: Waker,
    pub running: Option<Running>,
}

/// Whether a slot's guest still is in that park.
pub(super) fn is_in_park(slots: &[Slot], slot: usize, park: u64) -> bool {
    let running = slots.get(slot).and_then(|slot| slot.running.as_ref());
    running.is_some_and(|running| running.park == park)
}

/// Whether it still is that guest's.
pub(super) fn is_guest(slots: &[Slot], slot: usize, generation: u64) -> bool {
    slots.get(slot).is_some_and(|slot| slot.generation == generation && slot.running.is_some())
}

pub(super) struct Running {
    pub guest: Box<Guest>,
    pub watched: Watched,
    pub queued: bool,
    pub record: Record,
    /// Number of the park it is in.
    pub park: u64,
}
