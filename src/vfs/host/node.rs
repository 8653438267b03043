//! Names in a directory of the host.

use std::any::Any;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno as Os, retry_on_intr};

use super::super::charge;
use super::super::system::filetype;
use super::super::{Errno, File, Filetype, Name, Node, Open, Opened, Result, Stat, Times};
use super::directory::Directory;
use super::fifo;
use super::file::HostFile;
use super::system::{LOOK, WALK, is_fifo, open_beneath};
use super::{stat, timestamps};

/// Added to every open of what may not be a directory: never wait for the other end of a
/// FIFO, never become a terminal's session, never follow a link.
const OPEN: OFlags =
    OFlags::NONBLOCK.union(OFlags::NOCTTY).union(OFlags::CLOEXEC).union(OFlags::NOFOLLOW);

/// A name found in a directory of the host.
///
/// Each walk makes new nodes, so `stat` answers what `lookup` saw, at no cost, until
/// a descriptor is held; from then on it asks that. A descriptor is held by a directory once
/// something is done in it. It keeps what was found, however that is renamed meanwhile.
pub(super) struct HostNode {
    mount: Arc<HostMount>,
    parent: Arc<OwnedFd>,
    /// In `parent`; `.` for a node whose own descriptor that is.
    name: Box<str>,
    seen: Stat,
    directory: OnceLock<Arc<OwnedFd>>,
}

/// What all nodes of one mount share.
struct HostMount {
    /// Cleared when the system turns out not to have the shortcut.
    shortcut: AtomicBool,
}

impl HostNode {
    pub(super) fn root(fd: OwnedFd, shortcut: bool) -> HostNode {
        HostNode::held(Arc::new(HostMount { shortcut: AtomicBool::new(shortcut) }), fd)
    }

    fn held(mount: Arc<HostMount>, fd: OwnedFd) -> HostNode {
        let fd = Arc::new(fd);
        HostNode {
            mount,
            parent: fd.clone(),
            name: ".".into(),
            seen: Stat::of(Filetype::Directory),
            directory: OnceLock::from(fd),
        }
    }

    /// The descriptor of this directory, opened at its first use.
    fn directory(&self) -> Result<&Arc<OwnedFd>> {
        if let Some(fd) = self.directory.get() {
            return Ok(fd);
        }
        let flags = WALK | OFlags::NOFOLLOW;
        let open = || rustix::fs::openat(&self.parent, &*self.name, flags, Mode::empty());
        let fd = Arc::new(retry_on_intr(open)?);
        Ok(self.directory.get_or_init(|| fd))
    }

    /// What an `*at` call is given to mean this node.
    fn at(&self) -> (&OwnedFd, &str) {
        match self.directory.get() {
            Some(fd) => (fd, "."),
            None => (&self.parent, &self.name),
        }
    }

    /// The directory `to` of a link or rename, if it is of this mount.
    fn sibling<'a>(&self, to: &'a Arc<dyn Node>) -> Result<&'a Arc<OwnedFd>> {
        let to: &dyn Any = &**to;
        let to = to.downcast_ref::<HostNode>().ok_or(Errno::Xdev)?;
        if !Arc::ptr_eq(&self.mount, &to.mount) {
            return Err(Errno::Xdev);
        }
        to.directory()
    }

    /// Opens what is at a path of names, if no link is on the way.
    fn open_shortcut(&self, path: &str, flags: OFlags) -> Option<OwnedFd> {
        if !self.mount.shortcut.load(Ordering::Relaxed) {
            return None;
        }
        let dir = self.directory().ok()?;
        if let Some(name) = Name::new(path) {
            // Nothing but its end can be a link, and that is not followed.
            let flags = flags | OFlags::NOFOLLOW;
            let open = || rustix::fs::openat(dir, name.as_str(), flags, Mode::empty());
            return retry_on_intr(open).ok();
        }
        match open_beneath(dir, path, flags) {
            Ok(fd) => Some(fd),
            // EPERM is what filters of system calls answer to one they do not know.
            Err(Os::NOSYS | Os::PERM) => {
                self.mount.shortcut.store(false, Ordering::Relaxed);
                None
            }
            Err(_) => None,
        }
    }
}

impl Node for HostNode {
    fn stat(&self) -> Result<Stat> {
        match self.directory.get() {
            Some(fd) => Ok(stat(&rustix::fs::fstat(fd)?)),
            None => Ok(self.seen),
        }
    }

    fn open(&self, how: Open) -> Result<Opened> {
        charge::ask_kernel();
        if self.seen.filetype == Filetype::Directory {
            if how.write || how.truncate {
                return Err(Errno::Isdir);
            }
            return Ok(Opened::file(Directory::new(self.directory()?.clone())));
        }
        let flags = flags(how);
        let open = || rustix::fs::openat(&self.parent, &*self.name, flags, Mode::empty());
        let fd = match retry_on_intr(open) {
            // How systems other than Linux say that a socket in a directory can't be opened.
            Err(Os::OPNOTSUPP) => return Err(Errno::Nxio),
            Err(Os::NXIO) if !how.nonblock && is_fifo_at(&self.parent, &self.name) => {
                return Ok(fifo::open(&self.parent, &self.name, flags));
            }
            other => other?,
        };
        // Asked of the descriptor, as the name may lead elsewhere by now.
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd)?.st_mode);
        if kind == FileType::Directory {
            return Ok(Opened::file(Directory::new(Arc::new(fd))));
        }
        Ok(Opened::file(HostFile::opened_as(fd, kind, how)))
    }

    fn readlink(&self) -> Result<String> {
        charge::ask_kernel();
        let (dir, name) = self.at();
        let text = rustix::fs::readlinkat(dir, name, Vec::new())?;
        text.into_string().map_err(|_| Errno::Ilseq)
    }

    fn set_times(&self, times: Times) -> Result<()> {
        charge::ask_kernel();
        let (dir, name) = self.at();
        let flags = AtFlags::SYMLINK_NOFOLLOW;
        Ok(rustix::fs::utimensat(dir, name, &timestamps(times), flags)?)
    }

    fn lookup(&self, name: Name<'_>) -> Result<Arc<dyn Node>> {
        charge::ask_kernel();
        let parent = self.directory()?;
        let seen = rustix::fs::statat(parent, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(Arc::new(HostNode {
            mount: self.mount.clone(),
            parent: parent.clone(),
            name: name.as_str().into(),
            seen: stat(&seen),
            directory: OnceLock::new(),
        }))
    }

    fn descend(&self, dirs: &str) -> Option<Arc<dyn Node>> {
        charge::ask_kernel();
        Some(Arc::new(HostNode::held(self.mount.clone(), self.open_shortcut(dirs, WALK)?)))
    }

    fn open_at(&self, path: &str, how: Open) -> Option<(Box<dyn File>, Filetype)> {
        charge::ask_kernel();
        let fd = self.open_shortcut(path, flags(how))?;
        let kind = FileType::from_raw_mode(rustix::fs::fstat(&fd).ok()?.st_mode);
        let file = (kind != FileType::Directory).then(|| HostFile::opened_as(fd, kind, how))?;
        Some((Box::new(file), filetype(kind)))
    }

    fn stat_at(&self, path: &str) -> Option<Stat> {
        charge::ask_kernel();
        let seen = if let Some(name) = Name::new(path) {
            let dir = self.directory().ok()?;
            rustix::fs::statat(dir, name.as_str(), AtFlags::SYMLINK_NOFOLLOW)
        } else {
            rustix::fs::fstat(self.open_shortcut(path, LOOK)?)
        };
        let seen = stat(&seen.ok()?);
        (seen.filetype != Filetype::SymbolicLink).then_some(seen)
    }

    fn create(&self, name: Name<'_>, how: Open) -> Result<Box<dyn File>> {
        charge::ask_kernel();
        let flags = access(how) | OPEN | OFlags::CREATE | OFlags::EXCL;
        let dir = self.directory()?;
        let open = || rustix::fs::openat(dir, name.as_str(), flags, Mode::from_raw_mode(0o666));
        Ok(Box::new(HostFile::new(retry_on_intr(open)?, FileType::RegularFile)))
    }

    fn create_directory(&self, name: Name<'_>) -> Result<()> {
        charge::ask_kernel();
        let mode = Mode::from_raw_mode(0o777);
        Ok(rustix::fs::mkdirat(self.directory()?, name.as_str(), mode)?)
    }

    fn symlink(&self, name: Name<'_>, target: &str) -> Result<()> {
        charge::ask_kernel();
        Ok(rustix::fs::symlinkat(target, self.directory()?, name.as_str())?)
    }

    fn link(&self, name: Name<'_>, to: &Arc<dyn Node>, to_name: Name<'_>) -> Result<()> {
        charge::ask_kernel();
        let (from, to) = (self.directory()?, self.sibling(to)?);
        let flags = AtFlags::empty();
        Ok(rustix::fs::linkat(from, name.as_str(), to, to_name.as_str(), flags)?)
    }

    fn rename(&self, name: Name<'_>, to: &Arc<dyn Node>, to_name: Name<'_>) -> Result<()> {
        charge::ask_kernel();
        let (from, to) = (self.directory()?, self.sibling(to)?);
        rustix::fs::renameat(from, name.as_str(), to, to_name.as_str()).map_err(not_empty)
    }

    fn unlink(&self, name: Name<'_>) -> Result<()> {
        charge::ask_kernel();
        let dir = self.directory()?;
        match rustix::fs::unlinkat(dir, name.as_str(), AtFlags::empty()) {
            // What POSIX, unlike Linux, says of a directory.
            Err(Os::PERM) if is_directory(dir, name) => Err(Errno::Isdir),
            other => Ok(other?),
        }
    }

    fn remove_directory(&self, name: Name<'_>) -> Result<()> {
        charge::ask_kernel();
        let dir = self.directory()?;
        rustix::fs::unlinkat(dir, name.as_str(), AtFlags::REMOVEDIR).map_err(not_empty)
    }
}

/// How to open what is there and may not be a directory.
fn flags(how: Open) -> OFlags {
    let truncate = if how.truncate { OFlags::TRUNC } else { OFlags::empty() };
    access(how) | truncate | OPEN
}

/// The access an open asks for. Truncating needs write access even if nothing is to be
/// written; with nothing wanted at all, reading is what is most often allowed.
fn access(how: Open) -> OFlags {
    match (how.read, how.write || how.truncate) {
        (true, true) => OFlags::RDWR,
        (false, true) => OFlags::WRONLY,
        (_, false) => OFlags::RDONLY,
    }
}

/// Some filesystems say EEXIST of a directory that is not empty; POSIX allows both.
fn not_empty(error: Os) -> Errno {
    if error == Os::EXIST { Errno::Notempty } else { error.into() }
}

/// Whether that is a FIFO. A socket answers ENXIO to an open as well.
fn is_fifo_at(dir: &OwnedFd, name: &str) -> bool {
    let seen = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW);
    seen.is_ok_and(|seen| is_fifo(FileType::from_raw_mode(seen.st_mode)))
}

fn is_directory(dir: &OwnedFd, name: Name<'_>) -> bool {
    let seen = rustix::fs::statat(dir, name.as_str(), AtFlags::SYMLINK_NOFOLLOW);
    seen.is_ok_and(|seen| FileType::from_raw_mode(seen.st_mode) == FileType::Directory)
}
