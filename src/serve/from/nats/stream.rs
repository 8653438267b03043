//! Messages of a stream of JetStream: pulled, and acknowledged once their replies are stored.
//!
//! A message goes through these states. Each step is asked for again if its answer does not come, and
//! after each new connection; all of them may be done twice.
//!
//! ```text
//!   Waiting -> Running -+-> Storing  (its reply, with Nats-Msg-Id)  -+
//!                       +-> Settling  if there is no reply          -+-> Settling (+ACK) -> gone
//!                       +-> Burying  (a dead letter)                 --> Settling (+TERM) -> gone
//!                       +-> gone      -NAK: it comes again
//! ```

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::header::{HeaderBlock, Headers};
use super::item::{AckSubject, Item, ItemState, Names, dead_headers, give_back};
use super::machine::{JOIN_TIME, MessageLimits, NatsNote, NatsTurn};
use super::outgoing::Outgoing;
use super::parse::Message;
use super::pulls::Pulls;
use super::setup::{ConsumerFacts, Setup};
use super::{NatsConfig, NatsIntake};
use crate::serve::from::message::Delivery;
use crate::serve::observe::outcome::Outcome;
use crate::wasi::Strings;

/// Bytes of messages that wait, beyond which nothing more is received.
const WAITING_MAX: usize = 4 << 20;

/// After how long without an answer a step is asked for again, and how often. Then the message is
/// left to the server, which delivers it again.
const ANSWER_TIME: Duration = Duration::from_secs(5);
const TRIES_MAX: u32 = 5;

/// How long a message that failed is given back for: at first, and doubled each time up to a minute.
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_DOUBLINGS: u64 = 6;

/// Bytes of headers that go with a reply.
const REPLY_HEADERS: usize = 512;

/// Subscriptions: answers, and messages with what is said of requests for them.
const ANSWERS: u64 = 1;
const PULLS: u64 = 2;

pub(super) struct Stream {
    config: Arc<NatsConfig>,
    limits: MessageLimits,
    names: Names,
    setup: Setup,
    facts: ConsumerFacts,
    /// By the number in the stream.
    items: HashMap<u64, Item>,
    waiting: VecDeque<u64>,
    waiting_bytes: usize,
    pulls: Pulls,
    /// When items are looked at.
    tick: Instant,
    draining: bool,
}

impl Stream {
    pub fn new(config: &Arc<NatsConfig>, limits: MessageLimits, now: Instant) -> Stream {
        let names = match &config.intake {
            NatsIntake::Stream { stream, consumer, to, dead, attempts } => Names {
                stream: stream.clone(),
                consumer: consumer.clone(),
                to: to.clone(),
                dead: dead.clone(),
                attempts: *attempts,
            },
            NatsIntake::Subscription { .. } => unreachable!("the machine has looked at it"),
        };
        Stream {
            config: config.clone(),
            limits,
            names,
            setup: Setup::new(config, now),
            facts: ConsumerFacts::default(),
            items: HashMap::new(),
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            pulls: Pulls::new(now),
            tick: now,
            draining: false,
        }
    }

    pub fn is_open(&self) -> bool {
        self.setup.is_ready()
    }

    /// Nothing is under way.
    pub fn is_idle(&self) -> bool {
        self.items.is_empty()
    }

    pub fn is_full(&self) -> bool {
        // Nothing comes that was not asked for, unless the server lies.
        self.waiting_bytes > WAITING_MAX || self.waiting.len() > 2 * self.config.window
    }

    pub fn has_next(&self) -> bool {
        !self.waiting.is_empty() && self.setup.is_ready()
    }

    /// The server takes operations.
    pub fn joined(&mut self, out: &mut Outgoing, now: Instant) {
        out.line(&format!("SUB {}.r.* {ANSWERS}", out.inbox));
        self.setup.begin(out, now);
    }

    pub fn lost(&mut self) {
        self.setup.end();
        self.pulls.forget();
    }

    pub fn drain(&mut self, turn: &mut NatsTurn<'_>) {
        self.draining = true;
        if self.setup.is_ready() {
            turn.out.line(&format!("UNSUB {PULLS}"));
        }
        // Another takes at once what has not been begun.
        for sequence in std::mem::take(&mut self.waiting) {
            if let Some(item) = self.items.remove(&sequence) {
                give_back(&item, Duration::ZERO, turn);
            }
        }
        self.waiting_bytes = 0;
    }

    /// A message of either subscription.
    ///
    /// # Errors
    ///
    /// Why there is nothing to be had from the server.
    pub fn message(&mut self, message: Message<'_>, turn: &mut NatsTurn<'_>) -> Result<(), String> {
        let inside = message.subject.strip_prefix(turn.out.inbox.as_str());
        match (message.sid, inside) {
            (ANSWERS, Some(inside)) => match inside.strip_prefix(".r.") {
                Some(token) => self.answer(token, message, turn),
                None => Ok(()),
            },
            (PULLS, Some(_)) => {
                self.pulls.ended(Headers(message.headers), &self.names, turn)?;
                self.pull(turn.out, turn.now);
                Ok(())
            }
            (PULLS, None) => {
                self.delivered(message, turn);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    // Messages.

    fn delivered(&mut self, message: Message<'_>, turn: &mut NatsTurn<'_>) {
        self.pulls.arrived();
        let ack = message.reply.and_then(|ack| AckSubject::parse(ack, &self.names));
        let (Some(ack), Some(reply)) = (ack, message.reply) else {
            let text =
                format!("a message of {} without a subject to acknowledge it", message.subject);
            return turn.notes.push(NatsNote::Warning(text));
        };
        turn.counts.messages += 1;
        turn.counts.redelivered += u64::from(ack.delivered > 1);
        if let Some(item) = self.items.get_mut(&ack.sequence) {
            // It is here already, and took longer than the server waits.
            item.ack = reply.into();
            item.delivered = ack.delivered;
            item.touched = turn.now;
            return self.send(ack.sequence, turn);
        }
        let item = Item {
            ack: reply.into(),
            delivered: ack.delivered,
            stamp: ack.stamp,
            subject: message.subject.into(),
            headers: message.headers.into(),
            payload: message.payload.into(),
            state: ItemState::Waiting,
            touched: turn.now,
            sent: turn.now,
            tries: 0,
        };
        if self.draining {
            return give_back(&item, Duration::ZERO, turn);
        }
        let bytes = item.payload.len();
        self.items.insert(ack.sequence, item);
        if bytes > self.limits.max_line {
            turn.notes.push(NatsNote::TooLong(bytes));
            let why = format!("{bytes} bytes, more than a line may have");
            return self.bury(ack.sequence, Outcome::LineTooLong, why, turn);
        }
        self.waiting.push_back(ack.sequence);
        self.waiting_bytes += bytes;
    }

    /// The next message to be run. Asks for more in time.
    pub fn next(&mut self, out: &mut Outgoing, now: Instant) -> Option<Delivery> {
        if !self.setup.is_ready() {
            return None;
        }
        self.pull(out, now);
        let sequence = self.waiting.pop_front()?;
        let item = self.items.get_mut(&sequence)?;
        item.state = ItemState::Running;
        self.waiting_bytes -= item.payload.len();
        let mut env = Strings::default();
        let number = sequence.to_string();
        let delivered = item.delivered.to_string();
        // None of them has a NUL byte.
        for (name, value) in [
            ("PROTO", "NATS"),
            ("NATS_SUBJECT", &*item.subject),
            ("NATS_STREAM", &self.names.stream),
            ("NATS_SEQUENCE", &number),
            ("NATS_DELIVERED", &delivered),
        ] {
            let _ = env.push(&[name.as_bytes(), b"=", value.as_bytes()]);
        }
        if !item.headers.is_empty() {
            Headers(&item.headers).add_variables(&mut env);
        }
        let room = out.max_payload.saturating_sub(REPLY_HEADERS);
        let reply_max = self.limits.max_reply.min(room);
        Some(Delivery { id: sequence, payload: item.payload.clone(), env, reply_max })
    }

    pub fn finished(
        &mut self,
        sequence: u64,
        outcome: Outcome,
        why: &str,
        reply: Vec<u8>,
        turn: &mut NatsTurn<'_>,
    ) {
        let attempts = self.attempts();
        let Some(item) = self.items.get_mut(&sequence) else { return };
        match outcome {
            Outcome::Ok if reply.is_empty() || self.names.to.is_none() => {
                item.state = ItemState::Settling(b"+ACK");
                self.send(sequence, turn);
            }
            Outcome::Ok => {
                item.state = ItemState::Storing(reply);
                self.send(sequence, turn);
            }
            Outcome::Stopped => self.retry(sequence, Duration::ZERO, turn),
            // To run it again would come to the same.
            outcome if item.delivered >= attempts => {
                self.bury(sequence, outcome, why.to_owned(), turn);
            }
            _ => {
                let doublings = item.delivered.saturating_sub(1).min(RETRY_DOUBLINGS);
                self.retry(sequence, RETRY_FIRST * (1 << doublings), turn);
            }
        }
    }

    fn attempts(&self) -> u64 {
        // After that many the consumer delivers it no more.
        self.facts.max_deliver.map_or(self.names.attempts, |max| max.min(self.names.attempts))
    }

    fn retry(&mut self, sequence: u64, delay: Duration, turn: &mut NatsTurn<'_>) {
        if let Some(item) = self.items.remove(&sequence) {
            turn.counts.retries += 1;
            give_back(&item, delay, turn);
        }
    }

    /// Makes it a dead letter.
    fn bury(&mut self, sequence: u64, outcome: Outcome, why: String, turn: &mut NatsTurn<'_>) {
        if let Some(item) = self.items.get_mut(&sequence) {
            item.state = ItemState::Burying(outcome, why);
            self.send(sequence, turn);
        }
    }

    /// Asks for the step that an item is at, for the first time or again.
    fn send(&mut self, sequence: u64, turn: &mut NatsTurn<'_>) {
        let Some(item) = self.items.get_mut(&sequence) else { return };
        if !self.setup.is_ready() {
            // Once there is a connection again.
            return;
        }
        item.sent = turn.now;
        let out = &mut *turn.out;
        let inbox = |kind: char, out: &Outgoing| format!("{}.r.{kind}{sequence}", out.inbox);
        let id = format!("{}:{sequence}:{}", self.names.stream, item.stamp);
        match &item.state {
            ItemState::Waiting | ItemState::Running => {}
            ItemState::Storing(reply) => {
                let headers = HeaderBlock::new().field("Nats-Msg-Id", &id).finish();
                let to = self.names.to.as_deref().unwrap_or_default();
                let inbox = inbox('s', out);
                out.publish(to, Some(&inbox), &headers, reply);
            }
            ItemState::Burying(outcome, why) => {
                let headers = dead_headers(item, sequence, &self.names, &id, *outcome, why);
                let subject = format!("{}.{}", self.names.dead, item.subject);
                let inbox = inbox('d', out);
                // What would be too large with its headers is kept without what it is.
                let fits = headers.len() + item.payload.len() <= out.max_payload;
                let payload: &[u8] = if fits { &item.payload } else { &[] };
                out.publish(&subject, Some(&inbox), &headers, payload);
            }
            ItemState::Settling(verdict) => {
                let inbox = inbox('a', out);
                out.publish(&item.ack, Some(&inbox), &[], verdict);
            }
        }
    }

    // Answers.

    fn answer(
        &mut self,
        token: &str,
        message: Message<'_>,
        turn: &mut NatsTurn<'_>,
    ) -> Result<(), String> {
        let mut chars = token.chars();
        let kind = chars.next();
        let status = Headers(message.headers).status();
        if kind == Some('x') {
            let facts = self.setup.answer(chars.as_str(), status, message.payload, turn)?;
            if let Some(facts) = facts {
                self.ready(facts, turn);
            }
            return Ok(());
        }
        let Ok(sequence) = chars.as_str().parse::<u64>() else { return Ok(()) };
        let Some(item) = self.items.get_mut(&sequence) else { return Ok(()) };
        match (kind, &item.state) {
            (Some('s'), ItemState::Storing(_)) => {
                match super::setup::stored(status, message.payload) {
                    Ok(duplicate) => {
                        turn.counts.replies += 1;
                        turn.counts.duplicates += u64::from(duplicate);
                        self.settle(sequence, b"+ACK", turn);
                    }
                    Err(why) => {
                        let to = self.names.to.as_deref().unwrap_or_default();
                        let text = format!("a reply can't be stored under {to}: {why}");
                        turn.notes.push(NatsNote::Warning(text));
                        self.retry(sequence, RETRY_FIRST, turn);
                    }
                }
            }
            (Some('d'), ItemState::Burying(..)) => {
                let stored = super::setup::stored(status, message.payload);
                self.buried(sequence, stored.err(), turn);
            }
            // Whatever it says: if the server does not know of it, it comes again.
            (Some('a'), ItemState::Settling(_)) => {
                self.items.remove(&sequence);
            }
            _ => {}
        }
        Ok(())
    }

    fn settle(&mut self, sequence: u64, verdict: &'static [u8], turn: &mut NatsTurn<'_>) {
        if let Some(item) = self.items.get_mut(&sequence) {
            item.state = ItemState::Settling(verdict);
            item.tries = 0;
            self.send(sequence, turn);
        }
    }

    /// A dead letter is stored, or could not be.
    fn buried(&mut self, sequence: u64, failed: Option<String>, turn: &mut NatsTurn<'_>) {
        let Some(item) = self.items.get(&sequence) else { return };
        let ItemState::Burying(_, why) = &item.state else { return };
        match failed {
            None => {
                turn.counts.dead += 1;
                let (subject, why) = (item.subject.to_string(), why.clone());
                turn.notes.push(NatsNote::Dead { subject, sequence, why });
                self.settle(sequence, b"+TERM", turn);
            }
            Some(failed) => {
                let (dead, subject) = (&self.names.dead, &item.subject);
                let text =
                    format!("a dead letter can't be stored under {dead}.{subject}: {failed}");
                turn.notes.push(NatsNote::Warning(text));
                // It stays in its stream, and is tried again as long as the consumer delivers it.
                self.retry(sequence, RETRY_FIRST * (1 << RETRY_DOUBLINGS), turn);
            }
        }
    }

    /// Messages can be asked for. Continues what is under way.
    fn ready(&mut self, facts: ConsumerFacts, turn: &mut NatsTurn<'_>) {
        self.facts = facts;
        turn.notes.push(NatsNote::Open);
        turn.out.line(&format!("SUB {}.p.* {PULLS}", turn.out.inbox));
        let under_way: Vec<u64> = self.items.keys().copied().collect();
        for sequence in under_way {
            self.send(sequence, turn);
        }
        self.pulls.forget();
        self.tick = turn.now + self.tick_time();
        self.pull(turn.out, turn.now);
    }

    /// Asks for as many messages as there is room for.
    fn pull(&mut self, out: &mut Outgoing, now: Instant) {
        if !self.draining {
            self.pulls.ask(&self.names, self.config.window, self.items.len(), out, now);
        }
    }

    // Time.

    /// How often items are looked at.
    fn tick_time(&self) -> Duration {
        (self.facts.ack_wait / 8).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }

    pub fn deadline(&self) -> Option<Instant> {
        if !self.setup.is_ready() {
            return self.setup.is_under_way().then(|| self.setup.since() + JOIN_TIME);
        }
        if self.draining && self.items.is_empty() {
            return None;
        }
        if !self.items.is_empty() {
            return Some(self.tick);
        }
        Some(self.pulls.deadline())
    }

    /// Its deadline is over.
    ///
    /// # Errors
    ///
    /// If the server has not answered what has to be known first.
    pub fn on_time(&mut self, turn: &mut NatsTurn<'_>) -> Result<(), String> {
        let now = turn.now;
        if !self.setup.is_ready() {
            return match self.setup.since() + JOIN_TIME {
                due if self.setup.is_under_way() && now >= due => {
                    Err("JetStream does not answer".into())
                }
                _ => Ok(()),
            };
        }
        self.pulls.on_time(now);
        if now >= self.tick {
            self.tick = now + self.tick_time();
            self.look_after_items(turn);
        }
        self.pull(turn.out, now);
        Ok(())
    }

    /// Has the server wait for what takes long, and asks again for what was not answered.
    fn look_after_items(&mut self, turn: &mut NatsTurn<'_>) {
        let now = turn.now;
        let half = self.facts.ack_wait / 2;
        let mut again = Vec::new();
        self.items.retain(|sequence, item| {
            let is_step = !matches!(item.state, ItemState::Waiting | ItemState::Running);
            if is_step && now >= item.sent + ANSWER_TIME {
                item.tries += 1;
                again.push(*sequence);
            }
            let given_up = item.tries > TRIES_MAX;
            if !given_up && now >= item.touched + half {
                item.touched = now;
                turn.out.publish(&item.ack, None, &[], b"+WPI");
            }
            !given_up
        });
        for sequence in again {
            self.send(sequence, turn);
        }
    }
}
