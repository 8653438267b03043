//! A file whose reads and writes are callbacks.

use std::ffi::c_void;
use std::io::{IoSlice, IoSliceMut};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::Waker;

use tinyhost::vfs::{Errno, File, Filetype, Interest, Node, Open, Result, Stat, Wait};

/// A file of one's own. A callback answers 0 or a WASI errno (6 is EAGAIN: the guest waits
/// until th_node_wake). `offset` is what was read, or written, through this opening before.
/// A callback that is NULL is an ability the file does not have. They may be called from any
/// thread that steps a guest which has the node, and must not unwind. `release` is called
/// once, when the node and every open file of it are gone.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Ops {
    read: Option<
        extern "C" fn(
            data: *mut c_void,
            offset: u64,
            bytes: *mut u8,
            len: usize,
            got: *mut usize,
        ) -> u16,
    >,
    write: Option<
        extern "C" fn(
            data: *mut c_void,
            offset: u64,
            bytes: *const u8,
            len: usize,
            put: *mut usize,
        ) -> u16,
    >,
    release: Option<extern "C" fn(data: *mut c_void)>,
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
    wakers: Vec<Waker>,
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
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.wakes += 1;
        let wakers = std::mem::take(&mut waiting.wakers);
        drop(waiting);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn wakes(&self) -> u64 {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).wakes
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

    fn open(&self, _how: Open) -> Result<Box<dyn File>> {
        let node = self.me.upgrade().ok_or(Errno::Io)?;
        Ok(Box::new(OpenFile { seen: node.wakes(), read: 0, written: 0, node }))
    }
}

struct OpenFile {
    node: Arc<CFile>,
    /// How many wakes there had been when the last call was made.
    seen: u64,
    /// Bytes read and written so far, which is what the callbacks are told as the offset.
    read: u64,
    written: u64,
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

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        let read = self.node.ops.read.ok_or(Errno::Badf)?;
        let Some(buf) = bufs.iter_mut().find(|buf| !buf.is_empty()) else { return Ok(0) };
        self.seen = self.node.wakes();
        let mut got = 0;
        let errno = read(self.node.data, self.read, buf.as_mut_ptr(), buf.len(), &raw mut got);
        let n = moved(errno, buf.len(), got)?;
        self.read += n as u64;
        Ok(n)
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        let write = self.node.ops.write.ok_or(Errno::Badf)?;
        let Some(buf) = bufs.iter().find(|buf| !buf.is_empty()) else { return Ok(0) };
        self.seen = self.node.wakes();
        let mut put = 0;
        let errno = write(self.node.data, self.written, buf.as_ptr(), buf.len(), &raw mut put);
        let n = moved(errno, buf.len(), put)?;
        self.written += n as u64;
        Ok(n)
    }

    fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
        Ok((self.write(bufs, 0)?, 0))
    }

    fn wait(&mut self, _want: Interest, waker: &Waker) -> Wait<'_> {
        let mut waiting = self.node.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.wakes != self.seen {
            return Wait::Now;
        }
        if !waiting.wakers.iter().any(|known| known.will_wake(waker)) {
            waiting.wakers.push(waker.clone());
        }
        Wait::Waker
    }
}
