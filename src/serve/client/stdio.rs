//! A guest's standard streams.

use std::io::{IoSlice, IoSliceMut};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Instant;

use super::link::Link;
use crate::serve::observe::logging::STDERR_PER_SECOND_PER_GUEST;
use crate::serve::observe::reporter::{RateLimiter, Reporter};
use crate::vfs::{Access, Errno, File, Filetype, Interest, Ready, Result, Stat, Wait};

/// Bytes of a line of stderr in one log record; the rest goes into the next.
pub const LOG_LINE_MAX: usize = 4096;

/// Bytes of stderr taken in one call: each may be a line, and end one.
const WRITE_MAX: usize = 16 << 10;

/// Where a guest that is run ahead of its input finds its client, once it has one.
pub(crate) type PendingLink = Arc<OnceLock<Arc<Link>>>;

/// The client that a guest serves.
#[derive(Clone)]
pub(crate) enum Client {
    Known(Arc<Link>),
    /// Not known yet: reads and writes have to wait.
    Awaited(PendingLink),
}

impl Client {
    fn link(&self) -> Result<&Arc<Link>> {
        match self {
            Client::Known(link) => Ok(link),
            Client::Awaited(slot) => slot.get().ok_or(Errno::Again),
        }
    }
}

/// Standard input: what its protocol has put there, and what follows that.
pub(crate) struct ClientInput(pub Client);

impl File for ClientInput {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn access(&self) -> Access {
        Access::READ
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        self.0.link()?.read(bufs)
    }

    fn ready(&mut self, want: Interest) -> Result<Ready> {
        self.0.link()?.input(want)
    }

    fn wait(&mut self, _want: Interest, waker: &Waker) -> Wait<'_> {
        match self.0.link() {
            Ok(link) if !link.await_input(waker) => Wait::Now,
            _ => Wait::Waker,
        }
    }
}

/// Standard output: the client. Kept in memory until the end of the guest's slice, so that
/// what it writes in small pieces is sent in one.
pub(crate) struct ClientOutput(pub Client);

impl File for ClientOutput {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn access(&self) -> Access {
        Access::WRITE
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        self.0.link()?.write(bufs)
    }

    fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
        Ok((self.0.link()?.write(bufs)?, 0))
    }

    fn ready(&mut self, _want: Interest) -> Result<Ready> {
        let link = self.0.link()?;
        let room = link.room()?;
        Ok(Ready { nbytes: room as u64, hangup: link.io().gone })
    }

    fn wait(&mut self, _want: Interest, waker: &Waker) -> Wait<'_> {
        match self.0.link() {
            Ok(link) if !link.await_room(waker) => Wait::Now,
            _ => Wait::Waker,
        }
    }
}

impl Drop for ClientOutput {
    fn drop(&mut self) {
        if let Ok(link) = self.0.link() {
            link.close_output();
        }
    }
}

/// Standard error: each line of it a record in the log.
pub(crate) struct ClientErrors {
    client: Client,
    reporter: Arc<Reporter>,
    /// Made with its first line: most guests write none.
    limiter: Option<RateLimiter>,
    line: Vec<u8>,
}

impl ClientErrors {
    pub fn new(client: Client, reporter: Arc<Reporter>) -> ClientErrors {
        ClientErrors { client, reporter, limiter: None, line: Vec::new() }
    }

    fn take(&mut self, mut bytes: &[u8], now: Instant) {
        while let Some(first) = bytes.iter().position(|byte| *byte == b'\n') {
            self.line(&bytes[..first], true, now);
            bytes = &bytes[first + 1..];
        }
        self.line(bytes, false, now);
    }

    /// Adds to the line, which ends here if it is `whole`.
    fn line(&mut self, mut bytes: &[u8], whole: bool, now: Instant) {
        while self.line.len() + bytes.len() > LOG_LINE_MAX {
            let (first, later) = bytes.split_at(LOG_LINE_MAX - self.line.len());
            self.line.extend_from_slice(first);
            self.report(now);
            bytes = later;
        }
        self.line.extend_from_slice(bytes);
        if whole {
            self.report(now);
        }
    }

    fn report(&mut self, now: Instant) {
        let Ok(link) = self.client.link() else { return };
        let limiter =
            self.limiter.get_or_insert_with(|| RateLimiter::new(STDERR_PER_SECOND_PER_GUEST));
        if limiter.take(now) {
            if let Some(missed) = limiter.missed() {
                self.reporter.missed(link.peer(), missed);
            }
            self.reporter.stderr(link.peer(), &self.line);
        }
        self.line.clear();
    }
}

impl File for ClientErrors {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn access(&self) -> Access {
        Access::WRITE
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        self.client.link()?;
        let mut left = WRITE_MAX;
        let now = Instant::now();
        for buf in bufs {
            let part = &buf[..buf.len().min(left)];
            self.take(part, now);
            left -= part.len();
        }
        Ok(WRITE_MAX - left)
    }

    fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
        Ok((self.write(bufs, 0)?, 0))
    }
}

impl Drop for ClientErrors {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.report(Instant::now());
        }
        let missed = self.limiter.as_mut().and_then(RateLimiter::missed);
        if let (Some(missed), Ok(link)) = (missed, self.client.link()) {
            self.reporter.missed(link.peer(), missed);
        }
    }
}
