//! What must have happened on a connection, by what its client sent and its guests did.

use std::time::Instant;

use super::client::{Client, Speaks};
use super::guest::Guest;
use super::packets::{PONG, WELCOME};
use crate::serve::conn::line::Lines;
use crate::serve::observe::metrics::Outcome;

/// A job that was run.
struct Record {
    /// What its guest read, and whether that was all.
    read: Vec<u8>,
    whole: bool,
    written: Vec<u8>,
    outcome: Outcome,
}

pub struct Model {
    speaks: Speaks,
    lines: Lines,
    begun: usize,
    jobs: Vec<Record>,
    /// A request was refused.
    pub refused: Option<Outcome>,
    /// The connection was given up because nothing moved, or the server had no more patience.
    pub gave_up: bool,
    pub drained: bool,
    pub retired: bool,
    /// The header of its proxy is broken.
    pub is_refused: bool,
    /// When the server's end of the stream was seen, and that this is long ago.
    pub shut_at: Option<Instant>,
    pub lingered: bool,
}

impl Model {
    pub fn new(speaks: Speaks, lines: Lines) -> Model {
        Model {
            speaks,
            lines,
            begun: 0,
            jobs: Vec::new(),
            refused: None,
            gave_up: false,
            drained: false,
            retired: false,
            is_refused: false,
            shut_at: None,
            lingered: false,
        }
    }

    pub fn began(&mut self) {
        assert_eq!(self.begun, self.jobs.len(), "one job after the other");
        assert!(self.jobs.iter().all(|job| job.outcome == Outcome::Ok), "none after one failed");
        self.begun += 1;
    }

    pub fn ended(&mut self, guest: &Guest, outcome: Outcome) {
        assert_eq!(self.begun, self.jobs.len() + 1, "it had begun");
        let (read, written) = (guest.read.clone(), guest.written.clone());
        self.jobs.push(Record { read, whole: guest.whole, written, outcome });
    }

    /// The connection is closed, and its client has read what it could.
    pub fn check(&self, client: &Client, seen: &mut Seen) {
        assert_eq!(self.begun, self.jobs.len(), "each job has ended");
        assert!(!self.is_refused || self.begun == 0, "nothing is served that was refused");
        let gone = client.reset;
        // In what order things came is known to the end, but not what a reset has destroyed.
        let requests = self.requests(client.sent());
        let mut jobs = self.jobs.iter();
        let mut expected = Vec::new();
        // Bytes of the replies up to that of the last job.
        let mut needed = 0;
        let mut served = 0;
        for request in &requests {
            match request {
                Request::Quick(answer) => expected.extend_from_slice(answer),
                Request::Job { input, framed, complete } => {
                    let Some(job) = jobs.next() else { break };
                    job.check_input(input, *complete || client.shut, gone || self.drained);
                    expected.extend_from_slice(&job.written);
                    if *framed {
                        expected.extend_from_slice(format!(".{}\n", job.outcome.name()).as_bytes());
                    }
                    needed = expected.len();
                }
                Request::Bad => break,
            }
            served += 1;
        }
        assert!(jobs.next().is_none(), "no job without a request");
        let received = self.unframed(&client.received, &requests);
        let common = received.iter().zip(&expected).take_while(|(a, b)| a == b).count();
        // Answers to requests that were not reached are not missing.
        assert!(common == received.len(), "byte {common} of the replies is another");
        let cable = client.cable.state();
        let closing = self.jobs.iter().any(|job| job.outcome != Outcome::Ok)
            || self.refused.is_some()
            || self.drained
            || self.retired
            || self.speaks == Speaks::Bytes
            || self.speaks == Speaks::Lines { keep_open: false };
        if !(gone || self.gave_up || self.drained || self.refused == Some(Outcome::Timeout)) {
            let lost = cable.lost > 0 && (cable.unseen || self.lingered);
            assert!(lost || received.len() >= needed, "the end of the replies is missing");
            let all = served == requests.len();
            let requests = requests.len();
            assert!(closing || all, "{served} of {requests} requests were served");
        }
        seen.add_client(self, client, cable.lost > 0, requests.len() - served);
    }

    fn requests<'a>(&self, sent: &'a [u8]) -> Vec<Request<'a>> {
        match self.speaks {
            Speaks::Bytes => {
                vec![Request::Job { input: sent, framed: false, complete: false }]
            }
            Speaks::Lines { .. } => self.cut_lines(sent),
            Speaks::Packets => self.packets(sent),
        }
    }

    fn cut_lines<'a>(&self, sent: &'a [u8]) -> Vec<Request<'a>> {
        let request = |line: &'a [u8]| {
            let complete = line.ends_with(b"\n");
            match line.len() - usize::from(complete) > self.lines.max_line {
                true => Request::Bad,
                false => Request::Job { input: line, framed: false, complete },
            }
        };
        let lines = sent.split_inclusive(|byte| *byte == b'\n');
        lines.map(request).collect()
    }

    fn packets<'a>(&self, mut sent: &'a [u8]) -> Vec<Request<'a>> {
        let mut requests = Vec::new();
        while let Some(newline) = sent.iter().position(|byte| *byte == b'\n') {
            let (head, rest) = (&sent[..newline], &sent[newline + 1..]);
            sent = rest;
            match head {
                b"q" => requests.push(Request::Quick(PONG)),
                b"u" => {
                    requests.push(Request::Quick(WELCOME));
                    requests.extend(self.cut_lines(sent));
                    return requests;
                }
                [b'p', digits @ ..] => {
                    let digits = std::str::from_utf8(digits).unwrap_or_default();
                    let Ok(size) = digits.parse::<usize>() else {
                        requests.push(Request::Bad);
                        break;
                    };
                    let input = &sent[..size.min(sent.len())];
                    sent = &sent[input.len()..];
                    let complete = input.len() == size;
                    requests.push(Request::Job { input, framed: true, complete });
                }
                _ => {
                    requests.push(Request::Bad);
                    break;
                }
            }
        }
        requests
    }

    /// What was received, without the lengths of its pieces.
    fn unframed(&self, received: &[u8], requests: &[Request<'_>]) -> Vec<u8> {
        let (mut text, mut rest) = (Vec::new(), received);
        for request in requests {
            match request {
                Request::Job { framed: true, .. } => rest = unframe(rest, &mut text),
                Request::Quick(answer) => {
                    let (first, later) = rest.split_at(answer.len().min(rest.len()));
                    text.extend_from_slice(first);
                    rest = later;
                }
                // Nothing framed follows a line.
                _ => break,
            }
        }
        text.extend_from_slice(rest);
        text
    }
}

/// Takes one framed reply, or what there is of it.
fn unframe<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> &'a [u8] {
    while let Some(newline) = rest.iter().position(|byte| *byte == b'\n') {
        let (head, later) = (&rest[..newline], &rest[newline + 1..]);
        if head.first() == Some(&b'.') {
            text.extend_from_slice(&rest[..=newline]);
            return later;
        }
        let size = std::str::from_utf8(head).ok().and_then(|digits| digits.parse::<usize>().ok());
        let size = size.expect("a piece begins with its length");
        let (piece, later) = later.split_at(size.min(later.len()));
        text.extend_from_slice(piece);
        rest = later;
    }
    // The rest is the beginning of a length, or of the outcome.
    &[]
}

enum Request<'a> {
    Job {
        input: &'a [u8],
        framed: bool,
        complete: bool,
    },
    /// Answered without a guest.
    Quick(&'static [u8]),
    Bad,
}

impl Record {
    fn check_input(&self, input: &[u8], complete: bool, cut: bool) {
        assert!(input.starts_with(&self.read), "a guest reads what its client sent");
        if self.whole && !cut {
            assert!(complete, "a guest's input ends with the request");
            assert_eq!(self.read.len(), input.len(), "a guest reads all of its request");
        }
    }
}

/// What has been seen, so that what is never tried is noticed.
#[derive(Debug, Default, Clone)]
pub struct Seen {
    connections: u64,
    jobs: u64,
    bytes: u64,
    resets: u64,
    refused: u64,
    broken: u64,
    gave_up: u64,
    drained: u64,
    retired: u64,
    lost: u64,
    unserved: u64,
    pub abandoned: u64,
    outcomes: [u64; Outcome::ALL.len()],
}

impl Seen {
    fn add_client(&mut self, model: &Model, client: &Client, lost: bool, unserved: usize) {
        self.connections += 1;
        self.jobs += model.jobs.len() as u64;
        self.bytes += client.received.len() as u64;
        self.resets += u64::from(client.reset);
        self.refused += u64::from(model.refused.is_some());
        self.broken += u64::from(model.is_refused && model.gave_up);
        self.gave_up += u64::from(model.gave_up);
        self.drained += u64::from(model.drained);
        self.retired += u64::from(model.retired);
        self.lost += u64::from(lost);
        self.unserved += unserved as u64;
        model.jobs.iter().for_each(|job| self.outcomes[job.outcome as usize] += 1);
    }

    pub fn add(&mut self, other: &Seen) {
        self.connections += other.connections;
        self.jobs += other.jobs;
        self.bytes += other.bytes;
        self.resets += other.resets;
        self.refused += other.refused;
        self.broken += other.broken;
        self.gave_up += other.gave_up;
        self.drained += other.drained;
        self.retired += other.retired;
        self.lost += other.lost;
        self.unserved += other.unserved;
        self.abandoned += other.abandoned;
        self.outcomes.iter_mut().zip(other.outcomes).for_each(|(sum, count)| *sum += count);
    }

    /// Whether each kind of thing was seen.
    pub fn is_everything(&self) {
        let counts = [
            self.connections,
            self.resets,
            self.refused,
            self.broken,
            self.gave_up,
            self.drained,
            self.retired,
            self.lost,
            self.unserved,
            self.abandoned,
        ];
        assert!(counts.iter().all(|count| *count > 0), "{self:?}");
        use Outcome::{ClientGone, Exit, Idle, Ok, ReplyTooLong, Timeout, Trap};
        for outcome in [Ok, Exit, Trap, Timeout, ReplyTooLong, ClientGone, Idle] {
            assert!(self.outcomes[outcome as usize] > 0, "no {} was seen", outcome.name());
        }
    }
}
