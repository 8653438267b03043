//! `th_node`: what can be mounted.

use std::ffi::{c_char, c_void};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tinyhost::vfs::{self, Node, dev::Dev, mem};

use crate::file::{CFile, Ops};
use crate::{FAILED, Fail, OK, Status, USAGE, bytes, drop_object, object, shared, status, utf8};

/// A node, until it is freed. The `release` of a file runs in there and finds it gone.
pub struct CNode(Mutex<Option<Parts>>);

/// A node, and the same as a file of the caller's, if it is one.
#[derive(Clone)]
pub(crate) struct Parts {
    pub(crate) node: Arc<dyn Node>,
    file: Option<Arc<CFile>>,
}

impl CNode {
    fn new(parts: Parts) -> CNode {
        CNode(Mutex::new(Some(parts)))
    }

    fn of(node: Arc<dyn Node>) -> CNode {
        CNode::new(Parts { node, file: None })
    }

    fn lock(&self) -> MutexGuard<'_, Option<Parts>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gone() -> Fail {
    Fail::new(USAGE, "the node is being freed")
}

/// What is in a node. It lasts for the call, even if a callback frees the node meanwhile.
pub(crate) fn parts(node: *const CNode) -> Result<Parts, Fail> {
    shared(node)?.lock().clone().ok_or_else(gone)
}

/// Makes a tree in memory. `quota_bytes` 0 is unlimited.
#[unsafe(no_mangle)]
pub extern "C" fn th_node_memory(quota_bytes: u64) -> *mut CNode {
    object(|| Ok(CNode::of(mem::tree((quota_bytes > 0).then_some(quota_bytes)))))
}

/// Opens a directory of the host. Returns NULL on failure, and if the library was built without
/// host directories.
///
/// On Linux and Apple's systems the first directory that a process opens sets SIGPIPE and SIGXFSZ
/// to SIG_IGN, if they are at SIG_DFL: a guest's writes could raise them and end the program. The
/// whole program then gets EPIPE and EFBIG instead, and so do programs it executes. To change
/// that, install handlers before, or set the signals afterwards.
#[unsafe(no_mangle)]
pub extern "C" fn th_node_host(path: *const c_char, read_only: bool) -> *mut CNode {
    object(|| {
        let node = host(utf8(path)?)?;
        crate::signals::ignore_unhandled();
        Ok(CNode::of(if read_only { Arc::new(vfs::ReadOnly(node)) } else { node }))
    })
}

#[cfg(feature = "host-fs")]
fn host(path: &str) -> Result<Arc<dyn Node>, Fail> {
    vfs::host::open(path.as_ref()).map_err(|error| Fail::new(FAILED, error))
}

#[cfg(not(feature = "host-fs"))]
fn host(_path: &str) -> Result<Arc<dyn Node>, Fail> {
    Err(Fail::new(FAILED, "the library was built without host directories (feature host-fs)"))
}

/// Makes a /dev directory with null, zero, random, stdin and so on.
#[unsafe(no_mangle)]
pub extern "C" fn th_node_devices() -> *mut CNode {
    object(|| Ok(CNode::of(Arc::new(Dev::new()))))
}

/// Writes a whole file in a tree, and makes the directories on the way.
#[unsafe(no_mangle)]
pub extern "C" fn th_node_put(
    node: *const CNode,
    path: *const c_char,
    start: *const u8,
    len: usize,
) -> Status {
    status(|| {
        vfs::write(&parts(node)?.node, utf8(path)?, bytes(start, len)?)?;
        Ok(OK)
    })
}

/// Makes a file of your own. The callbacks are copied.
#[unsafe(no_mangle)]
pub extern "C" fn th_node_file(ops: *const Ops, data: *mut c_void) -> *mut CNode {
    object(|| {
        let file = CFile::new(*shared(ops)?, data);
        Ok(CNode::new(Parts { node: file.clone(), file: Some(file) }))
    })
}

/// Wakes every guest that waits for this file. Can be called from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn th_node_wake(node: *const CNode) -> Status {
    status(|| {
        if let Some(file) = parts(node)?.file {
            file.wake();
        }
        Ok(OK)
    })
}

/// Frees a node. Where it is mounted, it stays.
#[unsafe(no_mangle)]
pub extern "C" fn th_node_free(node: *mut CNode) -> Status {
    status(|| {
        if !node.is_null() {
            let parts = shared(node)?.lock().take().ok_or_else(gone)?;
            // This may call `release`, while the memory of the node is still there.
            drop(parts);
            drop_object(node);
        }
        Ok(OK)
    })
}
