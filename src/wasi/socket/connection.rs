//! Opening sockets, and giving them their two ends.

use super::super::abi::{Fdflags, Rights};
use super::super::fd::{Descriptor, Need};
use super::super::{Call, Stop, Sys, wait};
use super::address::{self, Room};
use crate::errno::Errno;
use crate::vfs::net::{Endpoint, Family};
use crate::vfs::{Filetype, Interest, charge};
use std::net::SocketAddr;

/// Types of sockets, as guests number them.
pub(super) const DGRAM: u32 = 1;
pub(super) const STREAM: u32 = 2;

/// The socket of a descriptor that has this right.
pub(super) fn endpoint<'c>(
    c: &'c mut Call<'_>,
    fd: u32,
    right: Rights,
) -> Result<&'c mut dyn Endpoint, Errno> {
    c.cx.fds.get(fd, Need::Socket, right)?.file.endpoint()
}

pub(super) fn sock_open(c: &mut Call<'_>, family: u32, socktype: u32, result_fd: u32) -> Sys {
    charge::serve(c.cx.party);
    c.mem.check(result_fd, 4)?;
    let family = address::family(family)?;
    let kind = match socktype {
        DGRAM => Filetype::SocketDgram,
        STREAM => Filetype::SocketStream,
        _ => return Err(Errno::Prototype.into()),
    };
    c.cx.fds.room()?;
    let file = c.cx.network()?.socket(family, kind)?;
    let number = c.cx.fds.insert(Descriptor::stream(file, "<socket>"))?;
    Ok(c.mem.put_u32(result_fd, number)?)
}

/// What a descriptor is called from then on: by what was asked of it, so that traces say it and
/// learned policies allow it.
pub(super) fn rename(c: &mut Call<'_>, fd: u32) -> Result<(), Errno> {
    let descriptor = c.cx.fds.any(fd)?;
    if let Some(name) = descriptor.file.endpoint()?.name()
        && *name != *descriptor.path
    {
        descriptor.path = name.into();
    }
    Ok(())
}

pub(super) fn sock_bind(c: &mut Call<'_>, fd: u32, addr: u32, port: u32) -> Sys {
    charge::serve(c.cx.party);
    endpoint(c, fd, Rights::SOCK_ACCEPT)?;
    let at = address::read(&c.mem, addr, port)?;
    endpoint(c, fd, Rights::SOCK_ACCEPT)?.bind(at)?;
    Ok(rename(c, fd)?)
}

pub(super) fn sock_listen(c: &mut Call<'_>, fd: u32, backlog: u32) -> Sys {
    charge::serve(c.cx.party);
    endpoint(c, fd, Rights::SOCK_ACCEPT)?.listen(backlog)?;
    Ok(rename(c, fd)?)
}

/// With NONBLOCK the guest gets EINPROGRESS, and learns by `poll_oneoff` and `SO_ERROR` how it has
/// ended. Otherwise it waits. The frame remembers that the connect is its own.
pub(super) fn sock_connect(c: &mut Call<'_>, fd: u32, addr: u32, port: u32) -> Sys {
    charge::serve(c.cx.party);
    endpoint(c, fd, Rights::FD_WRITE)?;
    let answer = if c.cx.frame.progress > 0 {
        endpoint(c, fd, Rights::FD_WRITE)?.connected()
    } else {
        let to = address::read(&c.mem, addr, port)?;
        let answer = endpoint(c, fd, Rights::FD_WRITE)?.connect(to);
        rename(c, fd)?;
        match answer {
            Err(Errno::Inprogress) if !c.cx.fds.any(fd)?.flags.has(Fdflags::NONBLOCK) => {
                Err(Errno::Again)
            }
            answer => answer,
        }
    };
    if answer != Err(Errno::Again) {
        return Ok(answer?);
    }
    match c.wait_for(fd, Interest::WRITE) {
        Stop::Park => {}
        // Its time is over (SO_SNDTIMEO), and the connect goes on without it.
        Stop::Errno(Errno::Again) => return Err(Errno::Inprogress.into()),
        stop => return Err(stop),
    }
    c.cx.frame.progress = 1;
    if let Some(until) = endpoint(c, fd, Rights::FD_WRITE)?.deadline() {
        let left = u64::try_from(wait::time_until(until).as_nanos()).unwrap_or(u64::MAX);
        let until = c.cx.clock.monotonic().saturating_add(left);
        c.cx.frame.deadline = Some(c.cx.frame.deadline.map_or(until, |own| own.min(until)));
    }
    Err(Stop::Park)
}

/// Which of its ends an address is asked for.
type End = fn(&mut dyn Endpoint) -> Result<SocketAddr, Errno>;

fn own(socket: &mut dyn Endpoint) -> Result<SocketAddr, Errno> {
    socket.local_addr()
}

fn peer(socket: &mut dyn Endpoint) -> Result<SocketAddr, Errno> {
    socket.peer_addr()
}

fn put_address(
    c: &mut Call<'_>,
    end: End,
    (fd, addr, port): (u32, u32, u32),
    kind: Option<u32>,
) -> Sys {
    endpoint(c, fd, Rights::NONE)?;
    let room = Room::check(&c.mem, addr)?;
    c.mem.check(port, 4)?;
    if let Some(kind) = kind {
        c.mem.check(kind, 4)?;
    }
    let address = end(endpoint(c, fd, Rights::NONE)?)?;
    room.put(&mut c.mem, address)?;
    if let Some(kind) = kind {
        let number = if Family::of(address) == Family::V4 { 4 } else { 6 };
        c.mem.put_u32(kind, number)?;
    }
    Ok(c.mem.put_u32(port, address.port().into())?)
}

pub(super) fn sock_getlocaladdr(c: &mut Call<'_>, fd: u32, addr: u32, port: u32) -> Sys {
    put_address(c, own, (fd, addr, port), None)
}

pub(super) fn sock_getpeeraddr(c: &mut Call<'_>, fd: u32, addr: u32, port: u32) -> Sys {
    put_address(c, peer, (fd, addr, port), None)
}

/// WasmEdge's form: with the kind of the address as 4 or 6.
pub(super) fn sock_getlocaladdr_v1(
    c: &mut Call<'_>,
    fd: u32,
    addr: u32,
    addr_type: u32,
    port: u32,
) -> Sys {
    put_address(c, own, (fd, addr, port), Some(addr_type))
}

/// As [`sock_getlocaladdr_v1`].
pub(super) fn sock_getpeeraddr_v1(
    c: &mut Call<'_>,
    fd: u32,
    addr: u32,
    addr_type: u32,
    port: u32,
) -> Sys {
    put_address(c, peer, (fd, addr, port), Some(addr_type))
}
