//! A stream from which nothing comes for a while.

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::Waker;

use crate::vfs::{Access, Emit, Errno, File, Interest, Ready, Result, Stat, Times, Wait};

/// A file that has nothing to read while it is held. What the file in it has stays there.
pub(crate) struct Held {
    file: Box<dyn File>,
    held: Arc<AtomicBool>,
}

impl Held {
    /// Puts a file in the place of `file` that is held while `held` is set.
    pub(crate) fn install(file: &mut Box<dyn File>, held: Arc<AtomicBool>) {
        let inner = std::mem::replace(file, Box::new(super::Closed));
        *file = Box::new(Held { file: inner, held });
    }

    /// The file to read from.
    fn readable(&mut self) -> Result<&mut dyn File> {
        if self.held.load(Relaxed) { Err(Errno::Again) } else { Ok(&mut *self.file) }
    }
}

impl File for Held {
    fn stat(&mut self) -> Result<Stat> {
        self.file.stat()
    }

    fn access(&self) -> Access {
        self.file.access()
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        self.readable()?.read(bufs, offset)
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        self.file.write(bufs, offset)
    }

    fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
        self.file.append(bufs)
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        self.file.set_len(len)
    }

    fn allocate(&mut self, offset: u64, len: u64) -> Result<()> {
        self.file.allocate(offset, len)
    }

    fn set_times(&mut self, times: Times) -> Result<()> {
        self.file.set_times(times)
    }

    fn sync(&mut self, data_only: bool) -> Result<()> {
        self.file.sync(data_only)
    }

    fn readdir(&mut self, cookie: u64, emit: &mut Emit<'_>) -> Result<()> {
        self.file.readdir(cookie, emit)
    }

    fn ready(&mut self, want: Interest) -> Result<Ready> {
        if want.read { self.readable()?.ready(want) } else { self.file.ready(want) }
    }

    fn wait(&mut self, want: Interest, waker: &Waker) -> Wait<'_> {
        match self.held.load(Relaxed) && want.read {
            true => Wait::Waker,
            false => self.file.wait(want, waker),
        }
    }

    fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }

    fn accept(&mut self) -> Result<Box<dyn File>> {
        self.readable()?.accept()
    }

    fn peek(&mut self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        self.readable()?.peek(bufs)
    }

    fn truncated(&self) -> bool {
        self.file.truncated()
    }

    fn shutdown(&mut self, how: Interest) -> Result<()> {
        self.file.shutdown(how)
    }
}
