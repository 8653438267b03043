//! Running a guest to its end while another thread may interrupt the run.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Instant;

use crate::guest::{Guest, Pace, RUN_TIME};
use crate::step::{End, Step};
use crate::vfs::stdio::held::Held;
use crate::wasi::Waiter;

/// Interrupts a guest that another thread runs, whether the guest computes or waits.
#[derive(Debug, Default)]
pub struct Interrupt {
    raised: AtomicBool,
    /// Of the thread that waits.
    waker: Mutex<Option<Waker>>,
}

impl Interrupt {
    /// Makes [`Guest::run_until_interrupted`] return, now or as soon as it is called. Stays raised.
    pub fn raise(&self) {
        self.raised.store(true, Ordering::SeqCst);
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        waker.iter().for_each(Waker::wake_by_ref);
    }

    /// Takes it back, so that it can be raised again.
    pub fn clear(&self) {
        self.raised.store(false, Ordering::SeqCst);
    }

    /// Whether the interrupt was raised.
    pub fn is_raised(&self) -> bool {
        self.raised.load(Ordering::SeqCst)
    }
}

impl Guest {
    /// Like [`run_until`](Guest::run_until), and returns [`End::TimedOut`] as well once `interrupt`
    /// is raised.
    pub fn run_until_interrupted(&mut self, until: Option<Instant>, interrupt: &Interrupt) -> End {
        self.run_while(until, interrupt, |_| true).unwrap_or(End::TimedOut)
    }

    /// Like [`run_until_interrupted`](Guest::run_until_interrupted), and returns `None` at the guest's
    /// next read of its standard input. There it can be [captured](crate::Capturable). If it is run
    /// further, it reads. What its standard input has is left there meanwhile, and so is its end.
    pub fn run_to_read(&mut self, until: Option<Instant>, interrupt: &Interrupt) -> Option<End> {
        let held = Arc::new(AtomicBool::new(true));
        // A guest without a standard input never waits for it.
        if let Ok(stdin) = self.context_mut().fds.any(0) {
            Held::install(&mut stdin.file, held.clone());
        }
        let end = self.run_while(until, interrupt, |guest| !guest.waits_for_stdin());
        held.store(false, Ordering::Relaxed);
        end
    }

    /// Runs the guest to its end. `None` if it waits and is not to `wait_on`.
    fn run_while(
        &mut self,
        until: Option<Instant>,
        interrupt: &Interrupt,
        wait_on: impl Fn(&Guest) -> bool,
    ) -> Option<End> {
        let over = |now| interrupt.is_raised() || until.is_some_and(|end| now >= end);
        let mut waiter = None;
        let mut pace = Pace::new();
        let mut now = Instant::now();
        loop {
            let slice = self.slice(&mut pace, now, RUN_TIME);
            now = slice.end_time;
            match slice.step {
                Step::Exited(status) => return Some(End::Exited(status)),
                Step::Trapped(trap) => return Some(End::Trapped(trap)),
                Step::Parked if !wait_on(self) => return None,
                Step::Yielded | Step::Parked if over(now) => return Some(End::TimedOut),
                Step::Yielded => {}
                Step::Parked => {
                    if let Err(error) = self.wait_with(&mut waiter, until, interrupt) {
                        return Some(End::Failed(error));
                    }
                    now = Instant::now();
                }
            }
        }
    }

    fn wait_with(
        &mut self,
        waiter: &mut Option<Waiter>,
        until: Option<Instant>,
        interrupt: &Interrupt,
    ) -> std::io::Result<()> {
        let waiter = match waiter {
            Some(waiter) => waiter,
            none => {
                let waiter = none.insert(Waiter::new()?);
                let mut waker = interrupt.waker.lock().unwrap_or_else(PoisonError::into_inner);
                *waker = Some(waiter.waker());
                drop(waker);
                // An interrupt raised before the waker was set has woken no thread.
                if interrupt.is_raised() {
                    return Ok(());
                }
                waiter
            }
        };
        waiter.wait(self.context_mut(), until)
    }
}
