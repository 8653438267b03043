//! `path_*`: what is done to names (opening is in [`super::open`]). All walking is [`crate::vfs::walk`]'s.

use super::abi::{self, Lookupflags, Rights};
use super::fd::Need;
use super::file::times;
use super::{Call, Sys};
use crate::errno::Errno;
use crate::vfs::walk::{Entry, Follow, Walked, is_plain, walk};
use crate::vfs::{Filetype, Stat};

impl Call<'_> {
    /// The gate for a path: the descriptor, then the flags, then the path itself.
    fn walk(
        &mut self,
        fd: u32,
        right: Rights,
        follow: Follow,
        path: (u32, u32),
    ) -> Result<Walked<'_>, Errno> {
        self.cx.serve();
        let dir = self.cx.fds.dir(fd, right)?;
        walk(dir, self.mem.text(path.0, path.1)?, follow, &self.cx.frame.memo)
    }

    pub(super) fn has_rights(&mut self, fd: u32, right: Rights) -> Result<(), Errno> {
        self.cx.fds.get(fd, Need::Directory, right).map(drop)
    }
}

pub(super) fn lookup_follow(flags: u32) -> Result<Follow, Errno> {
    let follow = Lookupflags::parse(flags)?.has(Lookupflags::SYMLINK_FOLLOW);
    Ok(if follow { Follow::Yes } else { Follow::IfSlash })
}

/// A name that something is to be made at: nothing may be there.
fn vacant(entry: Entry<'_>) -> Result<Entry<'_>, Errno> {
    if entry.found.is_some() { Err(Errno::Exist) } else { Ok(entry) }
}

/// The same where only a name without a slash will do: what has one behind it and is there must
/// be a directory, or a link.
fn vacant_name(entry: Entry<'_>) -> Result<Entry<'_>, Errno> {
    let file = |(_, stat): &(_, Stat)| {
        !matches!(stat.filetype, Filetype::Directory | Filetype::SymbolicLink)
    };
    if entry.slash && entry.found.as_ref().is_some_and(file) {
        return Err(Errno::Notdir);
    }
    let entry = vacant(entry)?;
    if entry.slash { Err(Errno::Noent) } else { Ok(entry) }
}

/// A name whose thing is to be taken away or moved.
fn removable<'a, 'p>(entry: &'a Entry<'p>) -> Result<&'a Stat, Errno> {
    let (_, stat) = entry.found.as_ref().ok_or(Errno::Noent)?;
    if entry.is_busy() {
        return Err(Errno::Busy);
    }
    Ok(stat)
}

pub(super) fn path_create_directory(c: &mut Call<'_>, fd: u32, path: u32, path_len: u32) -> Sys {
    let walked = c.walk(fd, Rights::PATH_CREATE_DIRECTORY, Follow::No, (path, path_len))?;
    let entry = vacant(walked.entry(Errno::Exist)?)?;
    Ok(entry.dir.node.create_directory(entry.name())?)
}

pub(super) fn path_filestat_get(
    c: &mut Call<'_>,
    fd: u32,
    flags: u32,
    path: u32,
    path_len: u32,
    buf: u32,
) -> Sys {
    c.cx.serve();
    c.has_rights(fd, Rights::PATH_FILESTAT_GET)?;
    let follow = lookup_follow(flags)?;
    let dir = c.cx.fds.dir(fd, Rights::PATH_FILESTAT_GET)?;
    let path = c.mem.text(path, path_len)?;
    let found = if is_plain(dir, path) { dir.node.stat_at(path) } else { None };
    let stat = match found {
        Some(stat) => {
            let (dev, ino) = stat.identity_or(dir.identity_below(path));
            Stat { dev, ino, ..stat }
        }
        None => {
            let (place, stat) = walk(dir, path, follow, &c.cx.frame.memo)?.existing()?;
            match place.node.alias() {
                // The name is for the open file, as /dev/stdin is.
                Some(number) => c.cx.fds.any(number).map_err(|_| Errno::Noent)?.stat()?,
                None => stat,
            }
        }
    };
    Ok(c.mem.put(buf, abi::filestat(&stat))?)
}

#[expect(clippy::too_many_arguments, reason = "the spec's")]
pub(super) fn path_filestat_set_times(
    c: &mut Call<'_>,
    fd: u32,
    flags: u32,
    path: u32,
    path_len: u32,
    atim: u64,
    mtim: u64,
    fst_flags: u32,
) -> Sys {
    c.has_rights(fd, Rights::PATH_FILESTAT_SET_TIMES)?;
    let follow = lookup_follow(flags)?;
    let times = times(atim, mtim, fst_flags)?;
    let walked = c.walk(fd, Rights::PATH_FILESTAT_SET_TIMES, follow, (path, path_len))?;
    let (place, _) = walked.existing()?;
    Ok(place.node.set_times(times)?)
}

#[expect(clippy::too_many_arguments, reason = "the spec's")]
pub(super) fn path_link(
    c: &mut Call<'_>,
    old_fd: u32,
    old_flags: u32,
    old_path: u32,
    old_path_len: u32,
    new_fd: u32,
    new_path: u32,
    new_path_len: u32,
) -> Sys {
    c.cx.serve();
    c.has_rights(old_fd, Rights::PATH_LINK_SOURCE)?;
    c.has_rights(new_fd, Rights::PATH_LINK_TARGET)?;
    let follow = match lookup_follow(old_flags)? {
        Follow::Yes => Follow::Yes,
        _ => Follow::No,
    };
    let source = c.cx.fds.dir(old_fd, Rights::PATH_LINK_SOURCE)?.clone();
    let target = c.cx.fds.dir(new_fd, Rights::PATH_LINK_TARGET)?;
    let old_path = c.mem.text(old_path, old_path_len)?;
    let new_path = c.mem.text(new_path, new_path_len)?;
    // A hard link to a directory is EPERM on every Unix that matters.
    let old = walk(&source, old_path, follow, &c.cx.frame.memo)?.entry(Errno::Perm)?;
    let stat = removable(&old)?;
    if stat.filetype == Filetype::Directory {
        return Err(Errno::Perm.into());
    }
    if old.slash {
        return Err(Errno::Notdir.into());
    }
    let walked = walk(target, new_path, Follow::No, &c.cx.frame.memo)?;
    let new = vacant_name(walked.entry(Errno::Exist)?)?;
    if !old.dir.same_mount(&new.dir) {
        return Err(Errno::Xdev.into());
    }
    Ok(old.dir.node.link(old.name(), &new.dir.to_change()?, new.name())?)
}

pub(super) fn path_rename(
    c: &mut Call<'_>,
    fd: u32,
    old_path: u32,
    old_path_len: u32,
    new_fd: u32,
    new_path: u32,
    new_path_len: u32,
) -> Sys {
    c.cx.serve();
    c.has_rights(fd, Rights::PATH_RENAME_SOURCE)?;
    let source = c.cx.fds.dir(fd, Rights::PATH_RENAME_SOURCE)?.clone();
    let target = c.cx.fds.dir(new_fd, Rights::PATH_RENAME_TARGET)?;
    let old_path = c.mem.text(old_path, old_path_len)?;
    let new_path = c.mem.text(new_path, new_path_len)?;
    // rename(2): "." and ".." as the last component are EBUSY.
    let old = walk(&source, old_path, Follow::No, &c.cx.frame.memo)?.entry(Errno::Busy)?;
    let is_dir = removable(&old)?.filetype == Filetype::Directory;
    let new = walk(target, new_path, Follow::No, &c.cx.frame.memo)?.entry(Errno::Busy)?;
    if new.is_busy() {
        return Err(Errno::Busy.into());
    }
    if (old.slash || new.slash) && !is_dir {
        return Err(Errno::Notdir.into());
    }
    if !old.dir.same_mount(&new.dir) {
        return Err(Errno::Xdev.into());
    }
    Ok(old.dir.node.rename(old.name(), &new.dir.to_change()?, new.name())?)
}

pub(super) fn path_readlink(
    c: &mut Call<'_>,
    fd: u32,
    path: u32,
    path_len: u32,
    buf: u32,
    buf_len: u32,
    bufused: u32,
) -> Sys {
    let walked = c.walk(fd, Rights::PATH_READLINK, Follow::IfSlash, (path, path_len))?;
    let (place, _) = walked.existing()?;
    let text = place.node.readlink()?;
    c.mem.check(bufused, 4)?;
    let room = c.mem.bytes_mut(buf, buf_len)?;
    // As readlink(2): what does not fit is cut.
    let used = text.len().min(room.len());
    room[..used].copy_from_slice(&text.as_bytes()[..used]);
    c.moved(bufused, used)
}

pub(super) fn path_remove_directory(c: &mut Call<'_>, fd: u32, path: u32, path_len: u32) -> Sys {
    let walked = c.walk(fd, Rights::PATH_REMOVE_DIRECTORY, Follow::No, (path, path_len))?;
    let entry = walked.entry(Errno::Inval)?;
    if removable(&entry)?.filetype != Filetype::Directory {
        return Err(Errno::Notdir.into());
    }
    Ok(entry.dir.node.remove_directory(entry.name())?)
}

pub(super) fn path_unlink_file(c: &mut Call<'_>, fd: u32, path: u32, path_len: u32) -> Sys {
    let walked = c.walk(fd, Rights::PATH_UNLINK_FILE, Follow::No, (path, path_len))?;
    let entry = walked.entry(Errno::Isdir)?;
    match removable(&entry)?.filetype {
        Filetype::Directory => Err(Errno::Isdir.into()),
        _ if entry.slash => Err(Errno::Notdir.into()),
        _ => Ok(entry.dir.node.unlink(entry.name())?),
    }
}

/// An absolute link could never be walked, and is refused at once (EPERM, as wasmtime
/// answers). Any other may say what it likes: whether it leads out is decided by the walk.
pub(super) fn path_symlink(
    c: &mut Call<'_>,
    old_path: u32,
    old_path_len: u32,
    fd: u32,
    new_path: u32,
    new_path_len: u32,
) -> Sys {
    let dir = c.cx.fds.dir(fd, Rights::PATH_SYMLINK)?;
    let target = c.mem.text(old_path, old_path_len)?;
    let new_path = c.mem.text(new_path, new_path_len)?;
    if target.is_empty() {
        return Err(Errno::Noent.into());
    }
    if target.contains('\0') {
        return Err(Errno::Inval.into());
    }
    if target.starts_with('/') {
        return Err(Errno::Perm.into());
    }
    if target.len() >= crate::vfs::walk::PATH_MAX {
        return Err(Errno::Nametoolong.into());
    }
    let walked = walk(dir, new_path, Follow::No, &c.cx.frame.memo)?;
    let entry = vacant_name(walked.entry(Errno::Exist)?)?;
    Ok(entry.dir.node.symlink(entry.name(), target)?)
}
