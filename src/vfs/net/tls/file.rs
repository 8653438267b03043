//! A secure connection that is open, and the file of one.

use std::io::{IoSlice, IoSliceMut, Read};
use std::os::fd::AsFd;
use std::task::Waker;

use mio::net::TcpStream;

use super::super::Net;
use super::super::dial::Target;
use super::super::https::Refusal;
use super::super::quota::Taken;
use super::super::socket::readiness;
use super::failure;
use super::session::{TlsSession, Trouble};
use crate::vfs::charge;
use crate::vfs::{Errno, File, Filetype, Interest, Ready, Result, Stat, Wait};

/// A socket, and the session on it.
pub(in crate::vfs::net) struct Connection {
    net: Net,
    target: Target,
    stream: TcpStream,
    session: TlsSession,
    /// The guest wants nothing more of what comes.
    read_shut: bool,
    _counted: Taken,
}

impl Connection {
    pub fn new(
        net: Net,
        target: Target,
        stream: TcpStream,
        session: TlsSession,
        counted: Taken,
    ) -> Connection {
        Connection { net, target, stream, session, read_shut: false, _counted: counted }
    }

    /// The errno of what has happened; what a guest can't learn from that is reported.
    fn errno(&self, trouble: Trouble) -> Errno {
        let why = match &trouble {
            Trouble::Wire(_) => None,
            Trouble::Tls(error) => Some(failure::of_tls(error)),
            Trouble::Cut => Some("the server hung up without the end of the stream".to_owned()),
        };
        if let Some(why) = why {
            self.net.denied(format!("failed: {}: {why}", self.target));
        }
        failure::errno(trouble)
    }

    /// What the guest wanted sent is no request.
    pub fn report_refusal(&self, refusal: Refusal) {
        self.net.denied(format!("denied: {}: the request is refused: {}", self.target, refusal.0));
    }

    pub fn read(&mut self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        charge::ask_kernel();
        if self.read_shut {
            return Ok(0);
        }
        let answer = self.session.read(&mut self.stream, bufs);
        answer.map_err(|trouble| self.errno(trouble))
    }

    pub fn peek(&mut self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        charge::ask_kernel();
        if self.read_shut {
            return Ok(0);
        }
        let answer = self.session.peek(&mut self.stream, bufs);
        answer.map_err(|trouble| self.errno(trouble))
    }

    /// Encrypts only what a socket with room takes at once: what were left over would be sent when
    /// the guest next uses the file, or never if it does not.
    pub fn write(&mut self, bufs: &[IoSlice<'_>]) -> Result<usize> {
        charge::ask_kernel();
        let mut answer = self.session.send(&mut self.stream).map(|()| 0);
        if answer.is_ok() {
            readiness(self.stream.as_fd(), Interest::WRITE, false)?;
            answer = self.session.write(&mut self.stream, bufs);
        }
        answer.map_err(|trouble| self.errno(trouble))
    }

    pub fn ready(&mut self, want: Interest) -> Result<Ready> {
        charge::ask_kernel();
        let read = if want.read { self.ready_to_read() } else { Err(Errno::Again) };
        if read.is_ok() || !want.write {
            return read;
        }
        match self.session.send(&mut self.stream) {
            Ok(()) => readiness(self.stream.as_fd(), Interest::WRITE, false),
            Err(trouble) if trouble.is_wait() => Err(Errno::Again),
            // The next call answers it.
            Err(_) => Ok(Ready { nbytes: 0, hangup: true }),
        }
    }

    fn ready_to_read(&mut self) -> Result<Ready> {
        if self.read_shut {
            return Ok(Ready { nbytes: 0, hangup: true });
        }
        match self.session.await_plaintext(&mut self.stream) {
            Ok(there) => Ok(Ready { nbytes: self.session.readable() as u64, hangup: !there }),
            Err(trouble) if trouble.is_wait() => Err(Errno::Again),
            Err(_) => Ok(Ready { nbytes: 0, hangup: true }),
        }
    }

    pub fn wait(&mut self, want: Interest) -> Wait<'_> {
        let over = self.session.is_over() || self.read_shut;
        if want.read && (over || self.session.readable() > 0) {
            return Wait::Now;
        }
        Wait::FdFor(self.stream.as_fd(), self.session.waits_for(want))
    }

    pub fn shutdown(&mut self, how: Interest) -> Result<()> {
        charge::ask_kernel();
        if !how.read && !how.write {
            return Err(Errno::Inval);
        }
        self.read_shut |= how.read;
        if !how.write {
            return Ok(());
        }
        match self.session.close_write(&mut self.stream) {
            Err(trouble) if !trouble.is_wait() => Err(self.errno(trouble)),
            // What is unsent goes out when the guest reads.
            _ => Ok(()),
        }
    }
}

/// Bytes that are thrown away at the end of a connection, in parts of this size.
const UNREAD_MAX: usize = 64 << 10;
const UNREAD_PART: usize = 4 << 10;

/// The other end learns that all has come, if there is room for that.
impl Drop for Connection {
    fn drop(&mut self) {
        let _ = self.session.close_write(&mut self.stream);
        // A socket that is closed with something unread is reset, and what was sent may be lost. In
        // TLS 1.3 there is nearly always something: the tickets, which a guest that only writes never
        // has received.
        let mut unread = [0; UNREAD_PART];
        for _ in 0..UNREAD_MAX / UNREAD_PART {
            if !self.stream.read(&mut unread).is_ok_and(|count| count > 0) {
                return;
            }
        }
    }
}

/// `/dev/tls/HOST/PORT`: what the guest reads and writes is the stream inside.
pub(super) struct Stream(Connection);

impl Stream {
    pub fn new(connection: Connection) -> Stream {
        Stream(connection)
    }
}

impl File for Stream {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::SocketStream))
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        self.0.read(bufs)
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        self.0.write(bufs)
    }

    fn ready(&mut self, want: Interest) -> Result<Ready> {
        self.0.ready(want)
    }

    fn wait(&mut self, want: Interest, _waker: &Waker) -> Wait<'_> {
        self.0.wait(want)
    }

    fn peek(&mut self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        self.0.peek(bufs)
    }

    fn shutdown(&mut self, how: Interest) -> Result<()> {
        self.0.shutdown(how)
    }
}
