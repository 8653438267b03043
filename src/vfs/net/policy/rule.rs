//! The grammar of the network rules.
//!
//! ```text
//! rule   = [protocol] host ":" ports dialling (--net)
//! protocol = "tls:" | "https:"       only inside TLS, or only requests inside TLS
//! listen = address ":" ports         accept names (--net-listen)
//! host   = NAME | "*." NAME | "*" | address
//! address = IPV4 ["/" MASK] | "[" IPV6 ["%" ZONE] "]" ["/" MASK]  listening: also "*", "localhost"
//! ports  = PORT | PORT "-" PORT | "*"        listening: PORT 0 is "any free port"
//! ```
//!
//! `*.example.org` covers the names below `example.org`, not itself. `*` covers all names
//! but `localhost`, and all *public* addresses; in a rule for listening, every address. A link-local
//! address without a zone is that of every interface.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use super::addr::{Cidr, HostName};
use super::protocol::RuleProtocol;
use super::zone::Address;

/// Where a guest may dial: `example.org:443`, `*.example.org:443`, `10.0.0.0/8:5432`,
/// `[fd00::]/8:*`, `*:8000-8100`. Made by [`str::parse`]. It holds for TCP and UDP, or after `tls:`
/// and `https:` only for that [`RuleProtocol`] and what is spoken inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(super) protocol: RuleProtocol,
    pub(super) hosts: Hosts,
    pub(super) ports: RangeInclusive<u16>,
}

/// Where a guest may listen: `127.0.0.1:8080`, `[::1]:0`, `*:8000-8100`. Port 0 means
/// itself, the wish for any free port. `localhost` is 127.0.0.1. Made by [`str::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenRule {
    /// `None` is every address.
    pub(super) addresses: Option<Cidr>,
    pub(super) ports: RangeInclusive<u16>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Hosts {
    Any,
    Name(HostName),
    Below(HostName),
    Within(Cidr),
}

/// Why a rule does not parse: what, where, and what to write instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleError {
    /// The whole rule.
    pub text: String,
    /// The bytes of it that are wrong; empty at the end if something is missing there.
    pub at: Range<usize>,
    /// What is wrong with them.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl fmt::Display for RuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RuleError { text, what, hint, .. } = self;
        let text = text.escape_debug();
        write!(f, "network rule '{text}', column {}: {what}: {hint}", self.column())
    }
}

impl std::error::Error for RuleError {}

impl RuleError {
    fn new(
        text: &str,
        at: Range<usize>,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> RuleError {
        RuleError { text: text.to_owned(), at, what: what.into(), hint: hint.into() }
    }

    /// The character, counted from 1, that is wrong.
    pub fn column(&self) -> usize {
        self.before(self.at.start) + 1
    }

    /// The rule, and a second line with carets below what is wrong.
    pub fn caret(&self) -> String {
        let blanks = self.before(self.at.start);
        let carets = self.before(self.at.end).saturating_sub(blanks).max(1);
        format!("{}\n{}{}", self.text, " ".repeat(blanks), "^".repeat(carets))
    }

    fn before(&self, byte: usize) -> usize {
        self.text.char_indices().take_while(|(at, _)| *at < byte).count()
    }
}

impl FromStr for Rule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<Rule, RuleError> {
        if cfg!(not(feature = "tls")) {
            return Rule::parse(RuleProtocol::Plain, text);
        }
        let (protocol, rest) = RuleProtocol::split(text);
        let prefix = protocol.prefix();
        // Where something is wrong is counted from the beginning of the whole rule.
        let in_whole = |error: RuleError| {
            let at = error.at.start + prefix.len()..error.at.end + prefix.len();
            RuleError { text: text.to_owned(), at, ..error }
        };
        Rule::parse(protocol, rest).map_err(in_whole)
    }
}

impl Rule {
    fn parse(protocol: RuleProtocol, text: &str) -> Result<Rule, RuleError> {
        let (host, port_at) = split(text, &DIAL, protocol.prefix())?;
        let ports = ports(text, port_at, 1)?;
        let bad = |at, what: &str, hint: &str| Err(RuleError::new(text, at, what, hint));
        let name = |from: usize| {
            HostName::parse(&host[from..]).map_err(|bad| {
                let at = bad.at.start + from..bad.at.end + from;
                RuleError::new(text, at, bad.what, bad.hint)
            })
        };
        let hosts = if host == "*" {
            Hosts::Any
        } else if let Some(cidr) = address(text, host)? {
            Hosts::Within(cidr)
        } else if host.starts_with("*.") {
            Hosts::Below(name(2)?)
        } else if let Some(at) = host.find('*') {
            let hint = "write *.example.org for all names below example.org, or * for all";
            return bad(at..at + 1, "a star stands alone or as the first label", hint);
        } else {
            Hosts::Name(name(0)?)
        };
        Ok(Rule { protocol, hosts, ports })
    }
}

impl FromStr for ListenRule {
    type Err = RuleError;

    fn from_str(text: &str) -> Result<ListenRule, RuleError> {
        let (host, port_at) = split(text, &LISTEN, "")?;
        let ports = ports(text, port_at, 0)?;
        let addresses = if host == "*" {
            None
        } else if host.eq_ignore_ascii_case("localhost") {
            Some(Cidr::one(IpAddr::V4(Ipv4Addr::LOCALHOST).into()))
        } else if let Some(cidr) = address(text, host)? {
            Some(cidr)
        } else {
            let hint = "write an address of this machine, such as 127.0.0.1:8080, or * for all";
            return Err(RuleError::new(text, 0..host.len(), "invalid address", hint));
        };
        Ok(ListenRule { addresses, ports })
    }
}

/// How rules of a kind are written, for hints.
struct Form {
    example: &'static str,
    /// A host that any port may follow.
    host: &'static str,
    port: u16,
    /// Whether that can be a host. Used to choose an example that fits.
    is_host: fn(&str) -> bool,
}

const DIAL: Form = Form {
    example: "write HOST:PORT, as example.org:443",
    host: "localhost",
    port: 443,
    is_host: |_| true,
};

const LISTEN: Form = Form {
    example: "write ADDR:PORT, as 127.0.0.1:7000",
    host: "127.0.0.1",
    port: 7000,
    is_host: |text| {
        text == "*" || text == "localhost" || matches!(address(text, text), Ok(Some(_)))
    },
};

impl Form {
    /// What to write in place of one without a colon, after the `prefix` of its protocol.
    fn whole(&self, prefix: &str, text: &str) -> String {
        let Form { example, host, port: usual, is_host } = self;
        if port(text).is_some() {
            format!("write {prefix}{host}:{text}")
        } else if is_host(text) {
            format!("write {prefix}{text}:{usual}, or {prefix}{text}:* for every port")
        } else {
            (*example).to_owned()
        }
    }
}

/// The host, which is where the text begins, and the place of the port.
fn split<'t>(text: &'t str, form: &Form, prefix: &str) -> Result<(&'t str, usize), RuleError> {
    let bad = |at, what: &str, hint: &str| Err(RuleError::new(text, at, what, hint));
    if text.is_empty() {
        return bad(0..0, "the rule is empty", form.example);
    }
    if let Some((at, c)) = text.char_indices().find(|(_, c)| c.is_whitespace() || c.is_control()) {
        let hint = "remove it, and give each rule an option of its own";
        return bad(at..at + c.len_utf8(), "a blank", hint);
    }
    if let Some(at) = text.find("://") {
        return bad(0..at + 3, "a rule is not a URL", form.example);
    }
    // Colons in brackets are of the address.
    let host_end = match text.strip_prefix('[').map(|inner| inner.find(']')) {
        Some(Some(close)) => close + 2,
        Some(None) => return bad(0..1, "the bracket is not closed", "write [::1]:443"),
        None => 0,
    };
    let Some(colon) = text[host_end..].find(':').map(|at| at + host_end) else {
        return match port(text) {
            Some(_) => bad(0..0, "the host is missing", &form.whole(prefix, text)),
            None => bad(text.len()..text.len(), "the port is missing", &form.whole(prefix, text)),
        };
    };
    if text[colon + 1..].contains(':') {
        let hint = "write an IPv6 address in brackets, as [::1]:443, and one port";
        return bad(colon..text.len(), "more than one colon", hint);
    }
    if colon == 0 {
        return bad(0..0, "the host is missing", "write a name, an address or * before the colon");
    }
    Ok((&text[..colon], colon + 1))
}

fn ports(text: &str, at: usize, lowest: u16) -> Result<RangeInclusive<u16>, RuleError> {
    let ports = &text[at..];
    if ports == "*" {
        return Ok(lowest..=u16::MAX);
    }
    let one = |at: usize, digits: &str| {
        let hint = format!("write a number from {lowest} to 65535, a range 8000-8100, or *");
        let what = if digits.is_empty() { "the port is missing" } else { "invalid port" };
        let bad = || RuleError::new(text, at..at + digits.len(), what, hint);
        port(digits).filter(|port| *port >= lowest).ok_or_else(bad)
    };
    let Some((from, to)) = ports.split_once('-') else {
        let port = one(at, ports)?;
        return Ok(port..=port);
    };
    let range = one(at, from)?..=one(at + from.len() + 1, to)?;
    if range.is_empty() {
        let hint = format!("write {to}-{from}");
        return Err(RuleError::new(text, at..text.len(), "the range is backwards", hint));
    }
    Ok(range)
}

/// A port as people write it: digits, no sign, no leading zero; 0 is one.
pub(in crate::vfs::net) fn port(digits: &str) -> Option<u16> {
    let plain = digits.bytes().all(|c| c.is_ascii_digit());
    let leading = digits.len() > 1 && digits.starts_with('0');
    if plain && !leading { digits.parse().ok() } else { None }
}

/// The address or range that `host` is, `None` if it has the form of neither.
fn address(text: &str, host: &str) -> Result<Option<Cidr>, RuleError> {
    // What is in brackets has no mask in it.
    let bracketed = host.find(']').filter(|_| host.starts_with('[')).map_or(0, |at| at + 1);
    let (base, mask) = match host[bracketed..].find('/') {
        Some(at) => (&host[..bracketed + at], Some(&host[bracketed + at + 1..])),
        None => (host, None),
    };
    let here = 0..base.len();
    let parsed: Address = if let Some(inner) = base.strip_prefix('[') {
        in_brackets(text, inner, here.clone())?
    } else {
        match (base.parse::<Ipv4Addr>(), mask) {
            (Ok(v4), _) => IpAddr::V4(v4).into(),
            (Err(_), None) => return Ok(None),
            (Err(_), Some(_)) => {
                let hint = "a mask follows an address, as 10.0.0.0/8:443";
                return Err(RuleError::new(text, here, "invalid IPv4 address", hint));
            }
        }
    };
    let Some(mask) = mask else {
        return Ok(Some(Cidr::one(parsed)));
    };
    // An IPv4-mapped address has the width that it was written with.
    let ip = if base.starts_with('[') { as_v6(parsed.ip()) } else { parsed.ip() };
    let widest = if ip.is_ipv4() { 32 } else { 128 };
    let narrowest = if parsed.zone().is_some() { LINK_LOCAL_BITS } else { 0 };
    let number = port(mask).and_then(|bits| u8::try_from(bits).ok());
    let number = number.filter(|bits| *bits >= narrowest);
    match number.and_then(|bits| Cidr::new(ip, bits)) {
        Some(Ok(cidr)) => Ok(Some(cidr.of_zone(parsed.zone()))),
        Some(Err(meant)) => {
            let what = "the address has bits beyond its mask";
            let meant = meant.of_zone(parsed.zone());
            Err(RuleError::new(text, here, what, format!("write {meant}")))
        }
        None => {
            let hint = format!("write a number from {narrowest} to {widest}");
            Err(RuleError::new(text, base.len() + 1..host.len(), "invalid mask", hint))
        }
    }
}

/// The least of a mask that makes a range of link-local addresses: fe80::/10.
const LINK_LOCAL_BITS: u8 = 10;

/// The address that begins after a bracket, and an error at `here` if there is none.
fn in_brackets(text: &str, inner: &str, here: Range<usize>) -> Result<Address, RuleError> {
    const HINT: &str = "write [fd00::]:443, or [fd00::]/8:443 with a mask";
    let Some(inner) = inner.strip_suffix(']') else {
        return Err(RuleError::new(text, here, "invalid IPv6 address", HINT));
    };
    let address = Address::parse_v6(inner).map_err(|bad| {
        // That of a whole address begins with its bracket.
        let at = if bad.at.start == 0 { here } else { bad.at.start + 1..bad.at.end + 1 };
        RuleError::new(text, at, bad.what, bad.hint)
    })?;
    if let Some(zone) = address.zone()
        && zone.index().is_none()
    {
        let at = inner.len() - zone.as_str().len() + 1..inner.len() + 1;
        let what = format!("this machine has no interface '{}'", zone.as_str());
        return Err(RuleError::new(text, at, what, "write one of those that 'ip link' lists"));
    }
    Ok(address)
}

fn as_v6(ip: IpAddr) -> IpAddr {
    match ip {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        v6 @ IpAddr::V6(_) => v6,
    }
}
