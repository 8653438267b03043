//! What mounts cover, and the same things under other names.
//!
//! A position in the tree of mounts hides what has its name. The same directory may have other
//! names: a link, a second mount of the same tree, another case of its letters, a new name that
//! something outside the guest gave it. So what a mount covers is remembered by what it is, too,
//! when the namespace is built, and wherever a walk meets it the mount is there.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::place::{Mount, MountId, Place};
use super::stat::is_own_device;
use super::stepping::Stepping;
use super::walk::{Follow, walk};
use super::{Errno, Filetype, Memo, Name, Node, Result, Stat};

/// Device and inode.
type Identity = (u64, u64);

/// What lies at positions, by what it is.
#[derive(Default)]
pub(crate) struct Covers {
    known: BTreeMap<Identity, Cover>,
    /// Nodes that say nothing of what they are, to be known again if their backend keeps them.
    nodes: Vec<(Arc<dyn Node>, Cover)>,
    /// By number of the mount.
    mounts: Vec<Inside>,
}

#[derive(Clone)]
struct Cover {
    /// Where it lies.
    position: Arc<Mount>,
    /// The mount it is a part of.
    mount: MountId,
}

#[derive(Clone, Copy, Default)]
struct Inside {
    /// Number of the mount it is mounted in, 0 for none.
    parent: u32,
    /// Something covered may be met there.
    concerned: bool,
}

impl Covers {
    pub(super) fn is_empty(&self) -> bool {
        self.known.is_empty() && self.nodes.is_empty()
    }

    /// Remembers what lies at a position of its mount.
    pub(super) fn add(&mut self, place: &Place, position: &Arc<Mount>) -> Result<()> {
        let stat = place.node.stat()?;
        let cover = Cover { position: position.clone(), mount: place.mount };
        if !stat.has_identity() {
            self.nodes.push((place.node.clone(), cover.clone()));
        }
        let identity = stat.identity_or(place.identity());
        // Being covered goes before leading to what is.
        if self.known.get(&identity).is_none_or(|known| known.position.mounted().is_none()) {
            self.known.insert(identity, cover);
        }
        Ok(())
    }

    /// Finds the mount in which another one is.
    pub(super) fn nest(&mut self, mount: MountId, parent: Option<MountId>) {
        let index = mount.number as usize;
        if self.mounts.len() <= index {
            self.mounts.resize(index + 1, Inside::default());
        }
        self.mounts[index].parent = parent.map_or(0, |parent| parent.number);
    }

    /// To be called once all are added, for each root of a mount: a tree of a device of its
    /// own has nothing of another.
    pub(super) fn admit(&mut self, root: &Place) {
        let dev = root.node.stat().map_or(0, |stat| stat.dev);
        let concerned = !is_own_device(dev) || self.known.keys().any(|(known, _)| *known == dev);
        if let Some(inside) = self.mounts.get_mut(root.mount.number as usize) {
            inside.concerned = concerned;
        }
    }

    /// Whether something covered may be met in this mount.
    pub(crate) fn concern(&self, mount: MountId) -> bool {
        self.mounts.get(mount.number as usize).is_some_and(|inside| inside.concerned)
    }

    fn find(&self, place: &Place, stat: &Stat) -> Option<&Cover> {
        let by_node = || {
            let same = |known: &&(Arc<dyn Node>, Cover)| Arc::ptr_eq(&known.0, &place.node);
            self.nodes.iter().find(same).map(|(_, cover)| cover)
        };
        self.known.get(&(stat.dev, stat.ino)).or_else(by_node)
    }

    /// What is there instead, if a mount covers this.
    ///
    /// # Errors
    ///
    /// ELOOP where it is the mount that this is in: a tree would be without end.
    pub(super) fn resolve(
        self: &Arc<Covers>,
        place: Place,
        stat: Stat,
        memo: &Memo,
    ) -> Result<(Place, Stat)> {
        let Some(cover) = self.find(&place, &stat) else {
            return Ok((place, stat));
        };
        match Place::mount_point(&cover.position, Some(self)) {
            Some(root) if self.is_within(place.mount, root.mount) => Err(Errno::Loop),
            Some(root) => {
                let root = root.in_call(memo).into_owned();
                let stat = root.stat()?;
                Ok((root, stat))
            }
            None if place.here.is_some() => Ok((place, stat)),
            None if cover.mount == place.mount => Ok((place.lead_to(&cover.position), stat)),
            // The mounts below are not mounted there, but what they cover is.
            None => Ok((place.busy(), stat)),
        }
    }

    /// The inode a listing shows for an entry of a directory of that device.
    pub(super) fn listed(&self, dev: u64, ino: u64) -> Option<Stat> {
        let cover = self.known.get(&(dev, ino))?;
        Place::mount_point(&cover.position, None)?.stat().ok()
    }

    /// Whether `mount` is `outer` or mounted in it.
    fn is_within(&self, mount: MountId, outer: MountId) -> bool {
        let mut number = mount.number;
        // Each is mounted in one that is mounted above it, so this ends.
        while number != 0 && number != outer.number {
            number = self.mounts.get(number as usize).map_or(0, |inside| inside.parent);
        }
        number == outer.number
    }
}

/// Looks up what lies at the positions of a tree of mounts; `None` if nothing is covered.
pub(super) fn survey(root: &Arc<Mount>) -> Option<Arc<Covers>> {
    let start = Place::mount_point(root, None)
        .unwrap_or_else(|| Place::stepping(MountId::NONE, root, None));
    let mut survey = Survey { covers: Covers::default(), roots: Vec::new(), start };
    let start = survey.start.clone();
    if root.mounted().is_some() {
        survey.covers.nest(start.mount, None);
        survey.roots.push(start.clone());
    }
    survey.below(&start, root, "");
    let Survey { mut covers, roots, .. } = survey;
    if covers.is_empty() {
        return None;
    }
    for root in &roots {
        covers.admit(root);
    }
    Some(Arc::new(covers))
}

struct Survey {
    covers: Covers,
    /// Of all mounts.
    roots: Vec<Place>,
    /// Where paths begin.
    start: Place,
}

impl Survey {
    /// Everything below a position, at which `dir` is.
    fn below(&mut self, dir: &Place, here: &Arc<Mount>, path: &str) {
        for (name, position) in &here.below {
            let path = format!("{path}{name}");
            let place = match Place::mount_point(position, None) {
                Some(root) => {
                    self.cover(dir, name, &path, position);
                    self.covers.nest(root.mount, Some(dir.mount));
                    self.roots.push(root.clone());
                    root
                }
                None => self.lead(dir, name, &path, position),
            };
            self.below(&place, position, &format!("{path}/"));
        }
    }

    /// Whatever would have to wait is not known when a namespace is built.
    fn walk(&self, path: &str) -> Result<(Place, Stat)> {
        walk(&self.start, path, Follow::Yes, &Memo::default())?.existing()
    }

    /// What is there that only leads to mounts: a directory, or a link to one.
    fn lead(&mut self, dir: &Place, name: &str, path: &str, position: &Arc<Mount>) -> Place {
        let found = self.walk(path);
        let is_known = !matches!(found, Err(Errno::Again));
        if let Ok((place, stat)) = found
            && stat.filetype == Filetype::Directory
            && Stepping::of(&place.node).is_none()
            && self.covers.add(&place, position).is_ok()
        {
            return place.lead_to(position);
        }
        if is_known {
            position.set_absent();
        }
        dir.lead(name, position)
    }

    /// What a mount covers: what has its name, and what that leads to if it is a link.
    fn cover(&mut self, dir: &Place, name: &str, path: &str, position: &Arc<Mount>) {
        let Some(name) = Name::new(name) else { return };
        let Ok((place, stat)) = dir.node.lookup(name).and_then(|node| dir.child(node, name)) else {
            return;
        };
        // What can't be asked what it is can't be known again.
        let _ = self.covers.add(&place, position);
        if stat.filetype != Filetype::SymbolicLink {
            return;
        }
        let Some(text) = place.node.readlink().ok().filter(|text| !text.starts_with('/')) else {
            return;
        };
        let around = path.rsplit_once('/').map_or("", |(around, _)| around);
        let target = if around.is_empty() { text } else { format!("{around}/{text}") };
        let found = self.walk(&target);
        if let Ok((place, _)) = found
            && place.mounts_below().is_none_or(|here| here.mounted().is_none())
        {
            let _ = self.covers.add(&place, position);
        }
    }
}
