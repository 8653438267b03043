//! Running the jobs of a worker's connections.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use mio::unix::SourceFd;
use mio::{Interest, Token};

use super::cleanup::Cleanup;
use super::client::wire::Stage;
use super::config::Unit;
use super::conn::protocol::{Job, Stdin};
use super::conn::session::{ActionHost, PollInterest, Session};
use super::from::DriverTurn;
use super::guests::Guests;
use super::observe::logging::TARGET;
use super::observe::metrics::{Counters, Refusal, add};
use super::observe::outcome::{Outcome, of_end};
use super::observe::reporter::{Report, Reporter};
use super::shared::{Shared, WorkerHandle};
use super::worker::EXPIRY;
use crate::guest::{FIRST_FUEL, Guest};
use crate::sched::{GuestId, Scheduler};
use crate::step::{End, Step};

const SCRATCH: usize = 64 << 10;

/// Bytes of a page, as the metrics count them.
const PAGE_BYTES: u64 = 4096;

/// The state of a worker apart from its door and its connections. Carries out what these ask for.
pub(super) struct Jobs {
    pub shared: Arc<Shared>,
    pub handle: Arc<WorkerHandle>,
    pub sched: Scheduler,
    pub guests: Guests,
    pub reporter: Arc<Reporter>,
    pub cleanup: Cleanup,
    /// The connection of each guest.
    pub owners: HashMap<GuestId, usize>,
    /// Connections that want a turn of their own.
    pub ready: VecDeque<usize>,
    /// Set for the status page, whose clients are not counted and logged.
    pub quiet: bool,
    /// When this turn of the worker began.
    pub now: Instant,
    /// An alarm is set for guests that were run ahead.
    expiry_set: bool,
    scratch: Box<[u8]>,
}

impl Jobs {
    pub fn new(
        shared: Arc<Shared>,
        handle: Arc<WorkerHandle>,
        sched: Scheduler,
        ahead: usize,
        quiet: bool,
    ) -> Jobs {
        let reporter = Arc::new(Reporter::new(&shared.config.name, handle.clone()));
        Jobs {
            guests: Guests::new(shared.clone(), reporter.clone(), ahead),
            shared,
            handle,
            sched,
            reporter,
            cleanup: Cleanup::default(),
            owners: HashMap::new(),
            ready: VecDeque::new(),
            quiet,
            expiry_set: false,
            now: Instant::now(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
        }
    }

    pub fn counters(&self) -> &Counters {
        &self.handle.counters
    }

    /// Adds up the memory of live guests.
    pub fn update_memory_gauge(&self) {
        let guests = self.owners.keys().filter_map(|id| self.sched.guest(*id));
        let guests = guests.chain(self.guests.ahead.guests());
        let memory: usize = guests.map(|guest| guest.context().limits.used).sum();
        self.counters().memory.store(memory as u64, Relaxed);
    }

    /// Assigns a guest of the scheduler to a connection.
    fn assign_guest(&mut self, session: &mut Session, id: GuestId) {
        session.guest = Some(id);
        self.owners.insert(id, session.key);
        session.link.watch_output();
    }

    /// Takes the guest of a connection from the scheduler. A guest that has just ended stays the
    /// connection's until its event is handled, in this turn.
    pub fn take_guest(&mut self, session: &mut Session) -> Option<Guest> {
        let guest = session.guest.and_then(|id| self.sched.cancel(id))?;
        session.guest.take().map(|id| self.owners.remove(&id));
        Some(*guest)
    }

    /// A guest may have asked for more than its line, which ends it.
    pub fn end_if_replied(&mut self, session: &mut Session) {
        let guest = session.guest.and_then(|id| self.sched.guest(id));
        if guest.is_some_and(|guest| is_replied(session, guest))
            && let Some(guest) = self.take_guest(session)
        {
            self.guest_ended(session, End::Exited(0), guest);
        }
    }

    /// A guest has come to its end. Returns the time now.
    pub fn guest_ended(&mut self, session: &mut Session, end: End, guest: Guest) -> Instant {
        let (outcome, why) = of_end(end, guest.context().limits.refused);
        let outcome = session.link.io().outcome(outcome);
        self.job_ended(session, outcome, &why, guest)
    }

    /// Counts and logs the end of a job, and releases its guest. Returns the time now.
    fn job_ended(
        &mut self,
        session: &mut Session,
        outcome: Outcome,
        why: &str,
        guest: Guest,
    ) -> Instant {
        let client = session.link.peer();
        let fuel = guest.fuel_used();
        let cpu = guest.cpu_used();
        let cx = guest.context();
        let memory_peak = cx.memory_peak();
        let memory_refused = cx.limits.refused;
        let fds_refused = cx.fds.refused;
        if let Some(look) = self.shared.config.post_mortem.as_ref().filter(|_| outcome.is_crash()) {
            look(&format!("{}: {why}", outcome.name()), session.started.elapsed(), &guest);
        }
        // The last lines of its stderr are logged before its end.
        self.release(guest);
        let now = Instant::now();
        let elapsed = now.saturating_duration_since(session.started);
        let (counts, late) = {
            let io = session.link.io();
            (io.counts(), io.replied_late())
        };
        let (bytes_in, bytes_out) = counts;
        if late && self.guests.reply_late() {
            self.reporter.replies_late();
        }
        if memory_refused.is_some() || fds_refused {
            self.reporter.guest_refused(client, memory_refused, fds_refused);
        }
        let report =
            Report { client, outcome, why, elapsed, cpu, fuel, bytes_in, bytes_out, memory_peak };
        self.reporter.ended(&report);
        if let Some(message) = &mut session.message {
            message.outcome = outcome;
            message.why = why.to_owned();
        }
        session.ended(outcome, now);
        now
    }

    /// Publishes what there is, with so many connections.
    pub fn publish_gauges(&self, conns: usize) {
        let counters = self.counters();
        let ahead = self.guests.ahead.len();
        counters.conns_open.store(conns as u64, Relaxed);
        counters.guests.store((self.sched.len() + ahead) as u64, Relaxed);
        counters.guests_parked.store((self.sched.parked() + ahead) as u64, Relaxed);
        counters.guests_ahead.store(ahead as u64, Relaxed);
        let restored = self.guests.pool.restored_bytes() / PAGE_BYTES;
        counters.pages_restored.store(restored, Relaxed);
    }

    /// What a driver needs in this turn.
    pub fn driver_turn(&mut self) -> DriverTurn<'_> {
        DriverTurn {
            registry: self.sched.registry(),
            reporter: &self.reporter,
            scratch: &mut self.scratch,
            now: self.now,
        }
    }

    /// Guests, counted as far as they take memory.
    pub fn size(&self) -> usize {
        self.sched.len() + self.guests.ahead.len() + self.guests.pool.idle()
    }

    pub fn release(&mut self, guest: Guest) {
        self.cleanup.release(&mut self.guests.pool, guest);
    }

    /// Runs one guest ahead of its job for a slice.
    pub fn run_ahead(&mut self) {
        self.cleanup.changed = true;
        if let Err(why) = self.guests.run_ahead(self.now) {
            self.reporter.not_ahead(&why);
        }
        self.schedule_expiry();
    }

    /// The time to live of some of those is over.
    pub fn expire_ahead(&mut self) {
        self.expiry_set = false;
        self.guests.expire_ahead(self.now);
        self.schedule_expiry();
    }

    /// One alarm is enough: it looks for the next.
    fn schedule_expiry(&mut self) {
        if let Some(when) = self.guests.ahead.next_expiry().filter(|_| !self.expiry_set) {
            self.expiry_set = true;
            self.sched.alarm(when, EXPIRY);
        }
    }
}

/// Whether a guest that serves line after line is done with its own.
fn is_replied(session: &Session, guest: &Guest) -> bool {
    session.link.io().is_replied() && guest.waits_for_stdin()
}

impl ActionHost for Jobs {
    fn now(&self) -> Instant {
        self.now
    }

    fn scratch(&mut self) -> &mut [u8] {
        &mut self.scratch
    }

    /// Most guests end within their first slice and never see the scheduler.
    fn start(&mut self, session: &mut Session, job: Job, now: Instant) -> Instant {
        session.started = now;
        self.cleanup.changed = true;
        let whole = job.stdin == Stdin::Wire;
        let (mut guest, waited) = self.guests.make(session, &job.env, whole);
        if waited {
            let counters = self.counters();
            counters.guests_ahead.store(self.guests.ahead.len() as u64, Relaxed);
            add(&counters.ahead_taken, 1);
        }
        if self.guests.expects_one_line() {
            match (self.shared.config.unit, job.stdin) {
                (Unit::Http, _) => session.link.io().expect_one_request(),
                (_, Stdin::Whole) => session.link.io().expect_one_line(),
                _ => {}
            }
        }
        if self.guests.is_warm() {
            add(&self.counters().warm_lines, 1);
        }
        let until = session.conn.job_until(&job, now);
        let step = if whole { Step::Parked } else { guest.step_untimed(FIRST_FUEL) };
        if !whole {
            // Reading the thread's CPU clock would cost a line more than it is worth.
            guest.count_cpu(now.elapsed());
        }
        let id = match step {
            Step::Exited(code) => return self.guest_ended(session, End::Exited(code), guest),
            Step::Trapped(trap) => return self.guest_ended(session, End::Trapped(trap), guest),
            Step::Yielded => self.sched.spawn_computing(guest, until),
            Step::Parked if is_replied(session, &guest) => {
                return self.guest_ended(session, End::Exited(0), guest);
            }
            Step::Parked => self.sched.spawn(guest, until),
        };
        self.assign_guest(session, id);
        now
    }

    fn cancel(&mut self, session: &mut Session, outcome: Outcome, why: &str) {
        let Some(guest) = self.take_guest(session) else { return };
        if outcome == Outcome::Idle {
            add(&self.counters().conns_idle, 1);
        }
        self.job_ended(session, outcome, why, guest);
    }

    fn report_refused(&mut self, session: &Session, outcome: Outcome) {
        if self.quiet {
            return;
        }
        let (began, bytes) = session.conn.waiting();
        let waited = began.map(|began| self.now.saturating_duration_since(began));
        self.reporter.refused(session.link.peer(), outcome, waited.unwrap_or_default(), bytes);
    }

    fn report_opened(&mut self, session: &Session, stage: Stage, result: &io::Result<()>) {
        match (result, stage) {
            #[cfg(feature = "tls")]
            (Ok(()), Stage::Handshake) => add(&self.counters().handshakes, 1),
            (Ok(()), _) => {}
            (Err(error), stage) => self.reporter.not_opened(session.link.peer(), stage, error),
        }
    }

    fn report_not_admitted(&mut self, session: &Session, refusal: Refusal) {
        self.reporter.connection_refused(session.link.peer(), refusal, self.now);
    }

    fn report_idle(&mut self, session: &Session, why: &str) {
        let stage = session.link.wire.opening();
        stage.inspect(|stage| self.reporter.count_not_opened(*stage));
        let why = if stage == Some(Stage::Header) { "no PROXY header in time" } else { why };
        if !self.quiet {
            self.reporter.idle(session.link.peer(), why);
        }
    }

    fn queue(&mut self, session: &mut Session) {
        if !std::mem::replace(&mut session.queued, true) {
            self.ready.push_back(session.key);
        }
    }

    fn watch(&mut self, session: &mut Session, wanted: PollInterest) -> io::Result<()> {
        let before = std::mem::replace(&mut session.watched, wanted);
        let Some(fd) = session.link.wire.descriptor() else { return Ok(()) };
        let registry = self.sched.registry();
        let token = Token(session.key);
        let interest = match wanted {
            PollInterest::Both => Interest::READABLE | Interest::WRITABLE,
            PollInterest::Reads | PollInterest::Not => Interest::READABLE,
        };
        let result = match before {
            PollInterest::Not => registry.register(&mut SourceFd(&fd), token, interest),
            before if before != wanted => registry.reregister(&mut SourceFd(&fd), token, interest),
            _ => Ok(()),
        };
        result.inspect_err(|error| {
            log::debug!(target: TARGET, client:% = session.link.peer(), error:% = error; "connection dropped");
        })
    }
}
