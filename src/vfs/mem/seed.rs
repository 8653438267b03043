//! A tree that begins as a copy of another.

use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

use super::{Clock, system_clock, tree_with_clock};
use crate::vfs::{Errno, Filetype, Name, Node, Open, Result, SetTime, Stat, Times};

/// Bytes copied at a time.
const COPY_BYTES: usize = 64 * 1024;

/// A new tree with what is below `from` now; later changes on either side stay there.
///
/// Links are copied as links, hard links stay one file, times are kept. Devices, sockets
/// and names that are not UTF-8 (which no guest could say) are left out.
///
/// # Errors
///
/// ENOSPC if it does not fit in the quota, and whatever reading `from` answers.
pub fn seeded(from: &Arc<dyn Node>, quota_bytes: Option<u64>) -> Result<Arc<dyn Node>> {
    seeded_with_clock(from, quota_bytes, system_clock())
}

/// As [`seeded`], with times from `clock`.
pub fn seeded_with_clock(
    from: &Arc<dyn Node>,
    quota_bytes: Option<u64>,
    clock: Clock,
) -> Result<Arc<dyn Node>> {
    let root = tree_with_clock(quota_bytes, clock);
    let mut seeding = Seeding { linked: HashMap::new(), buffer: vec![0; COPY_BYTES] };
    // Holds the directories from the root to where the copy is, not all that are still to
    // come: each may be an open descriptor of the host's.
    let mut stack = vec![seeding.directory(from.clone(), root.clone())?];
    while let Some(dir) = stack.last_mut() {
        let Some(name) = dir.subdirs.pop() else {
            stack.pop();
            continue;
        };
        let (name, last) = (valid(&name)?, dir.subdirs.is_empty());
        let (from, to) = (dir.from.lookup(name)?, dir.to.lookup(name)?);
        if last {
            stack.pop();
        }
        stack.push(seeding.directory(from, to)?);
    }
    Ok(root)
}

/// A directory whose files are copied, and the subdirectories that are not yet.
struct Dir {
    from: Arc<dyn Node>,
    to: Arc<dyn Node>,
    subdirs: Vec<String>,
}

struct Seeding {
    /// Where the first name of a file with several went, by its device and inode.
    linked: HashMap<(u64, u64), (Arc<dyn Node>, String)>,
    buffer: Vec<u8>,
}

fn valid(name: &str) -> Result<Name<'_>> {
    Name::new(name).ok_or(Errno::Ilseq)
}

fn times(stat: &Stat) -> Times {
    Times { atim: Some(SetTime::To(stat.atim)), mtim: Some(SetTime::To(stat.mtim)) }
}

impl Seeding {
    /// Copies the entries of one directory; subdirectories empty.
    fn directory(&mut self, from: Arc<dyn Node>, to: Arc<dyn Node>) -> Result<Dir> {
        let stat = from.stat()?;
        let mut names = Vec::new();
        let read = Open { read: true, ..Open::default() };
        from.open(read)?.at_once()?.readdir(0, &mut |entry| {
            names.extend(std::str::from_utf8(entry.name).map(String::from));
            true
        })?;
        let mut subdirs = Vec::new();
        for name in names.iter().filter_map(|name| Name::new(name)) {
            let child = match from.lookup(name) {
                Err(Errno::Noent) => continue,
                child => child?,
            };
            if self.child(&child, &to, name)? == Filetype::Directory {
                subdirs.push(name.as_str().to_owned());
            }
        }
        to.set_times(times(&stat))?;
        Ok(Dir { from, to, subdirs })
    }

    fn child(
        &mut self,
        child: &Arc<dyn Node>,
        to: &Arc<dyn Node>,
        name: Name<'_>,
    ) -> Result<Filetype> {
        let stat = child.stat()?;
        match stat.filetype {
            Filetype::Directory => to.create_directory(name)?,
            Filetype::RegularFile => self.file(child, &stat, to, name)?,
            Filetype::SymbolicLink => {
                to.symlink(name, &child.readlink()?)?;
                to.lookup(name)?.set_times(times(&stat))?;
            }
            _ => {}
        }
        Ok(stat.filetype)
    }

    fn file(
        &mut self,
        child: &Arc<dyn Node>,
        stat: &Stat,
        to: &Arc<dyn Node>,
        name: Name<'_>,
    ) -> Result<()> {
        if stat.nlink > 1 && stat.ino != 0 {
            let id = (stat.dev, stat.ino);
            if let Some((dir, first)) = self.linked.get(&id) {
                return dir.link(valid(first)?, to, name);
            }
            self.linked.insert(id, (to.clone(), name.as_str().to_owned()));
        }
        let mut from = child.open(Open { read: true, ..Open::default() })?.at_once()?;
        let mut copy = to.create(name, Open { write: true, ..Open::default() })?;
        let mut at = 0;
        loop {
            let n = from.read(&mut [IoSliceMut::new(&mut self.buffer)], at)?;
            if n == 0 {
                break;
            }
            let mut rest = &self.buffer[..n];
            while !rest.is_empty() {
                let written = copy.write(&[IoSlice::new(rest)], at)?;
                at += written as u64;
                rest = &rest[written..];
            }
        }
        copy.set_times(times(stat))
    }
}
