//! A connection is one job: its guest's standard streams are the connection.

use super::protocol::{After, Exchange, Job, Next, Protocol, Stdin};
use crate::serve::observe::metrics::Outcome;

/// See the [module](self).
pub(crate) struct ByteStream;

impl Protocol for ByteStream {
    fn next(&mut self, _exchange: Exchange<'_>) -> Next {
        Next::Job(Job { stdin: Stdin::Wire, reply_max: usize::MAX, ..Job::default() })
    }

    fn ended(&mut self, _outcome: Outcome, _output: &mut Vec<u8>) -> After {
        After::Close
    }
}
