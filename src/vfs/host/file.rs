//! Open files of the host that are not directories.

use std::io::{IoSlice, IoSliceMut, IsTerminal};
use std::os::fd::{AsFd, OwnedFd};
use std::task::Waker;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::{Errno as Os, retry_on_intr};

use super::super::charge;
use super::super::system::sync;
use super::super::{Errno, File, Interest, Open, Ready, Result, Stat, Times, Wait};
use super::system::{allocate, append, is_fifo};
use super::{stat, timestamps};

/// An open file of the host: regular, a FIFO, a device. Its description is non-blocking and
/// not shared.
pub(super) struct HostFile {
    fd: OwnedFd,
    kind: FileType,
    /// A reader of a FIFO that no writer has opened yet waits for one. It doesn't if it was
    /// opened with NONBLOCK: that says that it has no peer to wait for.
    awaits_writer: bool,
}

impl HostFile {
    pub(super) fn new(fd: OwnedFd, kind: FileType) -> HostFile {
        HostFile { fd, kind, awaits_writer: true }
    }

    /// As [`HostFile::new`], opened so.
    pub(super) fn opened_as(fd: OwnedFd, kind: FileType, how: Open) -> HostFile {
        HostFile { fd, kind, awaits_writer: !how.nonblock }
    }

    /// Whether it has places to read and write at; the rest are streams.
    fn has_offsets(&self) -> bool {
        matches!(self.kind, FileType::RegularFile | FileType::BlockDevice)
    }

    fn poll(&self, want: PollFlags) -> Result<PollFlags> {
        let mut fds = [PollFd::new(&self.fd, want)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        retry_on_intr(|| poll(&mut fds, Some(&at_once)))?;
        Ok(fds[0].revents())
    }

    /// An open that doesn't wait for a FIFO's writer would have a reader take "no writer
    /// yet" for the end. The end is there once a writer was and is gone.
    fn fifo_is_at_end(&self) -> Result<bool> {
        let events = self.poll(PollFlags::IN)?;
        Ok(events.contains(PollFlags::HUP) && !events.contains(PollFlags::IN))
    }
}

/// Closing the last descriptor of a file that has no name any more frees it.
impl Drop for HostFile {
    fn drop(&mut self) {
        charge::ask_kernel();
    }
}

impl File for HostFile {
    fn stat(&mut self) -> Result<Stat> {
        charge::ask_kernel();
        Ok(stat(&rustix::fs::fstat(&self.fd)?))
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        charge::ask_kernel();
        if let (true, [buf]) = (self.has_offsets(), &mut *bufs) {
            // One buffer, as is usual, costs the kernel less without a list around it.
            return Ok(retry_on_intr(|| rustix::io::pread(&self.fd, &mut **buf, offset))?);
        }
        if self.has_offsets() {
            return Ok(retry_on_intr(|| rustix::io::preadv(&self.fd, bufs, offset))?);
        }
        let read = retry_on_intr(|| rustix::io::readv(&self.fd, bufs))?;
        let asked = bufs.iter().any(|buf| !buf.is_empty());
        let waits = self.awaits_writer && is_fifo(self.kind);
        if read == 0 && asked && waits && !self.fifo_is_at_end()? {
            return Err(Errno::Again);
        }
        Ok(read)
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        charge::ask_kernel();
        if let (true, [buf]) = (self.has_offsets(), bufs) {
            return Ok(retry_on_intr(|| rustix::io::pwrite(&self.fd, buf, offset))?);
        }
        if self.has_offsets() {
            return Ok(retry_on_intr(|| rustix::io::pwritev(&self.fd, bufs, offset))?);
        }
        Ok(retry_on_intr(|| rustix::io::writev(&self.fd, bufs))?)
    }

    fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
        charge::ask_kernel();
        if !self.has_offsets() {
            return Ok((self.write(bufs, 0)?, 0));
        }
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok((0, self.stat()?.size));
        }
        match append(&self.fd, bufs) {
            Err(Os::NOSYS | Os::OPNOTSUPP) => {
                let end = self.stat()?.size;
                let written = self.write(bufs, end)?;
                Ok((written, end.saturating_add(written as u64)))
            }
            other => Ok(other?),
        }
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        charge::ask_kernel();
        i64::try_from(len).map_err(|_| Errno::Inval)?;
        Ok(retry_on_intr(|| rustix::fs::ftruncate(&self.fd, len))?)
    }

    fn allocate(&mut self, offset: u64, len: u64) -> Result<()> {
        charge::ask_kernel();
        if !self.has_offsets() {
            return Err(Errno::Spipe);
        }
        if len == 0 {
            return Err(Errno::Inval);
        }
        let end = offset.checked_add(len).filter(|end| i64::try_from(*end).is_ok());
        let end = end.ok_or(Errno::Fbig)?;
        match allocate(&self.fd, offset, len) {
            Err(Os::OPNOTSUPP | Os::NOSYS) if self.kind == FileType::RegularFile => {
                if self.stat()?.size < end { self.set_len(end) } else { Ok(()) }
            }
            other => Ok(other?),
        }
    }

    fn set_times(&mut self, times: Times) -> Result<()> {
        charge::ask_kernel();
        Ok(rustix::fs::futimens(&self.fd, &timestamps(times))?)
    }

    fn sync(&mut self, data_only: bool) -> Result<()> {
        charge::ask_kernel();
        Ok(sync(&self.fd, data_only)?)
    }

    fn ready(&mut self, want: Interest) -> Result<Ready> {
        charge::ask_kernel();
        if self.has_offsets() {
            return Ok(Ready::default());
        }
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, want.read);
        events.set(PollFlags::OUT, want.write);
        let events = self.poll(events)?;
        if events.is_empty() {
            return Err(Errno::Again);
        }
        let readable = events.contains(PollFlags::IN);
        let nbytes = if readable { rustix::io::ioctl_fionread(&self.fd).unwrap_or(0) } else { 0 };
        // A FIFO whose readers are gone says so to its writer with POLLERR.
        Ok(Ready { nbytes, hangup: events.intersects(PollFlags::HUP | PollFlags::ERR) })
    }

    fn wait(&mut self, _want: Interest, _waker: &Waker) -> Wait<'_> {
        if self.has_offsets() { Wait::Now } else { Wait::Fd(self.fd.as_fd()) }
    }

    fn is_terminal(&self) -> bool {
        self.kind == FileType::CharacterDevice && self.fd.is_terminal()
    }
}
