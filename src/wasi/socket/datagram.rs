//! Datagrams with the address at their other end.

use super::super::abi::{Riflags, Rights};
use super::super::mem::IO_BYTES_MAX;
use super::super::{Call, Sys};
use super::address::{self, Room};
use super::connection::{endpoint, rename};
use crate::errno::Errno;
use crate::vfs::{Interest, charge};

/// The one flag of `roflags`: a datagram was longer than there was room for.
const RECV_DATA_TRUNCATED: u16 = 1 << 0;

/// Where the results of a receive go.
struct Results {
    addr: u32,
    port: Option<u32>,
    ro_datalen: u32,
    ro_flags: u32,
}

fn receive(
    c: &mut Call<'_>,
    fd: u32,
    (ri_data, ri_data_len, ri_flags): (u32, u32, u32),
    results: Results,
) -> Sys {
    charge::serve(c.cx.party);
    endpoint(c, fd, Rights::FD_READ)?;
    let flags = Riflags::parse(ri_flags)?;
    let room = Room::check(&c.mem, results.addr)?;
    if let Some(port) = results.port {
        c.mem.check(port, 4)?;
    }
    c.mem.check(results.ro_datalen, 4)?;
    c.mem.check(results.ro_flags, 2)?;
    c.vectors(ri_data_len);
    let descriptor = c.cx.fds.any(fd)?;
    let mut bufs = c.mem.scatter(ri_data, ri_data_len)?;
    let peek = flags.has(Riflags::RECV_PEEK);
    let answer = descriptor.file.endpoint()?.receive_from(&mut bufs, peek);
    drop(bufs);
    let received = c.park_unless_nonblock(fd, Interest::READ, answer)?;
    room.put(&mut c.mem, received.from)?;
    if let Some(port) = results.port {
        c.mem.put_u32(port, received.from.port().into())?;
    }
    let flags = if received.truncated { RECV_DATA_TRUNCATED } else { 0 };
    c.mem.put(results.ro_flags, flags.to_le_bytes())?;
    c.moved(results.ro_datalen, received.count)
}

#[expect(clippy::too_many_arguments, reason = "the dialect's")]
pub(super) fn sock_recv_from(
    c: &mut Call<'_>,
    fd: u32,
    ri_data: u32,
    ri_data_len: u32,
    addr: u32,
    ri_flags: u32,
    port: u32,
    ro_datalen: u32,
    ro_flags: u32,
) -> Sys {
    let results = Results { addr, port: Some(port), ro_datalen, ro_flags };
    receive(c, fd, (ri_data, ri_data_len, ri_flags), results)
}

/// The first form, in which the port is not asked for.
#[expect(clippy::too_many_arguments, reason = "the dialect's")]
pub(super) fn sock_recv_from_v1(
    c: &mut Call<'_>,
    fd: u32,
    ri_data: u32,
    ri_data_len: u32,
    addr: u32,
    ri_flags: u32,
    ro_datalen: u32,
    ro_flags: u32,
) -> Sys {
    let results = Results { addr, port: None, ro_datalen, ro_flags };
    receive(c, fd, (ri_data, ri_data_len, ri_flags), results)
}

/// A datagram is taken as one or refused.
#[expect(clippy::too_many_arguments, reason = "the dialect's")]
pub(super) fn sock_send_to(
    c: &mut Call<'_>,
    fd: u32,
    si_data: u32,
    si_data_len: u32,
    addr: u32,
    port: u32,
    si_flags: u32,
    so_datalen: u32,
) -> Sys {
    charge::serve(c.cx.party);
    endpoint(c, fd, Rights::FD_WRITE)?;
    if si_flags != 0 {
        return Err(Errno::Inval.into());
    }
    let to = address::read(&c.mem, addr, port)?;
    c.mem.check(so_datalen, 4)?;
    c.vectors(si_data_len);
    let descriptor = c.cx.fds.any(fd)?;
    let (bufs, whole) = c.mem.gather(si_data, si_data_len, 0)?;
    if u64::from(whole) > IO_BYTES_MAX as u64 {
        return Err(Errno::Msgsize.into());
    }
    let answer = descriptor.file.endpoint()?.send_to(&bufs, to);
    drop(bufs);
    rename(c, fd)?;
    let count = c.park_unless_nonblock(fd, Interest::WRITE, answer)?;
    c.moved(so_datalen, count)
}
