//! Counted resources: a [`Taken`] or a [`Share`] is one of them, and dropping it gives it
//! back.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use super::lock;
use crate::vfs::charge::{self, Party};
use crate::vfs::{Errno, Result};

/// So many of something for one guest, and no more.
#[derive(Debug)]
pub(crate) struct Quota {
    left: AtomicU32,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Taken(Arc<Quota>);

impl Quota {
    pub fn new(limit: u32) -> Arc<Quota> {
        Arc::new(Quota { left: AtomicU32::new(limit) })
    }

    /// One more, or ENFILE: EMFILE is the guest's own table of descriptors being full.
    pub fn take(self: &Arc<Quota>) -> Result<Taken> {
        let one_less = |left: u32| left.checked_sub(1);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
            Ok(_) => Ok(Taken(self.clone())),
            Err(_) => Err(Errno::Nfile),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.left.fetch_add(1, Ordering::Relaxed);
    }
}

/// So many of something for all guests together.
///
/// No party can take them all: a [`Party`] may have one more only while more are left than it has.
/// So the first takes half of them at the most, the next half of the rest, and there is one for
/// a new party as long as there is any.
#[derive(Debug)]
pub(crate) struct Shares {
    max: usize,
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    all: usize,
    /// Few: none of them has none.
    by_party: Vec<(Party, usize)>,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Share {
    of: Arc<Shares>,
    party: Party,
}

impl Shares {
    pub fn new(max: usize) -> Arc<Shares> {
        Arc::new(Shares { max, held: Mutex::default() })
    }

    /// One more for the party of the call under way, or ENFILE.
    pub fn take(self: &Arc<Shares>) -> Result<Share> {
        self.take_for(charge::party()).ok_or(Errno::Nfile)
    }

    /// One more for a party, if it may have it.
    pub fn take_for(self: &Arc<Shares>, party: Party) -> Option<Share> {
        let mut held = lock(&self.held);
        let left = self.max - held.all;
        let own = held.by_party.iter().position(|(of, _)| of.is_of(&party));
        let has = own.map_or(0, |at| held.by_party[at].1);
        if has >= left {
            return None;
        }
        held.all += 1;
        match own {
            Some(at) => held.by_party[at].1 += 1,
            None => held.by_party.push((party, 1)),
        }
        Some(Share { of: self.clone(), party })
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut held = lock(&self.of.held);
        held.all -= 1;
        if let Some(at) = held.by_party.iter().position(|(of, _)| of.is_of(&self.party)) {
            held.by_party[at].1 -= 1;
            if held.by_party[at].1 == 0 {
                held.by_party.swap_remove(at);
            }
        }
    }
}

/// What an open socket is counted in.
#[derive(Debug)]
#[allow(dead_code, reason = "held to be dropped")]
pub(crate) enum Counted {
    Own(Taken),
    Shared(Share),
}

impl From<Taken> for Counted {
    fn from(taken: Taken) -> Counted {
        Counted::Own(taken)
    }
}

impl From<Share> for Counted {
    fn from(share: Share) -> Counted {
        Counted::Shared(share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as it gets.
    fn greedy(shares: &Arc<Shares>, party: Party) -> Vec<Share> {
        std::iter::from_fn(|| shares.take_for(party)).collect()
    }

    #[test]
    fn nobody_takes_them_all_and_who_comes_later_finds_one() {
        let shares = Shares::new(64);
        let all: Vec<_> = (0..6).map(|_| greedy(&shares, Party::new())).collect();
        assert_eq!(all.iter().map(Vec::len).collect::<Vec<_>>(), [32, 16, 8, 4, 2, 1]);
        drop(all);
        assert_eq!(greedy(&shares, Party::new()).len(), 32, "they were given back");
    }

    #[test]
    fn the_guests_of_a_client_have_one_share() {
        let shares = Shares::new(8);
        let client = |ip: &str| Party { client: ip.parse().ok(), ..Party::new() };
        let first: Vec<_> = (0..9).filter_map(|_| shares.take_for(client("10.0.0.1"))).collect();
        assert_eq!(first.len(), 4);
        assert!(shares.take_for(client("10.0.0.2")).is_some());
    }
}
