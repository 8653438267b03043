//! Hosts as guests and rules name them, and what kind of address an address is.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::Range;

use super::zone::{Address, Zone};

/// A host that a guest asked for: a name in lower case without its trailing dot, or an
/// address. An IPv4-mapped IPv6 address is its IPv4 self.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Host {
    /// A name that has to be looked up.
    Name(HostName),
    /// An address as it was written.
    Addr(Address),
}

impl Host {
    /// `example.org`, `127.0.0.1`, `[::1]` or `[fe80::1%eth0]`; `None` for everything else.
    pub fn parse(text: &str) -> Option<Host> {
        if let Some(inner) = text.strip_prefix('[') {
            return Address::parse_v6(inner.strip_suffix(']')?).ok().map(Host::Addr);
        }
        if let Ok(address) = text.parse::<Ipv4Addr>() {
            return Some(Host::from(IpAddr::V4(address)));
        }
        HostName::parse(text).ok().map(Host::Name)
    }

    /// As [`Host::parse`], and IPv6 addresses without brackets, where no port follows.
    pub fn parse_alone(text: &str) -> Option<Host> {
        match Address::parse_v6(text) {
            Ok(address) => Some(Host::Addr(address)),
            Err(_) => Host::parse(text),
        }
    }

    /// As the peer knows it: a zone means something on this machine only (RFC 6874, section 4).
    #[cfg(feature = "tls")]
    pub(crate) fn without_zone(self) -> Host {
        match self {
            Host::Addr(address) => Host::Addr(address.without_zone()),
            Host::Name(_) => self,
        }
    }
}

impl From<IpAddr> for Host {
    fn from(address: IpAddr) -> Host {
        Host::Addr(address.into())
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name.as_str()),
            Host::Addr(address) if address.ip().is_ipv4() => write!(f, "{address}"),
            Host::Addr(address) => write!(f, "[{address}]"),
        }
    }
}

/// A host name (RFC 1123, and the underscore that is in use), in lower case, no trailing
/// dot. Never one that the C library would read as a number: `127.1` and `0x7f000001` are
/// addresses to it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostName(Box<str>);

/// Why a text is not a host name or an address, and where in it.
#[derive(Debug)]
pub(crate) struct BadName {
    pub at: Range<usize>,
    pub what: &'static str,
    pub hint: &'static str,
}

impl HostName {
    /// Bytes in the longest name, and in the longest label (RFC 1035).
    const MAX: usize = 253;
    const LABEL_MAX: usize = 63;

    pub(crate) fn parse(text: &str) -> Result<HostName, BadName> {
        let bad = |at, what, hint| Err(BadName { at, what, hint });
        let name = text.strip_suffix('.').unwrap_or(text);
        if let Some((at, c)) = name.char_indices().find(|(_, c)| !c.is_ascii()) {
            let at = at..at + c.len_utf8();
            return bad(at, "a name is ASCII", "write it in punycode (xn--...)");
        }
        let known = |c: u8| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_' | b'.');
        if let Some(at) = name.bytes().position(|c| !known(c)) {
            return bad(at..at + 1, "no host name has this character", "remove it");
        }
        if name.len() > Self::MAX {
            let at = Self::MAX..name.len();
            return bad(at, "the name is too long", "use at most 253 bytes");
        }
        let mut at = 0;
        for label in name.split('.') {
            let here = at..at + label.len();
            if label.is_empty() {
                return bad(at..at + 1, "a label is empty", "write something between the dots");
            }
            if label.len() > Self::LABEL_MAX {
                return bad(here, "the label is too long", "use at most 63 bytes between dots");
            }
            if label.starts_with('-') || label.ends_with('-') {
                return bad(here, "a label has a hyphen at its edge", "remove the hyphen");
            }
            at = here.end + 1;
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        if last.bytes().all(|c| c.is_ascii_digit()) || last.to_ascii_lowercase().starts_with("0x") {
            let hint = "write four decimal numbers, as 192.0.2.1";
            return bad(0..name.len(), "this is a number but no IPv4 address", hint);
        }
        Ok(HostName(name.to_ascii_lowercase().into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is `localhost`, the one name for loopback addresses.
    pub fn is_localhost(&self) -> bool {
        &*self.0 == "localhost"
    }

    /// Whether it is a name below `parent`, at any depth; not `parent` itself.
    pub(crate) fn is_below(&self, parent: &HostName) -> bool {
        self.0.strip_suffix(&*parent.0).is_some_and(|left| left.ends_with('.'))
    }
}

/// A range of addresses: all that agree with `base` in their first `prefix` bits, of one zone or
/// of any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cidr {
    base: IpAddr,
    prefix: u8,
    zone: Option<Zone>,
}

impl Cidr {
    /// `Err` is the range that was probably meant, if `base` has bits beyond its mask;
    /// `None` if the mask is longer than the address. A range of IPv4-mapped addresses is
    /// a range of IPv4 addresses.
    pub fn new(base: IpAddr, prefix: u8) -> Option<Result<Cidr, Cidr>> {
        if prefix > width(base) {
            return None;
        }
        let meant = Cidr { base: cut(base, prefix), prefix, zone: None };
        if meant.base != base {
            return Some(Err(meant));
        }
        Some(Ok(match (base, base.to_canonical()) {
            (IpAddr::V6(_), v4 @ IpAddr::V4(_)) => {
                Cidr { base: v4, prefix: prefix.saturating_sub(96), zone: None }
            }
            _ => meant,
        }))
    }

    /// The range of this one address.
    pub fn one(address: Address) -> Cidr {
        let base = address.ip();
        Cidr { base, prefix: width(base), zone: address.zone().cloned() }
    }

    /// The part of it that is in that zone.
    pub fn of_zone(self, zone: Option<&Zone>) -> Cidr {
        Cidr { zone: zone.cloned(), ..self }
    }

    pub fn covers(&self, address: &Address) -> bool {
        let ip = address.ip();
        ip.is_ipv4() == self.base.is_ipv4()
            && cut(ip, self.prefix) == self.base
            && address.is_in(self.zone.as_ref())
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.zone {
            Some(zone) => write!(f, "[{}%{}]", self.base, zone.as_str())?,
            None => write!(f, "{}", Host::from(self.base))?,
        }
        if self.prefix == width(self.base) { Ok(()) } else { write!(f, "/{}", self.prefix) }
    }
}

fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The address with all but its first `prefix` bits cleared.
fn cut(address: IpAddr, prefix: u8) -> IpAddr {
    let prefix = u32::from(prefix);
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - prefix).unwrap_or(0);
            Ipv4Addr::from_bits(v4.to_bits() & mask).into()
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - prefix).unwrap_or(0);
            Ipv6Addr::from_bits(v6.to_bits() & mask).into()
        }
    }
}

/// What kind of address an address is. Only a public one is reached through a name alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// Of the internet at large.
    Public,
    /// This machine.
    Loopback,
    /// Of a private network (RFC 1918, unique local).
    Private,
    /// Of the wire it is on.
    LinkLocal,
    /// A cloud's metadata service.
    Metadata,
    /// Behind a carrier's NAT (100.64.0.0/10).
    Shared,
    /// "Any address", which systems take for this machine.
    Unspecified,
    /// A group, not a host.
    Multicast,
    /// None that a host of the internet has.
    Reserved,
}

impl Class {
    /// The class of an address; addresses that only wrap an IPv4 address (mapped,
    /// compatible, 6to4, NAT64) have the class of what they wrap.
    pub fn of(address: IpAddr) -> Class {
        match address.to_canonical() {
            IpAddr::V4(v4) => class_v4(v4),
            IpAddr::V6(v6) => class_v6(v6),
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Class::Public => "public",
            Class::Loopback => "loopback",
            Class::Private => "private",
            Class::LinkLocal => "link-local",
            Class::Metadata => "metadata",
            Class::Shared => "shared (RFC 6598)",
            Class::Unspecified => "unspecified",
            Class::Multicast => "multicast",
            Class::Reserved => "reserved",
        })
    }
}

/// IANA's special-purpose registry, and the clouds' services; the first match counts.
const V4: &[(u8, u8, u8, u8, u8, Class)] = &[
    (169, 254, 169, 254, 32, Class::Metadata), // AWS, Azure, GCP and others
    (100, 100, 100, 200, 32, Class::Metadata), // Alibaba
    (168, 63, 129, 16, 32, Class::Metadata),   // Azure's wire server
    (192, 0, 0, 192, 32, Class::Metadata),     // Oracle
    (0, 0, 0, 0, 8, Class::Unspecified),
    (10, 0, 0, 0, 8, Class::Private),
    (100, 64, 0, 0, 10, Class::Shared),
    (127, 0, 0, 0, 8, Class::Loopback),
    (169, 254, 0, 0, 16, Class::LinkLocal),
    (172, 16, 0, 0, 12, Class::Private),
    (192, 0, 0, 0, 24, Class::Reserved),
    (192, 0, 2, 0, 24, Class::Reserved),
    (192, 88, 99, 0, 24, Class::Reserved),
    (192, 168, 0, 0, 16, Class::Private),
    (198, 18, 0, 0, 15, Class::Reserved),
    (198, 51, 100, 0, 24, Class::Reserved),
    (203, 0, 113, 0, 24, Class::Reserved),
    (224, 0, 0, 0, 4, Class::Multicast),
    (240, 0, 0, 0, 4, Class::Reserved), // with 255.255.255.255, the broadcast
];

fn class_v4(address: Ipv4Addr) -> Class {
    let within = |&&(a, b, c, d, prefix, _): &&(u8, u8, u8, u8, u8, Class)| {
        cut(address.into(), prefix) == IpAddr::from([a, b, c, d])
    };
    V4.iter().find(within).map_or(Class::Public, |row| row.5)
}

/// What is not known to be public is not: the unassigned rest is `Reserved`.
fn class_v6(address: Ipv6Addr) -> Class {
    let v4 =
        |high: u16, low: u16| class_v4(Ipv4Addr::from_bits(u32::from(high) << 16 | u32::from(low)));
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        [0, 0, 0, 0, 0, 0, high, low] => v4(high, low), // IPv4-compatible
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low), // NAT64
        [0x64, 0xff9b, 1, ..] => Class::Private,        // NAT64 of a local network
        [0x2002, high, low, ..] => v4(high, low),       // 6to4
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => Class::Metadata, // AWS
        [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => Class::Metadata, // GCP
        [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Class::Private,
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        [0xff00..=0xffff, ..] => Class::Multicast,
        [0x2001, ..=0x1ff, ..] => Class::Reserved, // protocols: Teredo, ORCHID
        [0x2001, 0xdb8, ..] => Class::Reserved,    // documentation
        [0x3fff, ..=0xfff, ..] => Class::Reserved, // documentation
        [0x2000..=0x3fff, ..] => Class::Public,
        _ => Class::Reserved,
    }
}
