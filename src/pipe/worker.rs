//! A worker: runs a guest for each item.

use std::borrow::Cow;
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::batch::{Batch, Chunk, Saying};
use super::config::{OnError, PipeConfig};
use super::flow::{Flow, Stop, Work};
use super::framing::Framing;
use super::slot::{ItemErrors, ItemInput, ItemOutput, Slot};
use super::writer::FailedItem;
use crate::guest::{FIRST_FUEL, Guest};
use crate::pool::Pool;
use crate::sched::{Event, GuestId, Scheduler};
use crate::serve::{Outcome, of_end};
use crate::step::{End, Step};
use crate::wasi::{MemoryBudget, Strings, WasiCtx};

/// Slots kept for the next items.
const SLOTS_MAX: usize = 256;

/// What all workers have in common.
pub(super) struct Shared {
    pub config: PipeConfig,
    args: Strings,
    env: Strings,
    memory: Arc<MemoryBudget>,
}

impl Shared {
    pub fn new(config: PipeConfig) -> io::Result<Shared> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let args = Strings::arguments(&config.name, &config.args).map_err(invalid)?;
        let env = Strings::environment(&config.env).map_err(invalid)?;
        let memory = Arc::new(MemoryBudget::new(config.limits.memory_total));
        Ok(Shared { config, args, env, memory })
    }
}

/// See the [module](self).
pub(super) struct Worker {
    shared: Arc<Shared>,
    flow: Arc<Flow>,
    index: usize,
    sched: Scheduler,
    pool: Pool,
    slots: Vec<Arc<Slot>>,
    /// Items whose guests did not end in their first slice.
    running: HashMap<GuestId, Running>,
    /// The program replies to an item only when its input ends.
    replies_late: bool,
}

/// An item that a guest works on.
struct Running {
    place: u64,
    number: u64,
    slot: Arc<Slot>,
    started: Instant,
}

impl Worker {
    pub fn new(shared: Arc<Shared>, flow: Arc<Flow>, index: usize, sched: Scheduler) -> Worker {
        let pool = Pool::new(&shared.config.program);
        let slots = Vec::new();
        let running = HashMap::new();
        Worker { shared, flow, index, sched, pool, slots, running, replies_late: false }
    }

    /// The loop of the thread.
    pub fn run(mut self) {
        let guard = StopOnPanic(self.flow.clone());
        let mut events = Vec::new();
        loop {
            // A worker that computes takes nothing more: another may be idle.
            let computes = self.sched.len() > self.sched.parked();
            let idle = match if computes { Work::Wait } else { self.flow.take(self.index) } {
                Work::Over => break,
                Work::Batch(batch) => {
                    self.batch(batch);
                    Some(Duration::ZERO)
                }
                Work::Wait => None,
            };
            if self.flow.stopped() {
                break;
            }
            if idle.is_none() || !self.sched.is_empty() {
                if let Err(error) = self.sched.turn(idle, &mut events) {
                    self.flow.stop(Stop::Worker(error));
                    break;
                }
                self.handle(&mut events);
            }
        }
        std::mem::forget(guard);
    }

    fn handle(&mut self, events: &mut Vec<Event>) {
        for event in events.drain(..) {
            if let Event::Ended(id, end, guest) = event
                && let Some(running) = self.running.remove(&id)
            {
                let mut chunk = Chunk::new(running.place);
                self.ended(running, end, *guest, &mut chunk);
                self.flow.publish(chunk);
            }
        }
        // A guest whose reply is too long, or that asks for another item, waits for ever.
        let waits = |id: GuestId, running: &Running| {
            let streams = running.slot.streams();
            let asks = || self.sched.guest(id).is_some_and(Guest::waits_for_stdin);
            streams.too_long || streams.is_replied() && asks()
        };
        let ids: Vec<GuestId> = self
            .running
            .iter()
            .filter(|(id, running)| waits(**id, running))
            .map(|(id, _)| *id)
            .collect();
        for id in ids {
            if let (Some(running), Some(guest)) = (self.running.remove(&id), self.sched.cancel(id))
            {
                let mut chunk = Chunk::new(running.place);
                self.ended(running, End::Exited(0), *guest, &mut chunk);
                self.flow.publish(chunk);
            }
        }
    }

    /// Runs the guests of a batch, until one of them takes long.
    fn batch(&mut self, mut batch: Batch) {
        let mut chunk = Chunk::new(batch.first);
        while batch.len() > 0 {
            if chunk.places > 0 && !self.flow.may_start(batch.first) {
                break;
            }
            if !self.start(&mut batch, &mut chunk) {
                break;
            }
        }
        self.flow.publish(chunk);
        self.flow.put_back(batch);
    }

    /// Runs the guest of the next item for its first slice. Says whether it has ended.
    fn start(&mut self, batch: &mut Batch, chunk: &mut Chunk) -> bool {
        let Some((place, number, item)) = batch.next() else { return false };
        let slot = self.slots.pop().unwrap_or_default();
        slot.begin(item, self.shared.config.limits.max_reply);
        let running = Running { place, number, slot, started: Instant::now() };
        let mut guest = self.guest(&running);
        if self.pool.program().warmth().is_some() && !self.replies_late {
            running.slot.expect_one_item();
        }
        // Most guests end within their first slice and never see the scheduler.
        let step = guest.step_untimed(FIRST_FUEL);
        let end = match step {
            Step::Exited(code) => End::Exited(code),
            Step::Trapped(trap) => End::Trapped(trap),
            Step::Parked if running.slot.streams().too_long => End::TimedOut,
            Step::Parked if running.slot.streams().is_replied() && guest.waits_for_stdin() => {
                End::Exited(0)
            }
            Step::Parked | Step::Yielded => {
                let until = running.started.checked_add(self.shared.config.limits.timeout);
                let id = match step {
                    Step::Yielded => self.sched.spawn_computing(guest, until),
                    _ => self.sched.spawn(guest, until),
                };
                self.running.insert(id, running);
                return false;
            }
        };
        let failed = self.ended(running, end, guest, chunk);
        // In this case nothing after it is written.
        !(failed && self.shared.config.on_error == OnError::Fail)
    }

    fn guest(&mut self, running: &Running) -> Guest {
        let Shared { config, args, env, memory } = &*self.shared;
        let builder = WasiCtx::builder()
            .args(args.clone())
            .envs(env.clone())
            .namespace(self.pool.namespace(&*config.namespace))
            .memory_max(config.limits.memory)
            .memory_budget(memory.clone())
            .fds_max(config.limits.max_fds)
            .stdin(ItemInput(running.slot.clone()))
            .stdout(ItemOutput(running.slot.clone()))
            .stderr(ItemErrors(running.slot.clone()));
        let cx = match &config.prepare {
            Some(prepare) => prepare(running.number, builder).build(),
            None => builder.build(),
        };
        let mut guest = self.pool.spawn(cx);
        if let Some(fuel) = config.limits.fuel {
            guest.limit_fuel(fuel);
        }
        if let Some(cpu) = config.limits.cpu {
            guest.limit_cpu(cpu);
        }
        guest
    }

    /// Adds what became of an item to a chunk, and releases its guest. Says whether it has failed.
    fn ended(&mut self, running: Running, end: End, guest: Guest, chunk: &mut Chunk) -> bool {
        let Running { number, slot, started, .. } = running;
        let config = &self.shared.config;
        let (outcome, why) = match slot.streams().too_long {
            true => (Outcome::ReplyTooLong, Cow::Borrowed("")),
            false => of_end(end, guest.context().limits.refused),
        };
        if let Some(look) = config.post_mortem.as_ref().filter(|_| outcome.is_crash()) {
            look(&format!("{}: {why}", outcome.name()), started.elapsed(), &guest);
        }
        // Its files are closed with it, so that the slot is free.
        self.pool.recycle(guest);
        let streams = slot.streams();
        if streams.replied_late() && !std::mem::replace(&mut self.replies_late, true) {
            log::warn!(
                "{}: replies are sent only when the guests exit: flush standard output after each \
                 line (python -u)",
                config.name
            );
        }
        let closed = config.framing != Framing::Lines || streams.item.ends_with(b"\n");
        let exact = config.exact && config.framing == Framing::Lines;
        let before = chunk.output.len();
        let wrong = match outcome {
            Outcome::Ok => {
                let wrong = if exact { not_a_line(&streams.reply) } else { None };
                let encoded = config.framing.encode(&streams.reply, closed, &mut chunk.output);
                wrong.or(encoded.err().map(str::to_owned))
            }
            outcome => Some(self.reason(outcome, &why)),
        };
        if wrong.is_some() {
            chunk.output.truncate(before);
            if config.on_error == OnError::Pass {
                config.framing.pass(&streams.item, closed, &mut chunk.output);
            }
        }
        if !streams.errors.is_empty() {
            chunk.note(Saying::Errors(number, errors(&streams.errors, streams.errors_lost)));
        }
        let failed = wrong.is_some();
        if let Some(why) = wrong {
            chunk.note(Saying::Failed(FailedItem { number, why }));
        }
        chunk.count(streams.item.len());
        drop(streams);
        self.keep(slot);
        failed
    }

    /// Why an item has failed, with what to do about it.
    fn reason(&self, outcome: Outcome, why: &str) -> String {
        let limits = &self.shared.config.limits;
        match outcome {
            Outcome::Timeout => {
                let time = limits.timeout;
                format!("timed out after {time:?} (raise the limit with --timeout)")
            }
            Outcome::ReplyTooLong if why.is_empty() => {
                let max = limits.max_reply;
                format!("its reply is longer than {max} bytes (raise the limit with --max-reply)")
            }
            _ => why.to_owned(),
        }
    }

    /// Keeps a slot for the next item, unless a file of its guest is left somewhere.
    fn keep(&mut self, slot: Arc<Slot>) {
        if self.slots.len() < SLOTS_MAX && Arc::strong_count(&slot) == 1 {
            slot.shrink();
            self.slots.push(slot);
        }
    }
}

/// What is wrong with a reply that should be one line.
fn not_a_line(reply: &[u8]) -> Option<String> {
    let newlines = reply.iter().filter(|byte| **byte == b'\n').count();
    let lines = newlines + usize::from(reply.last().is_some_and(|last| *last != b'\n'));
    match lines {
        1 => None,
        lines => Some(format!("its reply has {lines} lines (--exact wants one)")),
    }
}

/// What was kept of a guest's standard error, and how much was not.
fn errors(kept: &[u8], lost: u64) -> Vec<u8> {
    let mut text = kept.to_vec();
    if lost > 0 {
        text.extend_from_slice(
            format!("\n({lost} more bytes of its stderr were dropped)").as_bytes(),
        );
    }
    text
}

/// Ends the others if a worker panics: they would wait for its items for ever.
struct StopOnPanic(Arc<Flow>);

impl Drop for StopOnPanic {
    fn drop(&mut self) {
        self.0.stop(Stop::Worker(io::Error::other("a worker panicked")));
    }
}
