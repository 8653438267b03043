//! A directory of the host as a backend.
//!
//! Each name is looked up relative to a held directory descriptor and opened with
//! O_NOFOLLOW, one component at a time, so a tree that is changed under the guest's feet
//! (a directory swapped for a link, a parent moved away) can make a call fail with ELOOP
//! or ENOTDIR, but never lead it outside. Links are read here and followed only by the
//! [walk](super::walk).
//!
//! On Linux a plain path of several components takes a shortcut, one `openat2` with
//! RESOLVE_BENEATH and RESOLVE_NO_SYMLINKS; where the kernel or a filter of its calls
//! doesn't know it, the walk does the same in more steps.

mod directory;
mod fifo;
mod file;
mod node;
mod system;
#[cfg(test)]
mod tests;

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{CWD, FileType, Mode, Timespec, Timestamps, UTIME_NOW, UTIME_OMIT};

use super::stat::host_device;
use super::system::filetype;
use super::{Node, SetTime, Stat, Times};
use node::HostNode;
use system::{WALK, times};

const NANOS: u64 = 1_000_000_000;

/// A directory of the host, to be mounted.
///
/// # Errors
///
/// Those of open(2); ENOTDIR if `path` is not a directory.
pub fn open(path: &Path) -> io::Result<Arc<dyn Node>> {
    Ok(HostDir::open(path)?.node())
}

/// A directory of the host and how it is to be walked.
#[derive(Debug)]
pub struct HostDir {
    fd: OwnedFd,
    shortcut: bool,
}

impl HostDir {
    /// Opens `path`, following links: the path is the operator's, not a guest's.
    ///
    /// # Errors
    ///
    /// Those of open(2); ENOTDIR if `path` is not a directory.
    pub fn open(path: &Path) -> io::Result<HostDir> {
        let fd = rustix::fs::openat(CWD, path, WALK, Mode::empty())?;
        Ok(HostDir { fd, shortcut: true })
    }

    /// A directory that is open already, readable or for names in it only.
    pub fn from_fd(fd: OwnedFd) -> HostDir {
        HostDir { fd, shortcut: true }
    }

    /// Walks every path one component at a time. Slower, and arrives at the same places.
    pub fn without_shortcut(self) -> HostDir {
        HostDir { shortcut: false, ..self }
    }

    /// The directory as a node.
    pub fn node(self) -> Arc<dyn Node> {
        Arc::new(HostNode::root(self.fd, self.shortcut))
    }
}

#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between systems")]
fn stat(stat: &rustix::fs::Stat) -> Stat {
    let [atim, mtim, ctim] = times(stat).map(nanos);
    Stat {
        dev: host_device(stat.st_dev as u64),
        ino: stat.st_ino as u64,
        filetype: filetype(FileType::from_raw_mode(stat.st_mode)),
        nlink: stat.st_nlink as u64,
        size: u64::try_from(stat.st_size).unwrap_or(0),
        atim,
        mtim,
        ctim,
    }
}

/// Nanoseconds since 1970; what is before is 0, what is beyond 2554 the greatest number.
fn nanos((secs, nanos): (i64, u64)) -> u64 {
    match u64::try_from(secs) {
        Ok(secs) => secs.saturating_mul(NANOS).saturating_add(nanos),
        Err(_) => 0,
    }
}

fn timestamps(times: Times) -> Timestamps {
    Timestamps { last_access: timespec(times.atim), last_modification: timespec(times.mtim) }
}

fn timespec(time: Option<SetTime>) -> Timespec {
    match time {
        None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        Some(SetTime::Now) => Timespec { tv_sec: 0, tv_nsec: UTIME_NOW },
        // Both fit: a u64 has less than 2^35 seconds of nanoseconds.
        Some(SetTime::To(time)) => {
            Timespec { tv_sec: (time / NANOS) as _, tv_nsec: (time % NANOS) as _ }
        }
    }
}
