//! A message of a stream, from its delivery to its last word.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::header::{HeaderBlock, Headers};
use super::machine::NatsTurn;
use crate::serve::observe::outcome::Outcome;

/// What is in the query of the address.
pub(super) struct Names {
    pub stream: String,
    pub consumer: String,
    pub to: Option<String>,
    pub dead: String,
    pub attempts: u64,
}

pub(super) struct Item {
    /// Where it is acknowledged.
    pub ack: Box<str>,
    pub delivered: u64,
    /// When it was stored, as the server writes it. With the number it is the message's name, also if
    /// the stream is deleted and made again.
    pub stamp: u64,
    pub subject: Box<str>,
    pub headers: Box<[u8]>,
    pub payload: Arc<[u8]>,
    pub state: ItemState,
    /// When the server last heard of it.
    pub touched: Instant,
    /// When the step was asked for, and how often.
    pub sent: Instant,
    pub tries: u32,
}

pub(super) enum ItemState {
    Waiting,
    Running,
    /// The reply.
    Storing(Vec<u8>),
    /// The outcome, and why.
    Burying(Outcome, String),
    /// What is said of it at last.
    Settling(&'static [u8]),
}

/// Has the server deliver it again.
pub(super) fn give_back(item: &Item, delay: Duration, turn: &mut NatsTurn<'_>) {
    let verdict = match delay.as_nanos() {
        0 => "-NAK".to_owned(),
        nanos => format!("-NAK {{\"delay\":{nanos}}}"),
    };
    turn.out.publish(&item.ack, None, &[], verdict.as_bytes());
}

/// The headers of a dead letter: why it is one, what it was, and its own.
pub(super) fn dead_headers(
    item: &Item,
    sequence: u64,
    names: &Names,
    id: &str,
    outcome: Outcome,
    why: &str,
) -> Vec<u8> {
    let mut block = HeaderBlock::new()
        .field("Nats-Msg-Id", &format!("{id}:dead"))
        .field("Tinyhost-Outcome", outcome.name())
        .field("Tinyhost-Reason", why)
        .field("Tinyhost-Subject", &item.subject)
        .field("Tinyhost-Stream", &names.stream)
        .field("Tinyhost-Sequence", &sequence.to_string())
        .field("Tinyhost-Delivered", &item.delivered.to_string());
    for (name, value) in Headers(&item.headers).fields() {
        let own = ["nats-", "tinyhost-"];
        if !name.is_empty() && !own.iter().any(|own| name.to_ascii_lowercase().starts_with(own)) {
            block = block.field(name, value);
        }
    }
    block.finish()
}

/// What the subject says that a message is acknowledged at.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct AckSubject {
    pub delivered: u64,
    pub sequence: u64,
    pub stamp: u64,
}

impl AckSubject {
    /// Reads `$JS.ACK.STREAM.CONSUMER.DELIVERED.SEQUENCE.CONSUMER-SEQUENCE.TIME.PENDING`; later servers
    /// put a domain and an account before the stream, and may add tokens at the end.
    pub fn parse(subject: &str, names: &Names) -> Option<AckSubject> {
        let tokens: Vec<&str> = subject.strip_prefix("$JS.ACK.")?.split('.').collect();
        let rest = match tokens.len() {
            7 => &tokens[..],
            9.. => &tokens[2..],
            _ => return None,
        };
        if rest[0] != names.stream || rest[1] != names.consumer {
            return None;
        }
        let number = |at: usize| rest[at].parse().ok();
        Some(AckSubject { delivered: number(2)?, sequence: number(3)?, stamp: number(5)? })
    }
}
