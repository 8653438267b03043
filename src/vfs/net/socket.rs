//! Connected sockets: what a network file is once it is open.

use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::task::Waker;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{ioctl_fionread, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvFlags, RecvMsg, ReturnFlags, SendAncillaryBuffer, SendFlags, Shutdown,
    recvmsg, sendmsg,
};
#[cfg(feature = "sockets")]
use {
    super::endpoint::{Endpoint, IoTimeouts, Received},
    rustix::net::sendmsg_addr,
    std::net::SocketAddr,
    std::time::Duration,
};

use super::quota::Counted;
use crate::vfs::charge;
use crate::vfs::{Errno, File, Filetype, Interest, Ready, Result, Stat, Wait};

/// Buffers in one system call; `IOV_MAX` of Linux and macOS.
const IOV_MAX: usize = 1024;

/// A program that embeds tinyhost need not ignore SIGPIPE. (Apple's systems have a socket
/// option for it instead, and mio sets that.)
#[cfg(not(target_vendor = "apple"))]
const SEND: SendFlags = SendFlags::NOSIGNAL.union(SendFlags::DONTWAIT);
#[cfg(target_vendor = "apple")]
const SEND: SendFlags = SendFlags::DONTWAIT;

/// A connected socket, stream or datagram. No call waits, whatever its description says: that of
/// a standard stream is shared with other processes and may be blocking.
pub(crate) struct Socket {
    fd: OwnedFd,
    kind: Filetype,
    /// What was received last was longer than there was room for.
    truncated: bool,
    #[cfg(feature = "sockets")]
    timeouts: IoTimeouts,
    _counted: Counted,
}

impl Socket {
    pub fn open(fd: OwnedFd, kind: Filetype, counted: Counted) -> Box<dyn File> {
        Box::new(Socket::of(fd, kind, counted))
    }

    pub fn of(fd: OwnedFd, kind: Filetype, counted: impl Into<Counted>) -> Socket {
        Socket {
            fd,
            kind,
            truncated: false,
            #[cfg(feature = "sockets")]
            timeouts: IoTimeouts::default(),
            _counted: counted.into(),
        }
    }

    pub fn stream(fd: impl Into<OwnedFd>, counted: impl Into<Counted>) -> Box<dyn File> {
        Socket::open(fd.into(), Filetype::SocketStream, counted.into())
    }

    /// One read is one datagram, what has no room is lost; one write is one datagram.
    pub fn datagram(fd: impl Into<OwnedFd>, counted: impl Into<Counted>) -> Box<dyn File> {
        Socket::open(fd.into(), Filetype::SocketDgram, counted.into())
    }

    fn receive(&mut self, bufs: &mut [IoSliceMut<'_>], flags: RecvFlags) -> Result<RecvMsg> {
        let count = bufs.len().min(IOV_MAX);
        let bufs = &mut bufs[..count];
        let flags = flags | RecvFlags::DONTWAIT;
        let mut control = RecvAncillaryBuffer::default();
        let message = retry_on_intr(|| recvmsg(&self.fd, bufs, &mut control, flags))?;
        self.truncated = message.flags.contains(ReturnFlags::TRUNC);
        Ok(message)
    }
}

/// What [`Endpoint`] needs besides.
#[cfg(feature = "sockets")]
impl Socket {
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// The socket of a client: its calls wait as long as those of the listener.
    pub fn accepted(&self, fd: OwnedFd, counted: impl Into<Counted>) -> Box<dyn File> {
        let mut client = Socket::of(fd, Filetype::SocketStream, counted);
        client.timeouts = self.timeouts;
        Box::new(client)
    }

    /// Whether what was received last, from elsewhere, was longer than there was room for.
    pub fn set_truncated(&mut self, truncated: bool) {
        self.truncated = truncated;
    }

    pub fn send_to(&mut self, bufs: &[IoSlice<'_>], to: SocketAddr) -> Result<usize> {
        if bufs.len() > IOV_MAX {
            return Err(Errno::Msgsize); // half of it would be another datagram
        }
        let mut control = SendAncillaryBuffer::default();
        Ok(retry_on_intr(|| sendmsg_addr(&self.fd, &to, bufs, &mut control, SEND))?)
    }
}

#[cfg(feature = "sockets")]
impl Endpoint for Socket {
    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn kind(&self) -> Filetype {
        self.kind
    }

    fn timeout(&self, want: Interest) -> Option<Duration> {
        if want.read { self.timeouts.receive } else { self.timeouts.send }
    }

    fn set_timeout(&mut self, want: Interest, time: Option<Duration>) -> Result<()> {
        let of = if want.read { &mut self.timeouts.receive } else { &mut self.timeouts.send };
        *of = time;
        Ok(())
    }

    fn receive_from(&mut self, bufs: &mut [IoSliceMut<'_>], peek: bool) -> Result<Received> {
        charge::ask_kernel();
        let flags = if peek { RecvFlags::PEEK } else { RecvFlags::empty() };
        let message = self.receive(bufs, flags)?;
        // Of a stream the system does not say it.
        let from = match message.address.map(SocketAddr::try_from) {
            Some(Ok(from)) => from,
            _ => self.peer_addr()?,
        };
        Ok(Received { count: message.bytes, from, truncated: self.truncated })
    }
}

impl File for Socket {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(self.kind))
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        charge::ask_kernel();
        Ok(self.receive(bufs, RecvFlags::empty())?.bytes)
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        charge::ask_kernel();
        if bufs.len() > IOV_MAX && self.kind == Filetype::SocketDgram {
            return Err(Errno::Msgsize); // half of it would be another datagram
        }
        let bufs = &bufs[..bufs.len().min(IOV_MAX)];
        let mut control = SendAncillaryBuffer::default();
        Ok(retry_on_intr(|| sendmsg(&self.fd, bufs, &mut control, SEND))?)
    }

    fn ready(&mut self, want: Interest) -> Result<Ready> {
        charge::ask_kernel();
        readiness(self.fd.as_fd(), want, true)
    }

    fn wait(&mut self, _want: Interest, _waker: &Waker) -> Wait<'_> {
        Wait::Fd(self.fd.as_fd())
    }

    fn peek(&mut self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        charge::ask_kernel();
        Ok(self.receive(bufs, RecvFlags::PEEK)?.bytes)
    }

    fn truncated(&self) -> bool {
        self.truncated
    }

    #[cfg(feature = "sockets")]
    fn endpoint(&mut self) -> Result<&mut dyn Endpoint> {
        Ok(self)
    }

    fn shutdown(&mut self, how: Interest) -> Result<()> {
        charge::ask_kernel();
        let how = match (how.read, how.write) {
            (true, true) => Shutdown::Both,
            (true, false) => Shutdown::Read,
            (false, true) => Shutdown::Write,
            (false, false) => return Err(Errno::Inval),
        };
        Ok(rustix::net::shutdown(&self.fd, how)?)
    }
}

/// What poll(2) says now. A socket in error is ready: the next call returns the error.
pub(crate) fn readiness(fd: BorrowedFd<'_>, want: Interest, connected: bool) -> Result<Ready> {
    let mut events = PollFlags::empty();
    events.set(PollFlags::IN, want.read);
    events.set(PollFlags::OUT, want.write);
    let mut fds = [PollFd::from_borrowed_fd(fd, events)];
    retry_on_intr(|| poll(&mut fds, Some(&Timespec::default())))?;
    let happened = fds[0].revents();
    if happened.is_empty() {
        return Err(Errno::Again);
    }
    let nbytes = if connected && want.read { ioctl_fionread(fd)? } else { 0 };
    let hangup = happened.intersects(PollFlags::HUP | PollFlags::ERR);
    Ok(Ready { nbytes, hangup })
}
