//! Pipes in memory: a guest's standard streams, with the other end in the host's hands or
//! another guest's.
//!
//! [`pipe`] moves bytes both ends are there for, [`Input`] is bytes that are all there
//! already, [`Capture`] keeps what is written. Each end is a [`File`] for a guest, and has
//! methods of its own for the host, which do not block either.

mod capture;

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::{Access, Errno, File, Filetype, Interest, Ready, Result, Stat, Wait};

pub use capture::Capture;

/// A pipe that holds up to `capacity_bytes` (at least 1), taken from memory as needed.
///
/// Dropping an end closes it: the reader then finds the end after what is still there, the
/// writer EPIPE. A write of the host is taken in part if only a part fits; PIPE_BUF does not
/// apply. A guest that writes more than fits is parked until all is taken, unless its
/// descriptor has NONBLOCK.
///
/// Activity at one end wakes the waiter at the other: a guest parked in a read runs on once the
/// host has written. A host that waits for a guest registers at its own end with
/// [`File::wait`]. The ends are [`std::io::Read`] and [`std::io::Write`] as well, and
/// answer `WouldBlock` there.
///
/// ```
/// use tinyhost::vfs::{Errno, pipe::pipe};
///
/// let (mut reader, mut writer) = pipe(4);
/// let mut bytes = [0; 8];
/// assert_eq!(reader.read(&mut bytes), Err(Errno::Again));
/// assert_eq!(writer.write(b"abcdef"), Ok(4)); // it holds no more
/// assert_eq!(writer.write(b"ef"), Err(Errno::Again));
/// assert_eq!(reader.read(&mut bytes), Ok(4));
/// drop(writer);
/// assert_eq!(reader.read(&mut bytes), Ok(0)); // the end
/// ```
pub fn pipe(capacity_bytes: usize) -> (Reader, Writer) {
    let shared = Arc::new(Mutex::new(Ring {
        bytes: VecDeque::new(),
        capacity: capacity_bytes.max(1),
        reader: End::default(),
        writer: End::default(),
    }));
    (Reader(shared.clone()), Writer(shared))
}

struct Ring {
    bytes: VecDeque<u8>,
    capacity: usize,
    reader: End,
    writer: End,
}

#[derive(Default)]
struct End {
    gone: bool,
    /// The waker to wake once this end could do something again.
    waker: Option<Waker>,
}

impl End {
    fn register(&mut self, waker: &Waker) {
        if !self.waker.as_ref().is_some_and(|known| known.will_wake(waker)) {
            self.waker = Some(waker.clone());
        }
    }
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Wakers are foreign code: they are called when the lock is free again.
fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// The reading end of a [`pipe`].
pub struct Reader(Arc<Mutex<Ring>>);

/// The writing end of a [`pipe`].
pub struct Writer(Arc<Mutex<Ring>>);

impl Reader {
    /// Reads up to `buf.len()` bytes. 0 is end of file.
    ///
    /// # Errors
    ///
    /// EAGAIN while the pipe is empty and the writer is open.
    pub fn read(&mut self, buf: &mut [u8]) -> Result<usize> {
        self.take(&mut [IoSliceMut::new(buf)])
    }

    /// Bytes that can be read at once.
    pub fn len(&self) -> usize {
        lock(&self.0).bytes.len()
    }

    /// Whether nothing can be read now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes this end, as dropping it does.
    pub fn close(self) {}

    fn take(&mut self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        let mut ring = lock(&self.0);
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        if ring.bytes.is_empty() {
            return if ring.writer.gone { Ok(0) } else { Err(Errno::Again) };
        }
        let mut total = 0;
        for buf in bufs {
            let (front, back) = ring.bytes.as_slices();
            let first = front.len().min(buf.len());
            let second = back.len().min(buf.len() - first);
            buf[..first].copy_from_slice(&front[..first]);
            buf[first..first + second].copy_from_slice(&back[..second]);
            ring.bytes.drain(..first + second);
            total += first + second;
        }
        let waker = ring.writer.waker.take();
        drop(ring);
        wake(waker);
        Ok(total)
    }
}

impl std::io::Read for Reader {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        Ok(Reader::read(self, buf)?)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut ring = lock(&self.0);
        ring.reader.gone = true;
        ring.bytes = VecDeque::new();
        let waker = ring.writer.waker.take();
        drop(ring);
        wake(waker);
    }
}

impl File for Reader {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn access(&self) -> Access {
        Access::READ
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        self.take(bufs)
    }

    fn ready(&mut self, want: Interest) -> Result<Ready> {
        let ring = lock(&self.0);
        if want.read && ring.bytes.is_empty() && !ring.writer.gone {
            return Err(Errno::Again);
        }
        Ok(Ready { nbytes: ring.bytes.len() as u64, hangup: ring.writer.gone })
    }

    fn wait(&mut self, want: Interest, waker: &Waker) -> Wait<'_> {
        let mut ring = lock(&self.0);
        if !want.read || !ring.bytes.is_empty() || ring.writer.gone {
            return Wait::Now;
        }
        ring.reader.register(waker);
        Wait::Waker
    }
}

impl Writer {
    /// Writes as much of `bytes` as there is room for, and returns how much.
    ///
    /// # Errors
    ///
    /// EAGAIN while the pipe is full, EPIPE once the reader is closed, ENOMEM if the host has no
    /// memory left.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.put(&[IoSlice::new(bytes)])
    }

    /// Bytes written that have not been read.
    pub fn len(&self) -> usize {
        lock(&self.0).bytes.len()
    }

    /// Whether all that was written has been read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Closes this end, as dropping it does.
    pub fn close(self) {}

    fn put(&mut self, bufs: &[IoSlice<'_>]) -> Result<usize> {
        let mut ring = lock(&self.0);
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        if ring.reader.gone {
            return Err(Errno::Pipe);
        }
        let room = ring.capacity - ring.bytes.len();
        if room == 0 {
            return Err(Errno::Again);
        }
        let wanted = bufs.iter().fold(0usize, |sum, buf| sum.saturating_add(buf.len()));
        let total = wanted.min(room);
        ring.bytes.try_reserve(total).map_err(|_| Errno::Nomem)?;
        let mut left = total;
        for buf in bufs {
            let part = &buf[..buf.len().min(left)];
            ring.bytes.extend(part);
            left -= part.len();
        }
        let waker = ring.reader.waker.take();
        drop(ring);
        wake(waker);
        Ok(total)
    }
}

impl std::io::Write for Writer {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        Ok(Writer::write(self, buf)?)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let mut ring = lock(&self.0);
        ring.writer.gone = true;
        let waker = ring.reader.waker.take();
        drop(ring);
        wake(waker);
    }
}

impl File for Writer {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn access(&self) -> Access {
        Access::WRITE
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        self.put(bufs)
    }

    fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
        Ok((self.put(bufs)?, 0))
    }

    fn ready(&mut self, want: Interest) -> Result<Ready> {
        let ring = lock(&self.0);
        let room = ring.capacity - ring.bytes.len();
        if want.write && room == 0 && !ring.reader.gone {
            return Err(Errno::Again);
        }
        let nbytes = if ring.reader.gone { 0 } else { room as u64 };
        Ok(Ready { nbytes, hangup: ring.reader.gone })
    }

    fn wait(&mut self, want: Interest, waker: &Waker) -> Wait<'_> {
        let mut ring = lock(&self.0);
        if !want.write || ring.bytes.len() < ring.capacity || ring.reader.gone {
            return Wait::Now;
        }
        ring.writer.register(waker);
        Wait::Waker
    }
}

/// A stream of bytes that are all there from the start, then the end; no lock, no copy.
pub struct Input<B> {
    bytes: B,
    at: usize,
}

impl<B: AsRef<[u8]>> Input<B> {
    /// A stream of `bytes`: a `Vec<u8>`, an `Arc<[u8]>`, a `&'static str`.
    pub fn new(bytes: B) -> Input<B> {
        Input { bytes, at: 0 }
    }

    fn rest(&self) -> &[u8] {
        self.bytes.as_ref().get(self.at..).unwrap_or_default()
    }
}

impl<B: AsRef<[u8]> + Send> File for Input<B> {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn access(&self) -> Access {
        Access::READ
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        let begin = self.at;
        for buf in bufs {
            let rest = self.rest();
            let n = rest.len().min(buf.len());
            buf[..n].copy_from_slice(&rest[..n]);
            self.at += n;
        }
        Ok(self.at - begin)
    }

    fn ready(&mut self, _want: Interest) -> Result<Ready> {
        Ok(Ready { nbytes: self.rest().len() as u64, hangup: true })
    }
}
