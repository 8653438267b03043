//! Which backend stands where: the mounts of a guest.
//!
//! A namespace is one tree of names, as on Linux. Mounting is inserting: the longest mount
//! wins, a walk crosses from one mount into another, a directory lists the mount points in
//! it, and the mount points are what a guest finds preopened. It never changes once it is
//! built, so that any number of guests can share it without a lock.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use super::walk::Place;
use super::{Dirent, Emit, Errno, File, Filetype, Name, Node, Open, Opened, Result, Stat, Times};

/// Cookies of listed mount points; the backends' own never have this bit.
const MOUNT_COOKIE: u64 = 1 << 63;

/// A position in the tree of mount points.
pub(crate) struct Mount {
    /// Number of the mount this position belongs to, if something is mounted just here.
    mounted: Option<(MountId, Arc<dyn Node>)>,
    below: BTreeMap<Box<str>, Arc<Mount>>,
}

/// Tells mounts apart: links and renames never go from one to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MountId(u32);

impl Mount {
    fn empty() -> Mount {
        Mount { mounted: None, below: BTreeMap::new() }
    }

    /// The position one name further down, if a mount lies there or beyond.
    pub(crate) fn below(&self, name: &str) -> Option<&Arc<Mount>> {
        self.below.get(name)
    }

    pub(crate) fn mounted(&self) -> Option<(MountId, &Arc<dyn Node>)> {
        self.mounted.as_ref().map(|(id, node)| (*id, node))
    }
}

/// A mount point as a guest finds it.
#[derive(Clone)]
pub struct Preopen {
    /// The name the guest is told (`fd_prestat_dir_name`), as it was given.
    pub name: Arc<str>,
    /// The directory.
    pub place: Place,
}

/// The tree of names of a guest. Cheap to clone, and shared by any number of guests.
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
}

impl Namespace {
    /// A namespace with nothing in it.
    pub fn builder() -> Builder {
        Builder { mounts: Vec::new() }
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

/// Collects mounts.
#[derive(Clone)]
pub struct Builder {
    mounts: Vec<Mounting>,
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
    /// The path has a component that is no name (`..`, too long, NUL).
    BadPath(String),
    /// Something is mounted there already.
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

impl Builder {
    /// Mounts `node` at `path`. `/`, `.` and the empty path are the root; `data` and
    /// `/data` are the same place.
    ///
    /// # Errors
    ///
    /// If the path can't be one, or something is mounted there already.
    pub fn mount(mut self, path: &str, node: Arc<dyn Node>) -> Result<Builder, MountError> {
        let names: Option<Vec<Box<str>>> = path
            .split('/')
            .filter(|part| !part.is_empty() && *part != ".")
            .map(|part| Name::new(part).map(|name| name.as_str().into()))
            .collect();
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

    /// Done; the directories mounted become the preopens, in the order they were made. What
    /// is mounted and is no directory (a socket) is reached through a directory around it;
    /// where no mount is that directory, an empty one is made.
    pub fn build(self) -> Namespace {
        let mut root = Mount::empty();
        let mut number = 0;
        let mut next = || {
            number += 1;
            MountId(number)
        };
        for mount in &self.mounts {
            insert(&mut root, &mount.at, (next(), mount.node.clone()));
        }
        let root = Arc::new(root);
        let mut preopens: Vec<Preopen> = Vec::new();
        for mount in &self.mounts {
            let at = position(&root, &mount.at);
            if let Some(place) = Place::mount_point(at).filter(Place::is_directory) {
                preopens.push(Preopen { name: mount.name.clone(), place });
            } else if let Some((_, parent)) = mount.at.split_last() {
                let name = format!("/{}", parent.join("/"));
                let covered = (0..=parent.len())
                    .any(|depth| position(&root, &parent[..depth]).mounted().is_some());
                if !covered && !preopens.iter().any(|there| *there.name == *name) {
                    let place = Place::stepping(next(), position(&root, parent));
                    preopens.push(Preopen { name: name.into(), place });
                }
            }
        }
        Namespace { preopens: preopens.into() }
    }
}

/// The position of a path that was inserted.
fn position<'r>(root: &'r Arc<Mount>, names: &[Box<str>]) -> &'r Arc<Mount> {
    names.iter().fold(root, |here, name| here.below(name).expect("it was inserted"))
}

fn insert(at: &mut Mount, names: &[Box<str>], mounted: (MountId, Arc<dyn Node>)) {
    let Some((first, rest)) = names.split_first() else {
        at.mounted = Some(mounted);
        return;
    };
    let below = at.below.entry(first.clone()).or_insert_with(|| Arc::new(Mount::empty()));
    let below = Arc::get_mut(below).expect("nobody else has the tree while it is built");
    insert(below, rest, mounted);
}

/// The directory on the way to a mount point that its surroundings do not have. Nothing
/// can be made in it, as there is no place where that would be.
pub(crate) struct Stepping;

impl Node for Stepping {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Directory))
    }

    fn open(&self, how: Open) -> Result<Opened> {
        if how.write || how.truncate { Err(Errno::Isdir) } else { Ok(Opened::file(Stepping)) }
    }

    fn lookup(&self, _name: Name<'_>) -> Result<Arc<dyn Node>> {
        Err(Errno::Noent)
    }

    fn create(&self, _name: Name<'_>, _how: Open) -> Result<Box<dyn File>> {
        Err(Errno::Rofs)
    }

    fn create_directory(&self, _name: Name<'_>) -> Result<()> {
        Err(Errno::Rofs)
    }

    fn symlink(&self, _name: Name<'_>, _target: &str) -> Result<()> {
        Err(Errno::Rofs)
    }

    fn link(&self, _name: Name<'_>, _to: &Arc<dyn Node>, _to_name: Name<'_>) -> Result<()> {
        Err(Errno::Noent)
    }

    fn rename(&self, _name: Name<'_>, _to: &Arc<dyn Node>, _to_name: Name<'_>) -> Result<()> {
        Err(Errno::Noent)
    }

    fn unlink(&self, _name: Name<'_>) -> Result<()> {
        Err(Errno::Noent)
    }

    fn remove_directory(&self, _name: Name<'_>) -> Result<()> {
        Err(Errno::Noent)
    }
}

impl File for Stepping {
    fn stat(&mut self) -> Result<Stat> {
        Node::stat(self)
    }

    fn readdir(&mut self, _cookie: u64, _emit: &mut Emit<'_>) -> Result<()> {
        Ok(())
    }
}

/// Opens the directory at `place` as [`Node::open`] does, with the mount points in it among
/// its entries.
pub fn open_directory(place: &Place, how: Open) -> Result<Opened> {
    let dir = place.node.open(how)?;
    let Some(here) = place.mounts_below() else {
        return Ok(dir);
    };
    let mut mounts = Vec::new();
    for (name, below) in &here.below {
        let mounted = below.mounted().map(|(_, node)| node);
        if mounted.is_none() && has(&*place.node, name)? {
            continue;
        }
        let stat = mounted.and_then(|node| node.stat().ok());
        let filetype = stat.map_or(Filetype::Directory, |stat| stat.filetype);
        mounts.push((name.clone(), filetype));
    }
    if mounts.is_empty() {
        return Ok(dir);
    }
    Ok(dir.map(|dir| Box::new(WithMounts { dir, mounts })))
}

/// Whether a directory has a child of that name itself.
fn has(directory: &dyn Node, name: &str) -> Result<bool> {
    let Some(name) = Name::new(name) else { return Ok(false) };
    match directory.lookup(name) {
        Err(Errno::Again) => Err(Errno::Again),
        found => Ok(found.is_ok()),
    }
}

/// A directory whose own entries are followed by the mount points in it; what of its own
/// they cover is not shown.
struct WithMounts {
    dir: Box<dyn File>,
    /// Sorted.
    mounts: Vec<(Box<str>, Filetype)>,
}

impl File for WithMounts {
    fn stat(&mut self) -> Result<Stat> {
        self.dir.stat()
    }

    fn set_times(&mut self, times: Times) -> Result<()> {
        self.dir.set_times(times)
    }

    fn sync(&mut self, data_only: bool) -> Result<()> {
        self.dir.sync(data_only)
    }

    fn readdir(&mut self, cookie: u64, emit: &mut Emit<'_>) -> Result<()> {
        let mut first = cookie & !MOUNT_COOKIE;
        if cookie & MOUNT_COOKIE == 0 {
            let mut full = false;
            let mounts = &self.mounts;
            let covered = |name: &[u8]| {
                mounts.binary_search_by(|(known, _)| known.as_bytes().cmp(name)).is_ok()
            };
            self.dir.readdir(cookie, &mut |entry| {
                full = !covered(entry.name) && !emit(entry);
                !full
            })?;
            if full {
                return Ok(());
            }
            first = 0;
        }
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        for (index, (name, filetype)) in self.mounts.iter().enumerate().skip(first) {
            let (next, filetype) = (MOUNT_COOKIE | (index as u64 + 1), *filetype);
            if !emit(Dirent { next, ino: 0, filetype, name: name.as_bytes() }) {
                break;
            }
        }
        Ok(())
    }
}
