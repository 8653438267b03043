//! A connection at its worker: its state, its link, and doing for it what it asks for.

use std::io::{self, IoSliceMut};
use std::sync::Arc;
use std::time::Instant;

use super::protocol::Job;
use super::{Action, Conn, MayStart};
use crate::sched::GuestId;
use crate::serve::admission::Ticket;
use crate::serve::client::io::OUTPUT_MAX;
use crate::serve::client::link::{Link, wake};
use crate::serve::client::proxy::ProxiedEnds;
use crate::serve::client::wire::Stage;
use crate::serve::door::{Local, unix};
use crate::serve::from::message::MessageEnd;
use crate::serve::observe::metrics::{Outcome, Refusal};
use crate::vfs::{Peer, UnixPeer};
use crate::wasi::Strings;

/// Jobs of one connection in one turn of its own, before others have theirs.
const JOBS_PER_TURN: usize = 64;

/// Reads of one connection in one go.
const READS_PER_TURN: usize = 64;

/// Reads of one that is over.
const DISCARDS_PER_TURN: usize = 16;

/// See the [module](self).
pub(crate) struct Session {
    pub key: usize,
    pub link: Arc<Link>,
    pub conn: Conn,
    pub local: Local,
    /// The variables that its guests have because of it.
    pub env: Option<Strings>,
    /// The guest that is at work for it, if it did not end in its first slice.
    pub guest: Option<GuestId>,
    /// When its job began.
    pub started: Instant,
    /// It is in its worker's list of those that want a turn.
    pub queued: bool,
    pub watched: PollInterest,
    pub opened: Instant,
    /// The message that it is, if it is no connection.
    pub message: Option<Box<MessageEnd>>,
    /// Its place among all connections, if it is one.
    ticket: Option<Ticket>,
}

/// What the poll reports of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PollInterest {
    /// Nothing yet: many are over before there was anything to wait for.
    Not,
    /// That something can be read.
    Reads,
    /// That there is room to write, too.
    Both,
}

/// Whether a connection stays open after it was advanced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Disposition {
    Open,
    Closed,
}

/// A turn of a connection's own: when it begins, and how long it lasts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnTime {
    pub now: Instant,
    pub until: Instant,
}

/// Carries out the actions of connections: a worker, or the simulator.
pub(crate) trait ActionHost {
    /// The time, as of the beginning of the turn.
    fn now(&self) -> Instant;

    /// Room for what is read.
    fn scratch(&mut self) -> &mut [u8];

    /// Runs a guest. If it ends in its first slice, [`Session::ended`] is called before this
    /// returns. Returns the time afterwards.
    fn start(&mut self, session: &mut Session, job: Job, now: Instant) -> Instant;

    /// Ends the guest, unless it has just ended and its event is pending.
    fn cancel(&mut self, session: &mut Session, outcome: Outcome, why: &str);

    /// Counts a stage of a wire's opening, or counts and logs why it has failed.
    fn report_opened(&mut self, session: &Session, stage: Stage, result: &io::Result<()>);

    /// Counts and logs a connection that is closed because its client has too many.
    fn report_not_admitted(&mut self, session: &Session, refusal: Refusal);

    /// Counts and logs a request that no guest was run for.
    fn report_refused(&mut self, session: &Session, outcome: Outcome);

    /// Counts and logs a connection that is closed because nothing moved.
    fn report_idle(&mut self, session: &Session, why: &str);

    /// Gives the connection a turn of its own.
    fn queue(&mut self, session: &mut Session);

    /// Registers the connection with the poll, so that [`Session::on_event`] is called.
    ///
    /// # Errors
    ///
    /// If the system can't; the connection is closed.
    fn watch(&mut self, session: &mut Session, wanted: PollInterest) -> io::Result<()>;
}

/// Advances a connection as far as possible now. Jobs are started only in a turn of its own;
/// otherwise the connection is queued for one.
pub(crate) fn advance<H: ActionHost>(
    host: &mut H,
    session: &mut Session,
    own: Option<TurnTime>,
) -> Disposition {
    let mut turn = if own.is_some() { MayStart::Own } else { MayStart::Others };
    let mut clock = own.map_or(host.now(), |own| own.now);
    let mut jobs = 0;
    let mut reads = 0;
    loop {
        let (action, waiters) = {
            let mut io = session.link.io();
            (session.conn.next(&mut io, host.now(), turn), io.waiters())
        };
        wake(waiters);
        match action {
            // A protocol that takes what comes without giving its guest anything has no end.
            Action::Open => {
                if let Some(disposition) = session.open(host) {
                    return disposition;
                }
            }
            Action::Receive if reads > READS_PER_TURN => {
                host.queue(session);
                return Disposition::Open;
            }
            Action::Receive => {
                reads += 1;
                session.receive(host);
                if reads == READS_PER_TURN {
                    turn = MayStart::Others;
                }
            }
            Action::Start(job) => {
                jobs += 1;
                clock = host.start(session, job, clock);
                if jobs == JOBS_PER_TURN || own.is_some_and(|own| clock >= own.until) {
                    turn = MayStart::Others;
                }
            }
            Action::Cancel(outcome, why) => host.cancel(session, outcome, why),
            Action::ReportRefused(outcome) => host.report_refused(session, outcome),
            Action::ReportIdle(why) => host.report_idle(session, why),
            Action::Flush { last } => session.flush(last, host.now()),
            // If that fails the client is gone, which an event reports.
            Action::Shut => drop(session.link.wire.close_write()),
            Action::Queue => {
                host.queue(session);
                turn = MayStart::Asked;
            }
            Action::Discard if reads >= DISCARDS_PER_TURN => {
                host.queue(session);
                return Disposition::Open;
            }
            Action::Discard => {
                reads += 1;
                session.discard(host);
            }
            Action::Wait { for_room } => return session.wait(host, for_room),
            Action::Close => return Disposition::Closed,
        }
    }
}

impl Session {
    pub fn new(
        link: Link,
        conn: Conn,
        local: Local,
        now: Instant,
        ticket: Option<Ticket>,
    ) -> Session {
        Session {
            key: link.key,
            link: Arc::new(link),
            conn,
            local,
            env: None,
            guest: None,
            started: now,
            queued: false,
            watched: PollInterest::Not,
            opened: now,
            message: None,
            ticket,
        }
    }

    /// Advances its wire. What became of the connection, if that has to wait, or failed.
    fn open<H: ActionHost>(&mut self, host: &mut H) -> Option<Disposition> {
        // Of the last stage there may be something left to be sent.
        let stage = self.link.wire.opening().unwrap_or(Stage::Handshake);
        let result = self.link.wire.open();
        match &result {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let for_room = self.link.wire.has_unsent();
                Some(self.wait(host, for_room))
            }
            Err(_) => {
                host.report_opened(self, stage, &result);
                Some(Disposition::Closed)
            }
            Ok(()) => {
                host.report_opened(self, stage, &result);
                if let Err(refusal) = self.identify(stage) {
                    host.report_not_admitted(self, refusal);
                    return Some(Disposition::Closed);
                }
                if self.link.wire.opening().is_none() {
                    self.conn.opened(&mut self.link.io(), host.now());
                }
                None
            }
        }
    }

    /// After the header of a proxy it is known whose connection this is.
    ///
    /// # Errors
    ///
    /// If its client has too many.
    fn identify(&mut self, stage: Stage) -> Result<(), Refusal> {
        if stage != Stage::Header {
            return Ok(());
        }
        match self.link.wire.announced() {
            Some(ProxiedEnds::Inet { peer, local }) => {
                self.link.announce(peer.into());
                self.local = Local::Inet(local);
            }
            Some(ProxiedEnds::Unix(path)) => {
                let peer = UnixPeer { number: unix::number(), credentials: None };
                self.link.announce(Peer::Unix(peer));
                self.local = Local::Unix(path.into());
            }
            None => {}
        }
        match &mut self.ticket {
            Some(ticket) => ticket.count_for(self.link.peer().ip()),
            None => Ok(()),
        }
    }

    fn receive<H: ActionHost>(&mut self, host: &mut H) {
        let now = host.now();
        let scratch = host.scratch();
        let received = self.link.receive(&mut self.link.io(), &mut [IoSliceMut::new(scratch)]);
        match received {
            Ok(count) if count > 0 => self.conn.received(&scratch[..count], now),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(_) => self.hung_up(now),
        }
    }

    fn discard<H: ActionHost>(&mut self, host: &mut H) {
        let now = host.now();
        let mut bufs = [IoSliceMut::new(host.scratch())];
        let received = self.link.receive(&mut self.link.io(), &mut bufs);
        match received {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => self.hung_up(now),
            _ => {}
        }
    }

    fn flush(&mut self, last: bool, now: Instant) {
        let mut io = self.link.io();
        match self.link.flush(&mut io, last) {
            Ok(moved) => {
                if moved {
                    self.conn.moved(now);
                }
                let writer = if io.unsent() <= OUTPUT_MAX / 2 { io.writer() } else { None };
                drop(io);
                wake([None, writer]);
            }
            Err(_) => {
                drop(io);
                self.hung_up(now);
            }
        }
    }

    fn wait<H: ActionHost>(&mut self, host: &mut H, for_room: bool) -> Disposition {
        let both = for_room || self.watched == PollInterest::Both;
        // What has come in the meantime makes an event at once.
        match host.watch(self, if both { PollInterest::Both } else { PollInterest::Reads }) {
            Ok(()) => Disposition::Open,
            Err(_) => Disposition::Closed,
        }
    }

    /// The client is gone, in both directions.
    pub fn hung_up(&mut self, now: Instant) {
        let known = self.link.io().gone;
        if !known {
            self.link.hang_up();
            self.conn.hung_up(now);
        }
    }

    /// The wire can be read or written. To be [advanced](advance) then.
    pub fn on_event(&mut self, event: Readiness, now: Instant) {
        // With our own direction shut, the client's orderly end looks like a hangup, and there
        // may be something to be read before it.
        let lost = event.hangup && self.link.wire.hangup_discards();
        if lost && !self.conn.is_shut() {
            return self.hung_up(now);
        }
        self.conn.moved(now);
        let mut io = self.link.io();
        io.readable |= event.readable | event.read_closed;
        io.writable |= event.writable;
        io.last |= event.read_closed;
        let reader = if io.readable { io.reader() } else { None };
        drop(io);
        wake([reader, None]);
    }

    /// An alarm for its deadline has come; the deadline may have moved since. Advance it afterwards.
    pub fn on_deadline(&mut self, now: Instant) {
        self.conn.on_deadline(&self.link.io(), now);
    }

    /// The server is to end. To be advanced then.
    pub fn drain(&mut self) {
        let mut io = self.link.io();
        self.conn.drain(&mut io);
        let reader = if io.eof { io.reader() } else { None };
        drop(io);
        wake([reader, None]);
    }

    /// Its guest has ended. To be advanced then.
    pub fn ended(&mut self, outcome: Outcome, now: Instant) {
        self.conn.ended(&mut self.link.io(), outcome, now);
    }
}

/// The readiness of a socket that the poll reports.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Readiness {
    pub readable: bool,
    pub writable: bool,
    /// The client sends no more: reading comes to an end without another event.
    pub read_closed: bool,
    /// Both directions are over.
    pub hangup: bool,
}
