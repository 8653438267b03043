//! What simulated proxies send before what their clients do.

use std::net::{Ipv4Addr, SocketAddr};

use super::Rng;

/// The beginning of a connection that comes by a proxy.
pub struct Announcement {
    pub header: Vec<u8>,
    /// Whose connection it is. `None` for the proxy's own.
    pub peer: Option<SocketAddr>,
    /// No server may take it for a header.
    pub is_broken: bool,
    /// The server wants a header on each connection.
    pub required: bool,
}

impl Announcement {
    pub fn new(rng: &mut Rng) -> Announcement {
        let peer = SocketAddr::from((Ipv4Addr::new(10, 1, 0, rng.below(3) as u8), 1));
        let text = |protocol: &str| format!("PROXY {protocol} {} 10.0.0.9 1 2\r\n", peer.ip());
        let (header, peer, is_broken) = match rng.below(6) {
            0 => (text("TCP4").into_bytes(), Some(peer), false),
            1 => (text("UNKNOWN").into_bytes(), None, false),
            2 => (binary(0x21, peer, rng), Some(peer), false),
            3 => (binary(0x20, peer, rng), None, false),
            4 => (text("TCP6").into_bytes(), None, true),
            _ => (binary(0x31, peer, rng), None, true),
        };
        let (header, is_broken, required) = match rng.chance(20) {
            // None at all.
            true => (Vec::new(), false, false),
            false => (header, is_broken, rng.chance(50)),
        };
        let peer = peer.filter(|_| !header.is_empty());
        Announcement { header, peer, is_broken, required }
    }
}

/// Version 2, with a TLV of any length.
fn binary(command: u8, peer: SocketAddr, rng: &mut Rng) -> Vec<u8> {
    let SocketAddr::V4(peer) = peer else { return Vec::new() };
    let padding = rng.mixed(20, 2000, 20);
    let len = (12 + 3 + padding) as u16;
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([command, 0x11]);
    header.extend(len.to_be_bytes());
    header.extend(peer.ip().octets());
    header.extend([10, 0, 0, 9, 0, 1, 0, 2, 0x04]);
    header.extend((padding as u16).to_be_bytes());
    header.extend(std::iter::repeat_n(0, padding));
    header
}
