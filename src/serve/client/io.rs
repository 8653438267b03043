//! What is on its way between a guest and its client, in both directions.

use std::task::Waker;

use crate::serve::conn::buffer::recycle;
use crate::serve::observe::metrics::Outcome;

/// Bytes of a reply kept for a client that does not read; then its guest is parked.
pub(crate) const OUTPUT_MAX: usize = 64 << 10;

/// Bytes of a request's body kept for a guest that does not read; then its client has to wait.
pub(super) const INPUT_MAX: usize = 64 << 10;

/// What a guest reads after the bytes that are there for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Rest {
    /// Nothing: its standard input ends.
    #[default]
    End,
    /// Nothing: the guest serves line after line, and has its one. To ask for more ends it.
    NoMore,
    /// What its protocol adds. It has to wait for that.
    More,
    /// What comes on the wire, which it reads itself.
    Wire,
}

/// The bytes on their way, and what is known of both ends. It holds no socket.
#[derive(Default)]
pub(crate) struct Io {
    /// What the guest reads first, and how far it has.
    pub(super) stdin: Vec<u8>,
    pub(super) stdin_at: usize,
    /// What it reads then.
    pub(super) rest: Rest,
    /// Something was added to what the guest reads since its waker was taken.
    input_added: bool,
    /// The wire may have something to read.
    pub readable: bool,
    /// The wire may take something.
    pub writable: bool,
    /// After what is there to be read comes the end, and no event announces it.
    pub last: bool,
    /// The client sends no more (or is taken to).
    pub eof: bool,
    /// The client is gone; so is what it would have been sent.
    pub gone: bool,
    /// The guest has closed its stdout.
    pub closed: bool,
    /// The guest wrote more than it may.
    pub too_long: bool,
    /// The guest's output has to be framed by its protocol before it is sent.
    pub(super) framed: bool,
    /// What it wrote, until that is done.
    pub(super) written: Vec<u8>,
    pub(super) output: Vec<u8>,
    /// The wire has taken something that it could not send yet.
    pub(super) held: bool,
    pub(super) sent: usize,
    /// Bytes the guest may still write.
    pub(super) reply_left: usize,
    /// Bytes from and to the client of this guest.
    pub(super) bytes_in: u64,
    pub(super) bytes_out: u64,
    /// Bytes the guest had written when its line began.
    written_before: u64,
    /// Its input was ended for it, as it had written nothing when it asked for more.
    ended_early: bool,
    /// The guest serves request after request. It has found the end of its one if that is set, and had
    /// written so much then.
    one_request: bool,
    end_found: Option<u64>,
    /// It is in the list of dirty ones already, or need not be.
    pub(super) marked_dirty: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl Io {
    pub(super) fn new() -> Io {
        Io { writable: true, reply_left: usize::MAX, ..Io::default() }
    }

    /// Bytes the client has not taken yet. What its wire holds counts as one.
    pub fn unsent(&self) -> usize {
        self.output.len() - self.sent + usize::from(self.held)
    }

    /// Room for more output, the guest's or its protocol's.
    pub(super) fn room(&self) -> usize {
        OUTPUT_MAX.saturating_sub(self.unsent().saturating_add(self.written.len()))
    }

    /// What is to be sent, for a protocol to add to.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// What a guest wrote and what is to be sent, for its protocol to frame the one into the
    /// other. Says whether there is something.
    pub fn framing(&mut self) -> Option<(&mut Vec<u8>, &mut Vec<u8>)> {
        self.framed.then_some((&mut self.written, &mut self.output))
    }

    /// An empty place for what the next guest reads, and what is to be sent.
    pub fn buffers(&mut self) -> (&mut Vec<u8>, &mut Vec<u8>) {
        recycle(&mut self.stdin);
        self.stdin_at = 0;
        (&mut self.stdin, &mut self.output)
    }

    /// Adds to what the next guest reads.
    pub fn add_stdin(&mut self, bytes: &[u8]) {
        self.stdin.extend_from_slice(bytes);
    }

    /// The guest to come reads what was put in its [buffer](Io::buffers) and the `rest`, and may
    /// write `reply_max` bytes. What it writes in its first slice is sent without marking it dirty.
    pub fn begin(&mut self, rest: Rest, framed: bool, reply_max: usize) {
        self.rest = rest;
        self.framed = framed;
        self.bytes_in = self.stdin.len() as u64;
        self.bytes_out = 0;
        self.closed = false;
        self.too_long = false;
        self.ended_early = false;
        self.one_request = false;
        self.end_found = None;
        self.reply_left = reply_max;
        self.marked_dirty = true;
    }

    /// The guest to come serves line after line. Unless it keeps its replies until its input ends:
    /// then that is what it finds.
    pub fn expect_one_line(&mut self) {
        self.rest = Rest::NoMore;
        self.written_before = self.bytes_out;
    }

    /// The guest to come serves request after request: to read after the end of its one, and after it
    /// has replied, is to ask for the next.
    pub fn expect_one_request(&mut self) {
        self.one_request = true;
    }

    /// A guest reads at the end of its input. Says whether it finds the end there; else it has served
    /// its request.
    pub(super) fn find_end(&mut self) -> bool {
        if self.has_served() {
            return false;
        }
        self.end_found = Some(self.bytes_out);
        true
    }

    fn has_served(&self) -> bool {
        self.one_request && !self.gone && self.end_found.is_some_and(|at| at < self.bytes_out)
    }

    /// A guest asks for more than its line. One that has not replied may do that at its end, so its
    /// input ends there. Says whether it does.
    pub(super) fn ask_for_more(&mut self) -> bool {
        let silent = self.bytes_out == self.written_before;
        if silent {
            self.rest = Rest::End;
            self.ended_early = true;
        }
        silent
    }

    /// Whether the guest replied only when its input had ended.
    pub fn replied_late(&self) -> bool {
        self.ended_early && self.bytes_out > self.written_before
    }

    /// Whether the guest has replied to its line or its request, and is done if it asks for more.
    pub fn is_replied(&self) -> bool {
        let at_end = self.stdin_at == self.stdin.len();
        at_end && (self.rest == Rest::NoMore || self.has_served())
    }

    /// What the guest reads, for its protocol to add to, if there is room for more.
    pub fn feed(&mut self) -> Option<&mut Vec<u8>> {
        let unread = self.stdin.len() - self.stdin_at;
        if self.rest != Rest::More || unread > INPUT_MAX / 2 {
            return None;
        }
        self.stdin.drain(..self.stdin_at);
        self.stdin_at = 0;
        Some(&mut self.stdin)
    }

    /// Notes that `count` bytes were added, and with `whole` that no more will be.
    pub fn commit_feed(&mut self, count: usize, whole: bool) {
        self.bytes_in += count as u64;
        self.input_added |= count > 0 || whole;
        if whole {
            self.rest = Rest::End;
        }
    }

    /// The wakers of guests that wait for what the protocol has done: to read added input, to write
    /// into freed room. Wake them once the lock is released.
    pub fn waiters(&mut self) -> [Option<Waker>; 2] {
        let reader = if std::mem::take(&mut self.input_added) { self.reader.take() } else { None };
        let room = self.framed && self.room() >= OUTPUT_MAX / 2;
        [reader, if room { self.writer.take() } else { None }]
    }

    /// What became of the guest, of which its own end is only a part.
    pub fn outcome(&self, outcome: Outcome) -> Outcome {
        match outcome {
            _ if self.too_long => Outcome::ReplyTooLong,
            _ if self.gone => Outcome::ClientGone,
            outcome => outcome,
        }
    }

    /// The guest has ended.
    pub fn end(&mut self) {
        self.rest = Rest::End;
        self.framed = false;
        recycle(&mut self.written);
    }

    /// Bytes of this guest, from and to its client.
    pub fn counts(&self) -> (u64, u64) {
        (self.bytes_in, self.bytes_out)
    }

    /// Bytes of this guest, in both directions.
    pub fn moved(&self) -> u64 {
        self.bytes_in.wrapping_add(self.bytes_out)
    }

    /// Whether a read of what follows could be made now.
    pub(super) fn has_input(&self) -> bool {
        match self.rest {
            Rest::End => !self.has_served(),
            Rest::More | Rest::NoMore => self.gone,
            Rest::Wire => self.readable || self.eof || self.gone,
        }
    }

    /// Takes the waker of the reader. Wake it once the lock is released.
    pub fn reader(&mut self) -> Option<Waker> {
        self.reader.take()
    }

    /// Takes the waker of the writer. Wake it once the lock is released.
    pub fn writer(&mut self) -> Option<Waker> {
        self.writer.take()
    }
}
