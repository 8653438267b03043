//! `fd_readdir`.

use super::abi::{self, Rights};
use super::fd::Need;
use super::{Call, Sys};
use crate::Errno;
use crate::vfs::Dirent;

/// Fills the buffer with entries. The last one may be cut: a full buffer tells the guest
/// to come again, with the cookie of the last whole entry.
pub(super) fn fd_readdir(
    c: &mut Call<'_>,
    fd: u32,
    buf: u32,
    buf_len: u32,
    cookie: u64,
    bufused: u32,
) -> Sys {
    let descriptor = c.cx.fds.get(fd, Need::Directory, Rights::FD_READDIR)?;
    c.mem.check(bufused, 4)?;
    let room = c.mem.bytes_mut(buf, buf_len)?;
    let mut used = 0;
    let mut too_long = false;
    let answer = descriptor.file.readdir(cookie, &mut |entry: Dirent<'_>| {
        let Ok(name_len) = u32::try_from(entry.name.len()) else {
            too_long = true;
            return false;
        };
        let head = abi::dirent(entry.next, entry.ino, name_len, entry.filetype);
        let whole = fill(room, &mut used, &head) && fill(room, &mut used, entry.name);
        // At the very end of the buffer the entry is there, but the guest can't know that
        // another follows unless it asks again.
        whole
    });
    c.or_wait(fd, answer)?;
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
