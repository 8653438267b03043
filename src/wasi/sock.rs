//! `sock_*`: what only sockets can do.

use std::io::IoSliceMut;

use super::abi::{Fdflags, Riflags, Rights, Sdflags};
use super::fd::{Descriptor, Need};
use super::{Call, Stop, Sys, file, write};
use crate::errno::Errno;
use crate::vfs::{Filetype, Interest, Ready};

pub(super) fn sock_accept(c: &mut Call<'_>, fd: u32, flags: u32, result_fd: u32) -> Sys {
    c.cx.fds.get(fd, Need::Socket, Rights::SOCK_ACCEPT)?;
    let flags = Fdflags::parse(flags)?;
    c.mem.check(result_fd, 4)?;
    c.cx.fds.room()?;
    let listener = c.cx.fds.any(fd)?;
    let path = format!("<accepted on {}>", listener.path);
    let answer = listener.file.accept();
    let stream = c.park_unless_nonblock(fd, Interest::READ, answer)?;
    let mut descriptor = Descriptor::stream(stream, path);
    descriptor.flags = flags;
    let number = c.cx.fds.insert(descriptor)?;
    Ok(c.mem.put_u32(result_fd, number)?)
}

/// The one flag of `roflags`: a datagram was longer than there was room for.
const RECV_DATA_TRUNCATED: u16 = 1 << 0;

/// A stream is a stream however it is read: without flags this is `fd_read`. WAITALL means
/// nothing to a datagram, nor with PEEK, which reads what is there now.
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
        let count = c.park_unless_nonblock(fd, Interest::READ, answer)?;
        c.moved(ro_datalen, count)?;
    } else if flags.has(Riflags::RECV_WAITALL) && descriptor.filetype == Filetype::SocketStream {
        c.mem.check(ro_datalen, 4)?;
        let count = receive_all(c, fd, ri_data, ri_data_len)?;
        c.moved(ro_datalen, count)?;
    } else {
        file::fd_read(c, fd, ri_data, ri_data_len, ro_datalen)?;
    }
    let cut = c.cx.fds.any(fd)?.file.truncated();
    let flags = if cut { RECV_DATA_TRUNCATED } else { 0 };
    Ok(c.mem.put(ro_flags, flags.to_le_bytes())?)
}

/// Receives until the buffers are full (or [`IO_BYTES_MAX`](super::mem::IO_BYTES_MAX) of
/// them), the stream ends or fails, or a descriptor with NONBLOCK has no more for now. What
/// has come is in the guest's buffers already while it waits for the rest, and the frame
/// knows how much that is: a retry continues after it.
fn receive_all(c: &mut Call<'_>, fd: u32, ri_data: u32, ri_data_len: u32) -> Result<usize, Stop> {
    c.vectors(ri_data_len);
    loop {
        let descriptor = c.cx.fds.get(fd, Need::Socket, Rights::FD_READ)?;
        let mut bufs = c.mem.scatter(ri_data, ri_data_len)?;
        let wanted: usize = bufs.iter().map(|buf| buf.len()).sum();
        let done = usize::try_from(c.cx.frame.progress).map_err(|_| Errno::Overflow)?;
        // Less can be wanted than before if the guest has us write over its own vectors.
        let done = done.min(wanted);
        let mut rest = &mut bufs[..];
        IoSliceMut::advance_slices(&mut rest, done);
        if rest.is_empty() {
            return Ok(done);
        }
        // A socket reports its error once: it is left to the next call, which can return it.
        let failed = |ready: Ready| ready.hangup && ready.nbytes == 0;
        if done > 0 && descriptor.file.ready(Interest::READ).is_ok_and(failed) {
            return Ok(done);
        }
        let answer = descriptor.file.read(rest, 0);
        drop(bufs);
        match answer {
            Ok(0) => return Ok(done),
            Ok(count) => {
                let done = u32::try_from(done + count).map_err(|_| Errno::Overflow)?;
                c.cx.frame.progress = done;
            }
            Err(Errno::Again) => {
                match c.park_unless_nonblock::<usize>(fd, Interest::READ, answer) {
                    Err(Stop::Errno(_)) if done > 0 => return Ok(done),
                    other => return other,
                }
            }
            Err(_) if done > 0 => return Ok(done),
            Err(error) => return Err(error.into()),
        }
    }
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
    write::fd_write(c, fd, si_data, si_data_len, so_datalen)
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
