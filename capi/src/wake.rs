//! A waker that calls a C function, at most once each time it is armed.

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
    /// The thread that is in C's function now.
    running: Option<ThisThread>,
}

/// A thread, as long as it lives. The standard library's ThreadId takes memory in a thread that
/// is not its own, which nobody frees.
#[derive(Clone, Copy, PartialEq)]
struct ThisThread(usize);

impl ThisThread {
    fn new() -> ThisThread {
        thread_local!(static HERE: u8 = const { 0 });
        ThisThread(HERE.with(|here| std::ptr::from_ref(here).addr()))
    }
}

impl Callback {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn arm(&self, target: Target) {
        self.lock().armed = Some(target);
    }

    /// Nothing is called any more once this has returned, so that the data may go. In the
    /// middle of a call, which can't be waited for there, it fails.
    pub(crate) fn disarm(&self) -> Result<(), Fail> {
        let mut state = self.lock();
        state.armed = None;
        while let Some(thread) = state.running {
            if thread == ThisThread::new() {
                return Err(Fail::new(USAGE, "a wake may call nothing of this library"));
            }
            state = self.returned.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        Ok(())
    }
}

impl Wake for Callback {
    fn wake(self: Arc<Self>) {
        let mut state = self.lock();
        let Some(target) = state.armed.take() else { return };
        state.running = Some(ThisThread::new());
        // The function may take its time: it is called when the lock is free again.
        drop(state);
        (target.wake)(target.data);
        self.lock().running = None;
        self.returned.notify_all();
    }
}
