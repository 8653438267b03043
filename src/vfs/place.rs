//! Where a node is in a namespace, and what lies there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::covers::Covers;
use super::stat::UNNAMED;
use super::stepping::Stepping;
use super::{Errno, Filetype, Memo, Name, Node, Result, Stat};

/// A position in the tree of mount points.
pub(crate) struct Mount {
    /// Identifies this position in its namespace; never 0.
    pub(super) number: u32,
    /// The mount this position belongs to, if something is mounted just here.
    pub(super) mounted: Option<(MountId, Arc<dyn Node>)>,
    pub(super) below: BTreeMap<Box<str>, Arc<Mount>>,
    /// Nothing that could lead to the mounts below was here when the namespace was built: a
    /// [`Stepping`] is here, whatever is made meanwhile.
    absent: AtomicBool,
}

/// Identifies a mount. Links and renames never go from one mount to another.
#[derive(Clone, Copy, Debug)]
pub struct MountId {
    pub(super) number: u32,
    /// The first mount of the same node. Part of the identity of nodes without a number.
    pub(super) tree: u32,
}

impl MountId {
    /// What no mount is around.
    pub(super) const NONE: MountId = MountId { number: 0, tree: 0 };
}

impl PartialEq for MountId {
    fn eq(&self, other: &MountId) -> bool {
        self.number == other.number
    }
}

impl Eq for MountId {}

impl Mount {
    pub(super) fn empty(number: u32) -> Mount {
        Mount { number, mounted: None, below: BTreeMap::new(), absent: AtomicBool::new(false) }
    }

    /// The position one name further down, if a mount lies there or beyond.
    pub(crate) fn below(&self, name: &str) -> Option<&Arc<Mount>> {
        self.below.get(name)
    }

    pub(crate) fn mounted(&self) -> Option<(MountId, &Arc<dyn Node>)> {
        self.mounted.as_ref().map(|(id, node)| (*id, node))
    }

    pub(super) fn is_absent(&self) -> bool {
        self.absent.load(Ordering::Relaxed)
    }

    pub(super) fn set_absent(&self) {
        self.absent.store(true, Ordering::Relaxed);
    }
}

/// A node, and where in the namespace it is.
#[derive(Clone)]
pub struct Place {
    /// The node.
    pub node: Arc<dyn Node>,
    pub(super) mount: MountId,
    /// Another name of a directory that leads to a mount.
    busy: bool,
    /// Its identity if it has no inode number: a hash of the names that lead
    /// here from the root of its mount.
    names: u64,
    /// Position among the mount points, if any lies here or below.
    pub(super) here: Option<Arc<Mount>>,
    /// What mounts cover, if they cover anything.
    pub(super) covers: Option<Arc<Covers>>,
}

impl Place {
    pub(crate) fn mount_point(here: &Arc<Mount>, covers: Option<&Arc<Covers>>) -> Option<Place> {
        let (mount, node) = here.mounted()?;
        Some(Place::root(node.clone(), mount, here, covers))
    }

    /// A directory with nothing in it but mount points.
    pub(crate) fn stepping(
        mount: MountId,
        here: &Arc<Mount>,
        covers: Option<&Arc<Covers>>,
    ) -> Place {
        Place::root(Arc::new(Stepping::new(None, here)), mount, here, covers)
    }

    fn root(
        node: Arc<dyn Node>,
        mount: MountId,
        here: &Arc<Mount>,
        covers: Option<&Arc<Covers>>,
    ) -> Place {
        let (here, covers) = (Some(here.clone()), covers.cloned());
        Place { node, mount, busy: false, names: ROOT_NAMES, here, covers }
    }

    /// The attributes of the node. A node without device and inode gets an identity from its name,
    /// which stays the same as long as the name does.
    pub fn stat(&self) -> Result<Stat> {
        Ok(self.identify(self.node.stat()?))
    }

    pub(crate) fn identify(&self, stat: Stat) -> Stat {
        let (dev, ino) = stat.identity_or(self.identity());
        Stat { dev, ino, ..stat }
    }

    /// Its identity if it has no numbers of its own.
    pub(crate) fn identity(&self) -> (u64, u64) {
        (UNNAMED + u64::from(self.mount.tree), self.names)
    }

    /// The same of what is at a path of plain names below.
    pub(crate) fn identity_below(&self, path: &str) -> (u64, u64) {
        let names = path.split('/').fold(self.names, add_name);
        (UNNAMED + u64::from(self.mount.tree), names)
    }

    pub(crate) fn is_directory(&self) -> bool {
        self.node.stat().is_ok_and(|stat| stat.filetype == Filetype::Directory)
    }

    pub(crate) fn mounts_below(&self) -> Option<&Mount> {
        self.here.as_deref()
    }

    /// Whether both are of one mount, so that a link or rename between them is possible.
    pub fn same_mount(&self, other: &Place) -> bool {
        self.mount == other.mount
    }

    /// The place for the length of one call, see [`Node::in_call`].
    pub(crate) fn in_call(&self, memo: &Memo) -> Cow<'_, Place> {
        match self.node.in_call(memo) {
            None => Cow::Borrowed(self),
            Some(node) => Cow::Owned(Place { node, ..self.clone() }),
        }
    }

    /// Whether a mount lies here or below.
    pub(crate) fn leads_to_mount(&self) -> bool {
        self.busy || self.here.is_some()
    }

    /// Whether a backend's shortcuts go where the walk would: not where something on the way
    /// could be covered by a mount.
    pub(crate) fn has_shortcuts(&self) -> bool {
        self.covers.as_ref().is_none_or(|covers| !covers.concern(self.mount))
    }

    /// The node of a directory, for a change of the names in it. One that only leads to a
    /// mount is made now, in the directory it lies in.
    pub(crate) fn to_change(&self) -> Result<Arc<dyn Node>> {
        match Stepping::of(&self.node) {
            Some(stepping) => stepping.make(),
            None => Ok(self.node.clone()),
        }
    }

    /// A directory of the same mount, reached without passing a position.
    pub(crate) fn descended(&self, node: Arc<dyn Node>, dirs: &str) -> Place {
        let names = dirs.split('/').fold(self.names, add_name);
        Place {
            node,
            mount: self.mount,
            busy: false,
            names,
            here: None,
            covers: self.covers.clone(),
        }
    }

    /// One step down: into a mount if one is there, else to the node's own child, unless a
    /// mount covers that under another name.
    pub(crate) fn step(&self, name: Name<'_>, memo: &Memo) -> Result<(Place, Stat)> {
        let here = self.here.as_ref().and_then(|here| here.below(name.as_str()));
        let Some(here) = here else {
            let (place, stat) = self.child(self.node.lookup(name)?, name)?;
            return place.unless_covered(stat, memo);
        };
        if let Some(place) = Place::mount_point(here, self.covers.as_ref()) {
            let place = place.in_call(memo).into_owned();
            let stat = place.stat()?;
            return Ok((place, stat));
        }
        if !here.is_absent() {
            match self.node.lookup(name) {
                Ok(node) => {
                    let (place, stat) = self.child(node, name)?;
                    if matches!(stat.filetype, Filetype::Directory | Filetype::SymbolicLink) {
                        return place.lead_to(here).unless_covered(stat, memo);
                    }
                }
                Err(Errno::Noent) => {}
                Err(error) => return Err(error),
            }
        }
        let place = self.lead(name.as_str(), here);
        let stat = place.stat()?;
        Ok((place, stat))
    }

    /// The directory that leads to the mounts below a position where there is none.
    pub(super) fn lead(&self, name: &str, here: &Arc<Mount>) -> Place {
        let around = Some((self.node.clone(), name.into()));
        let node = Arc::new(Stepping::new(around, here));
        self.descended(node, name).lead_to(here)
    }

    fn unless_covered(self, stat: Stat, memo: &Memo) -> Result<(Place, Stat)> {
        match &self.covers {
            Some(covers) if covers.concern(self.mount) => covers.clone().resolve(self, stat, memo),
            _ => Ok((self, stat)),
        }
    }

    pub(super) fn child(&self, node: Arc<dyn Node>, name: Name<'_>) -> Result<(Place, Stat)> {
        let place = self.descended(node, name.as_str());
        let stat = place.stat()?;
        Ok((place, stat))
    }

    /// The same, at that position.
    pub(super) fn lead_to(self, here: &Arc<Mount>) -> Place {
        Place { here: Some(here.clone()), ..self }
    }

    /// The same, as another name of a directory that leads to a mount.
    pub(super) fn busy(self) -> Place {
        Place { busy: true, ..self }
    }
}

/// FNV-1a, 64 bits: its start, and its factor.
const ROOT_NAMES: u64 = 0xcbf2_9ce4_8422_2325;
const FACTOR: u64 = 0x0000_0100_0000_01b3;

/// The hash of a path, from that of its directory's.
fn add_name(names: u64, name: &str) -> u64 {
    let hash = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(FACTOR);
    name.as_bytes().iter().fold(hash(names, &b'/'), hash)
}
