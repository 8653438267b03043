//! How a scheduler is woken from other threads.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Wake, Waker};

/// No guest has this slot: waking it only ends the poll.
pub(super) const NO_SLOT: usize = usize::MAX;

/// Where wakers of any thread leave the slots to be run.
pub(super) struct Mailbox {
    slots: Mutex<Vec<usize>>,
    asleep: AtomicBool,
    waker: mio::Waker,
}

impl Mailbox {
    pub fn new(waker: mio::Waker) -> Arc<Mailbox> {
        Arc::new(Mailbox { slots: Mutex::default(), asleep: AtomicBool::new(false), waker })
    }

    /// A waker that puts `slot` in.
    pub fn waker(self: &Arc<Mailbox>, slot: usize) -> Waker {
        Waker::from(Arc::new(SlotWaker { slot, mailbox: self.clone() }))
    }

    /// From here on putting something in rings; `true` if something is in already.
    pub fn begin_wait(&self) -> bool {
        self.asleep.store(true, Ordering::SeqCst);
        !self.slots().is_empty()
    }

    /// The wait is over: a wake needs no system call.
    pub fn end_wait(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    /// Takes everything out.
    pub fn take(&self) -> Vec<usize> {
        std::mem::take(&mut self.slots())
    }

    fn slots(&self) -> MutexGuard<'_, Vec<usize>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, slot: usize) {
        self.slots().push(slot);
        // A system call only if the scheduler waits in its poll.
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
