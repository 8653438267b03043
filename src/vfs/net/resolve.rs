//! From names to addresses, off the loop's thread.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, OnceLock, Weak};
use std::task::Waker;
use std::thread;
use std::time::Duration;

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

/// A lookup as the one sees it who waits for it; dropping it forgets the request.
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

    /// Whether anybody still waits.
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

/// The system's resolver (`getaddrinfo`, so `/etc/hosts` is honoured), on a few threads that
/// are started when needed and end when idle. `localhost` is answered without one.
pub struct SystemResolver(Arc<Workers>);

/// Threads of a resolver. A lookup can take the C library half a minute.
const THREADS_MAX: usize = 4;

/// Requests that wait for a thread, before ENFILE.
const QUEUE_MAX: usize = 1024;

/// How long a thread waits for more to do.
const IDLE: Duration = Duration::from_secs(10);

#[derive(Default)]
struct Workers {
    queue: Mutex<Queue>,
    more: Condvar,
}

#[derive(Default)]
struct Queue {
    requests: VecDeque<(Box<str>, Answer)>,
    threads: usize,
    idle: usize,
}

impl SystemResolver {
    /// The one of this process.
    pub fn shared() -> Arc<SystemResolver> {
        static SHARED: OnceLock<Arc<SystemResolver>> = OnceLock::new();
        SHARED.get_or_init(|| Arc::new(SystemResolver(Arc::default()))).clone()
    }
}

impl Resolver for SystemResolver {
    fn resolve(&self, name: &str, answer: Answer) {
        if name == "localhost" {
            // IPv4 first: most servers that are only local listen there alone.
            return answer.send(Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]));
        }
        let mut queue = lock(&self.0.queue);
        queue.requests.retain(|(_, answer)| answer.is_wanted());
        if queue.requests.len() >= QUEUE_MAX {
            drop(queue);
            return answer.send(Err(Errno::Nfile));
        }
        queue.requests.push_back((name.into(), answer));
        if queue.requests.len() > queue.idle && queue.threads < THREADS_MAX {
            let workers = self.0.clone();
            let thread = thread::Builder::new().name("tinyhost-lookup".into());
            match thread.spawn(move || workers.work()) {
                Ok(_) => queue.threads += 1,
                Err(error) => log::warn!("no thread for a lookup: {error}"),
            }
        }
        // With no thread at all nobody would ever answer: dropping the requests does.
        let hopeless = if queue.threads == 0 { queue.requests.split_off(0) } else { [].into() };
        drop(queue);
        drop(hopeless);
        self.0.more.notify_one();
    }
}

impl Workers {
    fn work(&self) {
        let mut queue = lock(&self.queue);
        loop {
            if let Some((name, answer)) = queue.requests.pop_front() {
                drop(queue);
                if answer.is_wanted() {
                    answer.send(look_up(&name));
                }
                queue = lock(&self.queue);
                continue;
            }
            queue.idle += 1;
            let waited = self.more.wait_timeout(queue, IDLE);
            queue = waited.unwrap_or_else(|poisoned| poisoned.into_inner()).0;
            queue.idle -= 1;
            if queue.requests.is_empty() {
                queue.threads -= 1;
                return;
            }
        }
    }
}

fn look_up(name: &str) -> Result<Vec<IpAddr>> {
    match (name, 0).to_socket_addrs() {
        Ok(found) => Ok(found.map(|address| address.ip()).collect()),
        Err(error) => {
            log::info!("lookup of {name}: {error}");
            Err(Errno::Hostunreach)
        }
    }
}
