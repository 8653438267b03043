//! The header of the PROXY protocol, versions 1 and 2: what a proxy says of the client whose
//! connection it passes on. (HAProxy's `proxy-protocol.txt`, sections 2.1 and 2.2.)

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What a header of version 1 begins with.
const TEXT: &[u8] = b"PROXY ";

/// What one of version 2 begins with.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Bytes of the longest header of version 1, its end of line included.
const TEXT_MAX: usize = 107;

/// Bytes of one of version 2 before its addresses.
const FIXED: usize = 16;

/// Bytes of the longest that is read. Certificates of clients are the longest that proxies send.
const BINARY_MAX: usize = 16 << 10;

/// The kind of a TLV that holds the header's checksum.
const CRC32C: u8 = 0x03;

/// What the beginning of a connection is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Header {
    /// The beginning of a header, or of something else: more has to come.
    Partial,
    /// Not a header.
    Other,
    /// A header of so many bytes. Without ends it says nothing of a client: the proxy has made
    /// the connection for itself, or does not know.
    Whole { len: usize, ends: Option<ProxiedEnds> },
}

/// The ends of the connection that a proxy has accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProxiedEnds {
    Inet {
        peer: SocketAddr,
        local: SocketAddr,
    },
    /// A Unix socket, at this path.
    Unix(Box<Path>),
}

/// Looks for a header at the beginning of a connection.
///
/// # Errors
///
/// If it begins like one, and is not valid: why.
pub(super) fn parse(bytes: &[u8]) -> Result<Header, String> {
    let agrees = |start: &[u8]| bytes.iter().zip(start).all(|(a, b)| a == b);
    if agrees(BINARY) {
        return if bytes.len() < BINARY.len() { Ok(Header::Partial) } else { binary(bytes) };
    }
    if agrees(TEXT) {
        return if bytes.len() < TEXT.len() { Ok(Header::Partial) } else { text(bytes) };
    }
    Ok(Header::Other)
}

/// Whether this can't be the beginning of anything but a header.
pub(super) fn is_begun(bytes: &[u8]) -> bool {
    bytes.starts_with(TEXT) || bytes.starts_with(BINARY)
}

/// Version 1: `PROXY TCP4 192.0.2.1 192.0.2.2 56324 443\r\n`.
fn text(bytes: &[u8]) -> Result<Header, String> {
    let within = &bytes[..bytes.len().min(TEXT_MAX)];
    let Some(end) = within.windows(2).position(|end| end == b"\r\n") else {
        // A line that ends otherwise won't become a header.
        let broken = within.contains(&b'\n') || bytes.len() >= TEXT_MAX;
        let why = format!("it does not end with CR LF within {TEXT_MAX} bytes");
        return if broken { Err(why) } else { Ok(Header::Partial) };
    };
    let line = &within[TEXT.len()..end];
    let len = end + 2;
    // Whatever follows is to be ignored.
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Ok(Header::Whole { len, ends: None });
    }
    let line = std::str::from_utf8(line).map_err(|_| "it is not ASCII text".to_owned())?;
    let mut words = line.split(' ');
    let family = words.next().unwrap_or_default();
    let addr: fn(&str) -> Option<IpAddr> = match family {
        "TCP4" => |word| word.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        "TCP6" => |word| word.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => return Err("its protocol is none of TCP4, TCP6 and UNKNOWN".into()),
    };
    let words: Vec<&str> = words.collect();
    let [from, to, from_port, to_port] = words[..] else {
        return Err("it does not have two addresses and two ports".into());
    };
    let addr = |word| addr(word).ok_or_else(|| format!("it has an address that is not {family}"));
    let port = |word| port(word).ok_or_else(|| "it has a port that is not valid".to_owned());
    let peer = SocketAddr::new(addr(from)?, port(from_port)?);
    let local = SocketAddr::new(addr(to)?, port(to_port)?);
    Ok(Header::Whole { len, ends: Some(ProxiedEnds::Inet { peer, local }) })
}

/// Digits, without leading zeros.
fn port(word: &str) -> Option<u16> {
    let digits = word.bytes().all(|byte| byte.is_ascii_digit());
    let leading = word.len() > 1 && word.starts_with('0');
    word.parse().ok().filter(|_| digits && !leading)
}

/// Version 2: the signature, version and command, family and transport, the length of what follows,
/// addresses, TLVs.
fn binary(bytes: &[u8]) -> Result<Header, String> {
    let Some(fixed) = bytes.first_chunk::<FIXED>() else {
        return match bytes.get(BINARY.len()) {
            Some(version) if version >> 4 != 2 => Err(wrong_version(*version)),
            _ => Ok(Header::Partial),
        };
    };
    let [.., command, family, high, low] = *fixed;
    if command >> 4 != 2 {
        return Err(wrong_version(command));
    }
    let len = FIXED + usize::from(u16::from_be_bytes([high, low]));
    if len > BINARY_MAX {
        return Err(format!("it is longer than {BINARY_MAX} bytes"));
    }
    let is_proxied = match command & 0xf {
        0 => false,
        1 => true,
        other => return Err(format!("its command is {other}, which is neither LOCAL nor PROXY")),
    };
    let addresses = match (is_proxied, family) {
        // What follows is to be ignored. A proxy checks whether the server is well.
        (false, _) | (true, 0) => 0,
        (true, 0x11) => 12,
        (true, 0x21) => 36,
        (true, 0x31) => 216,
        (true, 0x12 | 0x22 | 0x32) => return Err("it is that of a datagram".into()),
        (true, other) => return Err(format!("its family and transport are {other:#04x}")),
    };
    if len - FIXED < addresses {
        return Err("it is too short for its addresses".into());
    }
    let Some(header) = bytes.get(..len) else { return Ok(Header::Partial) };
    if !is_proxied {
        return Ok(Header::Whole { len, ends: None });
    }
    let (addresses, tlvs) = header[FIXED..].split_at(addresses);
    check_tlvs(header, tlvs)?;
    Ok(Header::Whole { len, ends: ends(addresses) })
}

fn wrong_version(byte: u8) -> String {
    format!("its version is {}, not 2", byte >> 4)
}

/// The ends in the addresses of a header, if it has some.
fn ends(addresses: &[u8]) -> Option<ProxiedEnds> {
    let port = |at: usize| u16::from_be_bytes([addresses[at], addresses[at + 1]]);
    Some(match addresses.len() {
        12 => {
            let addr = |at: usize| {
                let bytes: [u8; 4] = addresses[at..at + 4].try_into().expect("four");
                Ipv4Addr::from(bytes)
            };
            let peer = (addr(0), port(8)).into();
            ProxiedEnds::Inet { peer, local: (addr(4), port(10)).into() }
        }
        36 => {
            let addr = |at: usize| {
                let bytes: [u8; 16] = addresses[at..at + 16].try_into().expect("sixteen");
                Ipv6Addr::from(bytes)
            };
            let peer = (addr(0), port(32)).into();
            ProxiedEnds::Inet { peer, local: (addr(16), port(34)).into() }
        }
        216 => {
            // The client's path, which it seldom has, comes before it.
            let path = &addresses[108..];
            let end = path.iter().position(|byte| *byte == 0).unwrap_or(path.len());
            ProxiedEnds::Unix(Path::new(std::ffi::OsStr::from_bytes(&path[..end])).into())
        }
        _ => return None,
    })
}

/// Whether the TLVs fill their place, and the checksum is right if there is one.
fn check_tlvs(header: &[u8], mut rest: &[u8]) -> Result<(), String> {
    while let [kind, high, low, after @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(value) = after.get(..len) else {
            return Err("a TLV reaches beyond its end".into());
        };
        if *kind == CRC32C {
            let at = header.len() - after.len();
            let sum: [u8; 4] =
                value.try_into().map_err(|_| "its checksum is not four bytes".to_owned())?;
            if crc32c(header, at..at + 4) != u32::from_be_bytes(sum) {
                return Err("its checksum is wrong".into());
            }
        }
        rest = &after[len..];
    }
    if rest.is_empty() { Ok(()) } else { Err("a TLV reaches beyond its end".into()) }
}

/// The checksum of RFC 4960, appendix B, with zeros in a part of the bytes.
fn crc32c(bytes: &[u8], zeros: std::ops::Range<usize>) -> u32 {
    let mut crc = u32::MAX;
    for (at, byte) in bytes.iter().enumerate() {
        crc ^= u32::from(if zeros.contains(&at) { 0 } else { *byte });
        for _ in 0..8 {
            let carry = crc & 1;
            crc = (crc >> 1) ^ (0x82f6_3b78 * carry);
        }
    }
    !crc
}

#[cfg(test)]
mod tests;
