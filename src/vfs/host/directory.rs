//! Open directories of the host, and reading their entries.

use std::os::fd::OwnedFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, DirEntry, FileType, Mode, OFlags};
use rustix::io::{Errno as Os, retry_on_intr};

use super::super::charge;
use super::super::system::{filetype, sync};
use super::super::{Dirent, Emit, Errno, File, Filetype, Result, Stat, Times};
use super::{stat, timestamps};

/// An open directory. Its descriptor is its node's, good for naming things in it; one for
/// reading is opened when it is first read.
pub(super) struct Directory {
    fd: Arc<OwnedFd>,
    entries: Option<Entries>,
}

impl Directory {
    pub(super) fn new(fd: Arc<OwnedFd>) -> Directory {
        Directory { fd, entries: None }
    }

    /// A description of its own, readable. `.` is this directory, wherever it is by now.
    fn reopen(&self) -> Result<OwnedFd, Os> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::openat(&self.fd, ".", flags, Mode::empty()))
    }

    /// The entries, standing at `cookie`; none past the last, nor in a directory that was
    /// removed.
    fn entries(&mut self, cookie: u64) -> Result<Option<Entries>> {
        let mut entries = match self.entries.take() {
            Some(entries) => entries,
            None => match self.reopen() {
                Ok(fd) => Entries { dir: Dir::new(fd)?, at: 0, held: None },
                Err(Os::NOENT) => return Ok(None),
                Err(error) => return Err(error.into()),
            },
        };
        // No entry has a cookie the system refuses: it is one past the last.
        let there = entries.seek(cookie);
        Ok(there.is_ok().then_some(entries))
    }

    /// Most filesystems return an entry's kind along with its name; the others are asked.
    fn filetype(&self, entry: &DirEntry) -> Filetype {
        if entry.file_type() != FileType::Unknown {
            return filetype(entry.file_type());
        }
        let seen = rustix::fs::statat(&self.fd, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW);
        seen.map(|seen| stat(&seen).filetype).unwrap_or_default()
    }
}

impl File for Directory {
    fn stat(&mut self) -> Result<Stat> {
        charge::ask_kernel();
        Ok(stat(&rustix::fs::fstat(&self.fd)?))
    }

    fn set_times(&mut self, times: Times) -> Result<()> {
        charge::ask_kernel();
        // By name, as the descriptor may be one that only names things.
        let times = timestamps(times);
        Ok(rustix::fs::utimensat(&self.fd, ".", &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    fn sync(&mut self, data_only: bool) -> Result<()> {
        charge::ask_kernel();
        Ok(sync(&self.reopen()?, data_only)?)
    }

    /// `.` and `..` are among the entries. The inode of `..` is always 0: what is above the
    /// mount is none of a guest's business.
    fn readdir(&mut self, cookie: u64, emit: &mut Emit<'_>) -> Result<()> {
        charge::ask_kernel();
        // On an error the stream is dropped, and the next call begins with a new one.
        let Some(mut entries) = self.entries(cookie)? else {
            return Ok(());
        };
        while let Some(entry) = entries.take()? {
            let name = entry.file_name().to_bytes();
            let ino = if name == b".." { 0 } else { entry.ino() };
            let next = entries.after(&entry)?;
            if !emit(Dirent { next, ino, filetype: self.filetype(&entry), name }) {
                entries.held = Some(entry);
                break;
            }
            entries.at = next;
        }
        self.entries = Some(entries);
        Ok(())
    }
}

/// A directory's entries as a stream with a place in it.
struct Entries {
    dir: Dir,
    /// Cookie of the entry that comes next.
    at: u64,
    /// That entry, if it has been read already.
    held: Option<DirEntry>,
}

impl Entries {
    fn take(&mut self) -> Result<Option<DirEntry>> {
        match self.held.take() {
            Some(entry) => Ok(Some(entry)),
            None => Ok(self.dir.read().transpose()?),
        }
    }
}

/// Cookies are the kernel's own: good for going on at whatever is removed meanwhile.
#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
impl Entries {
    fn seek(&mut self, cookie: u64) -> Result<()> {
        if cookie != self.at {
            let offset = i64::try_from(cookie).map_err(|_| Errno::Inval)?;
            self.dir.seek(offset)?;
            self.held = None;
            self.at = cookie;
        }
        Ok(())
    }

    fn after(&self, entry: &DirEntry) -> Result<u64> {
        u64::try_from(entry.offset()).map_err(|_| Errno::Overflow)
    }
}

/// Cookies are ordinals where the system has no better ones: going on where the last call
/// ended is exact, going elsewhere counts from the start.
#[cfg(not(all(target_os = "linux", target_pointer_width = "64")))]
impl Entries {
    fn seek(&mut self, cookie: u64) -> Result<()> {
        if cookie < self.at {
            self.dir.rewind();
            self.held = None;
            self.at = 0;
        }
        while self.at < cookie && self.take()?.is_some() {
            self.at += 1;
        }
        Ok(())
    }

    fn after(&self, _entry: &DirEntry) -> Result<u64> {
        self.at.checked_add(1).ok_or(Errno::Overflow)
    }
}
