//! A FIFO that is opened for writing waits for its reader.
//!
//! No event says that a reader has come: poll(2) needs a descriptor, and there is none before.
//! So the open is tried again, at growing intervals, and can be given up at any time. A reader that
//! waits in its own open counts for the kernel, so neither waits for the other.
//!
//! The other direction needs nothing of the kind. An open for reading succeeds at once, which lets
//! waiting writers in; its first read waits for a writer. A program that opens two FIFOs, one for
//! each direction, can't tell the difference.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::{Errno as Os, retry_on_intr};

use super::super::{Errno, File, Opened, Pending, Result, Wait};
use super::file::HostFile;
use super::system::is_fifo;

/// How long after a try the next one comes: at first, and at the most.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);

/// An open for writing that found no reader.
struct Waiting {
    parent: Arc<OwnedFd>,
    name: Box<str>,
    flags: OFlags,
    pause: Duration,
    again: Instant,
}

/// Opens the FIFO `name` for writing as soon as it has a reader. A try was made just now.
pub(super) fn open(parent: &Arc<OwnedFd>, name: &str, flags: OFlags) -> Opened {
    Opened::Pending(Box::new(Waiting {
        parent: parent.clone(),
        name: name.into(),
        flags,
        pause: FIRST_PAUSE,
        again: Instant::now() + FIRST_PAUSE,
    }))
}

impl Pending for Waiting {
    fn proceed(&mut self) -> Result<Box<dyn File>> {
        let now = Instant::now();
        if now < self.again {
            return Err(Errno::Again);
        }
        let open = || rustix::fs::openat(&self.parent, &*self.name, self.flags, Mode::empty());
        let fd = match retry_on_intr(open) {
            Err(Os::NXIO) => {
                self.pause = LONGEST_PAUSE.min(self.pause * 2);
                self.again = now + self.pause;
                return Err(Errno::Again);
            }
            other => other?,
        };
        // By now the name may be another file's, which the guest did not ask for.
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
        if !is_fifo(kind) {
            return Err(Errno::Noent);
        }
        Ok(Box::new(HostFile::new(fd, kind)))
    }

    fn wait(&mut self, _waker: &Waker) -> Wait<'_> {
        Wait::NEVER // only the deadline ends it
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.again)
    }
}
