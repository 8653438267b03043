//! Waiting in place: for guests that are called plainly, and for [`crate::Guest::run`].

use std::sync::Arc;
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use wasmi::{Memory, StoreContextMut};

use super::enter::run;
use super::frame::Args;
use super::{Row, Stop, WasiCtx};

/// Runs a call that has to wait until it doesn't.
#[cold]
pub(super) fn in_place<T>(
    store: &mut StoreContextMut<'_, T>,
    get: impl Fn(&mut T) -> &mut WasiCtx + Copy,
    memory: Memory,
    row: &'static Row,
    args: &Args,
    mut stop: Stop,
) -> Result<i32, wasmi::Error> {
    let mut waiter = None;
    loop {
        let cx = get(store.data_mut());
        match stop {
            Stop::Exit(code) => return Err(wasmi::Error::i32_exit(code.cast_signed())),
            Stop::Errno(errno) => return Ok(errno.code()),
            Stop::Yield => std::thread::yield_now(),
            Stop::Park => {
                let waiter = match &mut waiter {
                    Some(waiter) => waiter,
                    // A call that only gives way needs none.
                    none => none.insert(Waiter::new().map_err(host_error)?),
                };
                waiter.wait(cx, None).map_err(host_error)?;
            }
        }
        let (bytes, data) = memory.data_and_store_mut(&mut *store);
        let cx = get(data);
        cx.frame.prepare_rerun();
        match run(row, args, bytes, cx) {
            Ok(errno) => return Ok(errno),
            Err(next) => stop = next,
        }
    }
}

fn host_error(error: std::io::Error) -> wasmi::Error {
    wasmi::Error::new(format!("the host can't wait for the guest's files: {error}"))
}

/// Blocks a thread until what a context's frame waits for may have happened, or a time has come.
pub(crate) struct Waiter {
    #[cfg(feature = "net")]
    poll: mio::Poll,
    #[cfg(feature = "net")]
    events: mio::Events,
    waker: Waker,
}

#[cfg(feature = "net")]
struct PollWaker(mio::Waker);

#[cfg(feature = "net")]
impl Wake for PollWaker {
    fn wake(self: Arc<Self>) {
        // Nothing can be done about a failure here; the guest's deadline still holds.
        let _ = self.0.wake();
    }
}

#[cfg(feature = "net")]
impl Waiter {
    pub(crate) fn new() -> std::io::Result<Waiter> {
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), mio::Token(usize::MAX))?;
        let waker = Waker::from(Arc::new(PollWaker(waker)));
        Ok(Waiter { poll, events: mio::Events::with_capacity(8), waker })
    }

    pub(crate) fn wait(&mut self, cx: &mut WasiCtx, until: Option<Instant>) -> std::io::Result<()> {
        let mut watched = super::watch::Watched::default();
        let armed = watched.arm(cx, &self.waker, self.poll.registry(), mio::Token(0))?;
        let left = min_timeout(wait_timeout(cx), until.map(time_until));
        let result = if armed { self.poll.poll(&mut self.events, left) } else { Ok(()) };
        watched.disarm(self.poll.registry());
        match result {
            Err(error) if error.kind() != std::io::ErrorKind::Interrupted => Err(error),
            _ => Ok(()),
        }
    }
}

#[cfg(not(feature = "net"))]
struct ThreadWaker(std::thread::Thread);

#[cfg(not(feature = "net"))]
impl Wake for ThreadWaker {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(not(feature = "net"))]
impl Waiter {
    pub(crate) fn new() -> std::io::Result<Waiter> {
        let waker = Waker::from(Arc::new(ThreadWaker(std::thread::current())));
        Ok(Waiter { waker })
    }

    /// Without the network there is nothing to watch a descriptor with: such a one is
    /// simply asked again and again.
    pub(crate) fn wait(&mut self, cx: &mut WasiCtx, until: Option<Instant>) -> std::io::Result<()> {
        let mut watched = false;
        let armed = cx.frame.arm(&mut cx.fds, &self.waker, &mut |_, _| watched = true);
        let left = min_timeout(wait_timeout(cx), until.map(time_until));
        if armed {
            pause(min_timeout(left, watched.then_some(ASK_AGAIN)));
        }
        Ok(())
    }
}

#[cfg(not(feature = "net"))]
const ASK_AGAIN: Duration = Duration::from_millis(5);

#[cfg(all(not(feature = "net"), not(target_family = "wasm")))]
fn pause(at_most: Option<Duration>) {
    match at_most {
        Some(time) => std::thread::park_timeout(time),
        None => std::thread::park(),
    }
}

/// Without threads no other thread could unpark this one, and the standard library panics if it
/// tries.
#[cfg(all(not(feature = "net"), target_family = "wasm"))]
fn pause(at_most: Option<Duration>) {
    std::thread::sleep(at_most.unwrap_or(ASK_AGAIN));
}

impl Waiter {
    /// Wakes the thread that waits.
    pub(crate) fn waker(&self) -> Waker {
        self.waker.clone()
    }
}

/// How long it is until then.
pub(crate) fn time_until(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}

/// The shorter of two waits, neither of which need be bounded.
pub(crate) fn min_timeout(one: Option<Duration>, other: Option<Duration>) -> Option<Duration> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// How long what a context's frame waits for may take.
pub(crate) fn wait_timeout(cx: &mut WasiCtx) -> Option<Duration> {
    cx.frame.remaining(&*cx.clock)
}
