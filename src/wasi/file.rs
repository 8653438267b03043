//! `fd_*`: what is done to an open descriptor.

use super::abi::{self, Fdflags, Fstflags, Rights};
use super::fd::Need;
use super::mem::IOVECS_MAX;
use super::{Call, Sys};
use crate::errno::Errno;
use crate::vfs::{Filetype, Interest, SetTime, Times};

/// Fuel for each vector: it is checked, and put in its place among the others.
const IOVEC_FUEL: u64 = 30;

pub(super) fn fd_read(c: &mut Call<'_>, fd: u32, iovs: u32, iovs_len: u32, nread: u32) -> Sys {
    c.vectors(iovs_len);
    let descriptor = c.cx.fds.get(fd, Need::Any, Rights::FD_READ)?;
    c.mem.check(nread, 4)?;
    let mut bufs = c.mem.scatter(iovs, iovs_len)?;
    let answer = if bufs.is_empty() {
        Ok(0)
    } else {
        let answer = descriptor.file.read(&mut bufs, descriptor.offset);
        descriptor.offset += answer.map_or(0, |count| count as u64);
        answer
    };
    drop(bufs);
    let count = c.park_unless_nonblock(fd, Interest::READ, answer)?;
    c.moved(nread, count)
}

pub(super) fn fd_pread(
    c: &mut Call<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    offset: u64,
    nread: u32,
) -> Sys {
    c.vectors(iovs_len);
    let descriptor = c.cx.fds.positioned(fd, Rights::FD_READ)?;
    if !descriptor.base.has(Rights::FD_SEEK) {
        return Err(Errno::Notcapable.into());
    }
    c.mem.check(nread, 4)?;
    let mut bufs = c.mem.scatter(iovs, iovs_len)?;
    let answer = descriptor.file.read(&mut bufs, offset_in_range(offset)?);
    drop(bufs);
    let count = c.park_unless_nonblock(fd, Interest::READ, answer)?;
    c.moved(nread, count)
}

impl Call<'_> {
    /// So many vectors are to be read or written.
    pub(super) fn vectors(&mut self, len: u32) {
        self.charge_fuel(u64::from(len.min(IOVECS_MAX)) * IOVEC_FUEL);
    }

    /// Reports to the guest how many bytes were moved.
    pub(super) fn moved(&mut self, result: u32, count: usize) -> Sys {
        self.cx.uncharged += count as u64;
        let count = u32::try_from(count).map_err(|_| Errno::Overflow)?;
        Ok(self.mem.put_u32(result, count)?)
    }
}

/// Offsets are signed on every host.
pub(super) fn offset_in_range(offset: u64) -> Result<u64, Errno> {
    i64::try_from(offset).map(|_| offset).map_err(|_| Errno::Inval)
}

fn range_in_range(offset: u64, len: u64) -> Result<u64, Errno> {
    offset_in_range(offset.checked_add(len).ok_or(Errno::Inval)?)
}

pub(super) fn fd_seek(c: &mut Call<'_>, fd: u32, offset: i64, whence: u32, newoffset: u32) -> Sys {
    let right = if offset == 0 && whence == 1 { Rights::FD_TELL } else { Rights::FD_SEEK };
    let descriptor = c.cx.fds.any(fd)?;
    descriptor.seekable().map_err(|errno| match errno {
        // The public testsuite wants EBADF for a directory, as wasmtime answers.
        Errno::Isdir => Errno::Badf,
        other => other,
    })?;
    if !descriptor.base.has(right) && !descriptor.base.has(Rights::FD_SEEK) {
        return Err(Errno::Notcapable.into());
    }
    let from = match whence {
        0 => 0,
        1 => descriptor.offset,
        2 => {
            let stat = descriptor.file.stat();
            c.park_on_again(fd, stat)?.size
        }
        _ => return Err(Errno::Inval.into()),
    };
    let position = from.checked_add_signed(offset).ok_or(Errno::Inval)?;
    let position = offset_in_range(position)?;
    c.mem.put_u64(newoffset, position)?;
    c.cx.fds.any(fd)?.offset = position;
    Ok(())
}

pub(super) fn fd_tell(c: &mut Call<'_>, fd: u32, offset: u32) -> Sys {
    fd_seek(c, fd, 0, 1, offset)
}

pub(super) fn fd_close(c: &mut Call<'_>, fd: u32) -> Sys {
    Ok(c.cx.fds.close(fd)?)
}

pub(super) fn fd_renumber(c: &mut Call<'_>, fd: u32, to: u32) -> Sys {
    Ok(c.cx.fds.renumber(fd, to)?)
}

pub(super) fn fd_sync(c: &mut Call<'_>, fd: u32) -> Sys {
    let answer = c.cx.fds.get(fd, Need::Any, Rights::FD_SYNC)?.file.sync(false);
    c.park_on_again(fd, answer)
}

pub(super) fn fd_datasync(c: &mut Call<'_>, fd: u32) -> Sys {
    let answer = c.cx.fds.get(fd, Need::Any, Rights::FD_DATASYNC)?.file.sync(true);
    c.park_on_again(fd, answer)
}

/// Advice is only that: it is checked, and nothing has to come of it.
pub(super) fn fd_advise(c: &mut Call<'_>, fd: u32, offset: u64, len: u64, advice: u32) -> Sys {
    const NOREUSE: u32 = 5;
    let descriptor = c.cx.fds.any(fd)?;
    if descriptor.filetype != Filetype::Directory {
        descriptor.seekable()?;
    }
    c.cx.fds.get(fd, Need::Any, Rights::FD_ADVISE)?;
    range_in_range(offset, len)?;
    if advice > NOREUSE { Err(Errno::Inval.into()) } else { Ok(()) }
}

pub(super) fn fd_allocate(c: &mut Call<'_>, fd: u32, offset: u64, len: u64) -> Sys {
    let descriptor = c.cx.fds.any(fd)?;
    descriptor.seekable()?;
    let descriptor = c.cx.fds.get(fd, Need::Any, Rights::FD_ALLOCATE)?;
    if len == 0 {
        return Err(Errno::Inval.into());
    }
    // posix_fallocate(3): beyond the largest offset is EFBIG.
    range_in_range(offset, len).map_err(|_| Errno::Fbig)?;
    let answer = descriptor.file.allocate(offset, len);
    c.park_on_again(fd, answer)
}

pub(super) fn fd_fdstat_get(c: &mut Call<'_>, fd: u32, stat: u32) -> Sys {
    let d = c.cx.fds.any(fd)?;
    Ok(c.mem.put(stat, abi::fdstat(d.filetype, d.flags, d.base, d.inheriting))?)
}

pub(super) fn fd_fdstat_set_flags(c: &mut Call<'_>, fd: u32, flags: u32) -> Sys {
    let descriptor = c.cx.fds.get(fd, Need::Any, Rights::FD_FDSTAT_SET_FLAGS)?;
    descriptor.flags = Fdflags::parse(flags)?;
    Ok(())
}

/// Rights can be given up, never gained.
pub(super) fn fd_fdstat_set_rights(c: &mut Call<'_>, fd: u32, base: u64, inheriting: u64) -> Sys {
    let descriptor = c.cx.fds.any(fd)?;
    let parse = |bits: u64| Rights::parse(bits).map_err(|_| Errno::Notcapable);
    let base = parse(base)?;
    let inheriting = parse(inheriting)?;
    if !descriptor.base.has(base) || !descriptor.inheriting.has(inheriting) {
        return Err(Errno::Notcapable.into());
    }
    descriptor.base = base;
    descriptor.inheriting = inheriting;
    Ok(())
}

pub(super) fn fd_filestat_get(c: &mut Call<'_>, fd: u32, buf: u32) -> Sys {
    let descriptor = c.cx.fds.get(fd, Need::Any, Rights::FD_FILESTAT_GET)?;
    let stat = descriptor.stat();
    let stat = c.park_on_again(fd, stat)?;
    Ok(c.mem.put(buf, abi::filestat(&stat))?)
}

pub(super) fn fd_filestat_set_size(c: &mut Call<'_>, fd: u32, size: u64) -> Sys {
    let descriptor = c.cx.fds.get(fd, Need::Any, Rights::FD_FILESTAT_SET_SIZE)?;
    let answer = descriptor.file.set_len(offset_in_range(size)?);
    c.park_on_again(fd, answer)
}

pub(super) fn fd_filestat_set_times(
    c: &mut Call<'_>,
    fd: u32,
    atim: u64,
    mtim: u64,
    fst_flags: u32,
) -> Sys {
    let descriptor = c.cx.fds.get(fd, Need::Any, Rights::FD_FILESTAT_SET_TIMES)?;
    let answer = descriptor.file.set_times(times(atim, mtim, fst_flags)?);
    c.park_on_again(fd, answer)
}

/// The times to set; both a time and "now" for one of them is EINVAL.
pub(super) fn times(atim: u64, mtim: u64, fst_flags: u32) -> Result<Times, Errno> {
    let flags = Fstflags::parse(fst_flags)?;
    let one = |time: u64, set: Fstflags, now: Fstflags| match (flags.has(set), flags.has(now)) {
        (true, true) => Err(Errno::Inval),
        (true, false) => Ok(Some(SetTime::To(time))),
        (false, true) => Ok(Some(SetTime::Now)),
        (false, false) => Ok(None),
    };
    Ok(Times {
        atim: one(atim, Fstflags::ATIM, Fstflags::ATIM_NOW)?,
        mtim: one(mtim, Fstflags::MTIM, Fstflags::MTIM_NOW)?,
    })
}

pub(super) fn fd_prestat_get(c: &mut Call<'_>, fd: u32, buf: u32) -> Sys {
    let name = c.cx.fds.any(fd)?.preopen.as_ref().ok_or(Errno::Badf)?;
    let len = u32::try_from(name.len()).map_err(|_| Errno::Overflow)?;
    Ok(c.mem.put(buf, abi::prestat(len))?)
}

pub(super) fn fd_prestat_dir_name(c: &mut Call<'_>, fd: u32, path: u32, path_len: u32) -> Sys {
    let name = c.cx.fds.any(fd)?.preopen.as_ref().ok_or(Errno::Badf)?;
    let len = u32::try_from(name.len()).map_err(|_| Errno::Overflow)?;
    if path_len < len {
        return Err(Errno::Nametoolong.into());
    }
    c.mem.bytes_mut(path, len)?.copy_from_slice(name.as_bytes());
    Ok(())
}
