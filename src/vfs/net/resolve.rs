//! Resolving host names: the interface of a resolver, and where its answer goes.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;

use super::lock;
use crate::vfs::{Errno, Result};

/// Turns names into addresses. It decides nothing: what it answers is judged by the policy.
pub trait Resolver: Send + Sync {
    /// Begins to look `name` up, in lower case and without a trailing dot, and returns at
    /// once. The answer may be sent at any time, from any thread, also before this returns.
    /// Addresses are tried in the order they are given in.
    fn resolve(&self, name: &str, answer: Answer);
}

/// Where a [`Resolver`] sends what it found. Dropping it says that the lookup failed.
#[derive(Debug)]
pub struct Answer(Weak<Mutex<Slot>>);

/// A lookup under way, held by its waiter. Dropping it cancels the request.
#[derive(Debug)]
pub(crate) struct Lookup(Arc<Mutex<Slot>>);

#[derive(Debug, Default)]
struct Slot {
    answer: Option<Result<Vec<IpAddr>>>,
    waker: Option<Waker>,
}

impl Answer {
    /// The addresses (none: the name has no address), or the error the guest's open gets;
    /// EHOSTUNREACH is the one for "no such host".
    pub fn send(self, answer: Result<Vec<IpAddr>>) {
        self.put(answer);
    }

    /// Whether a caller still waits for the answer.
    pub fn is_wanted(&self) -> bool {
        self.0.strong_count() > 0
    }

    /// Only the first answer counts.
    fn put(&self, answer: Result<Vec<IpAddr>>) {
        let Some(slot) = self.0.upgrade() else { return };
        let mut slot = lock(&slot);
        if slot.answer.is_none() {
            slot.answer = Some(answer);
            let waker = slot.waker.take();
            drop(slot);
            if let Some(waker) = waker {
                waker.wake();
            }
        }
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        self.put(Err(Errno::Hostunreach));
    }
}

impl Lookup {
    pub fn begin(resolver: &dyn Resolver, name: &str) -> Lookup {
        let slot = Arc::default();
        resolver.resolve(name, Answer(Arc::downgrade(&slot)));
        Lookup(slot)
    }

    /// The answer, once it is there. Again would be taken for "not yet", so a resolver that
    /// answers it has failed.
    pub fn answer(&self) -> Option<Result<Vec<IpAddr>>> {
        let answer = lock(&self.0).answer.clone()?;
        Some(answer.map_err(|e| if e == Errno::Again { Errno::Hostunreach } else { e }))
    }

    /// Whether the answer is there; if not, the waker is called when it is.
    pub fn is_done_or_wakes(&self, waker: &Waker) -> bool {
        let mut slot = lock(&self.0);
        if slot.answer.is_none() {
            slot.waker = Some(waker.clone());
        }
        slot.answer.is_some()
    }
}
