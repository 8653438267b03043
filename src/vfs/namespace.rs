//! Namespaces: the mounts of a guest.
//!
//! A namespace is one tree of names, as on Linux. Mounting is inserting: the longest mount
//! wins, a walk crosses from one mount into another, a directory lists the mount points in
//! it, and the mount points are what a guest finds preopened. It never changes once it is
//! built, so that any number of guests can share it without a lock.
//!
//! *A mount hides what it covers*, whatever a guest does. A name that leads to a mount can't be
//! removed, renamed or replaced (EBUSY), or the mount would remain and what it covers would
//! appear elsewhere. And what a mount covers is remembered by its device and inode when the namespace
//! is built: met under another name (a link, a second mount of the same tree, letters of another
//! case, a new name given from outside), it is covered there, too. In a mount that lies in the
//! one that covers it, it is ELOOP, for the tree would be without end. Two things are left to
//! the embedder: a second hard link to a file in a covered directory is a file of its own, and
//! a backend in which a thing has several names must give it a number (or the same [`Node`]).
//!
//! A directory that leads to a mount and is not there is shown, and made in its surroundings
//! with the first change in it.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use super::covers::survey;
use super::dev::Dev;
pub use super::listing::open_directory;
use super::path::parts;
use super::place::{Mount, MountId, Place};
use super::{Name, Node, Result};

/// A mount point as a guest finds it.
#[derive(Clone)]
pub struct Preopen {
    /// The name that `fd_prestat_dir_name` returns, as it was given.
    pub name: Arc<str>,
    /// The directory.
    pub place: Place,
}

/// The tree of names that a guest sees. Cheap to clone, and shared by any number of guests.
///
/// ```
/// use tinyhost::vfs::{Namespace, ReadOnly, dev::Dev, mem};
/// use std::sync::Arc;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let shared = mem::tree(Some(1 << 20)); // at most 1 MiB
/// let writer = Namespace::builder()
///     .mount("/work", shared.clone())?
///     .mount("/dev", Arc::new(Dev::new()))?
///     .build();
/// let reader = Namespace::builder().mount("/work", Arc::new(ReadOnly(shared)))?.build();
/// assert_eq!((writer.preopens().len(), reader.preopens().len()), (2, 1));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Default)]
pub struct Namespace {
    preopens: Arc<[Preopen]>,
    reusable: bool,
}

impl Namespace {
    /// Starts from an empty namespace.
    pub fn builder() -> NamespaceBuilder {
        NamespaceBuilder { mounts: Vec::new(), reusable: false }
    }

    /// Whether it may be another guest's after one has ended: it is [reusable](NamespaceBuilder::reusable), and
    /// nothing of that guest is left in it.
    pub(crate) fn is_as_new(&self) -> bool {
        let used = |preopen: &Preopen| {
            let node: &dyn Any = &*preopen.place.node;
            node.downcast_ref::<Dev>().is_some_and(Dev::is_used)
        };
        self.reusable && !self.preopens.iter().any(used)
    }

    /// The mount points, in the order of mounting.
    pub fn preopens(&self) -> &[Preopen] {
        &self.preopens
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.preopens.iter().map(|p| &p.name)).finish()
    }
}

/// Builds a [`Namespace`].
#[derive(Clone)]
pub struct NamespaceBuilder {
    mounts: Vec<Mounting>,
    reusable: bool,
}

#[derive(Clone)]
struct Mounting {
    /// As it was given.
    name: Arc<str>,
    /// The same, as names.
    at: Vec<Box<str>>,
    node: Arc<dyn Node>,
}

/// Why something can't be mounted at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MountError {
    /// A component of the path is not a valid name: `..`, too long, or with a NUL byte.
    BadPath(String),
    /// Another node is already mounted there.
    Taken(String),
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MountError::BadPath(path) => {
                write!(f, "'{path}' can't be a mount point: give a path without '..', like /data")
            }
            MountError::Taken(path) => {
                write!(f, "'{path}' is mounted twice: give each mount its own path")
            }
        }
    }
}

impl std::error::Error for MountError {}

impl NamespaceBuilder {
    /// Mounts `node` at `path`. `/`, `.` and the empty path are the root; `data` and
    /// `/data` are the same place.
    ///
    /// # Errors
    ///
    /// If the path can't be one, or something is mounted there already.
    pub fn mount(
        mut self,
        path: &str,
        node: Arc<dyn Node>,
    ) -> Result<NamespaceBuilder, MountError> {
        let names: Option<Vec<Box<str>>> =
            parts(path).map(|part| Name::new(part).map(|name| name.as_str().into())).collect();
        let Some(names) = names.filter(|_| !path.contains('\0')) else {
            return Err(MountError::BadPath(path.into()));
        };
        if self.mounts.iter().any(|there| there.at == names) {
            return Err(MountError::Taken(path.into()));
        }
        let name = if path.is_empty() { "/" } else { path };
        self.mounts.push(Mounting { name: name.into(), at: names, node });
        Ok(self)
    }

    /// Lets a server give the namespace to one guest after another. What its mounts hold is then common to
    /// them. A [`Dev`] counts for each of them as its own: once its network was used, the next guest is
    /// given another namespace.
    #[must_use]
    pub fn reusable(mut self) -> NamespaceBuilder {
        self.reusable = true;
        self
    }

    /// Done; the directories mounted become the preopens, in the order they were made. What
    /// is mounted and is not a directory (a socket) is reached through a directory around it;
    /// where no mount is that directory, an empty one is made. What the mounts cover is looked
    /// up now.
    pub fn build(self) -> Namespace {
        let mut positions = 1;
        let mut root = Mount::empty(positions);
        for (index, mount) in self.mounts.iter().enumerate() {
            let same = |other: &Mounting| Arc::ptr_eq(&other.node, &mount.node);
            let first = self.mounts.iter().position(same).unwrap_or(index);
            let id = MountId { number: number(index), tree: number(first) };
            insert(&mut root, &mount.at, (id, mount.node.clone()), &mut positions);
        }
        let root = Arc::new(root);
        let covers = survey(&root);
        let mut preopens: Vec<Preopen> = Vec::new();
        for mount in &self.mounts {
            let at = position(&root, &mount.at);
            let point = Place::mount_point(at, covers.as_ref());
            if let Some(place) = point.filter(Place::is_directory) {
                preopens.push(Preopen { name: mount.name.clone(), place });
            } else if let Some((_, parent)) = mount.at.split_last() {
                let name = format!("/{}", parent.join("/"));
                let covered = (0..=parent.len())
                    .any(|depth| position(&root, &parent[..depth]).mounted().is_some());
                if !covered && !preopens.iter().any(|there| *there.name == *name) {
                    let here = position(&root, parent);
                    let place = Place::stepping(MountId::NONE, here, covers.as_ref());
                    preopens.push(Preopen { name: name.into(), place });
                }
            }
        }
        Namespace { preopens: preopens.into(), reusable: self.reusable }
    }
}

/// Mounts are numbered from 1.
fn number(index: usize) -> u32 {
    u32::try_from(index + 1).expect("a list of so many mounts has no room in memory")
}

/// The position of a path that was inserted.
fn position<'r>(root: &'r Arc<Mount>, names: &[Box<str>]) -> &'r Arc<Mount> {
    names.iter().fold(root, |here, name| here.below(name).expect("it was inserted"))
}

fn insert(
    at: &mut Mount,
    names: &[Box<str>],
    mounted: (MountId, Arc<dyn Node>),
    positions: &mut u32,
) {
    let Some((first, rest)) = names.split_first() else {
        at.mounted = Some(mounted);
        return;
    };
    let below = at.below.entry(first.clone()).or_insert_with(|| {
        *positions += 1;
        Arc::new(Mount::empty(*positions))
    });
    let below = Arc::get_mut(below).expect("the tree is not shared while it is built");
    insert(below, rest, mounted, positions);
}
