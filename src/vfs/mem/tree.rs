//! Inodes and names: the whole structure of a tree, under one lock.
//!
//! Inodes are in one table and refer to each other by number, as on a disk. So a rename is
//! one step for everyone else, and dropping a tree of any depth is dropping a table.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::content::Content;
use crate::vfs::{Errno, Filetype, Name, Result, Stat, charge};

/// Number of an inode; never given twice in one tree.
pub(super) type Ino = u64;

pub(super) const ROOT: Ino = 1;

/// What an inode counts towards the quota, besides its bytes or its link's text.
const INODE_COST: u64 = 256;
/// Parents of a directory that are looked at before something is moved into it.
const PARENTS_MAX: usize = 1024;

/// What a name in a directory counts towards the quota, besides its length.
const ENTRY_COST: u64 = 128;

pub(super) struct Tree {
    /// Unreferenced bytes, to be freed outside of the lock.
    pub to_free: Vec<Content>,
    inodes: HashMap<Ino, Inode>,
    last_ino: Ino,
    used: u64,
    quota: u64,
}

pub(super) struct Inode {
    nlink: u64,
    /// Nodes and open files that stand on it: it lives on without a name while there are.
    handles: usize,
    pub atim: u64,
    pub mtim: u64,
    pub ctim: u64,
    pub body: Body,
}

pub(super) enum Body {
    File(Content),
    Link(Box<str>),
    Dir(Dir),
}

/// Cookies of `.` and `..` are 0 and 1, that of an entry its sequence number, which stays.
pub(super) struct Dir {
    parent: Ino,
    names: BTreeMap<Arc<str>, Entry>,
    order: BTreeMap<u64, Arc<str>>,
    next_seq: u64,
}

#[derive(Clone, Copy)]
struct Entry {
    ino: Ino,
    seq: u64,
}

/// A directory entry taken out of the lock.
pub(super) struct Listed {
    pub next: u64,
    pub ino: Ino,
    pub filetype: Filetype,
    pub name: Arc<str>,
}

impl Body {
    pub fn dir(parent: Ino) -> Body {
        Body::Dir(Dir { parent, names: BTreeMap::new(), order: BTreeMap::new(), next_seq: 2 })
    }

    fn filetype(&self) -> Filetype {
        match self {
            Body::File(_) => Filetype::RegularFile,
            Body::Link(_) => Filetype::SymbolicLink,
            Body::Dir(_) => Filetype::Directory,
        }
    }

    fn size(&self) -> u64 {
        match self {
            Body::File(content) => content.len(),
            Body::Link(text) => text.len() as u64,
            Body::Dir(_) => 0,
        }
    }
}

impl Inode {
    fn new(body: Body, now: u64) -> Inode {
        let nlink = if matches!(body, Body::Dir(_)) { 2 } else { 1 };
        Inode { nlink, handles: 0, atim: now, mtim: now, ctim: now, body }
    }

    fn is_dir(&self) -> bool {
        matches!(self.body, Body::Dir(_))
    }
}

fn entry_cost(name: &str) -> u64 {
    ENTRY_COST + name.len() as u64
}

impl Tree {
    pub fn new(quota: u64, now: u64) -> Tree {
        let inodes = HashMap::from([(ROOT, Inode::new(Body::dir(ROOT), now))]);
        Tree { to_free: Vec::new(), inodes, last_ino: ROOT, used: 0, quota }
    }

    pub fn inode(&self, ino: Ino) -> &Inode {
        self.inodes.get(&ino).expect("stays while a name or a handle leads to it")
    }

    pub fn inode_mut(&mut self, ino: Ino) -> &mut Inode {
        self.inodes.get_mut(&ino).expect("stays while a name or a handle leads to it")
    }

    /// Bytes left of the quota.
    pub fn room(&self) -> u64 {
        self.quota - self.used
    }

    /// Counts towards the quota: ENOSPC if it does not fit.
    pub fn charge(&mut self, bytes: u64) -> Result<()> {
        let used = self.used.checked_add(bytes).filter(|used| *used <= self.quota);
        self.used = used.ok_or(Errno::Nospc)?;
        Ok(())
    }

    pub fn refund(&mut self, bytes: u64) {
        self.used -= bytes;
    }

    pub fn free_later(&mut self, content: Content) {
        charge::add(content.chunks_stored() as u64 * charge::CHUNK);
        self.to_free.push(content);
    }

    pub fn acquire(&mut self, ino: Ino) {
        self.inode_mut(ino).handles += 1;
    }

    pub fn release(&mut self, ino: Ino) {
        self.inode_mut(ino).handles -= 1;
        self.reap(ino);
    }

    /// Forgets an inode that nothing leads to any more.
    fn reap(&mut self, ino: Ino) {
        let inode = self.inode(ino);
        if inode.nlink > 0 || inode.handles > 0 {
            return;
        }
        self.refund(INODE_COST + inode.body.size());
        if let Some(Inode { body: Body::File(content), .. }) = self.inodes.remove(&ino) {
            self.free_later(content);
        }
    }

    pub fn stat(&self, ino: Ino, dev: u64) -> Stat {
        let Inode { nlink, atim, mtim, ctim, ref body, .. } = *self.inode(ino);
        Stat { dev, ino, filetype: body.filetype(), nlink, size: body.size(), atim, mtim, ctim }
    }

    fn dir(&self, ino: Ino) -> Result<&Dir> {
        match &self.inode(ino).body {
            Body::Dir(dir) => Ok(dir),
            _ => Err(Errno::Notdir),
        }
    }

    fn dir_mut(&mut self, ino: Ino) -> Result<&mut Dir> {
        match &mut self.inode_mut(ino).body {
            Body::Dir(dir) => Ok(dir),
            _ => Err(Errno::Notdir),
        }
    }

    pub fn child(&self, dir: Ino, name: &str) -> Result<Ino> {
        Ok(self.dir(dir)?.names.get(name).ok_or(Errno::Noent)?.ino)
    }

    /// Down a chain of directories; `None` at anything else.
    pub fn descend(&self, from: Ino, dirs: &str) -> Option<Ino> {
        dirs.split('/').try_fold(from, |dir, part| {
            let child = self.child(dir, Name::new(part)?.as_str()).ok()?;
            self.inode(child).is_dir().then_some(child)
        })
    }

    /// Whether `name` can be made in `dir`: EEXIST, or ENOENT in a removed directory.
    fn vacant(&self, dir: Ino, name: &str) -> Result<()> {
        if self.dir(dir)?.names.contains_key(name) {
            return Err(Errno::Exist);
        }
        if self.inode(dir).nlink == 0 { Err(Errno::Noent) } else { Ok(()) }
    }

    /// A new inode under a new name.
    pub fn make(&mut self, dir: Ino, name: &str, body: Body, now: u64) -> Result<Ino> {
        self.vacant(dir, name)?;
        self.inodes.try_reserve(1).map_err(|_| Errno::Nomem)?;
        self.charge(entry_cost(name) + INODE_COST + body.size())?;
        self.last_ino += 1;
        let inode = Inode::new(body, now);
        self.inode_mut(dir).nlink += u64::from(inode.is_dir());
        self.inodes.insert(self.last_ino, inode);
        self.attach(dir, name, self.last_ino, now)?;
        Ok(self.last_ino)
    }

    pub fn link(
        &mut self,
        (from, name): (Ino, &str),
        (to, to_name): (Ino, &str),
        now: u64,
    ) -> Result<()> {
        let ino = self.child(from, name)?;
        self.vacant(to, to_name)?;
        if self.inode(ino).is_dir() {
            return Err(Errno::Perm);
        }
        self.charge(entry_cost(to_name))?;
        self.attach(to, to_name, ino, now)?;
        let inode = self.inode_mut(ino);
        inode.nlink += 1;
        inode.ctim = now;
        Ok(())
    }

    pub fn unlink(&mut self, dir: Ino, name: &str, now: u64) -> Result<()> {
        let ino = self.child(dir, name)?;
        if self.inode(ino).is_dir() {
            return Err(Errno::Isdir);
        }
        self.detach(dir, name, now)?;
        self.forget(ino, now);
        Ok(())
    }

    pub fn remove_directory(&mut self, dir: Ino, name: &str, now: u64) -> Result<()> {
        let ino = self.child(dir, name)?;
        if !self.dir(ino)?.names.is_empty() {
            return Err(Errno::Notempty);
        }
        self.detach(dir, name, now)?;
        self.inode_mut(dir).nlink -= 1;
        self.forget(ino, now);
        Ok(())
    }

    pub fn rename(
        &mut self,
        (from, name): (Ino, &str),
        (to, to_name): (Ino, &str),
        now: u64,
    ) -> Result<()> {
        let moved = self.child(from, name)?;
        let is_dir = self.inode(moved).is_dir();
        // This first: a directory that was removed may have no parents left to ask.
        let replaced = match self.vacant(to, to_name) {
            Ok(()) => None,
            Err(Errno::Exist) => Some(self.child(to, to_name)?),
            Err(error) => return Err(error),
        };
        // What stays in its directory can't come to lie in itself.
        if is_dir && from != to && self.is_within(to, moved)? {
            return Err(Errno::Inval);
        }
        match replaced {
            Some(there) if there == moved => return Ok(()),
            // Linux says ENOTEMPTY of a directory that holds what would replace it, whatever that is.
            Some(there) if self.inode(there).is_dir() && self.is_within(from, there)? => {
                return Err(Errno::Notempty);
            }
            Some(there) => self.replaceable(there, is_dir)?,
            None => {
                // Only the difference must fit: a full tree can still be tidied.
                self.refund(entry_cost(name));
                let fits = self.charge(entry_cost(to_name));
                self.used += entry_cost(name);
                fits?;
            }
        }
        self.detach(from, name, now)?;
        match replaced {
            Some(there) => self.repoint(to, to_name, moved, there, now)?,
            None => self.attach(to, to_name, moved, now)?,
        }
        self.inode_mut(moved).ctim = now;
        if is_dir && from != to {
            self.dir_mut(moved)?.parent = to;
            self.inode_mut(from).nlink -= 1;
            self.inode_mut(to).nlink += 1;
        }
        Ok(())
    }

    /// Whether directory `ino` is `top` or lies below it: ENAMETOOLONG if [`PARENTS_MAX`] of
    /// its parents don't show that, for a tree can have any depth, and is locked.
    fn is_within(&self, mut ino: Ino, top: Ino) -> Result<bool> {
        // Nothing lies below a directory that has no directory in it.
        if ino == top || self.inode(top).nlink <= 2 {
            return Ok(ino == top);
        }
        for _ in 0..PARENTS_MAX {
            charge::add(charge::PARENT);
            let parent = self.dir(ino)?.parent;
            if ino == top || ino == parent {
                return Ok(ino == top);
            }
            ino = parent;
        }
        Err(Errno::Nametoolong)
    }

    /// Whether a rename may replace `there` by a directory, or by something else.
    fn replaceable(&self, there: Ino, by_dir: bool) -> Result<()> {
        match (&self.inode(there).body, by_dir) {
            (Body::Dir(_), false) => Err(Errno::Isdir),
            (Body::Dir(dir), true) if dir.names.is_empty() => Ok(()),
            (Body::Dir(_), true) => Err(Errno::Notempty),
            (_, true) => Err(Errno::Notdir),
            (_, false) => Ok(()),
        }
    }

    /// Enters a name that is vacant and paid for.
    fn attach(&mut self, dir: Ino, name: &str, ino: Ino, now: u64) -> Result<()> {
        let entries = self.dir_mut(dir)?;
        let (name, seq): (Arc<str>, u64) = (name.into(), entries.next_seq);
        entries.next_seq += 1;
        entries.order.insert(seq, name.clone());
        entries.names.insert(name, Entry { ino, seq });
        self.touch(dir, now);
        Ok(())
    }

    fn detach(&mut self, dir: Ino, name: &str, now: u64) -> Result<()> {
        let entries = self.dir_mut(dir)?;
        let entry = entries.names.remove(name).ok_or(Errno::Noent)?;
        entries.order.remove(&entry.seq);
        self.refund(entry_cost(name));
        self.touch(dir, now);
        Ok(())
    }

    /// Lets a name lead to `ino` instead of `old`; to a lister it is the same entry.
    fn repoint(&mut self, dir: Ino, name: &str, ino: Ino, old: Ino, now: u64) -> Result<()> {
        let entry = self.dir_mut(dir)?.names.get_mut(name).ok_or(Errno::Noent)?;
        entry.ino = ino;
        let was_dir = self.inode(old).is_dir();
        self.inode_mut(dir).nlink -= u64::from(was_dir);
        self.touch(dir, now);
        self.forget(old, now);
        Ok(())
    }

    /// One name fewer leads to `ino`; an empty directory loses its `.` with it.
    fn forget(&mut self, ino: Ino, now: u64) {
        let inode = self.inode_mut(ino);
        inode.nlink = if inode.is_dir() { 0 } else { inode.nlink - 1 };
        inode.ctim = now;
        self.reap(ino);
    }

    pub fn touch(&mut self, ino: Ino, now: u64) {
        let inode = self.inode_mut(ino);
        (inode.mtim, inode.ctim) = (now, now);
    }

    /// Up to `limit` entries from `cookie` on; none in a removed directory.
    pub fn list(&mut self, ino: Ino, cookie: u64, limit: usize, now: u64) -> Result<Vec<Listed>> {
        self.inode_mut(ino).atim = now;
        let dir = self.dir(ino)?;
        if self.inode(ino).nlink == 0 {
            return Ok(Vec::new());
        }
        let dots = [(".", ino), ("..", dir.parent)].into_iter().zip(1..);
        let dots = dots.filter(|(_, next)| *next > cookie).map(|((name, ino), next)| Listed {
            next,
            ino,
            filetype: Filetype::Directory,
            name: name.into(),
        });
        let entries = dir.order.range(cookie..).map(|(seq, name)| {
            let ino = dir.names[name].ino;
            let filetype = self.inode(ino).body.filetype();
            Listed { next: seq + 1, ino, filetype, name: name.clone() }
        });
        Ok(dots.chain(entries).take(limit).collect())
    }
}
