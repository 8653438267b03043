//! What a guest writes, kept for its host.

use std::io::IoSlice;
use std::sync::{Arc, Mutex};

use super::lock;
use crate::vfs::{Access, Errno, File, Filetype, Result, Stat};

/// A stream that keeps what is written, up to a limit, for the host to take. Clones keep
/// to the same place: hand one to a guest, or to it twice as stdout and stderr.
#[derive(Clone)]
pub struct Capture(Arc<Mutex<Captured>>);

struct Captured {
    bytes: Vec<u8>,
    limit: usize,
    overflowed: bool,
}

impl Capture {
    /// Keeps up to `limit_bytes` at a time. What fits of a larger write is taken and the guest is
    /// given a short count, blocking or not; the next write answers EFBIG. So does a file past a
    /// process's own limit on file sizes. A guest that ignores both loses the rest, and
    /// [`Capture::overflowed`] says so.
    pub fn new(limit_bytes: usize) -> Capture {
        let captured = Captured { bytes: Vec::new(), limit: limit_bytes, overflowed: false };
        Capture(Arc::new(Mutex::new(captured)))
    }

    /// Takes what was written since the last time, which makes room for as much again.
    pub fn take(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.0).bytes)
    }

    /// Bytes there now.
    pub fn len(&self) -> usize {
        lock(&self.0).bytes.len()
    }

    /// Whether nothing is there now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether anything was ever refused or cut for the limit.
    pub fn overflowed(&self) -> bool {
        lock(&self.0).overflowed
    }
}

impl File for Capture {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn access(&self) -> Access {
        Access::WRITE
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        let mut captured = lock(&self.0);
        let wanted = bufs.iter().fold(0usize, |sum, buf| sum.saturating_add(buf.len()));
        let total = wanted.min(captured.limit - captured.bytes.len());
        captured.overflowed |= total < wanted;
        if total == 0 && wanted > 0 {
            return Err(Errno::Fbig);
        }
        captured.bytes.try_reserve(total).map_err(|_| Errno::Nomem)?;
        let mut left = total;
        for buf in bufs {
            let part = &buf[..buf.len().min(left)];
            captured.bytes.extend_from_slice(part);
            left -= part.len();
        }
        Ok(total)
    }

    fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
        Ok((File::write(self, bufs, 0)?, 0))
    }
}
