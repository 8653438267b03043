//! Messages of a subscription: each is answered at its reply subject.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, OnceLock};

use super::header::{HeaderBlock, Headers};
use super::machine::{MessageLimits, NatsNote, NatsTurn};
use super::outgoing::Outgoing;
use super::parse::Message;
use super::random;
use crate::serve::from::message::Delivery;
use crate::serve::observe::outcome::Outcome;
use crate::wasi::Strings;

/// Bytes of replies kept while there is no connection.
const HELD_MAX: usize = 8 << 20;

/// Bytes of messages that wait, beyond which nothing more is received.
const WAITING_MAX: usize = 1 << 20;

/// The number of the subscription.
const SID: u64 = 1;

pub(super) struct Subscription {
    subject: String,
    queue: String,
    window: usize,
    limits: MessageLimits,
    waiting: VecDeque<Waiting>,
    waiting_bytes: usize,
    /// Where the replies to those go that run.
    running: HashMap<u64, Option<Box<str>>>,
    ids: u64,
    open: bool,
    /// Replies that came to be while there was no connection.
    held: Vec<u8>,
}

struct Waiting {
    reply: Option<Box<str>>,
    payload: Arc<[u8]>,
    env: Strings,
}

/// The queue group of servers that want each message: its own, so that of its workers one gets it.
fn own_group() -> String {
    static GROUP: OnceLock<String> = OnceLock::new();
    GROUP.get_or_init(|| format!("tinyhost-{:016x}{:016x}", random(), random())).clone()
}

impl Subscription {
    pub fn new(
        subject: &str,
        queue: Option<&str>,
        window: usize,
        limits: MessageLimits,
    ) -> Subscription {
        Subscription {
            subject: subject.to_owned(),
            queue: queue.map_or_else(own_group, str::to_owned),
            window,
            limits,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            running: HashMap::new(),
            ids: 0,
            open: false,
            held: Vec::new(),
        }
    }

    pub fn is_open(&self) -> bool {
        self.open
    }

    pub fn opened(&mut self, out: &mut Outgoing) {
        self.open = true;
        out.line(&format!("SUB {} {} {SID}", self.subject, self.queue));
        out.bytes.append(&mut self.held);
    }

    pub fn lost(&mut self) {
        self.open = false;
    }

    pub fn drain(&mut self, out: &mut Outgoing) {
        if self.open {
            out.line(&format!("UNSUB {SID}"));
        }
    }

    /// Whether nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.waiting.is_empty() && self.running.is_empty()
    }

    pub fn has_next(&self) -> bool {
        !self.waiting.is_empty() && self.running.len() < self.window
    }

    pub fn is_full(&self) -> bool {
        self.waiting.len() >= self.window || self.waiting_bytes > WAITING_MAX
    }

    pub fn message(&mut self, message: Message<'_>, turn: &mut NatsTurn<'_>) {
        if message.sid != SID {
            return;
        }
        turn.counts.messages += 1;
        if message.payload.len() > self.limits.max_line {
            turn.notes.push(NatsNote::TooLong(message.payload.len()));
            return self.answer(message.reply, Outcome::LineTooLong, Vec::new(), turn);
        }
        let mut env = Strings::default();
        // Its subject has no NUL byte.
        let _ = env.push(&[b"PROTO=NATS"]);
        let _ = env.push(&[b"NATS_SUBJECT=", message.subject.as_bytes()]);
        if !message.headers.is_empty() {
            Headers(message.headers).add_variables(&mut env);
        }
        let waiting =
            Waiting { reply: message.reply.map(Into::into), payload: message.payload.into(), env };
        self.waiting_bytes += waiting.payload.len();
        self.waiting.push_back(waiting);
    }

    pub fn next(&mut self, out: &Outgoing) -> Option<Delivery> {
        if self.running.len() >= self.window {
            return None;
        }
        let Waiting { reply, payload, env } = self.waiting.pop_front()?;
        self.waiting_bytes -= payload.len();
        self.ids += 1;
        self.running.insert(self.ids, reply);
        let reply_max = self.limits.max_reply.min(out.max_payload);
        Some(Delivery { id: self.ids, payload, env, reply_max })
    }

    pub fn finished(&mut self, id: u64, outcome: Outcome, reply: Vec<u8>, turn: &mut NatsTurn<'_>) {
        let Some(to) = self.running.remove(&id) else { return };
        self.answer(to.as_deref(), outcome, reply, turn);
    }

    /// Sends a reply. One to a message that failed has headers that say so.
    fn answer(
        &mut self,
        to: Option<&str>,
        outcome: Outcome,
        mut reply: Vec<u8>,
        turn: &mut NatsTurn<'_>,
    ) {
        let Some(to) = to else { return };
        let NatsTurn { out, counts, .. } = turn;
        let mut headers = Vec::new();
        if outcome != Outcome::Ok && out.headers {
            headers = HeaderBlock::new()
                .field("Nats-Service-Error", outcome.name())
                .field("Nats-Service-Error-Code", "500")
                .finish();
        }
        // What is cut off is worth nothing.
        if outcome == Outcome::ReplyTooLong || reply.len() + headers.len() > out.max_payload {
            reply.clear();
        }
        if self.open {
            counts.replies += 1;
            return out.publish(to, None, &headers, &reply);
        }
        if self.held.len() + reply.len() > HELD_MAX {
            counts.lost += 1;
            return;
        }
        counts.replies += 1;
        // Behind what an old connection has not taken, which is thrown away.
        let sent = std::mem::replace(&mut out.bytes, std::mem::take(&mut self.held));
        out.publish(to, None, &headers, &reply);
        self.held = std::mem::replace(&mut out.bytes, sent);
    }
}
