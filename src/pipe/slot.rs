//! A guest's standard streams: the item, the reply, and what it says besides.

use std::io::{IoSlice, IoSliceMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use crate::vfs::{Access, Errno, File, Filetype, Interest, Ready, Result, Stat, Wait};

/// Bytes of a guest's standard error that are kept.
const ERRORS_MAX: usize = 16 << 10;

/// Bytes kept allocated for the next item.
const KEEP: usize = 64 << 10;

/// What a guest reads and writes. It is used again for the next item: the worker and the files of
/// one guest share it, on one thread, so its lock is never waited for.
#[derive(Default)]
pub(super) struct Slot(Mutex<Streams>);

#[derive(Default)]
pub(super) struct Streams {
    pub item: Vec<u8>,
    at: usize,
    pub reply: Vec<u8>,
    /// Bytes that the guest may still write.
    left: usize,
    /// It wanted to write more.
    pub too_long: bool,
    /// The guest serves item after item, and has its one: to ask for more ends it.
    one_item: bool,
    /// Bytes of the reply when its item began.
    written_before: usize,
    /// Its input was ended for it, as it had written nothing when it asked for more.
    ended_early: bool,
    pub errors: Vec<u8>,
    /// Bytes of its standard error that were not kept.
    pub errors_lost: u64,
}

impl Slot {
    pub fn streams(&self) -> MutexGuard<'_, Streams> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes it the slot of this item, whose reply may be so long.
    pub fn begin(&self, item: &[u8], reply_max: usize) {
        let mut streams = self.streams();
        streams.item.clear();
        streams.item.extend_from_slice(item);
        streams.at = 0;
        streams.reply.clear();
        streams.left = reply_max;
        streams.too_long = false;
        streams.one_item = false;
        streams.ended_early = false;
        streams.errors.clear();
        streams.errors_lost = 0;
    }

    /// The guest serves item after item. What it has written was written before its item.
    pub fn expect_one_item(&self) {
        let mut streams = self.streams();
        streams.one_item = true;
        streams.written_before = streams.reply.len();
    }

    /// Gives back what much of it takes.
    pub fn shrink(&self) {
        let mut streams = self.streams();
        let streams = &mut *streams;
        for bytes in [&mut streams.item, &mut streams.reply, &mut streams.errors] {
            if bytes.capacity() > KEEP {
                *bytes = Vec::new();
            }
        }
    }
}

impl Streams {
    /// Whether a read finds nothing, not even the end: the guest has replied, and is done. One that
    /// has not may reply at its end, so its input ends.
    fn is_waiting(&mut self) -> bool {
        if !self.one_item || self.at < self.item.len() {
            return false;
        }
        if self.reply.len() == self.written_before {
            self.one_item = false;
            self.ended_early = true;
        }
        self.one_item
    }

    /// Whether the guest has replied to its item, and is done if it asks for more.
    pub fn is_replied(&self) -> bool {
        self.one_item && self.at == self.item.len()
    }

    /// Whether the guest replied only when its input had ended.
    pub fn replied_late(&self) -> bool {
        self.ended_early && self.reply.len() > self.written_before
    }
}

/// Standard input.
pub(super) struct ItemInput(pub Arc<Slot>);

impl File for ItemInput {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn access(&self) -> Access {
        Access::READ
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        let streams = &mut *self.0.streams();
        if streams.is_waiting() {
            return Err(Errno::Again);
        }
        let begin = streams.at;
        for buf in bufs {
            let rest = &streams.item[streams.at..];
            let count = rest.len().min(buf.len());
            buf[..count].copy_from_slice(&rest[..count]);
            streams.at += count;
        }
        Ok(streams.at - begin)
    }

    fn ready(&mut self, _want: Interest) -> Result<Ready> {
        let mut streams = self.0.streams();
        if streams.is_waiting() {
            return Err(Errno::Again);
        }
        Ok(Ready { nbytes: (streams.item.len() - streams.at) as u64, hangup: true })
    }

    /// Nothing wakes a guest that waits for another item: its worker ends it.
    fn wait(&mut self, _want: Interest, _waker: &Waker) -> Wait<'_> {
        if self.0.streams().is_replied() { Wait::NEVER } else { Wait::Now }
    }
}

/// Standard output.
pub(super) struct ItemOutput(pub Arc<Slot>);

impl File for ItemOutput {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn access(&self) -> Access {
        Access::WRITE
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        let streams = &mut *self.0.streams();
        let wanted = bufs.iter().fold(0usize, |sum, buf| sum.saturating_add(buf.len()));
        if wanted > 0 && streams.left == 0 {
            // The guest never sees this: its worker ends it.
            streams.too_long = true;
            return Err(Errno::Again);
        }
        let total = wanted.min(streams.left);
        let mut left = total;
        for buf in bufs {
            let part = &buf[..buf.len().min(left)];
            streams.reply.extend_from_slice(part);
            left -= part.len();
        }
        streams.left -= total;
        Ok(total)
    }

    fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
        Ok((self.write(bufs, 0)?, 0))
    }

    fn ready(&mut self, _want: Interest) -> Result<Ready> {
        let streams = self.0.streams();
        if streams.too_long {
            return Err(Errno::Again);
        }
        Ok(Ready { nbytes: streams.left as u64, hangup: false })
    }

    /// Only one whose reply is too long waits, and nothing wakes it.
    fn wait(&mut self, _want: Interest, _waker: &Waker) -> Wait<'_> {
        if self.0.streams().too_long { Wait::NEVER } else { Wait::Now }
    }
}

/// Standard error.
pub(super) struct ItemErrors(pub Arc<Slot>);

impl File for ItemErrors {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn access(&self) -> Access {
        Access::WRITE
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        let streams = &mut *self.0.streams();
        let mut total = 0;
        for buf in bufs {
            let kept = buf.len().min(ERRORS_MAX - streams.errors.len());
            streams.errors.extend_from_slice(&buf[..kept]);
            streams.errors_lost += (buf.len() - kept) as u64;
            total += buf.len();
        }
        Ok(total)
    }

    fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
        Ok((self.write(bufs, 0)?, 0))
    }
}
