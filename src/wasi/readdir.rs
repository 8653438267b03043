//! `fd_readdir`.

use super::abi::{self, Rights};
use super::fd::{Descriptor, Need};
use super::{Call, Sys};
use crate::errno::Errno;
use crate::vfs::walk::Place;
use crate::vfs::{Dirent, Name, charge};

/// Fills the buffer with entries. The last one may be cut: a full buffer shows the guest
/// to come again, with the cookie of the last whole entry.
pub(super) fn fd_readdir(
    c: &mut Call<'_>,
    fd: u32,
    buf: u32,
    buf_len: u32,
    cookie: u64,
    bufused: u32,
) -> Sys {
    let Descriptor { file, place, .. } = c.cx.fds.get(fd, Need::Directory, Rights::FD_READDIR)?;
    let mut unnamed = None;
    c.mem.check(bufused, 4)?;
    let room = c.mem.bytes_mut(buf, buf_len)?;
    let mut used = 0;
    let mut too_long = false;
    let answer = file.readdir(cookie, &mut |entry: Dirent<'_>| {
        charge::add(charge::ENTRY);
        let Ok(name_len) = u32::try_from(entry.name.len()) else {
            too_long = true;
            return false;
        };
        let ino = match entry.ino {
            0 => inode(place.as_ref(), &mut unnamed, entry.name),
            ino => ino,
        };
        let head = abi::dirent(entry.next, ino, name_len, entry.filetype);
        let whole = fill(room, &mut used, &head) && fill(room, &mut used, entry.name);
        // At the very end of the buffer the entry is there, but the guest can't know that
        // another follows unless it asks again.
        whole
    });
    c.park_on_again(fd, answer)?;
    if too_long {
        return Err(Errno::Overflow.into());
    }
    c.moved(bufused, used)
}

/// Copies as much as fits; whether that was all.
fn fill(room: &mut [u8], used: &mut usize, bytes: &[u8]) -> bool {
    let fits = bytes.len().min(room.len() - *used);
    room[*used..*used + fits].copy_from_slice(&bytes[..fits]);
    *used += fits;
    fits == bytes.len()
}

/// The inode of an entry that was given none: that of its name, in a directory that has none,
/// either. Otherwise 0, for which libc asks the entry itself; so for a name of an open file.
fn inode(place: Option<&Place>, unnamed: &mut Option<bool>, name: &[u8]) -> u64 {
    let (Some(place), Ok(name)) = (place, std::str::from_utf8(name)) else { return 0 };
    let directory = || place.node.stat().is_ok_and(|stat| !stat.has_identity());
    match name {
        _ if !*unnamed.get_or_insert_with(directory) => 0,
        "." => place.identity().1,
        ".." => 0,
        name if is_alias(place, name) => 0,
        name => place.identity_below(name).1,
    }
}

fn is_alias(place: &Place, name: &str) -> bool {
    let node = Name::new(name).and_then(|name| place.node.lookup(name).ok());
    node.is_some_and(|node| node.alias().is_some())
}
