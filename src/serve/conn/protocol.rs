//! What the bytes of a connection mean.

use std::sync::Arc;

use super::Timeouts;
use super::buffer::ReceiveBuffer;
use super::http::{Http, HttpLimits};
use super::line::Lines;
use super::scgi::Scgi;
use super::stream::ByteStream;
use crate::serve::admission::Admission;
use crate::serve::config::{ServeConfig, Unit};
use crate::serve::observe::metrics::Outcome;
use crate::wasi::Strings;

/// Says where one job ends and the next begins, what a guest gets of it, what is sent around what
/// the guest writes, and what follows its end.
///
/// A value of it belongs to one connection. It is asked only between jobs or about the job under
/// way, never sees a socket, a clock or a guest, and must not assume where one piece of input ends
/// and the next begins: [`Conn`](super::Conn) asks again whenever more has come. What is not the
/// protocol's concern is bounded around it: time, connections, memory, the bytes of a reply.
///
/// ```text
///            next -> More            more has to come first
///            next -> Refused         counted, and the connection closes
///   +------> next -> Answered ---+   the answer was written by the protocol itself
///   |        next -> Job         |
///   |          feed, feed, ...   |   if its standard input comes piece by piece
///   |          frame, frame, ... |   if its output has to be framed
///   |        ended --------------+
///   |                            |
///   +---- Next, Become ----------+---- Close
/// ```
pub(crate) trait Protocol: Send {
    /// Takes the next request from the front of what was received.
    fn next(&mut self, exchange: Exchange<'_>) -> Next;

    /// Moves what belongs to the job under way, whose standard input is [`Stdin::Fed`], from what
    /// was received to that. `ended`: the client sends no more.
    fn feed(&mut self, _received: &mut ReceiveBuffer, _ended: bool, _stdin: &mut Vec<u8>) -> Feed {
        Feed::Whole
    }

    /// Moves what the guest has written to the output, if its job is [framed](Job::framed): all,
    /// or all but an end that needs what comes after it. `end` is set in the last call, when the guest
    /// has ended.
    fn frame(&mut self, written: &mut Vec<u8>, output: &mut Vec<u8>, _end: Option<Outcome>) {
        output.append(written);
    }

    /// The server is about to end. Replies from here on say that they are the last one, if the
    /// protocol has a way to; otherwise the connection closes when a reply is sent and nothing of
    /// another request has come.
    fn retire(&mut self) {}

    /// The guest has ended; all it wrote that could be framed was. Adds what is missing of the
    /// reply to the output, and says what follows.
    fn ended(&mut self, outcome: Outcome, output: &mut Vec<u8>) -> After;
}

/// What a protocol is given between two jobs.
pub(crate) struct Exchange<'a> {
    /// What was received and not taken yet.
    pub received: &'a mut ReceiveBuffer,
    /// The client sends no more: [`Next::More`] would be in vain, and ends the connection.
    pub ended: bool,
    /// A place for what the next guest reads, which is empty.
    pub stdin: &'a mut Vec<u8>,
    /// Where an answer is written that needs no guest.
    pub output: &'a mut Vec<u8>,
}

/// What comes next on a connection.
pub(crate) enum Next {
    /// A guest is to be run.
    Job(Job),
    /// Nothing whole has come yet.
    More,
    /// The answer was written.
    Answered(After),
    /// What came can't be served.
    Refused(Outcome),
    /// Nothing more comes.
    End,
}

/// What a guest is to be run for.
#[derive(Default)]
pub(crate) struct Job {
    pub stdin: Stdin,
    /// What the guest writes goes through [`Protocol::frame`], rather than out as it is.
    pub framed: bool,
    /// Bytes the guest may write.
    pub reply_max: usize,
    /// Variables besides those of the connection.
    pub env: Strings,
}

/// The standard input of a job, after what its protocol has put there at first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Stdin {
    /// That was all. The guest has the time of a line, from its first byte.
    #[default]
    Whole,
    /// More comes by [`Protocol::feed`]; the time is the same.
    Fed,
    /// Everything that follows on the connection, which is the guest's until it ends. The guest may
    /// be idle for a while. When its client goes, it gets end of file and EPIPE.
    Wire,
}

/// How feeding a job went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Feed {
    /// More may come.
    More,
    /// The job has all its input.
    Whole,
    /// What came can't be the rest of it: the guest is ended for this reason.
    Broken(Outcome, &'static str),
}

/// What follows a job or an answer.
#[cfg_attr(
    not(test),
    expect(dead_code, reason = "no protocol is here yet that becomes another but the simulator's")
)]
pub(crate) enum After {
    /// The next one.
    Next,
    /// The next one if something of it has come, or else the end of the connection.
    NextIfReceived,
    /// The end of the connection, once all is sent.
    Close,
    /// Another protocol, which begins with what was received and not taken.
    Become(Box<dyn Protocol>),
}

/// How the clients of a door are served.
pub(crate) struct Service {
    /// Makes the protocol of a connection.
    pub protocol: Box<dyn Fn() -> Box<dyn Protocol> + Send>,
    pub times: Timeouts,
    pub admission: Arc<Admission>,
    /// Guests of each worker that are run ahead of their input.
    pub ahead: usize,
    /// It reports on the others: it is not counted and logged itself, ends after them, and closes
    /// the oldest client that has asked nothing rather than refuse another.
    pub of_status: bool,
}

impl Service {
    /// What a configuration wants. This is the one place that knows all units.
    pub fn of(config: &ServeConfig, admission: &Arc<Admission>) -> Service {
        let limits = &config.limits;
        let (protocol, ahead): (Box<dyn Fn() -> Box<dyn Protocol> + Send>, usize) =
            match config.unit {
                Unit::Line => {
                    let lines = Lines {
                        max_line: limits.max_line,
                        max_reply: limits.max_reply,
                        keep_open: config.keep_open,
                        retiring: false,
                    };
                    (Box::new(move || Box::new(lines)), config.ahead)
                }
                Unit::Connection => (Box::new(|| Box::new(ByteStream)), 0),
                Unit::Http => {
                    let limits = HttpLimits::of(limits);
                    (Box::new(move || Box::new(Http::new(limits))), 0)
                }
                Unit::Scgi => {
                    let limits = HttpLimits::of(limits);
                    (Box::new(move || Box::new(Scgi::new(limits))), 0)
                }
            };
        let times = Timeouts { timeout: limits.timeout, idle: limits.idle };
        Service { protocol, times, admission: admission.clone(), ahead, of_status: false }
    }
}
