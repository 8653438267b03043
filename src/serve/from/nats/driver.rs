//! The connection of a worker to a NATS server: a socket on its poll.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use mio::net::TcpStream;
use mio::{Interest, Token};

use super::machine::{NatsMachine, NatsNote};
use super::{NatsConfig, random};
use crate::serve::config::ServeConfig;
use crate::serve::conn::table::FETCHED;
use crate::serve::from::DriverTurn;
use crate::serve::from::message::{Delivery, MessageEnd};
use crate::serve::observe::logging::TARGET;
use crate::serve::observe::metrics::{Counters, add};
use crate::serve::observe::outcome::Outcome;
use crate::serve::observe::reporter::RateLimiter;
use crate::vfs::net::{Lookup, SystemResolver, plain};

/// How long it waits before it dials again: at first, and at most. Half as much again is left to
/// chance, so that the workers of many servers don't come back together.
const AGAIN_FIRST: Duration = Duration::from_millis(100);
const AGAIN_MAX: Duration = Duration::from_secs(5);

/// How long an address may take to answer.
const CONNECT_TIME: Duration = Duration::from_secs(5);

/// Bytes received in one turn of the worker.
const RECEIVE_MAX: usize = 256 << 10;

/// Bytes that were sent, kept in front of those that were not.
const SENT_MAX: usize = 256 << 10;

/// Records a second of what goes wrong, and how often the same is said of a server that can't be had.
const NOTES_PER_SECOND: u32 = 10;
const SAME_AGAIN: Duration = Duration::from_secs(60);

/// See the [module](self).
pub(crate) struct NatsDriver {
    config: Arc<NatsConfig>,
    waker: Waker,
    machine: NatsMachine,
    state: State,
    readable: bool,
    writable: bool,
    /// Bytes of the output that were sent.
    sent: usize,
    /// How long it waits the next time.
    again: Duration,
    /// The server, as far as it is known.
    peer: SocketAddr,
    local: SocketAddr,
    draining: bool,
    /// When it is woken, if an alarm is set.
    alarm: Option<Instant>,
    notes: RateLimiter,
    /// What was last said of the server, and when.
    said: Option<(String, Instant)>,
}

enum State {
    /// It dials again then.
    Off(Instant),
    Resolving(Lookup),
    Connecting {
        stream: TcpStream,
        left: VecDeque<SocketAddr>,
        until: Instant,
    },
    Connected(TcpStream),
    /// It is drained.
    Over,
}

impl NatsDriver {
    /// The driver that a server wants, if it wants one. It has not dialled. The waker ends the wait of
    /// its worker's turn.
    pub fn of(config: &ServeConfig, waker: Waker, now: Instant) -> Option<NatsDriver> {
        let limits = &config.limits;
        let config = Arc::new(config.from.clone()?);
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        Some(NatsDriver {
            waker,
            machine: NatsMachine::new(&config, limits, now),
            config,
            state: State::Off(now),
            readable: false,
            writable: false,
            sent: 0,
            again: AGAIN_FIRST,
            peer: nowhere,
            local: nowhere,
            draining: false,
            alarm: None,
            notes: RateLimiter::new(NOTES_PER_SECOND),
            said: None,
        })
    }

    /// Both ends of its connection.
    pub fn ends(&self) -> (SocketAddr, SocketAddr) {
        (self.peer, self.local)
    }

    /// The poll reports its socket.
    pub fn on_event(&mut self, readable: bool, writable: bool) {
        self.readable |= readable;
        self.writable |= writable;
    }

    /// An alarm has come.
    pub fn on_alarm(&mut self) {
        self.alarm = None;
    }

    /// When it is to be woken, if that is before it will be anyway.
    pub fn next_alarm(&mut self) -> Option<Instant> {
        let due = match &self.state {
            State::Off(when) => Some(*when),
            State::Connecting { until, .. } => Some(*until),
            State::Connected(_) => self.machine.deadline(),
            State::Resolving(_) | State::Over => None,
        }?;
        let sooner = self.alarm.is_none_or(|alarm| due < alarm);
        sooner.then(|| *self.alarm.insert(due))
    }

    /// Whether it has something to do without waiting for it.
    pub fn is_busy(&self) -> bool {
        let connected = matches!(self.state, State::Connected(_));
        connected && self.readable && self.machine.may_receive() || self.machine.has_waiting()
    }

    /// Whether it is drained.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Over)
    }

    /// Dials and receives, as far as there is something to be done.
    pub fn advance(&mut self, turn: &mut DriverTurn<'_>) {
        if let Err(why) = self.try_advance(turn) {
            self.failed(&why, turn);
        }
        self.report(turn);
    }

    fn try_advance(&mut self, turn: &mut DriverTurn<'_>) -> Result<(), String> {
        match &mut self.state {
            State::Over => {}
            State::Off(_) if self.draining => self.state = State::Over,
            State::Off(when) if turn.now >= *when => self.resolve(turn)?,
            State::Off(_) => {}
            State::Resolving(lookup) => {
                let found = lookup.is_done_or_wakes(&self.waker).then(|| lookup.answer()).flatten();
                match found {
                    None => {}
                    Some(Err(_)) => {
                        return Err(format!("the name {} has no address", self.config.host));
                    }
                    Some(Ok(found)) => self.connect_to(found, turn)?,
                }
            }
            State::Connecting { until, .. } => {
                let late = turn.now >= *until;
                if self.writable || late {
                    self.connecting(late, turn)?;
                }
            }
            State::Connected(_) => {
                if self.machine.deadline().is_some_and(|due| turn.now >= due) {
                    self.machine.on_time(turn.now)?;
                }
                self.receive(turn)?;
            }
        }
        Ok(())
    }

    // Dialling.

    fn resolve(&mut self, turn: &DriverTurn<'_>) -> Result<(), String> {
        if let Ok(address) = self.config.host.parse::<IpAddr>() {
            return self.connect_to(vec![address], turn);
        }
        let lookup = Lookup::begin(&*SystemResolver::shared(), &self.config.host);
        let done = lookup.is_done_or_wakes(&self.waker);
        self.state = State::Resolving(lookup);
        if done {
            // Its answer may not make an event.
            self.waker.wake_by_ref();
        }
        Ok(())
    }

    fn connect_to(&mut self, found: Vec<IpAddr>, turn: &DriverTurn<'_>) -> Result<(), String> {
        let port = self.config.port;
        let left = found.into_iter().map(|address| SocketAddr::new(address, port)).collect();
        self.connect(left, "the name has no address".into(), turn)
    }

    /// Begins to connect to the first that lets it.
    fn connect(
        &mut self,
        mut left: VecDeque<SocketAddr>,
        mut why: String,
        turn: &DriverTurn<'_>,
    ) -> Result<(), String> {
        while let Some(address) = left.pop_front() {
            self.peer = address;
            let stream = TcpStream::connect(address).and_then(|mut stream| {
                let both = Interest::READABLE | Interest::WRITABLE;
                turn.registry.register(&mut stream, Token(FETCHED), both)?;
                Ok(stream)
            });
            match stream {
                Ok(stream) => {
                    self.readable = false;
                    self.writable = false;
                    let until = turn.now + CONNECT_TIME;
                    self.state = State::Connecting { stream, left, until };
                    return Ok(());
                }
                Err(error) => why = plain(&error),
            }
        }
        Err(why)
    }

    /// A connection is there, or will not be.
    fn connecting(&mut self, late: bool, turn: &DriverTurn<'_>) -> Result<(), String> {
        let over = State::Off(turn.now);
        let State::Connecting { mut stream, left, until } =
            std::mem::replace(&mut self.state, over)
        else {
            return Ok(());
        };
        let error = match stream.take_error() {
            Ok(Some(error)) | Err(error) => Some(plain(&error)),
            Ok(None) => match stream.peer_addr() {
                Ok(_) => None,
                Err(_) if late => Some(format!("no answer in {CONNECT_TIME:?}")),
                Err(_) => {
                    // Woken for nothing.
                    self.writable = false;
                    self.state = State::Connecting { stream, left, until };
                    return Ok(());
                }
            },
        };
        if let Some(why) = error {
            let _ = turn.registry.deregister(&mut stream);
            return self.connect(left, why, turn);
        }
        // It only makes replies slower if that fails.
        let _ = stream.set_nodelay(true);
        self.local = stream.local_addr().unwrap_or(self.local);
        self.readable = true;
        self.sent = 0;
        self.machine.connected(turn.now);
        self.state = State::Connected(stream);
        self.receive_greeting(turn)
    }

    /// What has come already makes no event.
    fn receive_greeting(&mut self, turn: &DriverTurn<'_>) -> Result<(), String> {
        let mut scratch = [0; 4096];
        self.receive_into(&mut scratch, turn.now)
    }

    /// There is no connection any more, or none came to be.
    fn failed(&mut self, why: &str, turn: &DriverTurn<'_>) {
        let was_open = self.machine.is_open();
        if let State::Connected(mut stream) | State::Connecting { mut stream, .. } =
            std::mem::replace(&mut self.state, State::Off(turn.now))
        {
            let _ = turn.registry.deregister(&mut stream);
        }
        self.sent = 0;
        let said = self.machine.lost(turn.now);
        let why = said.unwrap_or_else(|| why.to_owned());
        if was_open {
            self.again = AGAIN_FIRST;
        }
        let nanos = u64::try_from(self.again.as_nanos()).unwrap_or(u64::MAX);
        let wait = self.again + Duration::from_nanos(random() % (nanos / 2 + 1));
        self.again = (self.again * 2).min(AGAIN_MAX);
        self.state = if self.draining { State::Over } else { State::Off(turn.now + wait) };
        turn.reporter.counters().nats_connected.store(0, std::sync::atomic::Ordering::Relaxed);
        let same = |(said, when): &(String, Instant)| *said == why && turn.now < *when + SAME_AGAIN;
        if !self.said.as_ref().is_some_and(same) {
            let again = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            log::warn!(target: TARGET, server:% = self.config, why = why.as_str(), again_ms = again; "no messages from NATS, trying again");
            self.said = Some((why, turn.now));
        }
    }

    // Moving bytes.

    fn receive(&mut self, turn: &mut DriverTurn<'_>) -> Result<(), String> {
        self.receive_into(turn.scratch, turn.now)
    }

    fn receive_into(&mut self, scratch: &mut [u8], now: Instant) -> Result<(), String> {
        let State::Connected(stream) = &self.state else { return Ok(()) };
        let mut total = 0;
        while self.readable && total < RECEIVE_MAX && self.machine.may_receive() {
            match (&mut &*stream).read(scratch) {
                Ok(0) => return Err("the server has closed the connection".into()),
                Ok(count) => {
                    total += count;
                    self.machine.received(&scratch[..count], now)?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(plain(&error)),
            }
        }
        Ok(())
    }

    /// Sends what there is, and sees whether all is done.
    pub fn flush(&mut self, turn: &mut DriverTurn<'_>) {
        if let Err(error) = self.try_flush() {
            self.failed(&plain(&error), turn);
        }
        if self.draining && self.machine.is_drained() {
            if let State::Connected(stream) = &mut self.state {
                let _ = turn.registry.deregister(stream);
            }
            self.state = State::Over;
            turn.reporter.counters().nats_connected.store(0, std::sync::atomic::Ordering::Relaxed);
        }
        self.report(turn);
    }

    fn try_flush(&mut self) -> io::Result<()> {
        let State::Connected(stream) = &self.state else { return Ok(()) };
        let output = self.machine.output();
        while self.sent < output.len() && self.writable {
            match (&mut &*stream).write(&output[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if self.sent == output.len() || self.sent > SENT_MAX {
            output.drain(..self.sent);
            self.sent = 0;
        }
        Ok(())
    }

    // Messages.

    /// The next message that a guest is to be run for.
    pub fn next(&mut self, now: Instant) -> Option<Delivery> {
        self.machine.next(now)
    }

    /// The job of a message is over.
    pub fn finished(&mut self, message: &MessageEnd, now: Instant) {
        let reply = message.take_reply();
        self.machine.finished(message.id, message.outcome, &message.why, reply, now);
    }

    /// The server is to end.
    pub fn drain(&mut self, now: Instant) {
        self.draining = true;
        self.machine.drain(now);
    }

    /// Counts and logs what has happened.
    fn report(&mut self, turn: &DriverTurn<'_>) {
        let counters = turn.reporter.counters();
        self.count(counters);
        for note in self.machine.take_notes() {
            match note {
                NatsNote::Open => {
                    self.again = AGAIN_FIRST;
                    self.said = None;
                    add(&counters.nats_connects, 1);
                    counters.nats_connected.store(1, std::sync::atomic::Ordering::Relaxed);
                    log::info!(target: TARGET, server:% = self.config, subject = self.config.subject.as_str(); "messages come from NATS");
                }
                NatsNote::TooLong(bytes) => {
                    turn.reporter.refused(
                        self.peer.into(),
                        Outcome::LineTooLong,
                        Duration::ZERO,
                        bytes,
                    );
                }
                // Each is a message that someone has to look at.
                NatsNote::Dead { subject, sequence, why } => {
                    log::warn!(target: TARGET, subject = subject.as_str(), sequence, why = why.as_str(); "dead letter");
                }
                NatsNote::Warning(text) => {
                    if self.notes.take(turn.now) {
                        let missed = self.notes.missed().unwrap_or(0);
                        log::warn!(target: TARGET, server:% = self.config, why = text.as_str(), unreported = missed; "NATS");
                    }
                }
            }
        }
    }

    fn count(&mut self, counters: &Counters) {
        let counts = self.machine.take_counts();
        add(&counters.nats_messages, counts.messages);
        add(&counters.nats_redelivered, counts.redelivered);
        add(&counters.nats_replies, counts.replies);
        add(&counters.nats_duplicates, counts.duplicates);
        add(&counters.nats_retries, counts.retries);
        add(&counters.nats_dead, counts.dead);
        add(&counters.nats_lost, counts.lost);
    }
}
