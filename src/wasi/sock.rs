//! `sock_*`: what only sockets can do.

use super::abi::{Fdflags, Riflags, Rights, Sdflags};
use super::fd::{Descriptor, Need};
use super::{Call, Sys, file};
use crate::Errno;
use crate::vfs::Interest;

pub(super) fn sock_accept(c: &mut Call<'_>, fd: u32, flags: u32, result_fd: u32) -> Sys {
    c.cx.fds.get(fd, Need::Socket, Rights::SOCK_ACCEPT)?;
    let flags = Fdflags::parse(flags)?;
    c.mem.check(result_fd, 4)?;
    c.cx.fds.room()?;
    let listener = c.cx.fds.any(fd)?;
    let path = format!("<accepted on {}>", listener.path);
    let answer = listener.file.accept();
    let stream = c.or_park(fd, Interest::READ, answer)?;
    let mut descriptor = Descriptor::stream(stream, path);
    descriptor.flags = flags;
    let number = c.cx.fds.insert(descriptor)?;
    Ok(c.mem.put_u32(result_fd, number)?)
}

/// A stream is a stream however it is read: without flags this is `fd_read`.
/// WAITALL reads what there is and, as after a signal in recv(2), may still come back with
/// less; a guest has to loop in any case.
pub(super) fn sock_recv(
    c: &mut Call<'_>,
    fd: u32,
    ri_data: u32,
    ri_data_len: u32,
    ri_flags: u32,
    ro_datalen: u32,
    ro_flags: u32,
) -> Sys {
    let descriptor = c.cx.fds.get(fd, Need::Socket, Rights::FD_READ)?;
    let flags = Riflags::parse(ri_flags)?;
    c.mem.check(ro_flags, 2)?;
    if flags.has(Riflags::RECV_PEEK) {
        c.mem.check(ro_datalen, 4)?;
        let mut bufs = c.mem.scatter(ri_data, ri_data_len)?;
        let answer = descriptor.file.peek(&mut bufs);
        drop(bufs);
        let count = c.or_park(fd, Interest::READ, answer)?;
        c.moved(ro_datalen, count)?;
    } else {
        file::fd_read(c, fd, ri_data, ri_data_len, ro_datalen)?;
    }
    Ok(c.mem.put(ro_flags, 0_u16.to_le_bytes())?)
}

pub(super) fn sock_send(
    c: &mut Call<'_>,
    fd: u32,
    si_data: u32,
    si_data_len: u32,
    si_flags: u32,
    so_datalen: u32,
) -> Sys {
    c.cx.fds.get(fd, Need::Socket, Rights::FD_WRITE)?;
    // The spec knows no flags here.
    if si_flags != 0 {
        return Err(Errno::Inval.into());
    }
    file::fd_write(c, fd, si_data, si_data_len, so_datalen)
}

pub(super) fn sock_shutdown(c: &mut Call<'_>, fd: u32, how: u32) -> Sys {
    let descriptor = c.cx.fds.get(fd, Need::Socket, Rights::SOCK_SHUTDOWN)?;
    let how = Sdflags::parse(how)?;
    if how == Sdflags::NONE {
        return Err(Errno::Inval.into());
    }
    let how = Interest { read: how.has(Sdflags::RD), write: how.has(Sdflags::WR) };
    Ok(descriptor.file.shutdown(how)?)
}
