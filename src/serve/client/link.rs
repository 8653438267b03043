//! A connection's socket and what is between it and the guest.
//!
//! The worker and the files of the connection's guest share it; both are on one thread at
//! any time, so its lock is never waited for.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use mio::net::TcpStream;

use crate::serve::conn::frame::recycle;
use crate::vfs::{Errno, Result};

/// Bytes of a reply kept for a client that does not read; then its guest is parked.
pub(crate) const OUTPUT_MAX: usize = 64 << 10;

/// See the [module](self).
pub(crate) struct Link {
    pub stream: TcpStream,
    pub peer: SocketAddr,
    /// The connection's key at its worker.
    pub key: usize,
    dirty: Arc<Dirty>,
    io: Mutex<Io>,
}

/// Connections whose guest left something to be done: to be flushed, or looked at.
#[derive(Default)]
pub(crate) struct Dirty(Mutex<Vec<usize>>);

impl Dirty {
    /// Takes them all, in exchange for an empty list.
    pub fn swap(&self, list: &mut Vec<usize>) {
        std::mem::swap(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner), list);
    }

    /// Gives back memory that a longer list needed.
    pub fn shrink(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).shrink_to_fit();
    }
}

#[derive(Default)]
pub(crate) struct Io {
    /// The line the guest reads, and how far it has.
    line: Vec<u8>,
    line_at: usize,
    /// The socket may have something to read.
    pub readable: bool,
    /// The socket may take something.
    pub writable: bool,
    /// After what is there to be read comes the end, and no event announces it.
    pub last: bool,
    /// The client sends no more (or is taken to).
    pub eof: bool,
    /// The client is gone; so is what it would have been sent.
    pub gone: bool,
    /// The guest has closed its stdout.
    pub closed: bool,
    /// The guest wrote more than it may.
    pub too_long: bool,
    output: Vec<u8>,
    sent: usize,
    /// Bytes the guest may still write.
    reply_left: usize,
    /// Bytes from and to the client of this guest.
    pub bytes_in: u64,
    pub bytes_out: u64,
    /// It is in the list of dirty ones already, or need not be.
    noted: bool,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

impl Io {
    /// Bytes the client has not taken yet.
    pub fn unsent(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Bytes of this guest, in both directions.
    pub fn moved(&self) -> u64 {
        self.bytes_in.wrapping_add(self.bytes_out)
    }

    /// Who waits to read, to be woken once the lock is free.
    pub fn reader(&mut self) -> Option<Waker> {
        self.reader.take()
    }

    /// Who waits to write, to be woken once the lock is free.
    pub fn writer(&mut self) -> Option<Waker> {
        self.writer.take()
    }
}

/// Wakes those who waited.
pub(crate) fn wake(waiters: [Option<Waker>; 2]) {
    waiters.into_iter().flatten().for_each(Waker::wake);
}

impl Link {
    pub fn new(stream: TcpStream, peer: SocketAddr, key: usize, dirty: Arc<Dirty>) -> Link {
        let io = Io { writable: true, reply_left: usize::MAX, ..Io::default() };
        Link { stream, peer, key, dirty, io: Mutex::new(io) }
    }

    pub fn io(&self) -> MutexGuard<'_, Io> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes a line the stdin of the guest to come, which may write `reply_max` bytes.
    /// What it writes in its first slice is looked after without it being noted.
    pub fn begin(&self, line: &[u8], reply_max: usize) {
        let mut io = self.io();
        recycle(&mut io.line);
        io.line.extend_from_slice(line);
        io.line_at = 0;
        (io.bytes_in, io.bytes_out) = (line.len() as u64, 0);
        (io.closed, io.too_long, io.reply_left) = (false, false, reply_max);
        io.noted = true;
    }

    /// From here on, what its guest leaves to be done is noted for the worker.
    pub fn note_from_now(&self) {
        self.io().noted = false;
    }

    fn note(&self, io: &mut Io) {
        if !std::mem::replace(&mut io.noted, true) {
            self.dirty.0.lock().unwrap_or_else(PoisonError::into_inner).push(self.key);
        }
    }

    /// Reads from the socket. An end of the stream is `Ok(0)`; WouldBlock if there is
    /// nothing.
    pub fn receive(&self, io: &mut Io, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if io.eof || io.gone {
            return Ok(0);
        }
        if !io.readable {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        loop {
            match (&self.stream).read_vectored(bufs) {
                Ok(0) => {
                    io.eof = true;
                    return Ok(0);
                }
                Ok(count) => {
                    // Less than there was room for: it is empty, and the next byte makes
                    // a new event. So does the end, unless it was told of already.
                    io.readable =
                        io.last || count == bufs.iter().map(|buf| buf.len()).sum::<usize>();
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    io.readable = false;
                    return Err(error);
                }
            }
        }
    }

    /// Sends what the client takes; says whether anything went. Of what is the `last`, the
    /// system may keep back the end until the stream is shut down.
    ///
    /// # Errors
    ///
    /// If the client is gone.
    pub fn flush(&self, io: &mut Io, last: bool) -> io::Result<bool> {
        let mut moved = false;
        while io.unsent() > 0 && io.writable && !io.gone {
            match self.transmit(&io.output[io.sent..], last) {
                Ok(count) => {
                    moved |= count > 0;
                    // A short write means that it is full, as with reads.
                    io.writable = count == io.unsent();
                    io.sent += count;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => io.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if io.unsent() == 0 {
            io.sent = 0;
            recycle(&mut io.output);
        }
        Ok(moved)
    }

    /// A reply and the end of the stream in one packet cost half of what they do in two, on
    /// either side.
    #[cfg(target_os = "linux")]
    fn transmit(&self, bytes: &[u8], last: bool) -> io::Result<usize> {
        use rustix::net::{SendFlags, send};
        if !last {
            return (&self.stream).write(bytes);
        }
        Ok(send(&self.stream, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn transmit(&self, bytes: &[u8], _last: bool) -> io::Result<usize> {
        (&self.stream).write(bytes)
    }

    /// The client is gone: whoever waits for it learns so.
    pub fn hang_up(&self) {
        let mut io = self.io();
        (io.gone, io.eof, io.sent) = (true, true, 0);
        io.output = Vec::new();
        let waiters = [io.reader(), io.writer()];
        drop(io);
        wake(waiters);
    }

    // The guest's side.

    /// Reads from the line.
    pub fn read_line(&self, bufs: &mut [IoSliceMut<'_>]) -> usize {
        let io = &mut *self.io();
        let begin = io.line_at;
        for buf in bufs {
            let rest = &io.line[io.line_at..];
            let count = rest.len().min(buf.len());
            buf[..count].copy_from_slice(&rest[..count]);
            io.line_at += count;
        }
        io.line_at - begin
    }

    /// Bytes of the line that were not read.
    pub fn line_left(&self) -> usize {
        let io = self.io();
        io.line.len() - io.line_at
    }

    /// Reads from the client.
    pub fn read_socket(&self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        let mut io = self.io();
        let count = self.receive(&mut io, bufs)?;
        io.bytes_in += count as u64;
        Ok(count)
    }

    /// Registers for a read; `false` if it could be made now.
    pub fn await_input(&self, waker: &Waker) -> bool {
        let mut io = self.io();
        let ready = io.readable || io.eof || io.gone;
        if !ready {
            register(&mut io.reader, waker);
        }
        !ready
    }

    /// Takes a part of the reply.
    pub fn write(&self, bufs: &[IoSlice<'_>]) -> Result<usize> {
        let mut io = self.io();
        let wanted = bufs.iter().fold(0usize, |sum, buf| sum.saturating_add(buf.len()));
        if io.gone {
            return Err(Errno::Pipe);
        }
        if wanted > 0 && io.reply_left == 0 {
            // Never told: the worker ends the guest.
            io.too_long = true;
            self.note(&mut io);
            return Err(Errno::Again);
        }
        let room = OUTPUT_MAX.saturating_sub(io.unsent());
        if wanted > 0 && room == 0 {
            return Err(Errno::Again);
        }
        let total = wanted.min(room).min(io.reply_left);
        let mut left = total;
        for buf in bufs {
            let part = &buf[..buf.len().min(left)];
            io.output.extend_from_slice(part);
            left -= part.len();
        }
        io.reply_left -= total;
        io.bytes_out += total as u64;
        self.note(&mut io);
        Ok(total)
    }

    /// Room for a write: Again if there is none.
    pub fn room(&self) -> Result<usize> {
        let io = self.io();
        let room = OUTPUT_MAX.saturating_sub(io.unsent());
        if (room == 0 || io.too_long) && !io.gone { Err(Errno::Again) } else { Ok(room) }
    }

    /// Registers for a write; `false` if it could be made now.
    pub fn await_room(&self, waker: &Waker) -> bool {
        let waits = self.room().is_err();
        if waits {
            register(&mut self.io().writer, waker);
        }
        waits
    }

    /// The guest writes no more.
    pub fn close_output(&self) {
        let mut io = self.io();
        io.closed = true;
        self.note(&mut io);
    }
}

fn register(place: &mut Option<Waker>, waker: &Waker) {
    if !place.as_ref().is_some_and(|known| known.will_wake(waker)) {
        *place = Some(waker.clone());
    }
}
