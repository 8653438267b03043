//! A protocol with what those to come need: bodies that stream, framed replies, answers without a
//! guest, another protocol in its place.

use crate::serve::conn::buffer::ReceiveBuffer;
use crate::serve::conn::line::Lines;
use crate::serve::conn::protocol::{After, Exchange, Feed, Job, Next, Protocol, Stdin};
use crate::serve::observe::metrics::Outcome;
use crate::wasi::Strings;

/// Bytes of a head.
const HEAD_MAX: usize = 16;

pub const PONG: &[u8] = b"pong\n";
pub const WELCOME: &[u8] = b"lines\n";

/// A request is `p`, the length of its body, a newline and the body; or `q`, which is answered at
/// once; or `u`, after which lines follow. A reply is pieces, each a length, a newline and its
/// bytes, then `.` and the outcome.
pub struct Packets {
    pub lines: Lines,
    /// Bytes of the body that are to come, or were not wanted by a guest that has ended.
    pub body: usize,
}

impl Packets {
    fn head(&mut self, head: &[u8], output: &mut Vec<u8>) -> Next {
        match head.split_first() {
            Some((b'q', [])) => {
                output.extend_from_slice(PONG);
                Next::Answered(After::Next)
            }
            Some((b'u', [])) => {
                output.extend_from_slice(WELCOME);
                Next::Answered(After::Become(Box::new(self.lines)))
            }
            Some((b'p', digits)) => {
                let digits = std::str::from_utf8(digits).unwrap_or_default();
                let Ok(body) = digits.parse() else { return Next::Refused(Outcome::Failed) };
                self.body = body;
                let mut env = Strings::default();
                env.push(&[b"LENGTH=", digits.as_bytes()]).expect("digits");
                let reply_max = self.lines.max_reply;
                Next::Job(Job { stdin: Stdin::Fed, framed: true, reply_max, env })
            }
            _ => Next::Refused(Outcome::Failed),
        }
    }
}

impl Protocol for Packets {
    fn retire(&mut self) {
        self.lines.retire();
    }

    fn next(&mut self, exchange: Exchange<'_>) -> Next {
        let Exchange { received, ended, output, .. } = exchange;
        self.body -= received.take(self.body).len();
        if self.body > 0 {
            return Next::More;
        }
        let bytes = received.bytes();
        let newline = bytes.iter().take(HEAD_MAX).position(|byte| *byte == b'\n');
        match newline {
            Some(newline) => {
                let line = received.take(newline + 1).to_vec();
                self.head(&line[..newline], output)
            }
            None if bytes.len() >= HEAD_MAX => Next::Refused(Outcome::LineTooLong),
            None if ended && bytes.is_empty() => Next::End,
            None if ended => Next::Refused(Outcome::Failed),
            None => Next::More,
        }
    }

    fn feed(&mut self, received: &mut ReceiveBuffer, ended: bool, stdin: &mut Vec<u8>) -> Feed {
        let part = received.take(self.body);
        stdin.extend_from_slice(part);
        self.body -= part.len();
        match self.body {
            0 => Feed::Whole,
            _ if ended => Feed::Broken(Outcome::ClientGone, "its body was cut off"),
            _ => Feed::More,
        }
    }

    fn frame(&mut self, written: &mut Vec<u8>, output: &mut Vec<u8>, _end: Option<Outcome>) {
        if !written.is_empty() {
            output.extend_from_slice(format!("{}\n", written.len()).as_bytes());
            output.append(written);
        }
    }

    fn ended(&mut self, outcome: Outcome, output: &mut Vec<u8>) -> After {
        output.extend_from_slice(format!(".{}\n", outcome.name()).as_bytes());
        if outcome == Outcome::Ok { After::Next } else { After::Close }
    }
}
