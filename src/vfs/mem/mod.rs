//! A tree in memory: scratch space for a guest, with a quota.
//!
//! Files, directories, symbolic and hard links behave as on a Unix disk; what was unlinked
//! lives on while it is open. A hole in a file takes no memory, but counts: the quota is
//! what a guest may ask for, so what it was given is never refused later.
//!
//! The quota counts the length of each file and link text, and a fixed cost for each inode
//! and name, so that no number of empty files fills the host. The memory a tree really
//! takes stays below about twice its quota.

mod content;
mod file;
mod seed;
mod tree;

use std::any::Any;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::walk::PATH_MAX;
use super::{Errno, File, Name, Node, Open, Opened, Result, Stat, Times, new_device};
use file::{OpenDir, OpenFile};
pub use seed::{SeedError, seeded, seeded_with_clock};
use tree::{Body, Ino, ROOT, Tree};

/// Bytes in the largest file, whatever the quota: beyond is EFBIG.
pub const FILE_MAX: u64 = 1 << 32;

/// Returns the time in nanoseconds since 1970; a tree asks it for every timestamp.
pub type TreeClock = Arc<dyn Fn() -> u64 + Send + Sync>;

/// An empty tree. `quota_bytes` limits what it holds in all; `None` only each file, to
/// [`FILE_MAX`].
pub fn tree(quota_bytes: Option<u64>) -> Arc<dyn Node> {
    tree_with_clock(quota_bytes, system_clock())
}

/// As [`tree()`], with times from `clock`, for runs that must come out the same each time.
pub fn tree_with_clock(quota_bytes: Option<u64>, clock: TreeClock) -> Arc<dyn Node> {
    tree_with_device(quota_bytes, clock, new_device())
}

/// As [`tree_with_clock`], with a device number of the caller's choice: the ones chosen here
/// are never the same twice in a process. Two trees that one guest sees must differ in it.
pub fn tree_with_device(quota_bytes: Option<u64>, clock: TreeClock, device: u64) -> Arc<dyn Node> {
    let tree = Mutex::new(Tree::new(quota_bytes.unwrap_or(u64::MAX), clock()));
    let shared = Arc::new(Shared { tree, clock, dev: device });
    let root = Handle::new(&shared, &mut shared.lock(), ROOT);
    Arc::new(MemNode(root))
}

fn system_clock() -> TreeClock {
    Arc::new(|| crate::clock::Clock::realtime(&crate::clock::SystemClock))
}

struct Shared {
    tree: Mutex<Tree>,
    clock: TreeClock,
    dev: u64,
}

impl Shared {
    /// The tree is whole after every call, so a panic elsewhere does not make it unusable.
    fn lock(&self) -> Locked<'_> {
        Locked(Some(self.tree.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// The tree, for one alone. What is to be freed is dropped after the lock is released: freeing
/// gigabytes takes a good part of a second.
struct Locked<'a>(Option<MutexGuard<'a, Tree>>);

impl Deref for Locked<'_> {
    type Target = Tree;

    fn deref(&self) -> &Tree {
        self.0.as_deref().expect("taken only when it is dropped")
    }
}

impl DerefMut for Locked<'_> {
    fn deref_mut(&mut self) -> &mut Tree {
        self.0.as_deref_mut().expect("taken only when it is dropped")
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        let Some(mut tree) = self.0.take() else { return };
        let to_free = std::mem::take(&mut tree.to_free);
        drop(tree);
        drop(to_free);
    }
}

/// Keeps an inode alive. Must not be dropped while the tree is locked.
struct Handle {
    shared: Arc<Shared>,
    ino: Ino,
}

impl Handle {
    fn new(shared: &Arc<Shared>, tree: &mut Tree, ino: Ino) -> Handle {
        tree.acquire(ino);
        Handle { shared: shared.clone(), ino }
    }

    /// The time, and the tree, locked: in this order, as the clock is foreign code.
    fn lock(&self) -> (u64, Locked<'_>) {
        ((self.shared.clock)(), self.shared.lock())
    }

    fn stat(&self) -> Stat {
        self.shared.lock().stat(self.ino, self.shared.dev)
    }

    fn set_times(&self, times: Times) {
        let (now, mut tree) = self.lock();
        tree.set_times(self.ino, times, now);
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.lock().release(self.ino);
    }
}

/// A file, directory or link of a tree.
struct MemNode(Handle);

impl MemNode {
    /// The directory a link or rename goes to, if it is of this tree.
    fn same_tree(&self, to: &Arc<dyn Node>) -> Result<Ino> {
        let to: &dyn Any = &**to;
        let to =
            to.downcast_ref::<MemNode>().filter(|to| Arc::ptr_eq(&to.0.shared, &self.0.shared));
        Ok(to.ok_or(Errno::Xdev)?.0.ino)
    }

    fn make(&self, name: Name<'_>, body: impl FnOnce(Ino) -> Body) -> Result<Handle> {
        let (now, mut tree) = self.0.lock();
        let ino = tree.make(self.0.ino, name.as_str(), body(self.0.ino), now)?;
        Ok(Handle::new(&self.0.shared, &mut tree, ino))
    }
}

impl Node for MemNode {
    fn stat(&self) -> Result<Stat> {
        Ok(self.0.stat())
    }

    fn open(&self, how: Open) -> Result<Opened> {
        let (now, mut tree) = self.0.lock();
        let ino = self.0.ino;
        match tree.inode(ino).body {
            Body::Link(_) => return Err(Errno::Loop),
            Body::Dir(_) if how.write || how.truncate => return Err(Errno::Isdir),
            Body::Dir(_) => {
                return Ok(Opened::file(OpenDir(Handle::new(&self.0.shared, &mut tree, ino))));
            }
            Body::File(_) if how.truncate => tree.set_len(ino, 0, now)?,
            Body::File(_) => {}
        }
        Ok(Opened::file(OpenFile { handle: Handle::new(&self.0.shared, &mut tree, ino), how }))
    }

    fn readlink(&self) -> Result<String> {
        match &self.0.shared.lock().inode(self.0.ino).body {
            Body::Link(text) => Ok(text.to_string()),
            _ => Err(Errno::Inval),
        }
    }

    fn set_times(&self, times: Times) -> Result<()> {
        self.0.set_times(times);
        Ok(())
    }

    fn lookup(&self, name: Name<'_>) -> Result<Arc<dyn Node>> {
        let mut tree = self.0.shared.lock();
        let ino = tree.child(self.0.ino, name.as_str())?;
        Ok(Arc::new(MemNode(Handle::new(&self.0.shared, &mut tree, ino))))
    }

    fn descend(&self, dirs: &str) -> Option<Arc<dyn Node>> {
        let mut tree = self.0.shared.lock();
        let ino = tree.descend(self.0.ino, dirs)?;
        Some(Arc::new(MemNode(Handle::new(&self.0.shared, &mut tree, ino))))
    }

    fn create(&self, name: Name<'_>, how: Open) -> Result<Box<dyn File>> {
        let handle = self.make(name, |_| Body::File(Default::default()))?;
        Ok(Box::new(OpenFile { handle, how }))
    }

    fn create_directory(&self, name: Name<'_>) -> Result<()> {
        self.make(name, Body::dir).map(drop)
    }

    fn symlink(&self, name: Name<'_>, target: &str) -> Result<()> {
        match target {
            "" => Err(Errno::Noent),
            long if long.len() >= PATH_MAX => Err(Errno::Nametoolong),
            bad if bad.contains('\0') => Err(Errno::Inval),
            text => self.make(name, |_| Body::Link(text.into())).map(drop),
        }
    }

    fn link(&self, name: Name<'_>, to: &Arc<dyn Node>, to_name: Name<'_>) -> Result<()> {
        let to = (self.same_tree(to)?, to_name.as_str());
        let (now, mut tree) = self.0.lock();
        tree.link((self.0.ino, name.as_str()), to, now)
    }

    fn rename(&self, name: Name<'_>, to: &Arc<dyn Node>, to_name: Name<'_>) -> Result<()> {
        let to = (self.same_tree(to)?, to_name.as_str());
        let (now, mut tree) = self.0.lock();
        tree.rename((self.0.ino, name.as_str()), to, now)
    }

    fn unlink(&self, name: Name<'_>) -> Result<()> {
        let (now, mut tree) = self.0.lock();
        tree.unlink(self.0.ino, name.as_str(), now)
    }

    fn remove_directory(&self, name: Name<'_>) -> Result<()> {
        let (now, mut tree) = self.0.lock();
        tree.remove_directory(self.0.ino, name.as_str(), now)
    }
}
