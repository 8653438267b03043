//! Directories listed with what is mounted in them.

use std::sync::Arc;

use super::covers::Covers;
use super::place::{Mount, Place};
use super::{Dirent, Emit, Errno, File, Filetype, Name, Open, Opened, Result, Stat, Times};

/// Cookies of listed mount points; the backends' own never have this bit.
const MOUNT_COOKIE: u64 = 1 << 63;

/// Opens the directory at `place` as [`Node::open`](super::Node::open) does, with the mount
/// points in it among its entries.
pub fn open_directory(place: &Place, how: Open) -> Result<Opened> {
    let dir = place.node.open(how)?;
    let mounts = place.mounts_below().map_or(Ok(Vec::new()), |here| shown(place, here))?;
    let covers = place.covers.clone().filter(|_| !place.has_shortcuts());
    if mounts.is_empty() && covers.is_none() {
        return Ok(dir);
    }
    let dev = place.stat()?.dev;
    Ok(dir.map(move |dir| Box::new(WithMounts { dir, dev, mounts, covers })))
}

/// A position in a directory, as it is listed.
struct Shown {
    name: Box<str>,
    filetype: Filetype,
    ino: u64,
}

/// The positions in a directory that the directory itself does not list.
fn shown(place: &Place, here: &Mount) -> Result<Vec<Shown>> {
    let mut mounts = Vec::new();
    for (name, below) in &here.below {
        let (filetype, ino) = match Place::mount_point(below, None) {
            Some(root) => {
                let stat = root.stat().unwrap_or(Stat::of(Filetype::Directory));
                (stat.filetype, stat.ino)
            }
            None if below.is_absent() || !is_directory_or_link_to_one(place, name)? => {
                (Filetype::Directory, below.number.into())
            }
            None => continue,
        };
        mounts.push(Shown { name: name.clone(), filetype, ino });
    }
    Ok(mounts)
}

/// Whether there is a directory, or a link to one.
fn is_directory_or_link_to_one(place: &Place, name: &str) -> Result<bool> {
    let Some(name) = Name::new(name) else { return Ok(false) };
    match place.node.lookup(name).and_then(|node| node.stat()) {
        Err(Errno::Again) => Err(Errno::Again),
        Err(_) => Ok(false),
        Ok(Stat { filetype, .. }) => {
            Ok(matches!(filetype, Filetype::Directory | Filetype::SymbolicLink))
        }
    }
}

/// A directory whose own entries are followed by the mount points in it; what of its own
/// they cover is not shown.
struct WithMounts {
    dir: Box<dyn File>,
    dev: u64,
    /// Sorted by name.
    mounts: Vec<Shown>,
    /// What may be met in it that is covered elsewhere.
    covers: Option<Arc<Covers>>,
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
            let (mounts, covers, dev) = (&self.mounts, &self.covers, self.dev);
            let hidden = |name: &[u8]| {
                mounts.binary_search_by(|shown| shown.name.as_bytes().cmp(name)).is_ok()
            };
            self.dir.readdir(cookie, &mut |entry| {
                if hidden(entry.name) {
                    return true;
                }
                let dots = matches!(entry.name, b"." | b"..");
                let over = covers.as_ref().filter(|_| !dots);
                full = !match over.and_then(|covers| covers.listed(dev, entry.ino)) {
                    Some(root) => emit(Dirent { ino: root.ino, filetype: root.filetype, ..entry }),
                    None => emit(entry),
                };
                !full
            })?;
            if full {
                return Ok(());
            }
            first = 0;
        }
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        for (index, shown) in self.mounts.iter().enumerate().skip(first) {
            let next = MOUNT_COOKIE | (index as u64 + 1);
            let (ino, filetype, name) = (shown.ino, shown.filetype, shown.name.as_bytes());
            if !emit(Dirent { next, ino, filetype, name }) {
                break;
            }
        }
        Ok(())
    }
}
