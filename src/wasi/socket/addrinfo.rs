//! `sock_getaddrinfo`: names to addresses, by the host's resolver.
//!
//! The guest gives a list of records that it has allocated, and the host fills them in: 28 bytes
//! each, which point to an address of 12 bytes, which points to the port (big-endian) and the bytes
//! of the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::super::{Call, Mem, Sys};
use super::address::{INET4, INET6};
use super::connection::{DGRAM, STREAM};
use crate::errno::Errno;
use crate::vfs::charge;
use crate::vfs::net::Host;

/// Bytes of a record, and of the address that it points to.
const RECORD: usize = 28;
const ADDRESS: usize = 12;

/// Records that one call fills in.
const RECORDS_MAX: u32 = 64;

/// Bytes that are room for either kind of address with its port. `wasmedge_wasi_socket` says 14,
/// which is what a `sockaddr` of IPv4 has, and gives 26.
const ROOM_SAID: u32 = 14;
const ROOM: u32 = 26;

/// `addrlen`, as WasmEdge answers it.
const ADDRLEN: u32 = 16;

/// `ai_flags`.
const PASSIVE: u16 = 1;
const NUMERICHOST: u16 = 4;
const NUMERICSERV: u16 = 8;

/// `ai_protocol`.
const TCP: u32 = 1;
const UDP: u32 = 2;

/// Services that are known by name, as `/etc/services` has them.
const SERVICES: &[(&str, u16)] = &[
    ("domain", 53),
    ("ftp", 21),
    ("http", 80),
    ("https", 443),
    ("imap", 143),
    ("imaps", 993),
    ("ldap", 389),
    ("mysql", 3306),
    ("ntp", 123),
    ("pop3", 110),
    ("postgresql", 5432),
    ("redis", 6379),
    ("smtp", 25),
    ("ssh", 22),
    ("submission", 587),
    ("telnet", 23),
];

/// What the guest asks for.
struct Hints {
    flags: u16,
    /// 0 is either.
    family: u16,
    socktype: u32,
}

impl Hints {
    /// A pointer that is 0 is none. Flags that are not known ask for nothing here.
    fn read(mem: &Mem<'_>, at: u32) -> Result<Hints, Errno> {
        if at == 0 {
            return Ok(Hints { flags: 0, family: 0, socktype: 0 });
        }
        let record = mem.array::<RECORD>(at)?;
        let hints = Hints {
            flags: u16::from_le_bytes([record[0], record[1]]),
            family: record[2].into(),
            socktype: record[3].into(),
        };
        if hints.family > INET6 {
            return Err(Errno::Afnosupport);
        }
        if hints.socktype > STREAM {
            return Err(Errno::Prototype);
        }
        Ok(hints)
    }

    fn wants(&self, address: &IpAddr) -> bool {
        match self.family {
            INET4 => address.is_ipv4(),
            INET6 => address.is_ipv6(),
            _ => true,
        }
    }
}

/// Text of the guest, that may end in a NUL.
fn text<'m>(mem: &'m Mem<'_>, at: u32, len: u32) -> Result<&'m str, Errno> {
    let text = mem.text(at, len)?;
    Ok(text.strip_suffix('\0').unwrap_or(text))
}

fn port(service: &str, flags: u16) -> Result<u16, Errno> {
    if service.is_empty() {
        return Ok(0);
    }
    if service.bytes().all(|byte| byte.is_ascii_digit()) {
        return service.parse().map_err(|_| Errno::Inval);
    }
    let known = SERVICES.iter().find(|(name, _)| *name == service);
    let known = known.filter(|_| flags & NUMERICSERV == 0);
    known.map(|(_, port)| *port).ok_or(Errno::Noent)
}

/// Where one answer goes.
struct Slot {
    record: u32,
    address: u32,
    data: u32,
}

/// The records of the guest's list that `found` needs, each of them with room.
fn slots(mem: &Mem<'_>, first: u32, found: &[IpAddr]) -> Result<Vec<Slot>, Errno> {
    let word = |bytes: &[u8], at: usize| {
        u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
    };
    let mut slots = Vec::with_capacity(found.len());
    let mut record = first;
    for ip in found {
        if record == 0 {
            break;
        }
        let fields = mem.array::<RECORD>(record)?;
        let address = word(fields, 12);
        let next = word(fields, 24);
        let fields = mem.array::<ADDRESS>(address)?;
        let said = word(fields, 4);
        let data = word(fields, 8);
        let room = if said >= ROOM_SAID { said.max(ROOM) } else { said };
        let needed = if ip.is_ipv4() { 6 } else { 18 };
        if room < needed {
            return Err(Errno::Inval);
        }
        mem.check(data, needed)?;
        slots.push(Slot { record, address, data });
        record = next;
    }
    Ok(slots)
}

fn fill(mem: &mut Mem<'_>, slot: &Slot, ip: IpAddr, port: u16, hints: &Hints) -> Result<(), Errno> {
    let family: u8 = if ip.is_ipv4() { 1 } else { 2 };
    let (socktype, protocol): (u8, u32) = if hints.socktype == DGRAM { (1, UDP) } else { (2, TCP) };
    mem.put(slot.record, hints.flags.to_le_bytes())?;
    mem.put(slot.record + 2, [family, socktype])?;
    mem.put_u32(slot.record + 4, protocol)?;
    mem.put_u32(slot.record + 8, ADDRLEN)?;
    mem.put_u32(slot.address, family.into())?;
    mem.put(slot.data, port.to_be_bytes())?;
    match ip {
        IpAddr::V4(v4) => mem.put(slot.data + 2, v4.octets()),
        IpAddr::V6(v6) => mem.put(slot.data + 2, v6.octets()),
    }
}

/// Without a node: any address, to listen on, or this machine's own.
fn of_no_node(flags: u16) -> Vec<IpAddr> {
    if flags & PASSIVE != 0 {
        vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]
    } else {
        vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]
    }
}

#[expect(clippy::too_many_arguments, reason = "the dialect's")]
pub(super) fn sock_getaddrinfo(
    c: &mut Call<'_>,
    node: u32,
    node_len: u32,
    service: u32,
    service_len: u32,
    hints: u32,
    res: u32,
    res_max: u32,
    res_len: u32,
) -> Sys {
    charge::serve(c.cx.party);
    let hints = Hints::read(&c.mem, hints)?;
    let port = port(text(&c.mem, service, service_len)?, hints.flags)?;
    let first = u32::from_le_bytes(*c.mem.array(res)?);
    c.mem.check(res_len, 4)?;
    let network = c.cx.network()?;
    let node = text(&c.mem, node, node_len)?;
    let mut found = if node.is_empty() {
        of_no_node(hints.flags)
    } else {
        let host = Host::parse_alone(node).ok_or(Errno::Inval)?;
        if hints.flags & NUMERICHOST != 0 && matches!(host, Host::Name(_)) {
            return Err(Errno::Hostunreach.into());
        }
        network.addresses(&c.cx.frame.memo, host)?
    };
    found.retain(|address| hints.wants(address));
    if found.is_empty() {
        return Err(Errno::Hostunreach.into());
    }
    found.truncate(usize::try_from(res_max.min(RECORDS_MAX)).unwrap_or_default());
    let slots = slots(&c.mem, first, &found)?;
    let mut count = 0;
    for (slot, ip) in slots.iter().zip(found) {
        fill(&mut c.mem, slot, ip, port, &hints)?;
        count += 1;
    }
    Ok(c.mem.put_u32(res_len, count)?)
}
