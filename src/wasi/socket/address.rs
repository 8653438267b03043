//! Addresses as guests write them: a pointer to `{ buf, len }`, with the port beside it.
//!
//! | `len` | in `buf` |
//! |---|---|
//! | 4 | the bytes of an IPv4 address |
//! | 16 | the bytes of an IPv6 address; in a result also an IPv4 address, in the first four |
//! | 128 | the family as a 16-bit number, and the bytes after it |

use std::net::{IpAddr, SocketAddr};

use super::super::Mem;
use crate::errno::Errno;
use crate::vfs::net::Family;

/// Families, as guests number them. 3 is that of Unix sockets, which are names of files here.
pub(super) const INET4: u16 = 1;
pub(super) const INET6: u16 = 2;

/// The length of an address that begins with its family.
const WITH_FAMILY: u32 = 128;

/// The family of that number.
pub(super) fn family(number: u32) -> Result<Family, Errno> {
    match u16::try_from(number) {
        Ok(INET4) => Ok(Family::V4),
        Ok(INET6) => Ok(Family::V6),
        _ => Err(Errno::Afnosupport),
    }
}

/// Where the bytes of an address are, and how many.
fn place(mem: &Mem<'_>, addr: u32) -> Result<(u32, u32), Errno> {
    let [a, b, c, d, e, f, g, h] = *mem.array::<8>(addr)?;
    Ok((u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h])))
}

fn ip(mem: &Mem<'_>, addr: u32) -> Result<IpAddr, Errno> {
    let (buf, len) = place(mem, addr)?;
    match len {
        4 => Ok(IpAddr::from(*mem.array::<4>(buf)?)),
        16 => Ok(IpAddr::from(*mem.array::<16>(buf)?)),
        WITH_FAMILY => {
            let bytes = mem.array::<{ WITH_FAMILY as usize }>(buf)?;
            let data = &bytes[2..];
            match u16::from_le_bytes([bytes[0], bytes[1]]) {
                INET4 => Ok(IpAddr::from(*data.first_chunk::<4>().ok_or(Errno::Inval)?)),
                INET6 => Ok(IpAddr::from(*data.first_chunk::<16>().ok_or(Errno::Inval)?)),
                _ => Err(Errno::Afnosupport),
            }
        }
        _ => Err(Errno::Inval),
    }
}

/// An address and its port; EINVAL for a length or a port that none has.
pub(super) fn read(mem: &Mem<'_>, addr: u32, port: u32) -> Result<SocketAddr, Errno> {
    let ip = ip(mem, addr)?;
    Ok(SocketAddr::new(ip, u16::try_from(port).map_err(|_| Errno::Inval)?))
}

/// Room for an address, checked before anything is done that would be lost without it.
#[derive(Clone, Copy)]
pub(super) struct Room {
    buf: u32,
    len: u32,
}

impl Room {
    pub fn check(mem: &Mem<'_>, addr: u32) -> Result<Room, Errno> {
        let (buf, len) = place(mem, addr)?;
        if !matches!(len, 4 | 16 | WITH_FAMILY) {
            return Err(Errno::Inval);
        }
        mem.check(buf, len)?;
        Ok(Room { buf, len })
    }

    /// EINVAL if an IPv6 address finds room for an IPv4 one.
    pub fn put(self, mem: &mut Mem<'_>, address: SocketAddr) -> Result<(), Errno> {
        let with_family = self.len == WITH_FAMILY;
        let at = if with_family { self.buf + 2 } else { self.buf };
        let number = match address.ip() {
            IpAddr::V4(v4) => {
                mem.put(at, v4.octets())?;
                INET4
            }
            IpAddr::V6(_) if self.len < 16 => return Err(Errno::Inval),
            IpAddr::V6(v6) => {
                mem.put(at, v6.octets())?;
                INET6
            }
        };
        if with_family { mem.put(self.buf, number.to_le_bytes()) } else { Ok(()) }
    }
}
