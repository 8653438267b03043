//! A request of HTTP/1.1 is a job: the guest finds it in the variables of CGI (RFC 3875) and the
//! body on its standard input, and writes header lines, an empty line, and the body of the reply.

mod reply;
mod request;

use std::time::SystemTime;

use super::buffer::ReceiveBuffer;
use super::protocol::{After, Exchange, Feed, Job, Next, Protocol, Stdin};
use crate::serve::config::Limits;
use crate::serve::observe::metrics::Outcome;
use reply::Reply;
use request::{Body, Refused};

/// Bytes that are read of a body which its guest did not want, for the sake of the next request.
const DISCARD_MAX: usize = 256 << 10;

/// Empty lines before a request that are ignored (RFC 9112, section 2.2).
const EMPTY_LINES_MAX: usize = 2;

/// See the [module](self).
pub(crate) struct Http {
    limits: HttpLimits,
    /// No end of a head before here.
    scanned: usize,
    empty_lines: usize,
    body: Body,
    discarded: usize,
    reply: Reply,
    /// Why the body can't be read any further.
    broken: Option<Refused>,
    /// The server is about to end.
    retiring: bool,
}

/// Limits on requests.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HttpLimits {
    /// Bytes of a head.
    pub head: usize,
    /// Bytes of a body.
    pub body: usize,
    /// Bytes that a guest may write.
    pub reply: usize,
}

impl HttpLimits {
    /// Those of a server.
    pub fn of(limits: &Limits) -> HttpLimits {
        HttpLimits { head: limits.max_head, body: limits.max_body, reply: limits.max_reply }
    }
}

impl Http {
    pub fn new(limits: HttpLimits) -> Http {
        Http {
            limits,
            scanned: 0,
            empty_lines: 0,
            body: Body::none(),
            discarded: 0,
            reply: Reply::new(false, true, true),
            broken: None,
            retiring: false,
        }
    }

    /// Throws away what the last guest did not read. Says whether that is done.
    fn discard_body(&mut self, received: &mut ReceiveBuffer) -> Result<bool, Refused> {
        let discarded = &mut self.discarded;
        self.body.read(received, &mut |bytes| *discarded += bytes.len())?;
        if self.discarded > DISCARD_MAX {
            return Err((413, "too much of a body was left unread"));
        }
        Ok(self.body.is_done())
    }

    /// Bytes of the head, once it has come.
    fn head(&mut self, received: &mut ReceiveBuffer) -> Result<Option<usize>, Refused> {
        while received.bytes().starts_with(b"\r\n") && self.empty_lines < EMPTY_LINES_MAX {
            received.take(2);
            self.empty_lines += 1;
        }
        let bytes = received.bytes();
        let upper = bytes.first().is_none_or(|first| first.is_ascii_graphic() || *first == b'\r');
        if !upper {
            return Err((400, "this is not HTTP"));
        }
        let from = self.scanned.saturating_sub(3).min(bytes.len());
        let within = &bytes[..bytes.len().min(self.limits.head)];
        let end = within[from.min(within.len())..].windows(4).position(|end| end == b"\r\n\r\n");
        self.scanned = within.len();
        match end {
            Some(end) => Ok(Some(from + end + 4)),
            None if bytes.len() >= self.limits.head => {
                Err((431, "the head is too long (raise the limit with --max-head)"))
            }
            None => Ok(None),
        }
    }

    fn request(&mut self, exchange: &mut Exchange<'_>) -> Result<Option<Job>, Refused> {
        let Some(len) = self.head(exchange.received)? else { return Ok(None) };
        self.scanned = 0;
        self.empty_lines = 0;
        self.reply = Reply::new(false, true, false);
        let head = exchange.received.take(len);
        let request = request::request(head, self.limits.body as u64)?;
        self.reply = Reply::new(request.is_head, request.is_1_1, request.keep && !self.retiring);
        self.body = request.body;
        if request.expects && !self.body.is_done() && exchange.received.len() == 0 {
            exchange.output.extend_from_slice(b"HTTP/1.1 100 Continue\r\n\r\n");
        }
        self.body.read(exchange.received, &mut |bytes| exchange.stdin.extend_from_slice(bytes))?;
        let stdin = if self.body.is_done() { Stdin::Whole } else { Stdin::Fed };
        Ok(Some(Job { stdin, framed: true, reply_max: self.limits.reply, env: request.env }))
    }
}

impl Protocol for Http {
    fn next(&mut self, mut exchange: Exchange<'_>) -> Next {
        match self.discard_body(exchange.received) {
            Ok(true) => self.discarded = 0,
            Ok(false) => return Next::More,
            // Its reply was sent.
            Err(_) => return Next::End,
        }
        match self.request(&mut exchange) {
            Ok(Some(job)) => Next::Job(job),
            Ok(None) => Next::More,
            Err(refused) => {
                exchange.stdin.clear();
                self.reply.error(exchange.output, refused, SystemTime::now());
                Next::Refused(Outcome::BadRequest)
            }
        }
    }

    fn feed(&mut self, received: &mut ReceiveBuffer, ended: bool, stdin: &mut Vec<u8>) -> Feed {
        let read = self.body.read(received, &mut |bytes| stdin.extend_from_slice(bytes));
        let broken = match read {
            Ok(()) if self.body.is_done() => return Feed::Whole,
            Ok(()) if !ended => return Feed::More,
            Ok(()) => (400, "the body of the request ends early"),
            Err(refused) => refused,
        };
        self.broken = Some(broken);
        Feed::Broken(Outcome::BadRequest, broken.1)
    }

    fn frame(&mut self, written: &mut Vec<u8>, output: &mut Vec<u8>, end: Option<Outcome>) {
        let now = SystemTime::now();
        if let Some(broken) = self.broken.take() {
            written.clear();
            self.reply.error(output, broken, now);
        }
        self.reply.frame(written, output, end, now);
    }

    fn retire(&mut self) {
        self.retiring = true;
        self.reply.close();
    }

    fn ended(&mut self, _outcome: Outcome, _output: &mut Vec<u8>) -> After {
        if self.reply.keep { After::Next } else { After::Close }
    }
}
