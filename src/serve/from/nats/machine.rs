//! A connection to a NATS server as a state machine: it knows no socket and no clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::json::Json;
use super::outgoing::Outgoing;
use super::parse::{OpParser, PAYLOAD_MAX, ServerOp};
use super::stream::Stream;
use super::subscription::Subscription;
use super::{NatsConfig, NatsIntake};
use crate::serve::config::Limits;
use crate::serve::from::message::Delivery;
use crate::serve::observe::outcome::Outcome;

/// How long a server may take to greet, and for each answer until messages come.
pub(super) const JOIN_TIME: Duration = Duration::from_secs(10);

/// How long a server may be silent before it is asked whether it is there, and how long after that.
const SILENCE: Duration = Duration::from_secs(60);
const PONG_TIME: Duration = Duration::from_secs(15);

/// Bytes that a message may have beyond the server's limit, for headers that it added.
const HEADERS_MAX: usize = 64 << 10;

/// What bounds a message and its reply.
#[derive(Clone, Copy)]
pub(super) struct MessageLimits {
    pub max_line: usize,
    pub max_reply: usize,
}

/// What has happened since it was last taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct NatsCounts {
    pub messages: u64,
    pub redelivered: u64,
    pub replies: u64,
    pub duplicates: u64,
    pub retries: u64,
    pub dead: u64,
    /// Replies that could not be sent.
    pub lost: u64,
}

/// What is to be logged.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NatsNote {
    /// Messages come from now on.
    Open,
    /// A message of so many bytes was refused.
    TooLong(usize),
    /// A message that failed for good, and why.
    Dead {
        subject: String,
        sequence: u64,
        why: String,
    },
    Warning(String),
}

/// What an intake is given: what it may write, count and report, and the time.
pub(super) struct NatsTurn<'a> {
    pub out: &'a mut Outgoing,
    pub counts: &'a mut NatsCounts,
    pub notes: &'a mut Vec<NatsNote>,
    pub now: Instant,
}

/// Borrows what is in a [`NatsTurn`], and nothing else of a machine.
macro_rules! turn {
    ($machine:ident, $now:expr) => {
        NatsTurn {
            out: &mut $machine.out,
            counts: &mut $machine.counts,
            notes: &mut $machine.notes,
            now: $now,
        }
    };
}

/// See the [module](self).
pub(crate) struct NatsMachine {
    config: Arc<NatsConfig>,
    parser: OpParser,
    phase: Phase,
    out: Outgoing,
    intake: Intake,
    /// What the server last said was wrong. It closes the connection afterwards.
    error: Option<String>,
    /// When the phase began.
    since: Instant,
    /// When anything was last received.
    heard: Instant,
    /// When it was asked whether it is there.
    asked: Option<Instant>,
    drain: Drain,
    counts: NatsCounts,
    notes: Vec<NatsNote>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// There is no connection.
    Down,
    /// Its INFO has not come.
    Greeting,
    /// Its PONG to the first PING has not come.
    Joining,
    /// It takes operations. Messages come once the intake is open.
    Joined,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Drain {
    Not,
    /// What was sent before it knew may still come, until its PONG.
    Asked,
    /// Nothing more comes.
    Last,
}

enum Intake {
    Subscription(Subscription),
    Stream(Box<Stream>),
}

impl NatsMachine {
    pub fn new(config: &Arc<NatsConfig>, limits: &Limits, now: Instant) -> NatsMachine {
        let bounds = MessageLimits { max_line: limits.max_line, max_reply: limits.max_reply };
        let intake = match &config.intake {
            NatsIntake::Subscription { queue } => {
                let (subject, queue) = (&config.subject, queue.as_deref());
                Intake::Subscription(Subscription::new(subject, queue, config.window, bounds))
            }
            NatsIntake::Stream { .. } => Intake::Stream(Box::new(Stream::new(config, bounds, now))),
        };
        NatsMachine {
            config: config.clone(),
            parser: OpParser::new(),
            phase: Phase::Down,
            out: Outgoing::new(),
            intake,
            error: None,
            since: now,
            heard: now,
            asked: None,
            drain: Drain::Not,
            counts: NatsCounts::default(),
            notes: Vec::new(),
        }
    }

    /// There is a connection.
    pub fn connected(&mut self, now: Instant) {
        self.parser = OpParser::new();
        self.out.bytes.clear();
        self.error = None;
        self.asked = None;
        self.enter(Phase::Greeting, now);
    }

    /// There is none any more. Returns what the server said was wrong.
    pub fn lost(&mut self, now: Instant) -> Option<String> {
        self.out.bytes.clear();
        self.enter(Phase::Down, now);
        match &mut self.intake {
            Intake::Subscription(subscription) => subscription.lost(),
            Intake::Stream(stream) => stream.lost(),
        }
        if self.drain == Drain::Asked {
            self.drain = Drain::Last;
        }
        self.error.take()
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.since = now;
        self.heard = now;
    }

    /// These bytes came.
    ///
    /// # Errors
    ///
    /// What the server does wrong, or why there is nothing to be had from it. The connection is to be
    /// closed.
    pub fn received(&mut self, bytes: &[u8], now: Instant) -> Result<(), String> {
        self.heard = now;
        self.asked = None;
        self.parser.push(bytes);
        loop {
            let mut error = None;
            let mut pong = false;
            let mut payload_max = None;
            let Some(op) = self.parser.next()? else { return Ok(()) };
            match op {
                ServerOp::Info(json) => {
                    let max = inform(&mut self.out, json, self.phase, &self.config)?;
                    payload_max = Some(max + HEADERS_MAX);
                }
                ServerOp::Ping => self.out.line("PONG"),
                ServerOp::Pong => pong = true,
                ServerOp::Ok => {}
                ServerOp::Error(text) => error = Some(text.to_owned()),
                ServerOp::Message(message) if self.phase == Phase::Joined => {
                    let mut turn = turn!(self, now);
                    match &mut self.intake {
                        Intake::Subscription(subscription) => {
                            subscription.message(message, &mut turn);
                        }
                        Intake::Stream(stream) => stream.message(message, &mut turn)?,
                    }
                }
                ServerOp::Message(_) => return Err("a message before its greeting".into()),
            }
            if let Some(max) = payload_max {
                self.greeted(max, now);
            }
            if let Some(error) = error {
                self.failed(error)?;
            }
            if pong {
                self.pong(now);
            }
        }
    }

    /// The server has said what it is.
    fn greeted(&mut self, payload_max: usize, now: Instant) {
        self.parser.payload_max = payload_max;
        if self.phase == Phase::Greeting {
            self.out.connect(self.config.login.as_ref());
            self.out.line("PING");
            self.enter(Phase::Joining, now);
        }
    }

    fn pong(&mut self, now: Instant) {
        match (self.phase, self.drain) {
            (Phase::Joining, _) => {
                self.enter(Phase::Joined, now);
                if self.drain != Drain::Not {
                    self.drain = Drain::Last;
                }
                match &mut self.intake {
                    Intake::Subscription(_) if self.drain != Drain::Not => {}
                    Intake::Subscription(subscription) => {
                        subscription.opened(&mut self.out);
                        self.notes.push(NatsNote::Open);
                    }
                    Intake::Stream(stream) => stream.joined(&mut self.out, now),
                }
            }
            (Phase::Joined, Drain::Asked) => self.drain = Drain::Last,
            _ => {}
        }
    }

    /// The server says that something is wrong.
    fn failed(&mut self, text: String) -> Result<(), String> {
        let lower = text.to_ascii_lowercase();
        if lower.contains("permissions violation for publish") {
            // The message is lost, and nothing else.
            self.notes.push(NatsNote::Warning(format!("the server says: {text}")));
            return Ok(());
        }
        let text = match &self.config.login {
            None if lower.contains("authorization") => {
                format!("the server says: {text} (give a login with --from-auth)")
            }
            _ => format!("the server says: {text}"),
        };
        if lower.contains("permissions violation for subscription") {
            return Err(text);
        }
        self.error = Some(text);
        Ok(())
    }

    /// The next message to be run.
    pub fn next(&mut self, now: Instant) -> Option<Delivery> {
        if self.out.is_full() {
            return None;
        }
        match &mut self.intake {
            Intake::Subscription(subscription) => subscription.next(&self.out),
            Intake::Stream(stream) => stream.next(&mut self.out, now),
        }
    }

    /// Whether there may be a message to be run.
    pub fn has_waiting(&self) -> bool {
        !self.out.is_full()
            && match &self.intake {
                Intake::Subscription(subscription) => subscription.has_next(),
                Intake::Stream(stream) => stream.has_next(),
            }
    }

    /// Whether more may be received now.
    pub fn may_receive(&self) -> bool {
        let full = match &self.intake {
            Intake::Subscription(subscription) => subscription.is_full(),
            Intake::Stream(stream) => stream.is_full(),
        };
        !full && !self.out.is_full()
    }

    /// A message was run. `why` says more of a failure.
    pub fn finished(&mut self, id: u64, outcome: Outcome, why: &str, reply: Vec<u8>, now: Instant) {
        let mut turn = turn!(self, now);
        match &mut self.intake {
            Intake::Subscription(subscription) => {
                subscription.finished(id, outcome, reply, &mut turn);
            }
            Intake::Stream(stream) => {
                let why = if why.is_empty() { outcome.name() } else { why };
                stream.finished(id, outcome, why, reply, &mut turn);
            }
        }
    }

    /// The server is to end: nothing more is asked for. What has come is answered, or given back.
    pub fn drain(&mut self, now: Instant) {
        if self.drain != Drain::Not {
            return;
        }
        self.drain = if self.phase == Phase::Joined { Drain::Asked } else { Drain::Last };
        match &mut self.intake {
            Intake::Subscription(subscription) => subscription.drain(&mut self.out),
            Intake::Stream(stream) => stream.drain(&mut turn!(self, now)),
        }
        if self.phase == Phase::Joined {
            self.out.line("PING");
            self.asked = Some(now);
        }
    }

    /// Whether all is done after that, and sent.
    pub fn is_drained(&self) -> bool {
        let idle = match &self.intake {
            Intake::Subscription(subscription) => subscription.is_idle(),
            Intake::Stream(stream) => stream.is_idle(),
        };
        self.drain == Drain::Last
            && (idle && self.out.bytes.is_empty() || self.phase == Phase::Down)
    }

    /// What is to be sent.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.out.bytes
    }

    /// When it must be looked at, whatever happens.
    pub fn deadline(&self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Down => return None,
            Phase::Greeting | Phase::Joining => self.since + JOIN_TIME,
            Phase::Joined => self.asked.map_or(self.heard + SILENCE, |asked| asked + PONG_TIME),
        };
        let intake = match &self.intake {
            Intake::Subscription(_) => None,
            Intake::Stream(stream) => stream.deadline(),
        };
        Some(intake.map_or(own, |intake| intake.min(own)))
    }

    /// It is then.
    ///
    /// # Errors
    ///
    /// Why the connection is to be closed.
    pub fn on_time(&mut self, now: Instant) -> Result<(), String> {
        match self.phase {
            Phase::Down => return Ok(()),
            Phase::Greeting | Phase::Joining if now >= self.since + JOIN_TIME => {
                return Err("the server does not answer as a NATS server does".into());
            }
            Phase::Greeting | Phase::Joining => {}
            Phase::Joined => match self.asked {
                Some(asked) if now >= asked + PONG_TIME => {
                    return Err("the server does not answer any more".into());
                }
                None if now >= self.heard + SILENCE => {
                    self.asked = Some(now);
                    self.out.line("PING");
                }
                _ => {}
            },
        }
        match &mut self.intake {
            Intake::Subscription(_) => Ok(()),
            Intake::Stream(stream) => stream.on_time(&mut turn!(self, now)),
        }
    }

    /// Whether messages come.
    pub fn is_open(&self) -> bool {
        match &self.intake {
            Intake::Subscription(subscription) => subscription.is_open(),
            Intake::Stream(stream) => stream.is_open(),
        }
    }

    pub fn take_counts(&mut self) -> NatsCounts {
        std::mem::take(&mut self.counts)
    }

    pub fn take_notes(&mut self) -> Vec<NatsNote> {
        std::mem::take(&mut self.notes)
    }
}

/// Takes what a server says of itself: at first, and whenever that changes. Returns the bytes that a
/// message may have.
fn inform(
    out: &mut Outgoing,
    json: &[u8],
    phase: Phase,
    config: &NatsConfig,
) -> Result<usize, String> {
    let info = Json::parse(json).filter(|info| matches!(info, Json::Object(_)));
    let info = info.ok_or("the server's INFO is not JSON")?;
    let is_set = |name: &str| info.get(name).is_some_and(Json::is_true);
    if phase == Phase::Greeting && is_set("tls_required") {
        return Err("the server wants TLS, which is not supported: use a tunnel (stunnel)".into());
    }
    if phase == Phase::Greeting && is_set("auth_required") && config.login.is_none() {
        return Err("the server wants a login: give it with --from-auth".into());
    }
    let max = match info.get("max_payload") {
        None => 1 << 20,
        Some(max) => {
            let max = max.number().and_then(|max| usize::try_from(max).ok());
            max.filter(|max| (1..=PAYLOAD_MAX).contains(max))
                .ok_or("the server's INFO has a max_payload that can't be")?
        }
    };
    out.max_payload = max;
    out.headers = is_set("headers");
    Ok(max)
}
