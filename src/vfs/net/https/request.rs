//! A request as it comes, in pieces of any size.

use std::io::IoSlice;

use super::Refusal;
use super::body::Body;
use super::head::{Peer, Scanner, rewrite};

/// Bytes of a head.
pub(super) const HEAD_MAX: usize = 64 << 10;

/// Bytes of a body looked at in one go: as much as is sent in one.
const PART_MAX: usize = 16 << 10;

/// See the [module](self).
pub(super) struct Request {
    peer: Peer,
    state: State,
}

enum State {
    Head(Scanner, Vec<u8>),
    Body(Body),
    Refused(Refusal),
}

/// What is done with what was offered.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// So many bytes were kept; the head is not whole.
    Kept(usize),
    /// So many bytes were the rest of the head, in place of which this is sent.
    Head(usize, Vec<u8>),
    /// So many bytes may be sent as they are. Say [how many were](Request::passed).
    Pass(usize),
}

impl Request {
    pub fn new(peer: Peer) -> Request {
        Request { peer, state: State::Head(Scanner::default(), Vec::new()) }
    }

    /// Why it was refused, if it was.
    pub fn refusal(&self) -> Option<Refusal> {
        match self.state {
            State::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// Looks at what the guest writes. Nothing of it is sent if any of it can't be.
    ///
    /// # Errors
    ///
    /// Why the request is refused, now or before. It stays so.
    pub fn offer(&mut self, bufs: &[IoSlice<'_>]) -> Result<Taken, Refusal> {
        let taken = match &self.state {
            State::Refused(refusal) => return Err(*refusal),
            State::Head(..) => self.head(bufs),
            State::Body(body) => checked(*body, bufs, 0).map(Taken::Pass),
        };
        taken.inspect_err(|refusal| self.state = State::Refused(*refusal))
    }

    /// These bytes of a body were sent.
    pub fn passed(&mut self, bufs: &[IoSlice<'_>], count: usize) {
        let State::Body(body) = &mut self.state else { return };
        let mut left = count;
        for buf in bufs {
            let part = &buf[..buf.len().min(left)];
            left -= part.len();
            // They were looked at before.
            match body.after(part) {
                Ok(after) => *body = after,
                Err(refusal) => return self.state = State::Refused(refusal),
            }
        }
    }

    fn head(&mut self, bufs: &[IoSlice<'_>]) -> Result<Taken, Refusal> {
        let State::Head(scanner, head) = &mut self.state else { return Ok(Taken::Kept(0)) };
        let mut count = 0;
        for buf in bufs {
            let room = HEAD_MAX - head.len();
            let part = &buf[..buf.len().min(room)];
            if let Some(end) = scanner.scan(part)? {
                head.extend_from_slice(&part[..end]);
                count += end;
                let (sent, body) = rewrite(head, &self.peer)?;
                // What was written together is refused together.
                checked(body, bufs, count)?;
                self.state = State::Body(body);
                return Ok(Taken::Head(count, sent));
            }
            head.extend_from_slice(part);
            count += part.len();
            if head.len() == HEAD_MAX {
                return Err(Refusal("its head is longer than 64 KiB"));
            }
        }
        Ok(Taken::Kept(count))
    }
}

/// How many bytes may be sent, of those after the first `skipped`.
fn checked(body: Body, bufs: &[IoSlice<'_>], skipped: usize) -> Result<usize, Refusal> {
    let all: usize = bufs.iter().map(|buf| buf.len()).sum();
    if let Body::Length(left) = body {
        // This needs no look at them.
        let offered = all - skipped;
        if offered as u64 > left {
            return Err(body
                .after(&[0; 1])
                .err()
                .unwrap_or(Refusal("the body is longer than its Content-Length")));
        }
        return Ok(offered.min(PART_MAX));
    }
    let (mut body, mut skipped, mut count) = (body, skipped, 0);
    for buf in bufs {
        let part = &buf[buf.len().min(skipped)..];
        skipped = skipped.saturating_sub(buf.len());
        let part = &part[..part.len().min(PART_MAX - count)];
        body = body.after(part)?;
        count += part.len();
    }
    Ok(count)
}
