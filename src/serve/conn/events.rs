//! What happens to a connection, and what it answers when asked about itself.

use std::time::Instant;

use super::protocol::{Job, Stdin};
use super::{Action, Conn, Phase};
use crate::serve::client::io::Io;
use crate::serve::observe::metrics::Outcome;

impl Conn {
    /// Its wire is not open yet. That has the time of a request.
    pub fn opening(&mut self, now: Instant) {
        self.phase = Phase::Opening;
        self.deadline = Some(now + self.times.timeout);
    }

    /// Its wire is open: all else begins.
    pub fn opened(&mut self, io: &mut Io, now: Instant) {
        self.phase = Phase::Fresh;
        self.active = now;
        self.deadline = Some(now + self.times.idle);
        // What came with the end of that makes no event.
        io.readable = true;
    }

    /// These bytes came.
    pub fn received(&mut self, bytes: &[u8], now: Instant) {
        if self.job.is_none() {
            self.request_started.get_or_insert(now);
        }
        self.received.push(bytes);
    }

    /// The wire can be read or written, or is about to end; or bytes were sent.
    pub fn moved(&mut self, now: Instant) {
        self.active = now;
    }

    /// The guest of its job has ended.
    pub fn ended(&mut self, io: &mut Io, outcome: Outcome, now: Instant) {
        self.job = None;
        if let Some((written, output)) = io.framing() {
            self.protocol.frame(written, output, Some(outcome));
        }
        let after = self.protocol.ended(outcome, io.output());
        io.end();
        self.request_started = (self.received.len() > 0).then_some(now);
        self.active = now;
        self.apply(after);
        if io.gone {
            self.phase = Phase::Closed;
        }
    }

    /// The client is gone, in both directions.
    pub fn hung_up(&mut self, now: Instant) {
        match &mut self.job {
            None => self.phase = Phase::Closed,
            Some(job) if job.stdin == Stdin::Wire => {
                self.deadline = Some(now + self.times.timeout);
            }
            Some(job) if job.cancelled => {}
            Some(job) => {
                job.cancelled = true;
                self.report = Some(Action::Cancel(Outcome::ClientGone, ""));
            }
        }
    }

    /// The server is about to end: the next reply is the last one, as far as its client can know.
    pub fn retire(&mut self) {
        self.protocol.retire();
    }

    /// The server is to end: what is idle is dropped, what runs may finish.
    pub fn drain(&mut self, io: &mut Io) {
        self.draining = true;
        match &self.job {
            None if self.phase == Phase::Lingering => self.phase = Phase::Closed,
            None => self.close(),
            Some(job) if job.stdin == Stdin::Wire => io.eof = true,
            Some(_) => {}
        }
    }

    /// When it must be looked at, whatever happens.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// An alarm for the deadline has come. The deadline may have moved since.
    pub fn on_deadline(&mut self, io: &Io, now: Instant) {
        if self.deadline.is_none_or(|deadline| deadline > now) {
            return;
        }
        self.deadline = None;
        match (self.phase, &self.job) {
            (Phase::Closing, _) => {
                self.give_up(Some(Action::ReportIdle("the client did not fetch its reply")));
            }
            (Phase::Open, Some(job)) if job.stdin == Stdin::Wire => self.on_idle(io, now),
            // The scheduler ends it.
            (Phase::Open, Some(_)) => {}
            (Phase::Open, None) if self.received.len() > 0 => {
                self.give_up(Some(Action::ReportRefused(Outcome::Timeout)));
            }
            (Phase::Open, None) => self.give_up(Some(Action::ReportIdle("nothing came"))),
            (Phase::Opening, _) => self.give_up(Some(Action::ReportIdle("no handshake in time"))),
            // Its turn is about to come.
            (Phase::Fresh, _) => {}
            (Phase::Lingering | Phase::Closed, _) => self.give_up(None),
        }
    }

    fn give_up(&mut self, report: Option<Action>) {
        self.phase = Phase::Closed;
        self.report = report;
    }

    /// The same, with a guest that serves the whole connection.
    fn on_idle(&mut self, io: &Io, now: Instant) {
        // What the guest has taken of what came before counts as well.
        if std::mem::replace(&mut self.moved, io.moved()) != io.moved() {
            self.active = now;
        }
        let due = self.active + self.times.idle;
        let (outcome, why) = if io.gone {
            (Outcome::ClientGone, "it did not end when its client had gone")
        } else if due > now {
            self.deadline = Some(due);
            return;
        } else {
            (Outcome::Idle, "")
        };
        if let Some(job) = &mut self.job {
            job.cancelled = true;
        }
        self.report = Some(Action::Cancel(outcome, why));
    }

    // Queries.

    /// Whether the sending direction was shut down.
    pub fn is_shut(&self) -> bool {
        self.shut
    }

    /// Until when a job that begins now may take, if it is not idle.
    pub fn job_until(&self, job: &Job, now: Instant) -> Option<Instant> {
        let timed = job.stdin != Stdin::Wire;
        timed.then(|| self.request_started.unwrap_or(now) + self.times.timeout)
    }

    /// Since when its client has waited for an answer, and bytes that came of its request.
    pub fn waiting(&self) -> (Option<Instant>, usize) {
        (self.request_started, self.received.len())
    }

    /// Whether it has not been asked anything yet, as far as it knows.
    pub fn awaits_first_request(&self) -> bool {
        matches!(self.phase, Phase::Opening | Phase::Fresh | Phase::Open) && self.job.is_none()
    }
}
