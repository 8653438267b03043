//! The file of a request.

use std::io::{IoSlice, IoSliceMut};
use std::task::Waker;

use smallvec::SmallVec;

use super::super::tls::Tls;
use super::super::tls::file::Connection;
use super::head::Peer;
use super::request::{Request, Taken};
use crate::vfs::net::dial::Target;
use crate::vfs::{Errno, File, Filetype, Interest, Ready, Result, Stat, Wait};

/// See the [module](self).
pub(in crate::vfs::net) struct HttpsFile {
    connection: Connection,
    request: Request,
    /// The head on its way, and how far it is sent.
    head: Vec<u8>,
    sent: usize,
    /// The guest writes no more; the other end learns it after the head.
    shut: bool,
}

impl HttpsFile {
    pub fn new(connection: Connection, target: &Target, tls: &Tls) -> HttpsFile {
        let secrets = tls.secrets_for(&target.host, target.port).cloned().collect();
        let peer = Peer { host: target.host.clone().without_zone(), port: target.port, secrets };
        let request = Request::new(peer);
        HttpsFile { connection, request, head: Vec::new(), sent: 0, shut: false }
    }

    /// Sends what there is of the head, and then the end, if the guest has asked for that.
    fn send_head(&mut self) -> Result<()> {
        while self.sent < self.head.len() {
            self.sent += self.connection.write(&[IoSlice::new(&self.head[self.sent..])])?;
        }
        if !self.head.is_empty() {
            self.head = Vec::new();
            self.sent = 0;
            if self.shut {
                self.connection.shutdown(Interest::WRITE)?;
            }
        }
        Ok(())
    }

    /// The same before something else is done, which reports an error better.
    fn send_some(&mut self) {
        let _ = self.send_head();
    }

    /// A request that was refused has no answer.
    fn check(&self) -> Result<()> {
        if self.request.refusal().is_some() { Err(Errno::Inval) } else { Ok(()) }
    }
}

impl File for HttpsFile {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::SocketStream))
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        self.check()?;
        self.send_some();
        self.connection.read(bufs)
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        self.check()?;
        self.send_head()?;
        if self.shut {
            return Err(Errno::Pipe);
        }
        let refused = |refusal| {
            self.connection.report_refusal(refusal);
            Errno::Inval
        };
        match self.request.offer(bufs).map_err(refused)? {
            Taken::Kept(count) => Ok(count),
            Taken::Head(count, head) => {
                self.head = head;
                self.send_some();
                Ok(count)
            }
            Taken::Pass(count) => {
                let part = first(bufs, count);
                let sent = self.connection.write(&part)?;
                self.request.passed(&part, sent);
                Ok(sent)
            }
        }
    }

    fn ready(&mut self, want: Interest) -> Result<Ready> {
        if self.check().is_err() {
            return Ok(Ready { nbytes: 0, hangup: true });
        }
        self.send_some();
        if want.write && !want.read && !self.head.is_empty() {
            return Err(Errno::Again);
        }
        self.connection.ready(want)
    }

    fn wait(&mut self, want: Interest, _waker: &Waker) -> Wait<'_> {
        if self.check().is_err() {
            return Wait::Now;
        }
        let write = want.write || !self.head.is_empty();
        self.connection.wait(Interest { write, ..want })
    }

    fn peek(&mut self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        self.check()?;
        self.send_some();
        self.connection.peek(bufs)
    }

    fn shutdown(&mut self, how: Interest) -> Result<()> {
        self.check()?;
        self.shut |= how.write;
        let now = Interest { write: how.write && self.head.is_empty(), ..how };
        if now.read || now.write || how == now { self.connection.shutdown(now) } else { Ok(()) }
    }
}

/// Buffers whose content is sent at once.
const BUFFERS_MAX: usize = 64;

/// The first `count` bytes of the first buffers.
fn first<'b>(bufs: &'b [IoSlice<'_>], count: usize) -> SmallVec<[IoSlice<'b>; 4]> {
    let mut left = count;
    let part = |buf: &'b IoSlice<'_>| {
        let part = &buf[..buf.len().min(left)];
        left -= part.len();
        IoSlice::new(part)
    };
    bufs.iter().take(BUFFERS_MAX).map(part).collect()
}

/// What is left of the head goes out if there is room for it.
impl Drop for HttpsFile {
    fn drop(&mut self) {
        self.send_some();
    }
}
