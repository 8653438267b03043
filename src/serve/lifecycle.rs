//! What happens to connections from outside: events, times, their end, the server's end.

use std::io::{self, IoSliceMut};
use std::net::Shutdown;
use std::time::Duration;

use crate::serve::client::link::wake;
use crate::serve::conn::line::begin_closing;
use crate::serve::conn::{Conn, Fate, Phase, Watched};
use crate::serve::observe::log::TARGET;
use crate::serve::observe::metrics::{Outcome, add};
use crate::serve::worker::{DRAINED, Worker};
use crate::serve::{DRAIN_MAX, Unit};

/// How long what a client still sends is thrown away before its socket is closed anyway.
const LINGER: Duration = Duration::from_secs(2);

/// Reads of a lingering connection in one go.
const LINGER_READS: usize = 16;

impl Conn {
    /// Tells the client that nothing more comes.
    pub(super) fn shut(&mut self) {
        if !std::mem::replace(&mut self.shut, true) {
            // If that fails the client is gone, which is told by an event.
            let _ = self.link.stream.shutdown(Shutdown::Write);
        }
    }
}

impl Worker {
    /// The socket of a connection can be read or written.
    pub(super) fn moved(
        &mut self,
        conn: &mut Conn,
        readable: bool,
        writable: bool,
        read_closed: bool,
    ) -> Fate {
        conn.active = self.now;
        let mut io = conn.link.io();
        io.readable |= readable | read_closed;
        io.writable |= writable;
        io.last |= read_closed;
        let reader = if io.readable { io.reader() } else { None };
        drop(io);
        wake([reader, None]);
        self.pump(conn)
    }

    /// The client is gone, in both directions.
    pub(super) fn hung_up(&mut self, conn: &mut Conn) -> Fate {
        let known = conn.link.io().gone;
        if known {
            return Fate::Keep;
        }
        conn.link.hang_up();
        match self.shared.config.unit {
            Unit::Connection if conn.guest.is_some() => {
                self.look_in(conn, self.now + self.shared.config.limits.timeout);
                Fate::Keep
            }
            _ => {
                self.dismiss(conn, Outcome::ClientGone, "");
                closed_unless_busy(conn)
            }
        }
    }

    /// All is sent: closes, at once if the client is not about to send more.
    pub(super) fn part(&mut self, conn: &mut Conn) -> Fate {
        let more = {
            let io = conn.link.io();
            let behind = conn.frame.len() > 0 || conn.watched == Watched::Both;
            !io.eof && (io.readable || behind)
        };
        // Sends what was kept back. Closing would do so too, unless something has come since.
        conn.shut();
        if !more || self.draining {
            return Fate::Close;
        }
        conn.phase = Phase::Lingering;
        self.look_in(conn, self.now + LINGER);
        self.linger(conn)
    }

    /// Throws away what the client sends.
    pub(super) fn linger(&mut self, conn: &mut Conn) -> Fate {
        let link = conn.link.clone();
        for _ in 0..LINGER_READS {
            let mut bufs = [IoSliceMut::new(&mut self.scratch)];
            match link.receive(&mut link.io(), &mut bufs) {
                Ok(0) => return Fate::Close,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Fate::Keep,
                Err(_) => return Fate::Close,
            }
        }
        self.queue(conn);
        Fate::Keep
    }

    /// An alarm of this connection has come.
    pub(super) fn rang(&mut self, conn: &mut Conn) -> Fate {
        let Some(deadline) = conn.deadline else { return Fate::Keep };
        if deadline > self.now {
            self.look_in(conn, deadline);
            return Fate::Keep;
        }
        match (conn.phase, self.shared.config.unit) {
            (Phase::Fresh | Phase::Lingering, _) => Fate::Close,
            (Phase::Closing, _) => {
                self.idle(conn, "the client did not fetch its reply");
                Fate::Close
            }
            (Phase::Open, Unit::Connection) => self.rang_guest(conn),
            (Phase::Open, Unit::Line) if conn.guest.is_some() => Fate::Keep,
            (Phase::Open, Unit::Line) => {
                if conn.frame.len() > 0 {
                    self.unserved(conn, Outcome::Timeout);
                } else {
                    self.idle(conn, "nothing came");
                }
                Fate::Close
            }
        }
    }

    /// The same, with a guest that serves the whole connection.
    fn rang_guest(&mut self, conn: &mut Conn) -> Fate {
        if conn.link.io().gone {
            self.dismiss(conn, Outcome::ClientGone, "it did not end when its client had gone");
            return closed_unless_busy(conn);
        }
        // What the guest has taken of what came before counts as well.
        let moved = conn.link.io().moved();
        if std::mem::replace(&mut conn.moved, moved) != moved {
            conn.active = self.now;
        }
        let due = conn.active + self.shared.config.limits.idle;
        if due > self.now {
            self.look_in(conn, due);
            return Fate::Keep;
        }
        if self.dismiss(conn, Outcome::Idle, "") {
            add(&self.counters().conns_idle, 1);
        }
        self.send(conn)
    }

    fn idle(&self, conn: &Conn, why: &str) {
        add(&self.counters().conns_idle, 1);
        log::info!(target: TARGET, client:% = conn.link.peer, why = why; "idle connection closed");
    }

    /// The server is to end: what is idle is dropped, what runs may finish.
    pub(super) fn drain(&mut self) {
        self.draining = true;
        self.ahead.clear();
        self.listeners.close();
        self.sched.alarm(self.now + DRAIN_MAX, DRAINED);
        for key in self.conns.keys() {
            self.visit(key, Self::drain_one);
        }
    }

    fn drain_one(&mut self, conn: &mut Conn) -> Fate {
        if conn.phase == Phase::Lingering {
            return Fate::Close;
        }
        if conn.guest.is_none() {
            begin_closing(conn);
            return self.send(conn);
        }
        if self.shared.config.unit == Unit::Connection {
            let mut io = conn.link.io();
            io.eof = true;
            let reader = io.reader();
            drop(io);
            wake([reader, None]);
        }
        Fate::Keep
    }

    /// Ends all that is left.
    pub(super) fn abandon(&mut self) {
        for key in self.conns.keys() {
            self.visit(key, |worker, conn| {
                worker.dismiss(conn, Outcome::Stopped, "the server is stopping");
                Fate::Close
            });
        }
        let counters = self.counters();
        let (guests, conns) =
            ([&counters.guests, &counters.parked, &counters.ahead], &counters.open);
        for gauge in guests.into_iter().chain([conns, &counters.memory]) {
            gauge.store(0, std::sync::atomic::Ordering::Relaxed);
        }
    }
}

/// The end of a connection whose guest was dismissed; if that had ended by itself, its end is
/// told after this, and closes it.
fn closed_unless_busy(conn: &Conn) -> Fate {
    if conn.guest.is_some() { Fate::Keep } else { Fate::Close }
}
