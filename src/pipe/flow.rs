//! What reader, workers and writer have in common: the queue, the window, and the order.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::Summary;
use super::batch::{Batch, Chunk};

/// Bytes of items and replies that wait, beyond which no guest is started but for the item whose
/// reply is the next to be written. Guests that run by then can add a reply each.
const HELD_MAX: usize = 16 << 20;

/// Chunks that the writer takes at once.
const CHUNKS_MAX: usize = 64;

/// See the [module](self).
pub(super) struct Flow {
    state: Mutex<State>,
    /// The window has room, or the filter has stopped.
    room: Condvar,
    /// The next chunk is there, or no more will be.
    written: Condvar,
    /// Of each worker.
    wakers: Vec<Waker>,
    /// Items under way at the most.
    window: u64,
    /// Bytes that wait.
    held: AtomicUsize,
    /// The place of the next reply.
    next: AtomicU64,
    stopped: AtomicBool,
    items: AtomicU64,
    failed: AtomicU64,
}

#[derive(Default)]
struct State {
    /// By the place of their first item.
    queue: BTreeMap<u64, Batch>,
    done: BTreeMap<u64, Chunk>,
    /// Workers that wait for something in the queue.
    idle: Vec<usize>,
    /// The reader waits for room.
    full: bool,
    /// The writer waits.
    starved: bool,
    /// Places that were given out.
    read: u64,
    /// The reader is done, for this reason.
    ended: Option<InputEnd>,
    stop: Option<Stop>,
}

/// How the input has ended.
pub(super) enum InputEnd {
    Whole,
    Failed(io::Error),
    Broken(u64, String),
}

/// Why the filter ends before its input.
pub(super) enum Stop {
    /// By its [handle](super::PipeHandle), or as the writer wants.
    Asked,
    /// Nothing can be run.
    Worker(io::Error),
}

/// What there is for a worker.
pub(super) enum Work {
    Batch(Batch),
    /// Nothing now. Its waker is woken.
    Wait,
    /// Nothing any more.
    Over,
}

/// What there is for the writer.
pub(super) enum WriterWork {
    Chunks(Vec<Chunk>),
    /// All items are answered.
    End(InputEnd),
    Stopped(Stop),
}

impl Flow {
    pub fn new(window: usize, wakers: Vec<Waker>) -> Flow {
        Flow {
            state: Mutex::default(),
            room: Condvar::new(),
            written: Condvar::new(),
            wakers,
            window: window.max(1) as u64,
            held: AtomicUsize::new(0),
            next: AtomicU64::new(0),
            stopped: AtomicBool::new(false),
            items: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Ends the filter. Only the first reason counts.
    pub fn stop(&self, why: Stop) {
        let mut state = self.state();
        state.stop.get_or_insert(why);
        self.stopped.store(true, Ordering::Release);
        drop(state);
        self.room.notify_all();
        self.written.notify_all();
        self.wakers.iter().for_each(Waker::wake_by_ref);
    }

    // The reader's side.

    /// Adds items, once the window has room for them.
    pub fn submit(&self, batch: Batch) {
        let count = batch.len() as u64;
        let Some(mut state) = self.wait_for_room(count) else { return };
        self.held.fetch_add(batch.size(), Ordering::Relaxed);
        state.read += count;
        state.queue.insert(batch.first, batch);
        self.wake_one(&mut state);
    }

    /// Adds what needs no guest.
    pub fn submit_done(&self, chunk: Chunk) {
        let Some(mut state) = self.wait_for_room(chunk.places) else { return };
        state.read += chunk.places;
        self.add_done(&mut state, chunk);
    }

    /// The input has ended.
    pub fn input_ended(&self, end: InputEnd) {
        let mut state = self.state();
        state.ended = Some(end);
        self.wake_writer(&mut state);
    }

    /// `None` if the filter has stopped.
    fn wait_for_room(&self, count: u64) -> Option<MutexGuard<'_, State>> {
        let mut state = self.state();
        loop {
            if self.stopped() {
                return None;
            }
            let under_way = state.read - self.next.load(Ordering::Relaxed);
            let fits = under_way + count <= self.window && !self.is_full();
            if under_way == 0 || fits {
                return Some(state);
            }
            state.full = true;
            state = self.room.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn is_full(&self) -> bool {
        self.held.load(Ordering::Relaxed) >= HELD_MAX
    }

    // The workers' side.

    /// The next items for a worker.
    pub fn take(&self, worker: usize) -> Work {
        let mut state = self.state();
        state.idle.retain(|idle| *idle != worker);
        if self.stopped() {
            return Work::Over;
        }
        if let Some(first) = state.queue.first_entry()
            && self.may_start(*first.key())
        {
            let batch = first.remove();
            if !state.queue.is_empty() {
                self.wake_one(&mut state);
            }
            return Work::Batch(batch);
        }
        state.idle.push(worker);
        Work::Wait
    }

    /// Whether the guest of the item at this place may be started.
    pub fn may_start(&self, place: u64) -> bool {
        !self.is_full() || place == self.next.load(Ordering::Relaxed)
    }

    /// Gives back items that a worker has taken and not begun.
    pub fn put_back(&self, batch: Batch) {
        if batch.len() > 0 {
            let mut state = self.state();
            state.queue.insert(batch.first, batch);
            self.wake_one(&mut state);
        }
    }

    /// Adds replies.
    pub fn publish(&self, chunk: Chunk) {
        if chunk.places > 0 {
            self.add_done(&mut self.state(), chunk);
        }
    }

    fn add_done(&self, state: &mut State, chunk: Chunk) {
        let size = chunk.size();
        // The items are gone, their replies are there.
        self.held.fetch_add(size, Ordering::Relaxed);
        self.held.fetch_sub(chunk.input, Ordering::Relaxed);
        let is_next = chunk.first == self.next.load(Ordering::Relaxed);
        state.done.insert(chunk.first, chunk);
        if is_next {
            self.wake_writer(state);
        }
    }

    /// To notify is a system call, whether anything waits or not.
    fn wake_writer(&self, state: &mut State) {
        if std::mem::take(&mut state.starved) {
            self.written.notify_one();
        }
    }

    fn wake_one(&self, state: &mut State) {
        if let Some(worker) = state.idle.pop() {
            self.wakers[worker].wake_by_ref();
        }
    }

    // The writer's side.

    /// Waits for the replies whose turn it is, or the end.
    pub fn next_output(&self) -> WriterWork {
        let mut state = self.state();
        loop {
            if let Some(stop) = state.stop.take() {
                return WriterWork::Stopped(stop);
            }
            let mut chunks = Vec::new();
            let mut next = self.next.load(Ordering::Relaxed);
            while chunks.len() < CHUNKS_MAX
                && let Some(chunk) = state.done.remove(&next)
            {
                next += chunk.places;
                chunks.push(chunk);
            }
            if !chunks.is_empty() {
                self.next.store(next, Ordering::Relaxed);
                self.advanced(&mut state);
                return WriterWork::Chunks(chunks);
            }
            if state.read == next
                && let Some(end) = state.ended.take()
            {
                return WriterWork::End(end);
            }
            state.starved = true;
            state = self.written.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// So many bytes of replies are written, of so many items.
    pub fn wrote(&self, bytes: usize, items: u64, failed: u64) {
        self.items.fetch_add(items, Ordering::Relaxed);
        self.failed.fetch_add(failed, Ordering::Relaxed);
        let before = self.held.fetch_sub(bytes, Ordering::Relaxed);
        if before >= HELD_MAX {
            self.advanced(&mut self.state());
        }
    }

    /// There is more room, and another item is the next one.
    fn advanced(&self, state: &mut State) {
        let under_way = state.read - self.next.load(Ordering::Relaxed);
        // Not for each item: the reader is woken for half a window.
        if state.full && under_way <= self.window / 2 {
            state.full = false;
            self.room.notify_one();
        }
        if !state.queue.is_empty() {
            self.wake_one(state);
        }
    }

    pub fn progress(&self) -> Summary {
        Summary {
            items: self.items.load(Ordering::Relaxed),
            failed: self.failed.load(Ordering::Relaxed),
        }
    }
}
