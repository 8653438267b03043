//! A tree that begins as a copy of another.

use std::collections::HashMap;
use std::fmt;
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

use super::{FILE_MAX, TreeClock, system_clock, tree_with_clock};
use crate::vfs::{Errno, Filetype, Name, Node, Open, Result, SetTime, Stat, Times};

/// Bytes copied at a time.
const COPY_BYTES: usize = 64 * 1024;

/// Why a tree could not be copied, and at which of its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeedError {
    /// Below the directory that was copied, escaped; `.` is that itself.
    path: String,
    why: Why,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Why {
    /// It has so many bytes, and a file in memory can't.
    TooLarge(u64),
    /// It has so many bytes, and the quota leaves so many.
    NoRoom(u64, u64),
    /// No guest could say its name.
    NotUtf8,
    Other(Errno),
}

impl SeedError {
    /// The file, below the directory that was copied; escaped, to be shown.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// What a guest that copied it would have got.
    pub fn errno(&self) -> Errno {
        match self.why {
            Why::TooLarge(_) => Errno::Fbig,
            Why::NoRoom(..) => Errno::Nospc,
            Why::NotUtf8 => Errno::Ilseq,
            Why::Other(errno) => errno,
        }
    }
}

impl fmt::Display for SeedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = &self.path;
        match self.why {
            Why::TooLarge(size) => write!(
                f,
                "'{path}' has {size} bytes, and a file in memory holds at most {FILE_MAX}: leave \
                 it out"
            ),
            Why::NoRoom(size, left) => write!(
                f,
                "'{path}' has {size} bytes, and the quota leaves {left}: raise it with quota=SIZE"
            ),
            Why::NotUtf8 => write!(f, "the name '{path}' is not UTF-8: rename it"),
            Why::Other(Errno::Nospc) => {
                write!(f, "'{path}' does not fit in the quota: raise it with quota=SIZE")
            }
            Why::Other(errno) => write!(f, "'{path}': {errno}"),
        }
    }
}

impl std::error::Error for SeedError {}

/// A new tree with what is below `from` now; later changes on either side stay there.
///
/// Links are copied as links, hard links stay one file, times are kept. Devices and sockets are
/// left out.
///
/// # Errors
///
/// The file that does not fit in the quota or in memory, found before it is read; a name that is
/// not UTF-8; and whatever reading `from` answers.
pub fn seeded(from: &Arc<dyn Node>, quota_bytes: Option<u64>) -> Result<Arc<dyn Node>, SeedError> {
    seeded_with_clock(from, quota_bytes, system_clock())
}

/// As [`seeded`], with times from `clock`.
pub fn seeded_with_clock(
    from: &Arc<dyn Node>,
    quota_bytes: Option<u64>,
    clock: TreeClock,
) -> Result<Arc<dyn Node>, SeedError> {
    let root = tree_with_clock(quota_bytes, clock);
    let mut seeding = Seeding {
        linked: HashMap::new(),
        buffer: vec![0; COPY_BYTES],
        left: quota_bytes.unwrap_or(u64::MAX),
        path: Vec::new(),
        odd: None,
        why: None,
    };
    match seeding.tree(from, &root) {
        Ok(()) => Ok(root),
        Err(errno) => Err(seeding.error(errno)),
    }
}

/// A directory whose files are copied, and the subdirectories that are not yet.
struct Dir {
    from: Arc<dyn Node>,
    to: Arc<dyn Node>,
    subdirs: Vec<String>,
    /// Names from the root to it.
    depth: usize,
}

struct Seeding {
    /// Where the first name of a file with several went, by its device and inode.
    linked: HashMap<(u64, u64), (Arc<dyn Node>, String)>,
    buffer: Vec<u8>,
    /// What the quota leaves for the contents of files.
    left: u64,
    /// Where the copy is: the names of the directories on the way, and of a file in the last.
    path: Vec<String>,
    /// Instead of a last name: one that is not UTF-8, escaped.
    odd: Option<String>,
    /// More than an errno says.
    why: Option<Why>,
}

fn valid(name: &str) -> Result<Name<'_>> {
    Name::new(name).ok_or(Errno::Ilseq)
}

fn times(stat: &Stat) -> Times {
    Times { atim: Some(SetTime::To(stat.atim)), mtim: Some(SetTime::To(stat.mtim)) }
}

impl Seeding {
    fn error(self, errno: Errno) -> SeedError {
        let names = self.path.iter().map(|name| name.escape_debug().to_string());
        let mut path = names.chain(self.odd).collect::<Vec<_>>().join("/");
        if path.is_empty() {
            path.push('.');
        }
        SeedError { path, why: self.why.unwrap_or(Why::Other(errno)) }
    }

    fn tree(&mut self, from: &Arc<dyn Node>, root: &Arc<dyn Node>) -> Result<()> {
        // Holds the directories from the root to where the copy is, not all that are still to
        // come: each may be an open descriptor of the host's.
        let mut stack = vec![self.directory(from.clone(), root.clone(), 0)?];
        while let Some(dir) = stack.last_mut() {
            let Some(name) = dir.subdirs.pop() else {
                stack.pop();
                continue;
            };
            let (depth, last) = (dir.depth, dir.subdirs.is_empty());
            self.path.truncate(depth);
            self.path.push(name.clone());
            let name = valid(&name)?;
            let (from, to) = (dir.from.lookup(name)?, dir.to.lookup(name)?);
            if last {
                stack.pop();
            }
            stack.push(self.directory(from, to, depth + 1)?);
        }
        Ok(())
    }

    /// Copies the entries of one directory; subdirectories empty.
    fn directory(&mut self, from: Arc<dyn Node>, to: Arc<dyn Node>, depth: usize) -> Result<Dir> {
        let stat = from.stat()?;
        let mut names = Vec::new();
        let read = Open { read: true, ..Open::default() };
        from.open(read)?.at_once()?.readdir(0, &mut |entry| {
            match std::str::from_utf8(entry.name) {
                Ok(name) => names.push(name.to_owned()),
                Err(_) => self.odd = Some(entry.name.escape_ascii().to_string()),
            }
            self.odd.is_none()
        })?;
        if self.odd.is_some() {
            self.why = Some(Why::NotUtf8);
            return Err(Errno::Ilseq);
        }
        let mut subdirs = Vec::new();
        for name in names.iter().filter_map(|name| Name::new(name)) {
            self.path.truncate(depth);
            self.path.push(name.as_str().to_owned());
            let child = match from.lookup(name) {
                Err(Errno::Noent) => continue,
                child => child?,
            };
            if self.child(&child, &to, name)? == Filetype::Directory {
                subdirs.push(name.as_str().to_owned());
            }
        }
        self.path.truncate(depth);
        to.set_times(times(&stat))?;
        Ok(Dir { from, to, subdirs, depth })
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

    /// Refuses a file that can't be held before a byte of it is read.
    fn take_room(&mut self, size: u64) -> Result<()> {
        if size > FILE_MAX {
            self.why = Some(Why::TooLarge(size));
            return Err(Errno::Fbig);
        }
        let Some(left) = self.left.checked_sub(size) else {
            self.why = Some(Why::NoRoom(size, self.left));
            return Err(Errno::Nospc);
        };
        self.left = left;
        Ok(())
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
        self.take_room(stat.size)?;
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
