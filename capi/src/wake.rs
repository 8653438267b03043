//! A waker that calls a C function, at most once each time it is armed.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Wake;

use crate::{Fail, USAGE};

/// A C function to be called, and what it is given.
pub(crate) struct Target {
    pub(crate) wake: extern "C" fn(*mut c_void),
    pub(crate) data: *mut c_void,
}

// SAFETY: the header asks for a function and data that can be used from any thread.
unsafe impl Send for Target {}

/// One for each guest, for as long as it lives: files keep wakers for longer than C keeps its
/// data, and know one that they have already.
#[derive(Default)]
pub(crate) struct Callback {
    state: Mutex<State>,
    returned: Condvar,
}

#[derive(Default)]
struct State {
    armed: Option<Target>,
    /// Whether a thread is in C's function now. Nothing is armed until it has returned, so
    /// there is at most one.
    running: bool,
}

thread_local! {
    /// How many wakes this thread is in, one inside the other.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Refuses a call from inside a wake. [`Callback::disarm`] waits for wakes: for the thread's
/// own it would wait for ever, and two threads in wakes could wait for each other.
pub(crate) fn refuse_inside() -> Result<(), Fail> {
    if DEPTH.get() > 0 {
        return Err(Fail::new(USAGE, "a wake may not step, wait for, arm or free a guest"));
    }
    Ok(())
}

impl Callback {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn arm(&self, target: Target) {
        self.lock().armed = Some(target);
    }

    /// When this has returned C's function neither runs nor will be called, so that its data
    /// may go. The caller is not inside a wake.
    pub(crate) fn disarm(&self) {
        let mut state = self.lock();
        state.armed = None;
        while state.running {
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

impl Wake for Callback {
    fn wake(self: Arc<Self>) {
        let mut state = self.lock();
        let Some(target) = state.armed.take() else { return };
        state.running = true;
        // The function may take its time: it is called when the lock is free again.
        drop(state);
        DEPTH.set(DEPTH.get() + 1);
        (target.wake)(target.data);
        DEPTH.set(DEPTH.get() - 1);
        self.lock().running = false;
        self.returned.notify_all();
    }
}
