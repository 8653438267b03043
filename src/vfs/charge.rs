//! The fuel that calls cost beyond moving bytes, and the guest they are charged to.
//!
//! A slice must not be hours of calls, so a guest pays fuel for them: about one for a nanosecond.
//! The fixed cost of a call is in its row (`wasi`). What it costs more for its arguments is noted
//! here by the code that does the work, as none of the calls and traits on the way
//! has to know of it:
//!
//! - Work in memory is counted, by the table below: the same each time, so that a guest that
//!   uses nothing of the host (trees in memory, images, pipes) uses the same fuel on each run.
//! - What the host's kernel does can't be known beforehand: a name can come from a cache or from
//!   a disk, a sync can take a microsecond or a second. There the clock is read, once where
//!   the first of it begins and once at the end of the call.

#![cfg_attr(
    not(all(unix, feature = "serve", feature = "host-fs", feature = "tar")),
    allow(dead_code, reason = "what only backends use that are not there")
)]

use std::cell::{Cell, RefCell};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Instant;

use super::peer::Peer;

/// A byte of a path, which is looked through some times.
pub(crate) const PATH_BYTE: u64 = 4;

/// A name looked up in a walk.
pub(crate) const NAME: u64 = 250;

/// An entry of a directory listed.
pub(crate) const ENTRY: u64 = 150;

/// An entry gone past to those that are listed.
pub(crate) const SKIPPED: u64 = 10;

/// A directory above, looked at by a rename.
pub(crate) const PARENT: u64 = 500;

/// 64 KiB of a file in memory, made or freed.
pub(crate) const CHUNK: u64 = 8_000;

/// The size of a file in memory, set.
pub(crate) const RESIZE: u64 = 100;

/// 64 KiB of a hole in one, in the list of them.
pub(crate) const HOLE: u64 = 8;

/// A byte of `/dev/random`.
pub(crate) const RANDOM_BYTE: u64 = 3;

/// A descriptor waited for: it is registered with the system and deregistered later.
pub(crate) const WATCH: u64 = 2_000;

thread_local! {
    static FUEL: Cell<u64> = const { Cell::new(0) };
    /// When the kernel was first asked in this call.
    static ASKED: Cell<Option<Instant>> = const { Cell::new(None) };
    static PARTY: Cell<Party> = const { Cell::new(Party::NOBODY) };
    static ENVIRON: RefCell<Option<Arc<Vec<u8>>>> = const { RefCell::new(None) };
}

/// A call begins on this thread. What was noted outside of a call is not charged.
#[inline(always)]
pub(crate) fn begin() {
    FUEL.set(0);
    ASKED.set(None);
}

/// The call did work in memory.
#[inline]
pub(crate) fn add(fuel: u64) {
    FUEL.set(FUEL.get().saturating_add(fuel));
}

/// The call is about to ask the host's kernel for something: from here on it pays for its time.
#[inline]
pub(crate) fn ask_kernel() {
    if ASKED.get().is_none() {
        ASKED.set(Some(Instant::now()));
    }
}

/// Whether anything was noted.
#[inline(always)]
pub(crate) fn any() -> bool {
    FUEL.get() != 0 || ASKED.get().is_some()
}

/// Fuel for what was noted in the call that ends now.
pub(crate) fn take() -> u64 {
    let asked = ASKED.take().map_or(0, |asked| asked.elapsed().as_nanos());
    FUEL.take().saturating_add(u64::try_from(asked).unwrap_or(u64::MAX))
}

/// The party that a share of common resources is counted for: a guest, and the client it serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Party {
    pub guest: u64,
    /// Its address (of IPv6 its /64), if it serves one.
    pub client: Option<IpAddr>,
    /// The connection that it serves.
    pub ends: Option<Ends>,
}

/// The ends of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The client's.
    pub peer: Peer,
    /// The host's, if it is an address.
    pub local: Option<SocketAddr>,
}

impl Party {
    /// The host itself, outside of any guest.
    pub const NOBODY: Party = Party { guest: 0, client: None, ends: None };

    /// A guest of which nothing is known.
    pub fn new() -> Party {
        static LAST: AtomicU64 = AtomicU64::new(0);
        Party { guest: LAST.fetch_add(1, Relaxed) + 1, client: None, ends: None }
    }

    /// Whether both count as one: the guests of a client do.
    pub fn is_of(&self, other: &Party) -> bool {
        match (self.client, other.client) {
            (Some(one), Some(other)) => one == other,
            (None, None) => self.guest == other.guest,
            _ => false,
        }
    }
}

/// The calls of this thread are for this party from here on.
pub(crate) fn serve(party: Party) {
    PARTY.set(party);
}

/// The environment of a guest that serves a connection, whose call follows.
pub(crate) fn set_environ(bytes: Option<Arc<Vec<u8>>>) {
    ENVIRON.set(bytes);
}

/// The environment of the guest of the call under way, if it [serves a connection](Party::ends).
pub(crate) fn environ() -> Arc<Vec<u8>> {
    ENVIRON.with_borrow(|bytes| bytes.clone().unwrap_or_default())
}

/// The party of the call under way.
pub(crate) fn party() -> Party {
    PARTY.get()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_call_pays_for_what_was_done_in_it() {
        ask_kernel();
        begin();
        assert!(!any(), "what was before it is nobody's");
        add(NAME);
        add(NAME);
        assert_eq!(take(), 2 * NAME);
        assert!(!any());
        ask_kernel();
        std::thread::sleep(Duration::from_millis(5));
        ask_kernel();
        assert!(take() >= 5_000_000, "from when it was first asked");
    }

    #[test]
    fn guests_of_one_client_are_one_party() {
        let (one, other) = (Party::new(), Party::new());
        assert!(one.is_of(&one) && !one.is_of(&other));
        let of = |party: Party, ip: &str| Party { client: Some(ip.parse().unwrap()), ..party };
        assert!(of(one, "10.0.0.1").is_of(&of(other, "10.0.0.1")));
        assert!(!of(one, "10.0.0.1").is_of(&of(one, "10.0.0.2")));
    }
}
