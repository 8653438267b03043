//! A file that is not there yet: a dial in progress, an accept that waits for a client.

use std::io::{IoSlice, IoSliceMut};
use std::task::Waker;
use std::time::Instant;

use crate::vfs::{Errno, File, Filetype, Interest, Ready, Result, Stat, Wait};

/// What goes on until the file is there. Dropping it gives everything up.
pub(crate) trait Pending: Send {
    /// Goes on as far as it can: the file, Again, or the error of the open.
    fn proceed(&mut self) -> Result<Box<dyn File>>;

    /// As [`File::reopens`].
    fn reopens(&self) -> bool {
        false
    }

    /// As [`File::wait`].
    fn wait(&mut self, waker: &Waker) -> Wait<'_>;

    /// As [`File::deadline`].
    fn deadline(&self) -> Option<Instant> {
        None
    }
}

/// The half-open file: it becomes the file, or keeps the error of the open.
enum Opening<P> {
    Pending(Filetype, P),
    Open(Box<dyn File>),
    Failed(Errno),
}

/// Begins to open: answers the file itself if it is there at once.
pub(crate) fn open<P: Pending + 'static>(kind: Filetype, mut pending: P) -> Result<Box<dyn File>> {
    match pending.proceed() {
        Err(Errno::Again) => Ok(Box::new(Opening::Pending(kind, pending))),
        done => done,
    }
}

impl<P: Pending> Opening<P> {
    /// The file, for whoever did not ask `opened` before: a descriptor with NONBLOCK.
    fn file(&mut self) -> Result<&mut dyn File> {
        self.opened()?;
        match self {
            Opening::Open(file) => Ok(&mut **file),
            Opening::Failed(errno) => Err(*errno),
            Opening::Pending(..) => Err(Errno::Again),
        }
    }
}

impl<P: Pending> File for Opening<P> {
    fn stat(&mut self) -> Result<Stat> {
        match self {
            Opening::Pending(kind, _) => Ok(Stat::of(*kind)),
            Opening::Open(file) => file.stat(),
            Opening::Failed(errno) => Err(*errno),
        }
    }

    fn opened(&mut self) -> Result<()> {
        if let Opening::Pending(_, pending) = self {
            match pending.proceed() {
                Ok(file) => *self = Opening::Open(file),
                Err(Errno::Again) => return Err(Errno::Again),
                Err(errno) => *self = Opening::Failed(errno),
            }
        }
        match self {
            Opening::Failed(errno) => Err(*errno),
            _ => Ok(()),
        }
    }

    fn reopens(&self) -> bool {
        matches!(self, Opening::Pending(_, pending) if pending.reopens())
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        self.file()?.read(bufs, offset)
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        self.file()?.write(bufs, offset)
    }

    /// A failed open is ready: the next call tells why.
    fn ready(&mut self, want: Interest) -> Result<Ready> {
        match self.file() {
            Ok(file) => file.ready(want),
            Err(Errno::Again) => Err(Errno::Again),
            Err(_) => Ok(Ready { nbytes: 0, hangup: true }),
        }
    }

    fn wait(&mut self, want: Interest, waker: &Waker) -> Wait<'_> {
        match self {
            Opening::Pending(_, pending) => pending.wait(waker),
            Opening::Open(file) => file.wait(want, waker),
            Opening::Failed(_) => Wait::Now,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self {
            Opening::Pending(_, pending) => pending.deadline(),
            Opening::Open(file) => file.deadline(),
            Opening::Failed(_) => None,
        }
    }

    fn peek(&mut self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        self.file()?.peek(bufs)
    }

    fn truncated(&self) -> bool {
        matches!(self, Opening::Open(file) if file.truncated())
    }

    fn shutdown(&mut self, how: Interest) -> Result<()> {
        self.file()?.shutdown(how)
    }
}
