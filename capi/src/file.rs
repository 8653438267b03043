//! A file whose reads and writes are callbacks.

use std::ffi::c_void;
use std::io::{IoSlice, IoSliceMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::Waker;

use tinyhost::vfs::{
    Access, Errno, File, Filetype, Interest, Node, Open, Opened, Ready, Result, Stat, Wait,
};

/// A file of your own. A callback returns 0 or a WASI errno (6 is EAGAIN: the guest waits until
/// th_node_wake). Another value, a count beyond `len`, and a write of 0 bytes without an error
/// are EIO for the guest. `offset` is the number of bytes read, or written, through this opening
/// before. A NULL callback is a direction that the file doesn't have: the guest gets EBADF. A
/// guest's write that blocks is whole: what `write` has not taken is offered again. Callbacks run
/// on any thread that steps a guest with the node, and must not unwind. `release` is called once,
/// after the node and every open file of it were closed.
///
/// Callbacks may use this library, except for the object that the call around them uses: the guest
/// in its step, the builder in th_guest_new (which runs the start section), the object being freed.
/// Any callback may free the node.
///
/// For a guest that polls, the file is ready to be read, or to be written, unless the last such
/// callback through this opening returned EAGAIN and th_node_wake was not called since. A read or
/// write after a poll may therefore still return EAGAIN.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Ops {
    pub read: Option<
        extern "C" fn(
            data: *mut c_void,
            offset: u64,
            bytes: *mut u8,
            len: usize,
            got: *mut usize,
        ) -> u16,
    >,
    pub write: Option<
        extern "C" fn(
            data: *mut c_void,
            offset: u64,
            bytes: *const u8,
            len: usize,
            put: *mut usize,
        ) -> u16,
    >,
    pub release: Option<extern "C" fn(data: *mut c_void)>,
}

/// The node. Open files hold on to it, so `release` comes last.
pub struct CFile {
    ops: Ops,
    data: *mut c_void,
    waiting: Mutex<Waiting>,
    /// Itself, for the files opened on it.
    me: Weak<CFile>,
}

#[derive(Default)]
struct Waiting {
    /// At most one for each open file, by its number.
    wakers: Vec<(u64, Waker)>,
    /// Counts the files opened, which gives them their numbers.
    opened: u64,
    /// Counts calls of `th_node_wake`: one that came between a read and its wait is seen.
    wakes: u64,
}

// SAFETY: the header asks for callbacks that can be called from any thread.
unsafe impl Send for CFile {}
// SAFETY: as above; the data is only ever handed back.
unsafe impl Sync for CFile {}

impl CFile {
    pub(crate) fn new(ops: Ops, data: *mut c_void) -> Arc<CFile> {
        Arc::new_cyclic(|me| CFile { ops, data, waiting: Mutex::default(), me: me.clone() })
    }

    pub(crate) fn wake(&self) {
        let mut waiting = self.lock();
        waiting.wakes += 1;
        let wakers = std::mem::take(&mut waiting.wakers);
        drop(waiting);
        wakers.into_iter().for_each(|(_, waker)| waker.wake());
    }

    fn wakes(&self) -> u64 {
        self.lock().wakes
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for CFile {
    fn drop(&mut self) {
        if let Some(release) = self.ops.release {
            release(self.data);
        }
    }
}

impl Node for CFile {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(Filetype::CharacterDevice))
    }

    fn open(&self, _how: Open) -> Result<Opened> {
        let node = self.me.upgrade().ok_or(Errno::Io)?;
        let mut waiting = node.lock();
        waiting.opened += 1;
        let number = waiting.opened;
        drop(waiting);
        let (read, write) = (Direction::default(), Direction::default());
        Ok(Opened::file(OpenFile { node, number, read, write }))
    }
}

struct OpenFile {
    node: Arc<CFile>,
    number: u64,
    read: Direction,
    write: Direction,
}

/// What is known of reading, or of writing.
#[derive(Default)]
struct Direction {
    /// Bytes moved so far: the offset for the callback.
    moved: u64,
    /// If the last call answered Again: how many wakes there had been before it was made, so
    /// that one which came meanwhile is not missed.
    again: Option<u64>,
}

impl Direction {
    /// Makes a call of the callback and remembers what came of it.
    fn call(&mut self, node: &CFile, call: impl FnOnce(u64) -> Result<usize>) -> Result<usize> {
        let wakes = node.wakes();
        let result = call(self.moved);
        self.again = (result == Err(Errno::Again)).then_some(wakes);
        self.moved += result.unwrap_or(0) as u64;
        result
    }
}

impl OpenFile {
    /// Whether all that is wanted has answered Again and nothing has happened since.
    fn stuck(&self, want: Interest, wakes: u64) -> bool {
        let stuck = |direction: &Direction| direction.again == Some(wakes);
        (want.read || want.write)
            && (!want.read || stuck(&self.read))
            && (!want.write || stuck(&self.write))
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.node.lock().wakers.retain(|(number, _)| *number != self.number);
    }
}

/// What a callback that had `len` bytes to move has answered.
fn moved(errno: u16, len: usize, n: usize) -> Result<usize> {
    match errno {
        // More than there was room for is a bug of the callback.
        0 if n <= len => Ok(n),
        0 => Err(Errno::Io),
        errno => Err(Errno::from_code(i32::from(errno)).unwrap_or(Errno::Io)),
    }
}

impl File for OpenFile {
    fn stat(&mut self) -> Result<Stat> {
        Node::stat(&*self.node)
    }

    fn access(&self) -> Access {
        Access { read: self.node.ops.read.is_some(), write: self.node.ops.write.is_some() }
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        let read = self.node.ops.read.ok_or(Errno::Badf)?;
        let Some(buf) = bufs.iter_mut().find(|buf| !buf.is_empty()) else { return Ok(0) };
        let Self { node, read: direction, .. } = self;
        direction.call(node, |offset| {
            let mut got = 0;
            let errno = read(node.data, offset, buf.as_mut_ptr(), buf.len(), &raw mut got);
            moved(errno, buf.len(), got)
        })
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        let write = self.node.ops.write.ok_or(Errno::Badf)?;
        let Some(buf) = bufs.iter().find(|buf| !buf.is_empty()) else { return Ok(0) };
        let Self { node, write: direction, .. } = self;
        direction.call(node, |offset| {
            let mut put = 0;
            let errno = write(node.data, offset, buf.as_ptr(), buf.len(), &raw mut put);
            match moved(errno, buf.len(), put) {
                // Who writes all of something would try for ever.
                Ok(0) => Err(Errno::Io),
                moved => moved,
            }
        })
    }

    fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
        Ok((self.write(bufs, 0)?, 0))
    }

    fn ready(&mut self, want: Interest) -> Result<Ready> {
        if self.stuck(want, self.node.wakes()) {
            return Err(Errno::Again);
        }
        Ok(Ready::default())
    }

    fn wait(&mut self, want: Interest, waker: &Waker) -> Wait<'_> {
        let mut waiting = self.node.lock();
        if !self.stuck(want, waiting.wakes) {
            return Wait::Now;
        }
        match waiting.wakers.iter_mut().find(|(number, _)| *number == self.number) {
            Some((_, known)) => known.clone_from(waker),
            None => waiting.wakers.push((self.number, waker.clone())),
        }
        Wait::Waker
    }
}
