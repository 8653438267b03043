//! Which guest a thread is running: for a handler of a signal that ends the process.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use crate::vfs::{Credentials, Peer, UnixPeer};

/// The guest whose [step](crate::Guest::step) a thread is in.
///
/// ```
/// assert_eq!(tinyhost::Running::here(), None); // no guest is stepped on this thread
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Running {
    /// The client of a server that it runs for. One that was started ahead has none yet.
    pub client: Option<Peer>,
}

/// What a thread is doing.
const NOTHING: u64 = 0;
const A_GUEST: u64 = 1 << 16;
/// For a client of TCP, whose port is below.
const A_CLIENTS: u64 = 1 << 17;
/// For a client of a Unix socket.
const A_UNIX_CLIENTS: u64 = 1 << 18;
/// Who that is was known. Its group is above.
const KNOWN: u64 = 1 << 19;
const GROUP_SHIFT: u32 = 32;

/// Atomic, as a signal may come between two stores; each of them is a plain one.
struct Here {
    /// What it is doing, and what is known of the client.
    state: AtomicU64,
    /// The client's address, mapped to IPv6; or its number, and its process and user.
    address: [AtomicU64; 2],
}

thread_local! {
    // Made when the thread is and never dropped: to read it takes no lock and no memory.
    static HERE: Here = const {
        Here { state: AtomicU64::new(NOTHING), address: [const { AtomicU64::new(0) }; 2] }
    };
}

impl Running {
    /// The guest that this thread is stepping. It may be called in a signal handler, of a thread
    /// that has made a step before.
    pub fn here() -> Option<Running> {
        HERE.with(|here| {
            let state = here.state.load(Relaxed);
            let [high, low] = here.address.each_ref().map(|half| half.load(Relaxed));
            let client = if state & A_CLIENTS != 0 {
                let bits = u128::from(high) << 64 | u128::from(low);
                let port = (state & u64::from(u16::MAX)) as u16;
                let ip = IpAddr::V6(Ipv6Addr::from_bits(bits)).to_canonical();
                Some(Peer::Inet(SocketAddr::new(ip, port)))
            } else if state & A_UNIX_CLIENTS != 0 {
                let credentials = (state & KNOWN != 0).then_some(Credentials {
                    pid: Some((low >> GROUP_SHIFT) as u32).filter(|pid| *pid != 0),
                    uid: low as u32,
                    gid: (state >> GROUP_SHIFT) as u32,
                });
                Some(Peer::Unix(UnixPeer { number: high, credentials }))
            } else {
                None
            };
            (state != NOTHING).then_some(Running { client })
        })
    }
}

/// A guest's client, as it is noted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tag {
    state: u64,
    address: [u64; 2],
}

impl Tag {
    /// Of a guest that has no client.
    pub(super) const NONE: Tag = Tag { state: A_GUEST, address: [0; 2] };

    #[cfg(all(unix, feature = "serve"))]
    pub(super) fn of(client: Peer) -> Tag {
        match client {
            Peer::Inet(client) => {
                let address = match client.ip() {
                    IpAddr::V4(address) => address.to_ipv6_mapped(),
                    IpAddr::V6(address) => address,
                };
                let bits = address.to_bits();
                let address = [(bits >> 64) as u64, bits as u64];
                Tag { state: A_GUEST | A_CLIENTS | u64::from(client.port()), address }
            }
            Peer::Unix(UnixPeer { number, credentials: None }) => {
                Tag { state: A_GUEST | A_UNIX_CLIENTS, address: [number, 0] }
            }
            Peer::Unix(UnixPeer { number, credentials: Some(Credentials { pid, uid, gid }) }) => {
                let state = A_GUEST | A_UNIX_CLIENTS | KNOWN | u64::from(gid) << GROUP_SHIFT;
                Tag {
                    state,
                    address: [number, u64::from(pid.unwrap_or(0)) << GROUP_SHIFT | u64::from(uid)],
                }
            }
        }
    }

    /// Notes that this guest is run on this thread, until the answer is dropped.
    #[inline]
    pub(super) fn note(self) -> Noted {
        HERE.with(|here| {
            here.address[0].store(self.address[0], Relaxed);
            here.address[1].store(self.address[1], Relaxed);
            here.state.store(self.state, Relaxed);
        });
        Noted
    }
}

/// A guest is run.
pub(super) struct Noted;

impl Drop for Noted {
    #[inline]
    fn drop(&mut self) {
        HERE.with(|here| here.state.store(NOTHING, Relaxed));
    }
}

#[cfg(test)]
#[cfg(all(unix, feature = "serve"))]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_as_it_is() {
        let inet = ["127.0.0.1:65535", "[2001:db8::1]:1", "[::1]:0"];
        let inet = inet.map(|addr| Peer::Inet(addr.parse().unwrap()));
        let known = Credentials { pid: Some(7), uid: u32::MAX, gid: u32::MAX - 1 };
        let unseen = Credentials { pid: None, ..known };
        let unix = [None, Some(known), Some(unseen)]
            .map(|credentials| Peer::Unix(UnixPeer { number: u64::MAX, credentials }));
        for client in inet.into_iter().chain(unix) {
            let noted = Tag::of(client).note();
            assert_eq!(Running::here(), Some(Running { client: Some(client) }));
            drop(noted);
            assert_eq!(Running::here(), None);
        }
        let _noted = Tag::NONE.note();
        assert_eq!(Running::here(), Some(Running { client: None }));
    }
}
