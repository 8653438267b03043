//! A connection's wire, and what is between it and the guest.
//!
//! The worker and the files of the connection's guest share it; both are on one thread at
//! any time, so its lock is never waited for.

use std::io::{self, IoSlice, IoSliceMut};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::Waker;

use super::io::{INPUT_MAX, Io, Rest};
use super::wire::Wire;
use crate::serve::conn::buffer::recycle;
use crate::vfs::{Errno, Interest, Peer, Ready, Result};

/// See the [module](self).
pub(crate) struct Link {
    /// Who has connected.
    accepted: Peer,
    /// The client that a proxy has connected for, once it has said so.
    announced: OnceLock<Peer>,
    /// The connection's key at its worker.
    pub key: usize,
    dirty: Arc<Dirty>,
    io: Mutex<Io>,
    pub wire: Box<dyn Wire>,
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

/// Wakes the waiters.
pub(crate) fn wake(waiters: [Option<Waker>; 2]) {
    waiters.into_iter().flatten().for_each(Waker::wake);
}

impl Link {
    pub fn new(wire: Box<dyn Wire>, peer: Peer, key: usize, dirty: Arc<Dirty>) -> Link {
        Link {
            accepted: peer,
            announced: OnceLock::new(),
            key,
            dirty,
            io: Mutex::new(Io::new()),
            wire,
        }
    }

    /// The client.
    pub fn peer(&self) -> Peer {
        self.announced.get().copied().unwrap_or(self.accepted)
    }

    /// A proxy has connected for this client. It says so once.
    pub fn announce(&self, peer: Peer) {
        let _ = self.announced.set(peer);
    }

    pub fn io(&self) -> MutexGuard<'_, Io> {
        self.io.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From here on, the worker is notified when the guest leaves something to be done.
    pub fn watch_output(&self) {
        self.io().marked_dirty = false;
    }

    fn mark_dirty(&self, io: &mut Io) {
        if !std::mem::replace(&mut io.marked_dirty, true) {
            self.dirty.0.lock().unwrap_or_else(PoisonError::into_inner).push(self.key);
        }
    }

    /// Reads from the wire. An end of the stream is `Ok(0)`; WouldBlock if there is
    /// nothing.
    pub fn receive(&self, io: &mut Io, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if io.eof || io.gone {
            return Ok(0);
        }
        if !io.readable {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        loop {
            match self.wire.read(bufs) {
                Ok(0) => {
                    io.eof = true;
                    return Ok(0);
                }
                Ok(count) => {
                    // Less than there was room for: it is empty, and the next byte makes
                    // a new event. So does the end, unless an event has announced it.
                    let asked = bufs.iter().map(|buf| buf.len()).sum::<usize>();
                    io.readable = io.last || count == asked || !self.wire.short_means_blocked();
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
            let left = io.output.len() - io.sent;
            let taken = if left == 0 {
                self.wire.send().map(|()| 0)
            } else {
                self.wire.write(&io.output[io.sent..], last)
            };
            match taken {
                Ok(count) => {
                    moved |= count > 0;
                    // A short write means that it is full, as with reads.
                    io.writable = count == left || !self.wire.short_means_blocked();
                    io.sent += count;
                    io.held = self.wire.has_unsent();
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => io.writable = false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        if io.sent == io.output.len() {
            io.sent = 0;
            recycle(&mut io.output);
        }
        Ok(moved)
    }

    /// The client is gone. Wakes the reader and the writer.
    pub fn hang_up(&self) {
        let mut io = self.io();
        io.gone = true;
        io.eof = true;
        io.sent = 0;
        io.output = Vec::new();
        io.held = false;
        io.written = Vec::new();
        let waiters = [io.reader(), io.writer()];
        drop(io);
        wake(waiters);
    }

    // The guest's side.

    /// Reads its standard input.
    pub fn read(&self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        let io = &mut *self.io();
        if io.stdin_at == io.stdin.len() {
            return self.read_rest(io, bufs);
        }
        let begin = io.stdin_at;
        for buf in bufs {
            let rest = &io.stdin[io.stdin_at..];
            let count = rest.len().min(buf.len());
            buf[..count].copy_from_slice(&rest[..count]);
            io.stdin_at += count;
        }
        // Its protocol may have more, and has room for it now.
        if io.rest == Rest::More && io.stdin.len() - io.stdin_at <= INPUT_MAX / 2 {
            self.mark_dirty(io);
        }
        Ok(io.stdin_at - begin)
    }

    fn read_rest(&self, io: &mut Io, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        if io.rest == Rest::End {
            if io.find_end() {
                return Ok(0);
            }
            self.mark_dirty(io);
            return Err(Errno::Again);
        }
        if io.rest == Rest::NoMore {
            if io.gone || io.ask_for_more() {
                return Ok(0);
            }
            self.mark_dirty(io);
            return Err(Errno::Again);
        }
        if io.rest == Rest::More {
            return if io.gone { Ok(0) } else { Err(Errno::Again) };
        }
        let count = self.receive(io, bufs)?;
        io.bytes_in += count as u64;
        Ok(count)
    }

    /// What a read would find.
    pub fn input(&self, want: Interest) -> Result<Ready> {
        let mut io = self.io();
        let nbytes = (io.stdin.len() - io.stdin_at) as u64;
        if want.read && nbytes == 0 && io.rest == Rest::NoMore && !io.ask_for_more() {
            self.mark_dirty(&mut io);
        }
        if want.read && nbytes == 0 && io.rest == Rest::End && !io.has_input() {
            self.mark_dirty(&mut io);
        }
        let waits = want.read && nbytes == 0 && !io.has_input();
        if waits {
            Err(Errno::Again)
        } else {
            Ok(Ready { nbytes, hangup: io.rest == Rest::End || io.eof })
        }
    }

    /// Registers for a read; `false` if it could be made now.
    pub fn await_input(&self, waker: &Waker) -> bool {
        let mut io = self.io();
        let waits = io.stdin_at == io.stdin.len() && !io.has_input();
        if waits {
            register(&mut io.reader, waker);
        }
        waits
    }

    /// Takes a part of the reply.
    pub fn write(&self, bufs: &[IoSlice<'_>]) -> Result<usize> {
        let mut io = self.io();
        let wanted = bufs.iter().fold(0usize, |sum, buf| sum.saturating_add(buf.len()));
        if io.gone {
            return Err(Errno::Pipe);
        }
        if wanted > 0 && io.reply_left == 0 {
            // The guest never sees this: the worker ends it.
            io.too_long = true;
            self.mark_dirty(&mut io);
            return Err(Errno::Again);
        }
        let room = io.room();
        if wanted > 0 && room == 0 {
            return Err(Errno::Again);
        }
        let total = wanted.min(room).min(io.reply_left);
        let mut left = total;
        let reply = if io.framed { &mut io.written } else { &mut io.output };
        for buf in bufs {
            let part = &buf[..buf.len().min(left)];
            reply.extend_from_slice(part);
            left -= part.len();
        }
        io.reply_left -= total;
        io.bytes_out += total as u64;
        self.mark_dirty(&mut io);
        Ok(total)
    }

    /// Room for a write: Again if there is none.
    pub fn room(&self) -> Result<usize> {
        let io = self.io();
        let room = io.room();
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
        self.mark_dirty(&mut io);
    }
}

fn register(place: &mut Option<Waker>, waker: &Waker) {
    if !place.as_ref().is_some_and(|known| known.will_wake(waker)) {
        *place = Some(waker.clone());
    }
}
