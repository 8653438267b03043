//! A listening socket that the process was started with as a standard stream.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::task::Waker;

use mio::net::{TcpListener, UnixListener};
use rustix::io::ioctl_fionbio;

use super::accept::next_client;
use super::quota::Quota;
use super::socket::{Socket, readiness};
use crate::vfs::{Errno, File, Filetype, Interest, Ready, Result, Stat, Wait};

/// The socket. Other processes may have it too and accept from it.
pub(crate) struct Inherited {
    socket: Listening,
    /// What it and its connections are: a stream, or one of messages.
    kind: Filetype,
    /// The clients it has accepted count here.
    accepted: Arc<Quota>,
    nonblocking: bool,
}

enum Listening {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Inherited {
    pub fn open(fd: OwnedFd, kind: Filetype, unix: bool, accepted: Arc<Quota>) -> Box<dyn File> {
        let socket = if unix {
            Listening::Unix(UnixListener::from_std(fd.into()))
        } else {
            Listening::Tcp(TcpListener::from_std(fd.into()))
        };
        Box::new(Inherited { socket, kind, accepted, nonblocking: false })
    }

    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        match &self.socket {
            Listening::Tcp(socket) => socket.as_fd(),
            Listening::Unix(socket) => socket.as_fd(),
        }
    }
}

impl File for Inherited {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(self.kind))
    }

    fn accept(&mut self) -> Result<Box<dyn File>> {
        if !self.nonblocking {
            // Of several processes that find a client, one gets it. There is no other way to keep
            // the rest from waiting in accept(2), so a shared listener has to be non-blocking.
            ioctl_fionbio(self.fd(), true)?;
            self.nonblocking = true;
        }
        let counted = self.accepted.take()?;
        let client: OwnedFd = match &self.socket {
            Listening::Tcp(socket) => {
                let client = next_client(|| socket.accept())?.0;
                // Only a client that is gone already refuses this; its reads will fail.
                let _ = client.set_nodelay(true);
                client.into()
            }
            Listening::Unix(socket) => next_client(|| socket.accept())?.0.into(),
        };
        Ok(Socket::open(client, self.kind, counted.into()))
    }

    fn ready(&mut self, want: Interest) -> Result<Ready> {
        readiness(self.fd(), want, false)
    }

    fn wait(&mut self, _want: Interest, _waker: &Waker) -> Wait<'_> {
        Wait::Fd(self.fd())
    }

    fn read(&mut self, _bufs: &mut [std::io::IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        Err(Errno::Notconn)
    }

    fn write(&mut self, _bufs: &[std::io::IoSlice<'_>], _offset: u64) -> Result<usize> {
        Err(Errno::Notconn)
    }

    fn peek(&mut self, _bufs: &mut [std::io::IoSliceMut<'_>]) -> Result<usize> {
        Err(Errno::Notconn)
    }

    fn shutdown(&mut self, _how: Interest) -> Result<()> {
        Err(Errno::Notconn)
    }
}
