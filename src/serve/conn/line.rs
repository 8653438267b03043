//! Serving: lines to guests, and what they wrote to the client.

use std::borrow::Cow;
use std::io::{self, IoSliceMut};
use std::time::{Duration, Instant};

use crate::guest::Guest;
use crate::sched::FIRST_FUEL;
use crate::serve::Unit;
use crate::serve::client::link::{OUTPUT_MAX, wake};
use crate::serve::conn::frame::Front;
use crate::serve::conn::{Conn, Fate, Phase, Watched};
use crate::serve::observe::log::TARGET;
use crate::serve::observe::metrics::{Outcome, Refusal, add};
use crate::serve::observe::reporter::Report;
use crate::serve::worker::Worker;
use crate::step::{Cause, End, Step};
use crate::wasi::Refused;

/// Lines of one connection in one go, before others have theirs.
const LINES_AT_ONCE: usize = 64;

/// What there is to be done for a connection without a guest.
enum Next {
    /// A line has been put in its place.
    Run,
    /// Nothing whole is there.
    Wait,
    /// Nothing more comes.
    End,
    TooLong,
    Gone,
}

impl Worker {
    /// Goes on with a connection as far as that is possible now. Lines are run in its turn.
    pub(crate) fn pump(&mut self, conn: &mut Conn) -> Fate {
        if conn.phase == Phase::Lingering {
            return self.linger(conn);
        }
        if conn.guest.is_some() && conn.link.io().too_long {
            self.dismiss(conn, Outcome::ReplyTooLong, "");
        }
        if self.wants_lines(conn) {
            self.queue(conn);
        }
        self.send(conn)
    }

    fn wants_lines(&self, conn: &Conn) -> bool {
        self.shared.config.unit == Unit::Line && conn.guest.is_none() && conn.phase == Phase::Open
    }

    /// It is the connection's turn, which began at this time and lasts `until`.
    pub(crate) fn serve(&mut self, conn: &mut Conn, now: Instant, until: Instant) -> Fate {
        if self.wants_lines(conn) && self.lines(conn, now, until) == Fate::Close {
            return Fate::Close;
        }
        if conn.phase == Phase::Lingering { self.linger(conn) } else { self.send(conn) }
    }

    /// Runs lines until there is none, one of them takes longer, or others have their turn.
    fn lines(&mut self, conn: &mut Conn, mut clock: Instant, until: Instant) -> Fate {
        for nth in 0..LINES_AT_ONCE {
            if !self.wants_lines(conn) {
                return Fate::Keep;
            }
            if nth > 0 && clock >= until {
                break;
            }
            match self.next_line(conn) {
                Next::Run => {
                    // What was the latest for its coming is nothing to the line.
                    conn.deadline = None;
                    clock = self.run_line(conn, clock);
                }
                Next::Wait => {
                    let limits = &self.shared.config.limits;
                    let until = match conn.line_began {
                        Some(began) => began + limits.timeout,
                        None => conn.active + limits.idle,
                    };
                    self.look_in(conn, until);
                    return Fate::Keep;
                }
                Next::End => begin_closing(conn),
                Next::TooLong => {
                    self.unserved(conn, Outcome::LineTooLong);
                    begin_closing(conn);
                }
                Next::Gone => return self.hung_up(conn),
            }
            if conn.link.io().unsent() > OUTPUT_MAX / 2 && self.send(conn) == Fate::Close {
                return Fate::Close;
            }
        }
        self.queue(conn);
        Fate::Keep
    }

    /// Has a connection gone on with in the next turn.
    pub(crate) fn queue(&mut self, conn: &mut Conn) {
        if !std::mem::replace(&mut conn.queued, true) {
            self.ready.push_back(conn.key);
        }
    }

    /// Makes the next line the guest's, reading if there is none.
    fn next_line(&mut self, conn: &mut Conn) -> Next {
        if self.draining {
            return Next::End;
        }
        let limits = &self.shared.config.limits;
        loop {
            match conn.frame.next(limits.max_line) {
                Front::Line(line) => {
                    conn.link.begin(line, limits.max_reply);
                    return Next::Run;
                }
                Front::TooLong => return Next::TooLong,
                Front::Partial | Front::Empty => {}
            }
            let mut bufs = [IoSliceMut::new(&mut self.scratch)];
            let received = conn.link.receive(&mut conn.link.io(), &mut bufs);
            match received {
                Ok(0) if conn.frame.len() == 0 => return Next::End,
                Ok(0) => {
                    conn.link.begin(conn.frame.rest(), limits.max_reply);
                    return Next::Run;
                }
                Ok(count) => {
                    conn.line_began.get_or_insert(self.now);
                    conn.frame.push(&self.scratch[..count]);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Next::Wait,
                Err(_) => return Next::Gone,
            }
        }
    }

    /// Runs a guest for the line that is in its place. Most end within their first slice
    /// and never see the scheduler. Returns the time now.
    fn run_line(&mut self, conn: &mut Conn, now: Instant) -> Instant {
        conn.started = now;
        let mut guest = self.new_guest(conn);
        let end = match guest.step(FIRST_FUEL) {
            Step::Exited(code) => End::Exited(code),
            Step::Trapped(trap) => End::Trapped(trap),
            step => {
                let until = conn.line_began.unwrap_or(now) + self.shared.config.limits.timeout;
                let id = match step {
                    Step::Yielded => self.sched.spawn_computing(guest, Some(until)),
                    _ => self.sched.spawn(guest, Some(until)),
                };
                self.employ(conn, id);
                conn.link.note_from_now();
                return now;
            }
        };
        self.ended(conn, end, guest)
    }

    /// A guest has come to its end.
    pub(crate) fn ended(&mut self, conn: &mut Conn, end: End, guest: Guest) -> Instant {
        let short_of_memory = guest.context().memory_refused();
        let (outcome, why) = match end {
            End::Exited(0) => (Outcome::Ok, Cow::Borrowed("")),
            End::Exited(code) if short_of_memory => {
                (Outcome::Memory, format!("exit status {code} after it was refused memory").into())
            }
            End::Exited(code) => (Outcome::Exit, format!("exit status {code}").into()),
            End::Trapped(trap) => {
                let outcome = match trap.cause {
                    Cause::Memory => Outcome::Memory,
                    Cause::Fuel => Outcome::Fuel,
                    Cause::Wasm => Outcome::Trap,
                    Cause::Host => Outcome::Failed,
                };
                (outcome, trap.text.into())
            }
            End::TimedOut => (Outcome::Timeout, "".into()),
            End::Failed(error) => (Outcome::Failed, error.to_string().into()),
        };
        let outcome = {
            let io = conn.link.io();
            match outcome {
                _ if io.too_long => Outcome::ReplyTooLong,
                _ if io.gone => Outcome::ClientGone,
                outcome => outcome,
            }
        };
        self.over(conn, outcome, &why, guest)
    }

    /// Ends the guest of a connection, if it has one. One that has just come to its end by
    /// itself stays the connection's until that is told, in this turn.
    pub(crate) fn dismiss(&mut self, conn: &mut Conn, outcome: Outcome, why: &str) -> bool {
        let Some(guest) = conn.guest.and_then(|id| self.sched.cancel(id)) else { return false };
        conn.guest.take().map(|id| self.guests.remove(&id));
        self.over(conn, outcome, why, *guest);
        true
    }

    /// Counts and logs a guest's end, and lets go of it. Returns the time now.
    fn over(&mut self, conn: &mut Conn, outcome: Outcome, why: &str, guest: Guest) -> Instant {
        let (fuel, cx) = (guest.fuel_used(), guest.context());
        let (memory_peak, refused) = (cx.memory_peak(), (cx.limits.refused, cx.fds.refused));
        if let Some(look) = self.shared.config.post_mortem.as_ref().filter(|_| outcome.is_crash()) {
            look(&format!("{}: {why}", outcome.name()), conn.started.elapsed(), &guest);
        }
        // It says its last words to the log before its end is told there.
        self.let_go(guest);
        let now = Instant::now();
        let (bytes_in, bytes_out) = {
            let io = conn.link.io();
            (io.bytes_in, io.bytes_out)
        };
        let elapsed = now.saturating_duration_since(conn.started);
        let counters = self.counters();
        counters.outcome(outcome, elapsed);
        add(&counters.fuel, fuel);
        add(&counters.bytes_in, bytes_in);
        add(&counters.bytes_out, bytes_out);
        if refused != (None, false) {
            self.refused(conn, refused.0, refused.1);
        }
        let client = conn.link.peer;
        let report =
            Report { client, outcome, why, elapsed, fuel, bytes_in, bytes_out, memory_peak };
        self.reporter.ended(&report);
        conn.line_began = (conn.frame.len() > 0).then_some(now);
        conn.active = now;
        let config = &self.shared.config;
        if outcome != Outcome::Ok || config.unit == Unit::Connection || !config.keep_open {
            begin_closing(conn);
        }
        now
    }

    #[cold]
    fn refused(&self, conn: &Conn, memory: Option<Refused>, fds: bool) {
        let memory = memory.map(|refused| match refused {
            Refused::Own => Refusal::Memory,
            Refused::Shared => Refusal::MemoryTotal,
        });
        for refusal in memory.into_iter().chain(fds.then_some(Refusal::Fds)) {
            self.counters().refused(refusal);
            log::info!(target: TARGET, client:% = conn.link.peer, limit = refusal.name(); "guest refused more");
        }
    }

    /// Counts and logs a line that no guest was run for.
    pub(crate) fn unserved(&self, conn: &Conn, outcome: Outcome) {
        let elapsed = match conn.line_began {
            Some(began) => self.now.saturating_duration_since(began),
            None => Duration::ZERO,
        };
        self.counters().outcome(outcome, elapsed);
        self.reporter.ended(&Report {
            client: conn.link.peer,
            outcome,
            why: "no guest was run",
            elapsed,
            fuel: 0,
            bytes_in: conn.frame.len() as u64,
            bytes_out: 0,
            memory_peak: 0,
        });
    }

    /// Sends what there is, and sees what follows from that.
    pub(crate) fn send(&mut self, conn: &mut Conn) -> Fate {
        let link = conn.link.clone();
        let mut io = link.io();
        let last = conn.phase == Phase::Closing && conn.guest.is_none();
        match link.flush(&mut io, last) {
            Ok(true) => conn.active = self.now,
            Ok(false) => {}
            Err(_) => {
                drop(io);
                return self.hung_up(conn);
            }
        }
        let (unsent, closed) = (io.unsent(), io.closed);
        let waiters = if unsent <= OUTPUT_MAX / 2 { [None, io.writer()] } else { [None, None] };
        drop(io);
        wake(waiters);
        if unsent > 0 {
            return self.await_room(conn);
        }
        if conn.phase == Phase::Closing && conn.guest.is_none() {
            return self.part(conn);
        }
        // Half-close: the guest goes on reading, but has closed its stdout.
        if closed && self.shared.config.unit == Unit::Connection && conn.guest.is_some() {
            conn.shut();
        }
        Fate::Keep
    }

    /// The client has not taken all yet.
    fn await_room(&mut self, conn: &mut Conn) -> Fate {
        if self.watch(conn, Watched::Both).is_err() {
            return Fate::Close;
        }
        if conn.phase == Phase::Closing && conn.deadline.is_none() {
            self.look_in(conn, self.now + self.shared.config.limits.timeout);
        }
        Fate::Keep
    }
}

/// Nothing more is run for this connection.
pub(crate) fn begin_closing(conn: &mut Conn) {
    conn.phase = Phase::Closing;
    conn.deadline = None;
}
