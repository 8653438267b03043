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

/// A tree in memory; `quota_bytes` 0 is no quota.
#[unsafe(no_mangle)]
pub extern "C" fn th_node_memory(quota_bytes: u64) -> *mut CNode {
    object(|| Ok(CNode::of(mem::tree((quota_bytes > 0).then_some(quota_bytes)))))
}

/// A directory of the host, or NULL (also where the library was built without them).
///
/// On Linux and Apple's systems the first one that a process opens sets SIGPIPE and SIGXFSZ,
/// those of them that are at SIG_DFL, to SIG_IGN: what a guest writes there could raise them
/// and end the program. All of the program then gets EPIPE and EFBIG in their place, as do the
/// programs it executes. Who wants them otherwise installs handlers before, or sets them after.
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

/// /dev with null, zero, random, stdin and so on.
#[unsafe(no_mangle)]
pub extern "C" fn th_node_devices() -> *mut CNode {
    object(|| Ok(CNode::of(Arc::new(Dev::new()))))
}

/// Writes a whole file in a tree, and the directories on the way.
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

/// A file of one's own. The callbacks are copied.
#[unsafe(no_mangle)]
pub extern "C" fn th_node_file(ops: *const Ops, data: *mut c_void) -> *mut CNode {
    object(|| {
        let file = CFile::new(*shared(ops)?, data);
        Ok(CNode::new(Parts { node: file.clone(), file: Some(file) }))
    })
}

/// Has every guest that waits for this file ask again. From any thread.
#[unsafe(no_mangle)]
pub extern "C" fn th_node_wake(node: *const CNode) -> Status {
    status(|| {
        if let Some(file) = parts(node)?.file {
            file.wake();
        }
        Ok(OK)
    })
}

/// Frees it; where it is mounted it stays.
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
