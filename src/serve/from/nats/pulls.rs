//! Asking a consumer for messages.

use std::time::{Duration, Instant};

use super::header::Headers;
use super::item::Names;
use super::machine::{NatsNote, NatsTurn};
use super::outgoing::Outgoing;

/// How long a request for messages holds, and how long after that it is taken for lost.
const PULL_TIME: Duration = Duration::from_secs(30);
const PULL_GRACE: Duration = Duration::from_secs(5);

/// How long nothing is asked for after a request was refused.
const PULL_PAUSE: Duration = Duration::from_secs(1);

/// The requests for messages that are under way.
pub(super) struct Pulls {
    /// Messages asked for that have not come.
    asked: usize,
    /// When the last request ends.
    ends: Instant,
    /// Nothing is asked for before this.
    again: Instant,
    count: u64,
}

impl Pulls {
    pub fn new(now: Instant) -> Pulls {
        Pulls { asked: 0, ends: now, again: now, count: 0 }
    }

    /// None is under way any more.
    pub fn forget(&mut self) {
        self.asked = 0;
    }

    /// A message has come.
    pub fn arrived(&mut self) {
        self.asked = self.asked.saturating_sub(1);
    }

    /// Asks for messages if there is room for them beside those that are there.
    pub fn ask(
        &mut self,
        names: &Names,
        window: usize,
        there: usize,
        out: &mut Outgoing,
        now: Instant,
    ) {
        let room = window.saturating_sub(there + self.asked);
        // Not one by one: a request costs as much as a message.
        if now < self.again || room == 0 || room < window / 2 {
            return;
        }
        self.count += 1;
        self.asked += room;
        self.ends = now + PULL_TIME;
        let Names { stream, consumer, .. } = names;
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        let inbox = format!("{}.p.{}", out.inbox, self.count);
        let body = format!("{{\"batch\":{room},\"expires\":{}}}", PULL_TIME.as_nanos());
        out.publish(&subject, Some(&inbox), &[], body.as_bytes());
    }

    /// A request has ended, or something is said of it.
    ///
    /// # Errors
    ///
    /// Why there will be no messages.
    pub fn ended(
        &mut self,
        headers: Headers<'_>,
        names: &Names,
        turn: &mut NatsTurn<'_>,
    ) -> Result<(), String> {
        let Some((code, text)) = headers.status() else { return Ok(()) };
        let left = headers.get("Nats-Pending-Messages").and_then(|left| left.parse().ok());
        match code {
            // It only says that it is there.
            100 => return Ok(()),
            404 | 408 => {}
            409 => {
                let lower = text.to_ascii_lowercase();
                if lower.contains("consumer deleted") || lower.contains("push based") {
                    return Err(format!("consumer {}: {text}", names.consumer));
                }
                if !lower.contains("server shutdown") && !lower.contains("leadership") {
                    let text = format!("a request for messages was refused: {text}");
                    turn.notes.push(NatsNote::Warning(text));
                }
                self.again = turn.now + PULL_PAUSE;
            }
            503 => return Err("JetStream does not answer any more".into()),
            _ => self.again = turn.now + PULL_PAUSE,
        }
        self.asked = self.asked.saturating_sub(left.unwrap_or(self.asked));
        Ok(())
    }

    /// When it must be looked at: a request is under way, or about to be made.
    pub fn deadline(&self) -> Instant {
        if self.asked > 0 { self.ends + PULL_GRACE } else { self.again }
    }

    /// A request that has not ended by now is lost.
    pub fn on_time(&mut self, now: Instant) {
        if now >= self.ends + PULL_GRACE {
            self.asked = 0;
        }
    }
}
