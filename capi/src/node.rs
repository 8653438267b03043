//! `th_node`: what can be mounted.

use std::ffi::{c_char, c_void};
use std::sync::Arc;

use tinyhost::vfs::{self, Node, dev::Dev, mem};

use crate::file::{CFile, Ops};
use crate::{FAILED, Fail, OK, Status, bytes, free, object, shared, status, utf8};

/// A node, and the same as a file of the caller's, if it is one.
pub struct CNode {
    pub(crate) node: Arc<dyn Node>,
    file: Option<Arc<CFile>>,
}

impl CNode {
    fn of(node: Arc<dyn Node>) -> CNode {
        CNode { node, file: None }
    }
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
        vfs::write(&shared(node)?.node, utf8(path)?, bytes(start, len)?)?;
        Ok(OK)
    })
}

/// A file of one's own. The callbacks are copied.
#[unsafe(no_mangle)]
pub extern "C" fn th_node_file(ops: *const Ops, data: *mut c_void) -> *mut CNode {
    object(|| {
        let file = CFile::new(*shared(ops)?, data);
        Ok(CNode { node: file.clone(), file: Some(file) })
    })
}

/// Has every guest that waits for this file ask again. From any thread.
#[unsafe(no_mangle)]
pub extern "C" fn th_node_wake(node: *const CNode) -> Status {
    status(|| {
        if let Some(file) = &shared(node)?.file {
            file.wake();
        }
        Ok(OK)
    })
}

/// Frees it; where it is mounted it stays.
#[unsafe(no_mangle)]
pub extern "C" fn th_node_free(node: *mut CNode) {
    free(node);
}
