//! A line is a job: the guest reads the line, and what it writes is the reply.

use super::buffer::LineStatus;
use super::protocol::{After, Exchange, Job, Next, Protocol};
use crate::serve::observe::metrics::Outcome;

/// See the [module](self).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lines {
    /// Bytes of a line, its newline not counted.
    pub max_line: usize,
    pub max_reply: usize,
    /// Line after line, rather than only the first.
    pub keep_open: bool,
    /// The server is about to end.
    pub retiring: bool,
}

impl Protocol for Lines {
    fn next(&mut self, exchange: Exchange<'_>) -> Next {
        let Exchange { received, ended, stdin, .. } = exchange;
        match received.line(self.max_line) {
            LineStatus::Line(line) => stdin.extend_from_slice(line),
            LineStatus::TooLong => return Next::Refused(Outcome::LineTooLong),
            // The last line needs no newline.
            LineStatus::Partial if ended => stdin.extend_from_slice(received.rest()),
            LineStatus::Empty if ended => return Next::End,
            LineStatus::Partial | LineStatus::Empty => return Next::More,
        }
        Next::Job(Job { reply_max: self.max_reply, ..Job::default() })
    }

    fn ended(&mut self, outcome: Outcome, _output: &mut Vec<u8>) -> After {
        // A client could not tell whose reply is missing if others followed.
        match outcome {
            Outcome::Ok if self.keep_open && self.retiring => After::NextIfReceived,
            Outcome::Ok if self.keep_open => After::Next,
            _ => After::Close,
        }
    }

    fn retire(&mut self) {
        self.retiring = true;
    }
}
