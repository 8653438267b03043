//! How a waker, on whatever thread, reaches the scheduler.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// Where wakers of any thread leave the slots to be run.
pub(super) struct Mailbox {
    slots: Mutex<Vec<usize>>,
    asleep: AtomicBool,
    waker: mio::Waker,
}

impl Mailbox {
    /// One that ends a poll with `waker`.
    pub(super) fn new(waker: mio::Waker) -> Mailbox {
        Mailbox { slots: Mutex::default(), asleep: AtomicBool::new(false), waker }
    }

    /// A waker that leaves this slot here.
    pub(super) fn waker(self: &Arc<Self>, slot: usize) -> Waker {
        Waker::from(Arc::new(SlotWaker { slot, mailbox: self.clone() }))
    }

    /// Leaves a slot here, and wakes nobody.
    pub(super) fn leave(&self, slot: usize) {
        self.slots().push(slot);
    }

    /// Everything that was left here.
    pub(super) fn take(&self) -> Vec<usize> {
        std::mem::take(&mut *self.slots())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots().is_empty()
    }

    /// Whether there is somebody to be woken by what comes.
    pub(super) fn set_asleep(&self, asleep: bool) {
        self.asleep.store(asleep, Ordering::SeqCst);
    }

    fn slots(&self) -> MutexGuard<'_, Vec<usize>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, slot: usize) {
        self.leave(slot);
        // A system call only if there is somebody to be woken.
        if self.asleep.swap(false, Ordering::SeqCst) {
            // If this fails the loop still comes round with its next timer or event.
            let _ = self.waker.wake();
        }
    }
}

struct SlotWaker {
    slot: usize,
    mailbox: Arc<Mailbox>,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        self.mailbox.put(self.slot);
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.mailbox.put(self.slot);
    }
}
