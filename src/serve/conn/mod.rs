//! A connection as a state machine: it knows no socket and no clock.
//!
//! [`Conn`] is given what came, what is known of both ends ([`Io`]), how a guest ended, and the
//! time; [`Conn::next`] answers what is to be done next. [`session`] does that to a [`Link`] and a
//! [`ActionHost`](session::ActionHost), which is a worker or the simulator of the tests.
//!
//! [`Link`]: super::client::link::Link

pub(crate) mod buffer;
mod events;
pub(crate) mod http;
pub(crate) mod line;
pub(crate) mod protocol;
pub(crate) mod scgi;
pub(crate) mod session;
pub(crate) mod stream;
pub(crate) mod table;

use std::time::{Duration, Instant};

use buffer::ReceiveBuffer;
use protocol::{After, Exchange, Feed, Job, Next, Protocol, Stdin};

use super::client::io::{Io, OUTPUT_MAX, Rest};
use super::observe::metrics::Outcome;

/// How long what a client still sends is thrown away before its connection is closed anyway.
pub(crate) const LINGER: Duration = Duration::from_secs(2);

/// Times a connection may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timeouts {
    /// From a request's first byte to its guest's end, and for taking the end of a reply.
    pub timeout: Duration,
    /// Between two requests, or in which a guest of a whole connection moves no byte.
    pub idle: Duration,
}

/// See the [module](self).
pub(crate) struct Conn {
    protocol: Box<dyn Protocol>,
    times: Timeouts,
    received: ReceiveBuffer,
    phase: Phase,
    /// The job whose guest is at work.
    job: Option<Running>,
    /// When the first byte of the request came that is not whole yet, or being answered.
    request_started: Option<Instant>,
    /// When anything last moved.
    active: Instant,
    /// Bytes that had moved when it was last checked how idle it is.
    moved: u64,
    /// When it must be looked at, whatever happens.
    deadline: Option<Instant>,
    /// What is to be reported before anything else is done.
    report: Option<Action>,
    draining: bool,
    /// It had to wait for room once: its client may be about to send more.
    was_full: bool,
    /// The sending direction was shut down.
    shut: bool,
}

/// A job whose guest is at work.
struct Running {
    stdin: Stdin,
    /// It was asked that the guest be ended.
    cancelled: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Its wire has to agree with its client before anything else.
    Opening,
    /// Not yet begun.
    Fresh,
    /// Serving.
    Open,
    /// Nothing more is run; what was written is still sent.
    Closing,
    /// Everything is sent and the sending direction shut down. What the client still sends is
    /// discarded: closing a socket with unread bytes resets it, and the reply may be lost.
    Lingering,
    /// Over.
    Closed,
}

/// Whether a connection may start jobs now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MayStart {
    /// It may.
    Own,
    /// It may ask for a turn, by [`Action::Queue`].
    Others,
    /// It has asked.
    Asked,
}

/// What is to be done for a connection.
pub(crate) enum Action {
    /// Advance the wire, and say when it is [open](Conn::opened).
    Open,
    /// Read, and say what has [come](Conn::received).
    Receive,
    /// Run a guest for this job, and say when it has [ended](Conn::ended).
    Start(Job),
    /// End the guest for this reason, unless it has just ended.
    Cancel(Outcome, &'static str),
    /// Count a request that no guest was run for.
    ReportRefused(Outcome),
    /// Count and log that it was closed because nothing moved.
    ReportIdle(&'static str),
    /// Send what there is, of which nothing follows the `last`.
    Flush { last: bool },
    /// Shut down the sending direction.
    Shut,
    /// Give it a turn of its own, soon.
    Queue,
    /// Read and throw away.
    Discard,
    /// Wait for what comes, for room if there was none, or for the [deadline](Conn::deadline).
    Wait { for_room: bool },
    /// Close it.
    Close,
}

impl Conn {
    pub fn new(protocol: Box<dyn Protocol>, times: Timeouts, now: Instant) -> Conn {
        Conn {
            protocol,
            times,
            received: ReceiveBuffer::default(),
            phase: Phase::Fresh,
            job: None,
            request_started: None,
            active: now,
            moved: 0,
            deadline: Some(now + times.idle),
            report: None,
            draining: false,
            was_full: false,
            shut: false,
        }
    }

    /// What is to be done next. To be asked again after each answer, until it is to wait, or
    /// closed.
    pub fn next(&mut self, io: &mut Io, now: Instant, turn: MayStart) -> Action {
        if let Some(report) = self.report.take() {
            return report;
        }
        let action = match self.phase {
            Phase::Closed => return Action::Close,
            Phase::Opening => return Action::Open,
            Phase::Lingering => return self.linger(io),
            Phase::Fresh | Phase::Open if self.job.is_none() => self.next_without_job(io, turn),
            _ => self.next_with_job(io),
        };
        action.unwrap_or_else(|| self.send(io, now))
    }

    /// Between two jobs.
    fn next_without_job(&mut self, io: &mut Io, turn: MayStart) -> Option<Action> {
        if self.draining {
            self.close();
            return None;
        }
        match turn {
            MayStart::Own => {}
            MayStart::Others => return Some(Action::Queue),
            MayStart::Asked => return None,
        }
        // The first request has often arrived by now, and a connection that is answered at once
        // never enters the poll. A guest that reads the wire itself has not started yet.
        let fresh = self.phase == Phase::Fresh;
        self.phase = Phase::Open;
        loop {
            if io.unsent() > OUTPUT_MAX / 2 && io.writable {
                return Some(Action::Flush { last: false });
            }
            // What its client does not take must not grow without end.
            if io.unsent() >= OUTPUT_MAX {
                self.deadline = Some(self.request_deadline());
                return None;
            }
            match self.request(io) {
                Next::Job(job) => return Some(self.begin(io, job)),
                Next::Answered(after) => {
                    self.request_started = None;
                    self.apply(after);
                    if self.phase != Phase::Open {
                        return None;
                    }
                }
                Next::Refused(outcome) => {
                    self.close();
                    return Some(Action::ReportRefused(outcome));
                }
                Next::More if !io.eof => {
                    // Also while it reads: a client may send for ever.
                    self.deadline = Some(self.request_deadline());
                    if io.readable || fresh {
                        io.readable = true;
                        return Some(Action::Receive);
                    }
                    return None;
                }
                Next::More | Next::End => {
                    self.close();
                    return None;
                }
            }
        }
    }

    fn request(&mut self, io: &mut Io) -> Next {
        let ended = io.eof;
        let (stdin, output) = io.buffers();
        self.protocol.next(Exchange { received: &mut self.received, ended, stdin, output })
    }

    fn begin(&mut self, io: &mut Io, job: Job) -> Action {
        let rest = match job.stdin {
            Stdin::Whole => Rest::End,
            Stdin::Fed => Rest::More,
            Stdin::Wire => {
                io.add_stdin(self.received.rest());
                Rest::Wire
            }
        };
        io.begin(rest, job.framed, job.reply_max);
        self.moved = io.moved();
        // What was the latest for the coming of a request is nothing to its guest.
        self.deadline = (job.stdin == Stdin::Wire).then(|| self.active + self.times.idle);
        self.job = Some(Running { stdin: job.stdin, cancelled: false });
        if job.stdin == Stdin::Fed {
            // What has come with its head. More is asked for once the guest runs.
            self.report = self.feed(io).filter(|action| !matches!(action, Action::Receive));
        }
        Action::Start(job)
    }

    /// Until when a request that is not there yet may take.
    fn request_deadline(&self) -> Instant {
        match self.request_started {
            Some(began) => began + self.times.timeout,
            None => self.active + self.times.idle,
        }
    }

    /// While a guest is at work, or nothing more is run.
    fn next_with_job(&mut self, io: &mut Io) -> Option<Action> {
        let job = self.job.as_mut().filter(|job| !job.cancelled)?;
        if io.too_long {
            job.cancelled = true;
            return Some(Action::Cancel(Outcome::ReplyTooLong, ""));
        }
        if let Some((written, output)) = io.framing() {
            self.protocol.frame(written, output, None);
        }
        if job.stdin == Stdin::Fed { self.feed(io) } else { None }
    }

    /// Gives the guest what has come of its input.
    fn feed(&mut self, io: &mut Io) -> Option<Action> {
        let job = self.job.as_mut()?;
        let ended = io.eof;
        let stdin = io.feed()?;
        let before = stdin.len();
        let feed = self.protocol.feed(&mut self.received, ended, stdin);
        let count = stdin.len() - before;
        match feed {
            Feed::Broken(outcome, why) => {
                job.cancelled = true;
                return Some(Action::Cancel(outcome, why));
            }
            Feed::More if !ended => io.commit_feed(count, false),
            Feed::More | Feed::Whole => {
                job.stdin = Stdin::Whole;
                io.commit_feed(count, true);
                return None;
            }
        }
        io.readable.then_some(Action::Receive)
    }

    /// Sends what there is, and says what follows from that.
    fn send(&mut self, io: &mut Io, now: Instant) -> Action {
        let last = self.phase == Phase::Closing && self.job.is_none();
        if io.unsent() > 0 && io.writable && !io.gone {
            return Action::Flush { last };
        }
        if io.unsent() > 0 {
            self.was_full = true;
            if self.phase == Phase::Closing && self.deadline.is_none() {
                self.deadline = Some(now + self.times.timeout);
            }
            return Action::Wait { for_room: true };
        }
        if last {
            return self.finish(io, now);
        }
        // Half-close: the guest still reads, but has closed its stdout.
        let reads_on = self.job.as_ref().is_some_and(|job| job.stdin == Stdin::Wire);
        if io.closed && reads_on && !self.shut {
            self.shut = true;
            return Action::Shut;
        }
        Action::Wait { for_room: false }
    }

    /// All is sent: closes, at once if the client is not about to send more.
    fn finish(&mut self, io: &mut Io, now: Instant) -> Action {
        // Sends what was kept back. Closing would do so too, unless something has come since.
        if !self.shut {
            self.shut = true;
            return Action::Shut;
        }
        let more = !io.eof && (io.readable || self.received.len() > 0 || self.was_full);
        if !more || self.draining {
            self.phase = Phase::Closed;
            return Action::Close;
        }
        self.phase = Phase::Lingering;
        self.deadline = Some(now + LINGER);
        self.linger(io)
    }

    fn linger(&mut self, io: &mut Io) -> Action {
        if io.eof {
            self.phase = Phase::Closed;
            return Action::Close;
        }
        if io.readable { Action::Discard } else { Action::Wait { for_room: false } }
    }

    /// Nothing more is run.
    fn close(&mut self) {
        self.phase = Phase::Closing;
        self.deadline = None;
    }

    fn apply(&mut self, after: After) {
        match after {
            After::Next => {}
            After::Close => self.close(),
            After::NextIfReceived if self.received.len() > 0 => {}
            After::NextIfReceived => self.close(),
            After::Become(protocol) => self.protocol = protocol,
        }
    }
}
