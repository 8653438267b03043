//! The host's standard streams, and the streams of a guest that has none.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Errno, File, Filetype, Result, Stat};

/// A stream that is at its end, and takes and forgets what is written: the standard
/// streams of a guest that was given none.
pub struct Empty;

impl File for Empty {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn read(&mut self, _bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        Ok(0)
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        Ok(bufs.iter().map(|buf| buf.len()).sum())
    }
}

/// A descriptor the host's caller closed: everything is EBADF, as for any program that is
/// started so.
pub struct Closed;

impl File for Closed {
    fn stat(&mut self) -> Result<Stat> {
        Err(Errno::Badf)
    }
}

/// The last bytes that were written to a stream: what a program said before it ended. A clone is
/// the same.
#[derive(Clone, Debug, Default)]
pub struct Tail(Arc<Mutex<VecDeque<u8>>>);

/// Bytes that are kept.
const TAIL_BYTES: usize = 4096;

impl Tail {
    /// What was written last, as text.
    pub fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept.iter().copied().collect::<Vec<u8>>()).into_owned()
    }

    /// Keeps the first `written` bytes of these, or the last of them.
    #[cfg_attr(
        not(any(feature = "net", feature = "host-fs")),
        allow(dead_code, reason = "no stream")
    )]
    fn keep(&self, bufs: &[IoSlice<'_>], mut written: usize) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for buf in bufs {
            let taken = &buf[..buf.len().min(written)];
            written -= taken.len();
            kept.extend(&taken[taken.len().saturating_sub(TAIL_BYTES)..]);
        }
        let beyond = kept.len().saturating_sub(TAIL_BYTES);
        kept.drain(..beyond);
    }
}

#[cfg(all(any(unix, target_os = "wasi"), any(feature = "net", feature = "host-fs")))]
pub use host::Stream;

#[cfg(all(any(unix, target_os = "wasi"), any(feature = "net", feature = "host-fs")))]
#[cfg_attr(
    target_os = "wasi",
    allow(clippy::needless_borrows_for_generic_args, reason = "a stream is not owned there")
)]
mod host {
    use std::io::IsTerminal;
    use std::os::fd::{AsFd, BorrowedFd};
    use std::task::Waker;

    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::fs::FileType;

    use super::super::system::{Standard, filetype, is_memory_device, standard, sync};
    use super::super::{Interest, Ready, Wait};
    use super::*;

    /// Bytes a pipe or terminal that is writable takes without blocking (`PIPE_BUF`,
    /// pipe(7)); files and sockets take any number.
    const WRITE_MAX: usize = 4096;

    /// One of the process's own standard streams.
    ///
    /// Its descriptor is shared with other processes, so O_NONBLOCK can't be set on it: a
    /// shell would find its terminal changed. Instead it is asked with poll(2) before each
    /// read or write that could block.
    pub struct Stream {
        fd: Standard,
        filetype: FileType,
        terminal: bool,
        may_block: bool,
        tail: Option<Tail>,
    }

    impl Stream {
        /// A stream on a copy of a descriptor, or `None` if it is closed.
        pub fn new(fd: impl AsFd) -> Option<Stream> {
            let fd = standard(fd)?;
            let stat = rustix::fs::fstat(&fd).ok()?;
            let filetype = FileType::from_raw_mode(stat.st_mode);
            let device = filetype == FileType::CharacterDevice;
            let memory = device && is_memory_device(&stat);
            let terminal = device && !memory && fd.as_fd().is_terminal();
            let may_block = match filetype {
                FileType::RegularFile | FileType::Directory => false,
                FileType::CharacterDevice => !memory,
                _ => true,
            };
            Some(Stream { fd, filetype, terminal, may_block, tail: None })
        }

        /// Keeps the last of what is written, too.
        pub fn with_tail(mut self, tail: &Tail) -> Stream {
            self.tail = Some(tail.clone());
            self
        }

        /// Whether the kernel could make a reader or writer wait.
        fn may_block(&self) -> bool {
            self.may_block
        }

        fn put(&self, bufs: &[IoSlice<'_>]) -> Result<usize> {
            if self.may_block() {
                self.poll(Interest::WRITE)?;
            }
            let all = || bufs.iter().map(|buf| buf.len()).sum::<usize>();
            if !self.may_block() || all() <= WRITE_MAX {
                return match bufs {
                    [buf] => Ok(rustix::io::write(&self.fd, buf)?),
                    bufs => Ok(rustix::io::writev(&self.fd, bufs)?),
                };
            }
            let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &**buf);
            Ok(rustix::io::write(&self.fd, &first[..first.len().min(WRITE_MAX)])?)
        }

        fn poll(&self, want: Interest) -> Result<Ready> {
            let flag = if want.read { PollFlags::IN } else { PollFlags::OUT };
            let mut fds = [PollFd::new(&self.fd, flag)];
            poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
            let found = fds[0].revents();
            if found.is_empty() {
                return Err(Errno::Again);
            }
            Ok(Ready { nbytes: 0, hangup: found.contains(PollFlags::HUP) })
        }
    }

    impl File for Stream {
        fn stat(&mut self) -> Result<Stat> {
            // Only what the stream is: the host's inode numbers are nobody's business.
            // A file is a stream here: its position is shared with other processes, and moves
            // with each read. As what it is it would promise to be read anywhere.
            Ok(Stat::of(match filetype(self.filetype) {
                device @ (Filetype::CharacterDevice | Filetype::SocketStream) => device,
                _ => Filetype::Unknown,
            }))
        }

        fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
            if self.may_block() {
                self.poll(Interest::READ)?;
            }
            match bufs {
                // Costs the kernel less than a list of one.
                [buf] => Ok(rustix::io::read(&self.fd, &mut **buf)?),
                bufs => Ok(rustix::io::readv(&self.fd, bufs)?),
            }
        }

        fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
            let written = self.put(bufs)?;
            if let Some(tail) = &self.tail {
                tail.keep(bufs, written);
            }
            Ok(written)
        }

        fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
            Ok((self.write(bufs, 0)?, 0))
        }

        fn sync(&mut self, data_only: bool) -> Result<()> {
            Ok(sync(&self.fd, data_only)?)
        }

        fn ready(&mut self, want: Interest) -> Result<Ready> {
            if self.may_block() { self.poll(want) } else { Ok(Ready::default()) }
        }

        fn wait(&mut self, _want: Interest, _waker: &Waker) -> Wait<'_> {
            Wait::Fd(self.fd.as_fd())
        }

        fn is_terminal(&self) -> bool {
            self.terminal
        }

        fn peek(&mut self, _bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
            Err(Errno::Notsup)
        }
    }

    impl AsFd for Stream {
        fn as_fd(&self) -> BorrowedFd<'_> {
            self.fd.as_fd()
        }
    }
}
