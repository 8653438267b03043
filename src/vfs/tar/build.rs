//! From the entries of an archive to a tree.

use std::collections::BTreeMap;

use super::entry::{Entries, Entry, What};
use super::error::{TarError, TarErrorKind as Kind};
use super::{Body, Inode, NODES_MAX, ROOT};
use crate::vfs::Name;
use crate::vfs::path::parts;

/// A tree while it is built: names are looked up and replaced, then all are sorted.
struct Building {
    nodes: Vec<Inode>,
    /// Names in directories, by the index of the directory.
    names: Vec<BTreeMap<Box<str>, usize>>,
}

/// The tree of an unpacked archive; the root is [`ROOT`].
pub(super) fn build(bytes: &[u8]) -> Result<Vec<Inode>, TarError> {
    let mut building = Building { nodes: Vec::new(), names: Vec::new() };
    building.add(dir(ROOT), 0).map_err(|kind| kind.at(0))?;
    let mut entries = Entries::new(bytes);
    while let Some(entry) = entries.next()? {
        let offset = entry.offset;
        building.enter(entry).map_err(|kind| kind.at(offset))?;
    }
    Ok(building.finish())
}

fn dir(parent: usize) -> Body {
    Body::Dir { parent, children: Vec::new() }
}

/// The names in a path; none for the root itself.
fn names(path: &str) -> Result<Vec<Name<'_>>, Kind> {
    let name = |part| match part {
        ".." => Err(Kind::DotDot),
        part => Name::new(part).ok_or(Kind::Name),
    };
    parts(path).map(name).collect()
}

impl Building {
    fn add(&mut self, body: Body, mtim: u64) -> Result<usize, Kind> {
        if self.nodes.len() == NODES_MAX {
            return Err(Kind::TooMany);
        }
        self.nodes.push(Inode { nlink: 0, mtim, body });
        self.names.push(BTreeMap::new());
        Ok(self.nodes.len() - 1)
    }

    fn child(&self, dir: usize, name: Name<'_>) -> Option<usize> {
        self.names[dir].get(name.as_str()).copied()
    }

    fn is_dir(&self, index: usize) -> bool {
        matches!(self.nodes[index].body, Body::Dir { .. })
    }

    fn enter(&mut self, entry: Entry) -> Result<(), Kind> {
        if let What::Other = entry.what {
            return Ok(());
        }
        let names = names(&entry.path)?;
        let Some((last, parents)) = names.split_last() else {
            // The root, as in `tar -c .`; nothing else is called that.
            self.nodes[ROOT].mtim = entry.mtim;
            return if matches!(entry.what, What::Dir) { Ok(()) } else { Err(Kind::Name) };
        };
        let mut parent = ROOT;
        for name in parents {
            parent = self.directory(parent, *name, None)?;
        }
        let index = match entry.what {
            What::Dir => return self.directory(parent, *last, Some(entry.mtim)).map(drop),
            What::File(data) => self.add(Body::File(data), entry.mtim)?,
            What::Symlink(text) if text.is_empty() => return Err(Kind::Name),
            What::Symlink(text) => self.add(Body::Link(text.into()), entry.mtim)?,
            What::HardLink(path) => self.target(&path)?,
            What::Other => return Ok(()),
        };
        self.names[parent].insert(last.as_str().into(), index);
        Ok(())
    }

    /// The directory of that name, made if something else or nothing has it. A path that
    /// implies a directory has no time for it.
    fn directory(
        &mut self,
        parent: usize,
        name: Name<'_>,
        mtim: Option<u64>,
    ) -> Result<usize, Kind> {
        let known = self.child(parent, name).filter(|known| self.is_dir(*known));
        let index = match known {
            Some(known) => known,
            None => {
                let made = self.add(dir(parent), 0)?;
                self.names[parent].insert(name.as_str().into(), made);
                made
            }
        };
        if let Some(mtim) = mtim {
            self.nodes[index].mtim = mtim;
        }
        Ok(index)
    }

    /// What a hard link leads to: a file or link entered before.
    fn target(&self, path: &str) -> Result<usize, Kind> {
        let step = |dir, name: Name<'_>| self.child(dir, name);
        let found = names(path)?.into_iter().try_fold(ROOT, step);
        found.filter(|index| !self.is_dir(*index)).ok_or(Kind::HardLink)
    }

    /// Sorts the names and counts the links, of what can still be reached.
    fn finish(mut self) -> Vec<Inode> {
        let mut todo = vec![ROOT];
        while let Some(index) = todo.pop() {
            let names: Vec<_> = std::mem::take(&mut self.names[index]).into_iter().collect();
            let mut nlink = 2;
            for (_, child) in &names {
                if self.is_dir(*child) {
                    nlink += 1;
                    todo.push(*child);
                } else {
                    self.nodes[*child].nlink += 1;
                }
            }
            let node = &mut self.nodes[index];
            node.nlink = nlink;
            if let Body::Dir { children, .. } = &mut node.body {
                *children = names;
            }
        }
        self.nodes
    }
}
