//! A guest's standard streams.

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::task::Waker;
use std::time::Instant;

use super::link::Link;
use super::log::{Bucket, Reporter, STDERR_PER_SECOND_PER_GUEST};
use crate::vfs::{Errno, File, Filetype, Interest, Ready, Result, Stat, Wait};

/// Bytes of a line of stderr in one log record; the rest goes into the next.
pub const LOG_LINE_MAX: usize = 4096;

/// Standard input of a guest that serves one line: that line, then the end.
pub(super) struct LineInput(pub Arc<Link>);

impl File for LineInput {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        Ok(self.0.read_line(bufs))
    }

    fn ready(&mut self, _want: Interest) -> Result<Ready> {
        Ok(Ready { nbytes: self.0.line_left() as u64, hangup: true })
    }
}

/// Standard input of a guest that serves a connection: the socket itself.
pub(super) struct SocketInput(pub Arc<Link>);

impl File for SocketInput {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        self.0.read_socket(bufs)
    }

    fn ready(&mut self, want: Interest) -> Result<Ready> {
        let io = self.0.io();
        if want.read && !(io.readable || io.eof || io.gone) {
            return Err(Errno::Again);
        }
        Ok(Ready { nbytes: 0, hangup: io.eof })
    }

    fn wait(&mut self, _want: Interest, waker: &Waker) -> Wait<'_> {
        if self.0.await_input(waker) { Wait::Waker } else { Wait::Now }
    }
}

/// Standard output: the client. Kept in memory until the end of the guest's slice, so that
/// what it writes in small pieces is sent in one.
pub(super) struct Output(pub Arc<Link>);

impl File for Output {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        self.0.write(bufs)
    }

    fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
        Ok((self.0.write(bufs)?, 0))
    }

    fn ready(&mut self, _want: Interest) -> Result<Ready> {
        let room = self.0.room()?;
        Ok(Ready { nbytes: room as u64, hangup: self.0.io().gone })
    }

    fn wait(&mut self, _want: Interest, waker: &Waker) -> Wait<'_> {
        if self.0.await_room(waker) { Wait::Waker } else { Wait::Now }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        self.0.close_output();
    }
}

/// Standard error: each line of it a record in the log.
pub(super) struct Errors {
    link: Arc<Link>,
    reporter: Arc<Reporter>,
    /// Made with its first line: most guests write none.
    bucket: Option<Bucket>,
    line: Vec<u8>,
}

impl Errors {
    pub fn new(link: Arc<Link>, reporter: Arc<Reporter>) -> Errors {
        Errors { link, reporter, bucket: None, line: Vec::new() }
    }

    fn take(&mut self, mut bytes: &[u8]) {
        while let Some(first) = bytes.iter().position(|byte| *byte == b'\n') {
            self.line(&bytes[..first], true);
            bytes = &bytes[first + 1..];
        }
        self.line(bytes, false);
    }

    /// Adds to the line, which ends here if it is `whole`.
    fn line(&mut self, mut bytes: &[u8], whole: bool) {
        while self.line.len() + bytes.len() > LOG_LINE_MAX {
            let (now, later) = bytes.split_at(LOG_LINE_MAX - self.line.len());
            self.line.extend_from_slice(now);
            self.report();
            bytes = later;
        }
        self.line.extend_from_slice(bytes);
        if whole {
            self.report();
        }
    }

    fn report(&mut self) {
        let bucket = self.bucket.get_or_insert_with(|| Bucket::new(STDERR_PER_SECOND_PER_GUEST));
        if bucket.take(Instant::now()) {
            if let Some(missed) = bucket.missed() {
                self.reporter.missed(self.link.peer, missed);
            }
            self.reporter.stderr(self.link.peer, &self.line);
        }
        self.line.clear();
    }
}

impl File for Errors {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        bufs.iter().for_each(|buf| self.take(buf));
        Ok(bufs.iter().fold(0, |sum, buf| sum + buf.len()))
    }

    fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
        Ok((self.write(bufs, 0)?, 0))
    }
}

impl Drop for Errors {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.report();
        }
        if let Some(missed) = self.bucket.as_mut().and_then(Bucket::missed) {
            self.reporter.missed(self.link.peer, missed);
        }
    }
}
