//! The process's own standard streams.

use std::io::{IoSlice, IoSliceMut, IsTerminal};
use std::os::fd::{AsFd, BorrowedFd};
use std::task::Waker;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::retry_on_intr;

use super::super::system::{
    Standard, access, filetype, is_memory_device, own_terminal, standard, sync,
};
use super::super::{Access, Errno, File, Filetype, Interest, Ready, Result, Stat, Wait};
use super::Tail;

/// Bytes a pipe that is writable takes without blocking (`PIPE_BUF`, pipe(7)); files take any
/// number.
const WRITE_MAX: usize = 4096;

/// One of the process's own standard streams.
///
/// Its descriptor is shared with other processes, so O_NONBLOCK can't be set on it: a shell would
/// find its terminal changed. Instead a pipe is asked with poll(2) before each read or write, a
/// terminal is written through a description of its own, and a socket gets a flag with each call.
pub struct Stream {
    fd: Standard,
    access: Access,
    kind: Kind,
    tail: Option<Tail>,
}

enum Kind {
    /// Reads and writes of it never wait: a file, `/dev/null`.
    Ready(FileType),
    /// It is written through a description of its own, which can be non-blocking; as a pipe is, if
    /// the terminal can't be opened once more.
    Terminal(Option<Standard>),
    /// Poll says when it has something, or takes [`WRITE_MAX`] bytes.
    Pipe(FileType),
    #[cfg(all(unix, feature = "net"))]
    Socket(Box<dyn File>),
}

impl Stream {
    /// A stream on a copy of a descriptor, or `None` if it is closed.
    pub fn new(fd: impl AsFd) -> Option<Stream> {
        let fd = standard(fd)?;
        let stat = rustix::fs::fstat(&fd).ok()?;
        let access = access(&fd);
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            file @ (FileType::RegularFile | FileType::Directory) => Kind::Ready(file),
            #[cfg(all(unix, feature = "net"))]
            FileType::Socket => Kind::Socket(super::socket::open(fd.try_clone().ok()?).ok()?),
            device @ FileType::CharacterDevice => {
                if is_memory_device(&stat) {
                    Kind::Ready(device)
                } else if fd.as_fd().is_terminal() {
                    Kind::Terminal(if access.write { own_terminal(&fd, &stat) } else { None })
                } else {
                    Kind::Pipe(device)
                }
            }
            other => Kind::Pipe(other),
        };
        Some(Stream { fd, access, kind, tail: None })
    }

    /// Keeps the last of what is written, too.
    pub fn with_tail(mut self, tail: &Tail) -> Stream {
        self.tail = Some(tail.clone());
        self
    }

    fn poll(&self, want: Interest) -> Result<Ready> {
        let mut flags = PollFlags::empty();
        flags.set(PollFlags::IN, want.read);
        flags.set(PollFlags::OUT, want.write);
        let mut fds = [PollFd::new(&self.fd, flags)];
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        retry_on_intr(|| poll(&mut fds, Some(&at_once)))?;
        let found = fds[0].revents();
        if found.is_empty() {
            return Err(Errno::Again);
        }
        Ok(Ready { nbytes: 0, hangup: found.contains(PollFlags::HUP) })
    }

    /// Writes what a pipe that is writable takes without blocking.
    fn write_pipe(&self, bufs: &[IoSlice<'_>]) -> Result<usize> {
        self.poll(Interest::WRITE)?;
        let all = bufs.iter().fold(0usize, |sum, buf| sum.saturating_add(buf.len()));
        if all <= WRITE_MAX {
            return write(&self.fd, bufs);
        }
        let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| &**buf);
        Ok(retry_on_intr(|| rustix::io::write(&self.fd, &first[..first.len().min(WRITE_MAX)]))?)
    }
}

fn write(fd: impl AsFd, bufs: &[IoSlice<'_>]) -> Result<usize> {
    Ok(match bufs {
        // Costs the kernel less than a list of one.
        [buf] => retry_on_intr(|| rustix::io::write(&fd, buf))?,
        bufs => retry_on_intr(|| rustix::io::writev(&fd, bufs))?,
    })
}

impl File for Stream {
    fn stat(&mut self) -> Result<Stat> {
        // Only what the stream is: the host's inode numbers are not for a guest.
        // A file is a stream here: its position is shared with other processes, and moves
        // with each read. As what it is it would promise to be read anywhere.
        Ok(Stat::of(match &mut self.kind {
            Kind::Ready(kind) | Kind::Pipe(kind) => match filetype(*kind) {
                Filetype::CharacterDevice => Filetype::CharacterDevice,
                _ => Filetype::Unknown,
            },
            Kind::Terminal(_) => Filetype::CharacterDevice,
            #[cfg(all(unix, feature = "net"))]
            Kind::Socket(socket) => return socket.stat(),
        }))
    }

    /// The directions its description was opened for.
    fn access(&self) -> Access {
        self.access
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        match &mut self.kind {
            Kind::Ready(_) => {}
            Kind::Pipe(_) | Kind::Terminal(_) => drop(self.poll(Interest::READ)?),
            #[cfg(all(unix, feature = "net"))]
            Kind::Socket(socket) => return socket.read(bufs, 0),
        }
        match bufs {
            [buf] => Ok(retry_on_intr(|| rustix::io::read(&self.fd, &mut **buf))?),
            bufs => Ok(retry_on_intr(|| rustix::io::readv(&self.fd, bufs))?),
        }
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        let written = match &mut self.kind {
            Kind::Ready(_) => write(&self.fd, bufs),
            Kind::Pipe(_) => self.write_pipe(bufs),
            Kind::Terminal(Some(own)) => write(own, bufs),
            Kind::Terminal(None) => self.write_pipe(bufs),
            #[cfg(all(unix, feature = "net"))]
            Kind::Socket(socket) => socket.write(bufs, 0),
        }?;
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
        match &mut self.kind {
            Kind::Ready(_) => Ok(Ready::default()),
            Kind::Pipe(_) | Kind::Terminal(_) => self.poll(want),
            #[cfg(all(unix, feature = "net"))]
            Kind::Socket(socket) => socket.ready(want),
        }
    }

    fn wait(&mut self, want: Interest, waker: &Waker) -> Wait<'_> {
        match &mut self.kind {
            #[cfg(all(unix, feature = "net"))]
            Kind::Socket(socket) => socket.wait(want, waker),
            _ => {
                let _ = (want, waker); // only a socket may need them
                Wait::Fd(self.fd.as_fd())
            }
        }
    }

    fn is_terminal(&self) -> bool {
        matches!(self.kind, Kind::Terminal(_))
    }

    #[cfg(all(unix, feature = "net"))]
    fn accept(&mut self) -> Result<Box<dyn File>> {
        match &mut self.kind {
            Kind::Socket(socket) => socket.accept(),
            _ => Err(Errno::Notsock),
        }
    }

    #[cfg(all(unix, feature = "net"))]
    fn peek(&mut self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        match &mut self.kind {
            Kind::Socket(socket) => socket.peek(bufs),
            _ => Err(Errno::Notsock),
        }
    }

    #[cfg(all(unix, feature = "net"))]
    fn truncated(&self) -> bool {
        matches!(&self.kind, Kind::Socket(socket) if socket.truncated())
    }

    #[cfg(all(unix, feature = "net"))]
    fn shutdown(&mut self, how: Interest) -> Result<()> {
        match &mut self.kind {
            Kind::Socket(socket) => socket.shutdown(how),
            _ => Err(Errno::Notsock),
        }
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
