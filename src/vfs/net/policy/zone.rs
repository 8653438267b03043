//! Addresses, and the zone of those that mean something on one link only (RFC 4007).

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, SocketAddrV6, ToSocketAddrs};

use super::addr::{BadName, Class};
use crate::vfs::Errno;

/// The interface of a link-local address: what follows `%` in `fe80::1%eth0`. It is a name or a
/// number, and is looked up when it is used: interfaces come and go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Zone(Box<str>);

/// Bytes in the longest name of an interface (`IFNAMSIZ` without its NUL).
const ZONE_MAX: usize = 15;

impl Zone {
    fn parse(text: &str) -> Result<Zone, BadName> {
        let bad = |at, what, hint| Err(BadName { at, what, hint });
        // No other character gets into log lines, nor into rules that people copy to a shell.
        let known = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.is_empty() {
            return bad(0..0, "the zone is empty", "write the interface, as [fe80::1%eth0]");
        }
        if let Some((at, c)) = text.char_indices().find(|(_, c)| !known(*c)) {
            let hint = "write the interface's name, or its number, as [fe80::1%2]";
            return bad(at..at + c.len_utf8(), "no zone has this character", hint);
        }
        if text.len() > ZONE_MAX {
            return bad(0..text.len(), "the zone is too long", "use at most 15 bytes");
        }
        Ok(Zone(text.into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The number of the interface, `None` if this machine has none of that name.
    pub fn index(&self) -> Option<u32> {
        if self.0.bytes().all(|c| c.is_ascii_digit()) {
            return self.0.parse().ok().filter(|index| *index != 0);
        }
        // The C library of each system knows its interfaces. It asks no server about an address.
        let found = (&*format!("fe80::1%{}", self.0), 0).to_socket_addrs().ok()?;
        let index = |address| match address {
            SocketAddr::V6(v6) => Some(v6.scope_id()).filter(|index| *index != 0),
            SocketAddr::V4(_) => None,
        };
        found.filter_map(index).next()
    }

    /// Whether both are the same interface, by whatever name.
    fn is(&self, other: &Zone) -> bool {
        self == other || self.index().is_some_and(|own| other.index() == Some(own))
    }
}

/// An address, with its zone if it was given one. An IPv4-mapped IPv6 address is its IPv4 self.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    ip: IpAddr,
    zone: Option<Zone>,
}

impl Address {
    /// `127.0.0.1`, `::1` or `fe80::1%eth0`, without brackets.
    pub(crate) fn parse_v6(text: &str) -> Result<Address, BadName> {
        let bad = |at, what, hint| BadName { at, what, hint };
        let (ip, zone) = match text.split_once('%') {
            Some((ip, zone)) => (ip, Some(zone)),
            None => (text, None),
        };
        let hint = "write [fd00::]:443, or [fd00::]/8:443 with a mask";
        let parsed: Ipv6Addr =
            ip.parse().map_err(|_| bad(0..text.len(), "invalid IPv6 address", hint))?;
        let address = Address::from(IpAddr::V6(parsed));
        let Some(zone) = zone else {
            return Ok(address);
        };
        if !address.is_of_a_link() {
            let at = ip.len()..text.len();
            return Err(bad(at, "only a link-local address has a zone", "remove what follows %"));
        }
        let after = ip.len() + 1;
        let zone = Zone::parse(zone).map_err(|error| {
            let at = error.at.start + after..error.at.end + after;
            BadName { at, ..error }
        })?;
        Ok(Address { zone: Some(zone), ..address })
    }

    /// The address alone.
    pub fn ip(&self) -> IpAddr {
        self.ip
    }

    /// Its zone.
    pub fn zone(&self) -> Option<&Zone> {
        self.zone.as_ref()
    }

    /// The same address of any link.
    #[cfg(feature = "tls")]
    pub(crate) fn without_zone(&self) -> Address {
        Address { ip: self.ip, zone: None }
    }

    /// Whether it is another host's on each link.
    pub(crate) fn is_of_a_link(&self) -> bool {
        match self.ip {
            IpAddr::V4(_) => false,
            // The second and third are groups of this machine and of its link.
            IpAddr::V6(v6) => {
                Class::of(self.ip) == Class::LinkLocal
                    || matches!(v6.segments()[0] & 0xff0f, 0xff01 | 0xff02)
            }
        }
    }

    /// Whether `rule`, the zone of a rule, lets this one be meant: a rule without one is for all.
    pub(super) fn is_in(&self, rule: Option<&Zone>) -> bool {
        match (rule, &self.zone) {
            (None, _) => true,
            (Some(rule), Some(own)) => rule.is(own),
            (Some(_), None) => false,
        }
    }

    /// With a port.
    ///
    /// # Errors
    ///
    /// ENODEV if this machine has no such interface.
    pub fn socket_addr(&self, port: u16) -> Result<SocketAddr, Errno> {
        self.scoped(SocketAddr::new(self.ip, port))
    }

    /// The address of a socket, in the zone of this one.
    pub(crate) fn scoped(&self, at: SocketAddr) -> Result<SocketAddr, Errno> {
        let (SocketAddr::V6(v6), Some(zone)) = (at, &self.zone) else {
            return Ok(at);
        };
        let index = zone.index().ok_or(Errno::Nodev)?;
        Ok(SocketAddrV6::new(*v6.ip(), v6.port(), 0, index).into())
    }
}

impl From<IpAddr> for Address {
    fn from(ip: IpAddr) -> Address {
        Address { ip: ip.to_canonical(), zone: None }
    }
}

/// That of a socket, whose zone is a number.
impl From<SocketAddr> for Address {
    fn from(at: SocketAddr) -> Address {
        let address = Address::from(at.ip());
        match at {
            SocketAddr::V6(v6) if v6.scope_id() != 0 && address.is_of_a_link() => {
                let zone = Zone(v6.scope_id().to_string().into());
                Address { zone: Some(zone), ..address }
            }
            _ => address,
        }
    }
}

/// Without brackets.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ip)?;
        match &self.zone {
            Some(zone) => write!(f, "%{}", zone.as_str()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_is_found_by_name_and_by_number() {
        let zone = |text: &str| Zone::parse(text).unwrap();
        let name = if cfg!(target_vendor = "apple") { "lo0" } else { "lo" };
        let Some(index) = zone(name).index() else {
            return; // a machine without a loopback interface
        };
        assert!(zone(name).is(&zone(&index.to_string())));
        assert!(!zone(name).is(&zone(&(index + 1).to_string())));
        assert_eq!(zone("no-such-link").index(), None);
        assert!(!zone("no-such-link").is(&zone("neither-is")));
        assert_eq!((zone("0").index(), zone("4294967296").index()), (None, None));
        let at: SocketAddr = format!("[fe80::1%{index}]:80").parse().unwrap();
        assert_eq!(Address::from(at).to_string(), format!("fe80::1%{index}"));
        assert_eq!(Address::parse_v6(&format!("fe80::1%{name}")).unwrap().socket_addr(80), Ok(at));
    }

    #[test]
    fn only_addresses_of_a_link_have_a_zone() {
        for text in ["fe80::1%a", "febf::%eth0.100", "ff02::1%2", "ff12::1%2", "ff01::1%lo"] {
            assert_eq!(Address::parse_v6(text).expect(text).to_string(), text);
        }
        for text in [
            "::1%lo",
            "fd00::1%lo",
            "2001:db8::1%lo",
            "ff05::1%lo",
            "::ffff:127.0.0.1%lo",
            "fe80::1%",
            "fe80::1%a%b",
            "fe80::1%a/b",
            "fe80::1%a b",
            "fe80::1%\u{e9}",
            "fe80::1%a:b",
            "fe80::1%0123456789abcdef",
            "fe80::1%$(a)",
            "%lo",
            "lo",
            "fe80::1%a\n",
        ] {
            assert!(Address::parse_v6(text).is_err(), "{text}");
        }
        let fleeting = "[2001:db8::1%2]:80".parse::<SocketAddr>().unwrap();
        assert_eq!(Address::from(fleeting).zone(), None, "a number that means nothing");
    }
}
