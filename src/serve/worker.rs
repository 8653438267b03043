//! A worker: one thread, one scheduler, its connections. It carries out what they decide.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use mio::Token;

use super::admission::Ticket;
use super::cleanup::{CLEANUP_EVERY, FEW};
use super::client::link::{Dirty, Link};
use super::client::wire::Stage;
use super::config::DRAIN_MAX;
use super::conn::Conn;
use super::conn::protocol::Service;
use super::conn::session::{ActionHost, Disposition, Readiness, Session, TurnTime, advance};
use super::conn::table::{FETCHED, LISTENER, Table};
use super::door::tcp::{is_final, is_of_connection};
use super::door::{ACCEPTS_PER_TURN, Accepted, Arrival, Door, PAUSE, Source};
use super::from::message::{self, Delivery};
use super::from::nats::driver::NatsDriver;
use super::jobs::Jobs;
use super::observe::metrics::{Refusal, add};
use super::observe::outcome::Outcome;
use super::shared::{Shared, WorkerHandle};
use crate::pool::Pool;
use crate::sched::{Event, Scheduler};

/// Alarms that are not a connection's.
const ACCEPT_AGAIN: u64 = u64::MAX;
const DRAINED: u64 = u64::MAX - 1;
const TURN: u64 = u64::MAX - 2;
const CLEANUP: u64 = u64::MAX - 3;
pub(super) const EXPIRY: u64 = u64::MAX - 4;
const STOP: u64 = u64::MAX - 5;
const FETCH: u64 = u64::MAX - 6;

/// How often a worker turns at least, if there is a status page to report on it. The memory of its
/// guests is added up then.
pub(super) const TURN_EVERY: Duration = Duration::from_secs(1);

/// How long connections with requests waiting have their turns in one turn of the worker, and how
/// long if more clients wait to be accepted.
const READY_PER_TURN: Duration = Duration::from_millis(10);
const READY_AMONG_ACCEPTS: Duration = Duration::from_millis(2);

/// How long one of them has before it is the next one's turn.
const TURN_OF_ONE: Duration = Duration::from_millis(1);

/// See the [module](self).
pub(super) struct Worker {
    service: Service,
    jobs: Jobs,
    door: Door,
    /// Where messages come from.
    nats: Option<NatsDriver>,
    sessions: Table,
    /// Connections whose guests wrote something.
    dirty: Arc<Dirty>,
    dirty_keys: Vec<usize>,
    /// The server is about to stop: connections close after a reply.
    retiring: bool,
    draining: bool,
    /// [`DRAIN_MAX`] is over.
    drain_expired: bool,
}

impl Worker {
    pub fn new(
        shared: Arc<Shared>,
        handle: Arc<WorkerHandle>,
        service: Service,
        sched: Scheduler,
        sources: Vec<Box<dyn Source>>,
    ) -> io::Result<Worker> {
        let door = Door::new(sources, sched.registry())?;
        let config = if service.of_status { None } else { Some(&shared.config) };
        let nats = config.and_then(|config| NatsDriver::of(config, sched.waker(), Instant::now()));
        let jobs = Jobs::new(shared, handle, sched, service.ahead, service.of_status);
        Ok(Worker {
            service,
            jobs,
            door,
            nats,
            sessions: Table::default(),
            dirty: Arc::default(),
            dirty_keys: Vec::new(),
            retiring: false,
            draining: false,
            drain_expired: false,
        })
    }

    /// The loop of the thread. However it ends, the others end with it.
    pub fn run(mut self) -> io::Result<()> {
        if self.jobs.shared.reports {
            self.jobs.sched.alarm(self.jobs.now + TURN_EVERY, TURN);
        }
        // Dials in its first turn.
        self.flush_messages();
        let mut events = Vec::new();
        let result = loop {
            if let Err(error) = self.turn(&mut events) {
                break Err(error);
            }
            let fetches = self.nats.as_ref().is_some_and(|nats| !nats.is_over());
            if self.drain_expired || self.draining && self.sessions.len() == 0 && !fetches {
                break Ok(());
            }
        };
        if result.is_err() {
            self.jobs.shared.stop();
        }
        self.abandon();
        // Draining by now, it only gives back what another has left for it.
        self.draining = true;
        self.take_mail();
        result
    }

    fn turn(&mut self, events: &mut Vec<Event>) -> io::Result<()> {
        let fetches = self.nats.as_ref().is_some_and(NatsDriver::is_busy);
        let busy = !self.jobs.ready.is_empty() || self.door.pending() || fetches;
        let at_once = busy || self.wants_ahead() || self.jobs.cleanup.has_large();
        self.jobs.sched.turn(at_once.then_some(Duration::ZERO), events)?;
        self.jobs.now = Instant::now();
        self.jobs.shared.turned(&self.jobs.handle, self.jobs.now);
        let quiet = events.is_empty() && !busy;
        self.jobs.guests.update_program();
        if let Some(until) = self.jobs.shared.drained_at().filter(|_| !self.retiring) {
            self.retire(until);
        }
        if self.stopping() && !self.draining {
            self.drain();
        }
        events.drain(..).for_each(|event| self.on_event(event));
        self.accept()?;
        self.take_mail();
        self.run_messages();
        self.run_ready();
        // Last, for what guests wrote in this turn goes out in one piece.
        self.advance_dirty();
        self.flush_messages();
        if quiet && self.wants_ahead() {
            self.jobs.run_ahead();
        }
        self.jobs.cleanup.free_for_a_while();
        if self.jobs.cleanup.end_turn(self.sessions.len() + self.jobs.size()) {
            self.jobs.sched.alarm(self.jobs.now + CLEANUP_EVERY, CLEANUP);
        }
        self.jobs.publish_gauges(self.sessions.len());
        Ok(())
    }

    fn stopping(&self) -> bool {
        let flag = if self.service.of_status {
            &self.jobs.shared.ended
        } else {
            &self.jobs.shared.stopping
        };
        flag.load(std::sync::atomic::Ordering::Acquire)
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Io { token: Token(FETCHED), readable, writable, read_closed, hangup } => {
                if let Some(nats) = &mut self.nats {
                    nats.on_event(readable || read_closed || hangup, writable || hangup);
                }
            }
            Event::Io { token: Token(token), .. } if token >= LISTENER => {
                self.door.on_event(token);
            }
            Event::Io { token: Token(key), readable, writable, read_closed, hangup } => {
                let readiness = Readiness { readable, writable, read_closed, hangup };
                self.with_session(key, |worker, session| {
                    session.on_event(readiness, worker.jobs.now)
                });
            }
            Event::Ended(id, end, guest) => {
                let Some(key) = self.jobs.owners.remove(&id) else { return };
                self.with_session(key, |worker, session| {
                    session.guest = None;
                    worker.jobs.guest_ended(session, end, *guest);
                });
            }
            Event::Time(ACCEPT_AGAIN) => self.door.resume(),
            Event::Time(DRAINED) => self.drain_expired = true,
            Event::Time(STOP) => self.jobs.shared.stop(),
            Event::Time(TURN) => {
                self.jobs.update_memory_gauge();
                self.jobs.sched.alarm(self.jobs.now + TURN_EVERY, TURN);
            }
            Event::Time(FETCH) => self.nats.iter_mut().for_each(NatsDriver::on_alarm),
            Event::Time(CLEANUP) => self.clean_up(),
            Event::Time(EXPIRY) => self.jobs.expire_ahead(),
            Event::Time(slot) => {
                if let Some(mut session) = self.sessions.on_alarm(slot, self.jobs.now) {
                    session.on_deadline(self.jobs.now);
                    self.advance_session(session, None);
                }
            }
        }
    }

    /// Calls `act` with a connection, if it is still there, and advances it.
    fn with_session(&mut self, key: usize, act: impl FnOnce(&mut Worker, &mut Session)) {
        if let Some(mut session) = self.sessions.take(key) {
            act(self, &mut session);
            self.advance_session(session, None);
        }
    }

    fn advance_session(&mut self, mut session: Box<Session>, turn: Option<TurnTime>) {
        match advance(&mut self.jobs, &mut session, turn) {
            Disposition::Open => self.put(session),
            Disposition::Closed => self.close(session),
        }
    }

    /// Puts a connection back in the table.
    fn put(&mut self, session: Box<Session>) {
        if let Some((when, key)) = self.sessions.put(session) {
            self.jobs.sched.alarm(when, key);
        }
    }

    fn close(&mut self, mut session: Box<Session>) {
        self.jobs.cleanup.changed = true;
        let now = self.jobs.now;
        if let (Some(message), Some(nats)) = (session.message.take(), &mut self.nats) {
            nats.finished(&message, now);
        }
        // Not counted here: the code that decided to close has done that.
        if let Some(guest) = self.jobs.take_guest(&mut session) {
            self.jobs.release(guest);
        }
        self.sessions.release(session.key);
        self.jobs.handle.live.fetch_sub(1, Relaxed);
    }

    /// The turns of connections with requests waiting, for a while: in the order in which they
    /// came to have them.
    fn run_ready(&mut self) {
        let mut now = Instant::now();
        let long = if self.door.pending() { READY_AMONG_ACCEPTS } else { READY_PER_TURN };
        let until = now + long;
        for _ in 0..self.jobs.ready.len() {
            let Some(key) = self.jobs.ready.pop_front() else { break };
            if let Some(mut session) = self.sessions.take(key) {
                session.queued = false;
                let own = TurnTime { now, until: until.min(now + TURN_OF_ONE) };
                self.advance_session(session, Some(own));
            }
            now = Instant::now();
            if now >= until {
                break;
            }
        }
    }

    /// Advances the connections whose guests wrote something in the scheduler's turn.
    fn advance_dirty(&mut self) {
        let mut keys = std::mem::take(&mut self.dirty_keys);
        self.dirty.swap(&mut keys);
        for key in keys.drain(..) {
            self.with_session(key, |worker, session| {
                session.link.watch_output();
                worker.jobs.end_if_replied(session);
            });
        }
        self.dirty_keys = keys;
    }

    // Messages.

    /// Has messages fetched, and starts guests for those that have come, for a while.
    fn run_messages(&mut self) {
        let Some(nats) = &mut self.nats else { return };
        nats.advance(&mut self.jobs.driver_turn());
        let mut now = Instant::now();
        let long = if self.door.pending() { READY_AMONG_ACCEPTS } else { READY_PER_TURN };
        let until = now + long;
        while now < until
            && let Some(delivery) = self.nats.as_mut().and_then(|nats| nats.next(now))
        {
            self.run_message(delivery, now);
            now = Instant::now();
        }
    }

    /// Runs a message: it is a connection whose one request is there. Most are over at once.
    fn run_message(&mut self, delivery: Delivery, now: Instant) {
        let Some(ends) = self.nats.as_ref().map(NatsDriver::ends) else { return };
        let key = self.sessions.reserve();
        let dirty = self.dirty.clone();
        let mut session = message::session(delivery, ends, key, dirty, self.service.times, now);
        // It has no client whose addresses could be among its variables.
        session.env = Some(self.jobs.shared.env.clone());
        self.jobs.handle.live.fetch_add(1, Relaxed);
        self.jobs.cleanup.changed = true;
        self.advance_session(session, Some(TurnTime { now, until: now + TURN_OF_ONE }));
    }

    /// Sends replies.
    fn flush_messages(&mut self) {
        let Some(nats) = &mut self.nats else { return };
        nats.flush(&mut self.jobs.driver_turn());
        if let Some(when) = nats.next_alarm() {
            self.jobs.sched.alarm(when, FETCH);
        }
    }

    // Connections.

    /// Accepts what waits, within bounds.
    ///
    /// # Errors
    ///
    /// If nothing is left that will accept anything.
    fn accept(&mut self) -> io::Result<()> {
        for _ in 0..ACCEPTS_PER_TURN {
            match self.door.next() {
                None => return Ok(()),
                // Other workers may have ended: a connection accepted now would be too late.
                Some(Ok(_)) if self.stopping() => {}
                Some(Ok(accepted)) => self.admit(accepted),
                Some(Err(error)) if is_of_connection(&error) => {}
                Some(Err(error)) if is_final(&error) => {
                    self.jobs.reporter.listener_failed(&error);
                    if self.door.has_failed() {
                        return Err(io::Error::other(format!("can't accept connections: {error}")));
                    }
                }
                Some(Err(error)) => {
                    self.jobs.sched.alarm(Instant::now() + PAUSE, ACCEPT_AGAIN);
                    if self.door.pause() && !self.service.of_status {
                        self.jobs.reporter.starved(&error);
                    }
                }
            }
        }
        Ok(())
    }

    fn admit(&mut self, accepted: Accepted) {
        let mut ticket = self.ticket(&accepted);
        if ticket.is_err() && self.service.of_status {
            self.close_oldest();
            ticket = self.ticket(&accepted);
        }
        match ticket {
            Ok(ticket) => self.assign(Arrival { accepted, ticket }),
            Err(refusal) => {
                self.jobs.reporter.connection_refused(accepted.peer, refusal, self.jobs.now);
            }
        }
    }

    /// A place for a connection. That of a proxy is counted for its client, once that is known.
    fn ticket(&self, accepted: &Accepted) -> Result<Ticket, Refusal> {
        accepted.refusal.map_or(Ok(()), Err)?;
        let mut ticket = self.service.admission.ticket()?;
        if accepted.wire.opening() != Some(Stage::Header) {
            ticket.count_for(accepted.peer.ip())?;
        }
        Ok(ticket)
    }

    /// Closes the connection that is open longest: of those that have not asked anything yet, so
    /// that no number of them keeps another from its answer.
    fn close_oldest(&mut self) {
        // Many are accepted at the same time; their keys say in what order.
        let worth = |session: &&Session| {
            (!session.conn.awaits_first_request(), session.opened, session.key)
        };
        let oldest = self.sessions.sessions().min_by_key(worth).map(|session| session.key);
        if let Some(session) = oldest.and_then(|key| self.sessions.take(key)) {
            self.close(session);
        }
        self.jobs.reporter.crowded(self.sessions.len() + 1, self.jobs.now);
    }

    /// Gives a connection to this worker, unless another has clearly fewer.
    fn assign(&mut self, arrival: Arrival) {
        let own = self.jobs.handle.live.load(Relaxed);
        let others = if self.service.of_status { &[][..] } else { &self.jobs.shared.workers };
        let live = |worker: &&Arc<WorkerHandle>| worker.live.load(Relaxed);
        match others.iter().min_by_key(live) {
            Some(other) if live(&other) + 1 + own / 16 < own => {
                other.live.fetch_add(1, Relaxed);
                other.post(arrival);
            }
            _ => {
                self.jobs.handle.live.fetch_add(1, Relaxed);
                self.open(arrival);
            }
        }
    }

    /// Takes what other workers have accepted for this one.
    fn take_mail(&mut self) {
        self.jobs.handle.take_mail().into_iter().for_each(|arrival| self.open(arrival));
    }

    /// Takes a connection in, to be begun in its turn.
    fn open(&mut self, arrival: Arrival) {
        if self.draining {
            self.jobs.handle.live.fetch_sub(1, Relaxed);
            return;
        }
        add(&self.jobs.counters().conns, 1);
        let Accepted { wire, peer, local, .. } = arrival.accepted;
        let key = self.sessions.reserve();
        let link = Link::new(wire, peer, key, self.dirty.clone());
        let conn = Conn::new((self.service.protocol)(), self.service.times, self.jobs.now);
        let mut session =
            Box::new(Session::new(link, conn, local, self.jobs.now, Some(arrival.ticket)));
        if self.retiring && !self.service.of_status {
            session.conn.retire();
        }
        if session.link.wire.opening().is_some() {
            session.conn.opening(self.jobs.now);
        }
        self.jobs.queue(&mut session);
        self.jobs.cleanup.changed = true;
        self.put(session);
    }

    /// Whether there is one to be run ahead when there is nothing else to do.
    fn wants_ahead(&self) -> bool {
        self.jobs.guests.ahead.wants() && !self.draining
    }

    // The end, and what is left over.

    /// The server stops then. Until then it serves as before, but keeps no connection open that it can
    /// close without a loss.
    fn retire(&mut self, until: Instant) {
        self.retiring = true;
        if self.service.of_status {
            return;
        }
        self.jobs.sched.alarm(until, STOP);
        // Others get the messages from now on.
        self.nats.iter_mut().for_each(|nats| nats.drain(self.jobs.now));
        for key in self.sessions.keys() {
            self.with_session(key, |_, session| session.conn.retire());
        }
    }

    /// The server is to end: what is idle is dropped, what runs may finish.
    fn drain(&mut self) {
        self.draining = true;
        self.jobs.guests.ahead.clear();
        self.door.close();
        self.nats.iter_mut().for_each(|nats| nats.drain(self.jobs.now));
        self.jobs.sched.alarm(self.jobs.now + DRAIN_MAX, DRAINED);
        for key in self.sessions.keys() {
            self.with_session(key, |_, session| session.drain());
        }
    }

    /// Ends all that is left.
    fn abandon(&mut self) {
        for key in self.sessions.keys() {
            if let Some(mut session) = self.sessions.take(key) {
                self.jobs.cancel(&mut session, Outcome::Stopped, "the server is stopping");
                self.close(session);
            }
        }
        // What was not finished is given back.
        self.flush_messages();
        self.jobs.counters().reset_gauges();
    }

    /// Releases memory that is not needed any more.
    fn clean_up(&mut self) {
        let jobs = &mut self.jobs;
        jobs.guests.pool.trim();
        let size = self.sessions.len() + jobs.size();
        let check = jobs.cleanup.check(size);
        if check.give_back {
            jobs.sched.shrink();
            jobs.owners.shrink_to(jobs.owners.len() * 2);
            jobs.ready.shrink_to(jobs.ready.len() * 2);
            self.sessions.shrink();
            self.dirty_keys.shrink_to(FEW);
            self.dirty.shrink();
            Pool::release_memory();
        }
        if check.again {
            jobs.sched.alarm(jobs.now + CLEANUP_EVERY, CLEANUP);
        }
    }
}
