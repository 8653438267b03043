//! The file of a preopened directory whose open takes time.
//!
//! A context is built without waiting, so such an open is under way when the guest
//! begins. The first call that needs the file waits for it.

use std::task::Waker;

use crate::errno::Errno;
use crate::vfs::{Emit, File, Interest, Opened, Pending, Ready, Result, Stat, Times, Wait};

/// The file of a preopened directory.
pub(super) fn file(opened: Result<Opened>) -> Box<dyn File> {
    match opened {
        Ok(Opened::File(file)) => file,
        Ok(Opened::Pending(pending)) => Box::new(Preopen::Pending(pending)),
        Err(error) => Box::new(Preopen::Failed(error)),
    }
}

/// One that could not be opened at once.
enum Preopen {
    Pending(Box<dyn Pending>),
    Open(Box<dyn File>),
    Failed(Errno),
}

impl Preopen {
    fn file(&mut self) -> Result<&mut dyn File> {
        if let Preopen::Pending(pending) = self {
            match pending.proceed() {
                Ok(file) => *self = Preopen::Open(file),
                Err(Errno::Again) => return Err(Errno::Again),
                Err(error) => *self = Preopen::Failed(error),
            }
        }
        match self {
            Preopen::Open(file) => Ok(&mut **file),
            Preopen::Failed(error) => Err(*error),
            Preopen::Pending(_) => Err(Errno::Again),
        }
    }
}

/// Only what a directory can do.
impl File for Preopen {
    fn stat(&mut self) -> Result<Stat> {
        self.file()?.stat()
    }

    fn set_times(&mut self, times: Times) -> Result<()> {
        self.file()?.set_times(times)
    }

    fn sync(&mut self, data_only: bool) -> Result<()> {
        self.file()?.sync(data_only)
    }

    fn readdir(&mut self, cookie: u64, emit: &mut Emit<'_>) -> Result<()> {
        self.file()?.readdir(cookie, emit)
    }

    /// A failed open is ready: the next call says why.
    fn ready(&mut self, want: Interest) -> Result<Ready> {
        match self.file() {
            Ok(file) => file.ready(want),
            Err(Errno::Again) => Err(Errno::Again),
            Err(_) => Ok(Ready::default()),
        }
    }

    fn wait(&mut self, want: Interest, waker: &Waker) -> Wait<'_> {
        match self {
            Preopen::Pending(pending) => pending.wait(waker),
            Preopen::Open(file) => file.wait(want, waker),
            Preopen::Failed(_) => Wait::Now,
        }
    }
}
