//! A Unix stream socket of the host, mounted by name: opening it dials.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::SocketAddr;
use std::path::Path;
use std::task::Waker;
use std::time::{Duration, Instant};

use mio::net::UnixStream;

use super::Net;
use super::quota::Taken;
use super::socket::Socket;
use crate::vfs::{Errno, File, Filetype, Node, Open, Opened, Pending, Result, Stat, Wait};

/// How soon a server whose backlog is full is asked again: no event tells when it is not.
const RETRY: Duration = Duration::from_millis(20);

/// `--mount /run/db=unix:/path/to.sock`. Mounting it is the permission: no rule is asked.
pub struct UnixSocket {
    net: Net,
    at: SocketAddr,
}

impl UnixSocket {
    /// The socket at `path` of the host, which need not be there yet. Its connections count
    /// among those of `net`.
    ///
    /// # Errors
    ///
    /// EINVAL for a path that is too long for a socket (108 bytes on Linux).
    pub fn new(path: &Path, net: &Net) -> io::Result<UnixSocket> {
        Ok(UnixSocket { net: net.clone(), at: SocketAddr::from_pathname(path)? })
    }
}

impl Node for UnixSocket {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(Filetype::SocketStream))
    }

    fn open(&self, _how: Open) -> Result<Opened> {
        let now = Instant::now();
        let dial = Dial {
            at: self.at.clone(),
            stream: None,
            again: now,
            deadline: now + self.net.connect_timeout(),
            _in_flight: self.net.dials.take()?,
            socket: Some(self.net.sockets.take()?),
        };
        Opened::begin(dial)
    }
}

struct Dial {
    at: SocketAddr,
    /// Where a connect can be in progress; on Linux it is done or failed at once.
    stream: Option<UnixStream>,
    again: Instant,
    deadline: Instant,
    socket: Option<Taken>,
    _in_flight: Taken,
}

impl Pending for Dial {
    fn proceed(&mut self) -> Result<Box<dyn File>> {
        let now = Instant::now();
        if self.stream.is_none() {
            match UnixStream::connect_addr(&self.at).map_err(Errno::from) {
                Ok(stream) => self.stream = Some(stream),
                Err(Errno::Again) if now < self.deadline => {
                    self.again = self.deadline.min(now + RETRY);
                    return Err(Errno::Again);
                }
                Err(Errno::Again) => return Err(Errno::Timedout),
                Err(errno) => return Err(errno),
            }
        }
        let stream = self.stream.take().ok_or(Errno::Badf)?;
        if let Some(error) = stream.take_error()? {
            return Err(error.into());
        }
        match stream.peer_addr().map_err(Errno::from) {
            Ok(_) => Ok(Socket::stream(stream, self.socket.take().ok_or(Errno::Badf)?)),
            Err(Errno::Notconn | Errno::Inprogress) if now < self.deadline => {
                self.again = self.deadline;
                self.stream = Some(stream);
                Err(Errno::Again)
            }
            Err(Errno::Notconn | Errno::Inprogress) => Err(Errno::Timedout),
            Err(errno) => Err(errno),
        }
    }

    fn wait(&mut self, _waker: &Waker) -> Wait<'_> {
        match &self.stream {
            Some(stream) => Wait::Fd(stream.as_fd()),
            None => Wait::NEVER, // only the deadline ends it
        }
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.again)
    }
}
