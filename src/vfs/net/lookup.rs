//! The system's resolver, on threads of its own.
//!
//! `getaddrinfo` blocks, for half a minute if no server answers, and can't be ended: a guest
//! that gives up leaves its thread running. So threads are [shared](Shares) like all that guests
//! have in common: no guest can hold them all, however many lookups it begins and abandons.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use super::lock;
use super::quota::{Share, Shares};
use super::resolve::{Answer, Resolver};
use crate::vfs::charge::{self, Party};
use crate::vfs::{Errno, Result};

/// `getaddrinfo`, so `/etc/hosts` is honoured, on threads that are started when needed and end
/// when idle. `localhost` is answered without one.
pub struct SystemResolver(Arc<Pool>);

/// Lookups at once, each on its thread.
const THREADS_MAX: usize = 64;

/// Bytes of a thread's stack: what the C library's own threads for lookups have.
const STACK: usize = 256 << 10;

/// Guests that wait for a thread, before ENFILE.
const WAITING_MAX: usize = 1024;

/// How long a thread waits for more to do.
const IDLE: Duration = Duration::from_secs(10);

/// Addresses that are remembered, and for how long. They are used only in place of a lookup
/// for which there is no thread.
const RECENT_MAX: usize = 256;
const RECENT_TIME: Duration = Duration::from_secs(60);

type Look = fn(&str) -> Result<Vec<IpAddr>>;

struct Pool {
    look: Look,
    queue: Mutex<Queue>,
    more: Condvar,
    threads: Arc<Shares>,
    waiting: Arc<Shares>,
}

#[derive(Default)]
struct Queue {
    /// In the order they came.
    requests: VecDeque<Request>,
    running: Vec<Request>,
    recent: VecDeque<(Box<str>, Instant, Vec<IpAddr>)>,
    threads: usize,
    idle: usize,
}

/// A name, and the lookups that wait for it.
struct Request {
    name: Box<str>,
    party: Party,
    answers: Vec<(Answer, Share)>,
}

impl Request {
    fn is_wanted(&self) -> bool {
        self.answers.iter().any(|(answer, _)| answer.is_wanted())
    }
}

impl SystemResolver {
    /// The one of this process.
    pub fn shared() -> Arc<SystemResolver> {
        static SHARED: OnceLock<Arc<SystemResolver>> = OnceLock::new();
        SHARED.get_or_init(|| Arc::new(SystemResolver::with(look_up))).clone()
    }

    fn with(look: Look) -> SystemResolver {
        SystemResolver(Arc::new(Pool {
            look,
            queue: Mutex::default(),
            more: Condvar::new(),
            threads: Shares::new(THREADS_MAX),
            waiting: Shares::new(WAITING_MAX),
        }))
    }
}

impl Resolver for SystemResolver {
    fn resolve(&self, name: &str, answer: Answer) {
        if name == "localhost" {
            // IPv4 first: most servers that are only local listen there alone.
            return answer.send(Ok(vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()]));
        }
        let party = charge::party();
        let Some(place) = self.0.waiting.take_for(party) else {
            return answer.send(Err(Errno::Nfile));
        };
        let mut queue = lock(&self.0.queue);
        queue.requests.retain(Request::is_wanted);
        // A second request for a name that is being looked up gets the same answer.
        let Queue { requests, running, .. } = &mut *queue;
        let same = running.iter_mut().chain(requests).find(|request| &*request.name == name);
        if let Some(same) = same {
            same.answers.push((answer, place));
            return;
        }
        let answers = vec![(answer, place)];
        queue.requests.push_back(Request { name: name.into(), party, answers });
        self.0.start_thread(&mut queue);
        let left = self.0.left_behind(&mut queue);
        drop(queue);
        self.0.more.notify_one();
        if let Some((request, found)) = left {
            request.answers.into_iter().for_each(|(answer, _)| answer.send(Ok(found.clone())));
        }
    }
}

impl Pool {
    /// Starts a thread if those that are idle are too few.
    fn start_thread(self: &Arc<Pool>, queue: &mut Queue) {
        if queue.requests.len() <= queue.idle || queue.threads >= THREADS_MAX {
            return;
        }
        let pool = self.clone();
        let thread = thread::Builder::new().name("tinyhost-lookup".into()).stack_size(STACK);
        match thread.spawn(move || pool.work()) {
            Ok(_) => queue.threads += 1,
            Err(error) => {
                log::warn!("no thread for a lookup: {error}");
                // Without any thread no answer would come: dropping the requests answers them.
                if queue.threads == 0 {
                    queue.requests.clear();
                }
            }
        }
    }

    /// Takes out the newest request if it would have to wait and its name was looked up lately.
    fn left_behind(&self, queue: &mut Queue) -> Option<(Request, Vec<IpAddr>)> {
        let party = queue.requests.back()?.party;
        if self.threads.take_for(party).is_some() {
            return None;
        }
        queue.recent.retain(|(_, when, _)| when.elapsed() < RECENT_TIME);
        let name = &*queue.requests.back()?.name;
        let (_, _, found) = queue.recent.iter().find(|(known, ..)| **known == *name)?;
        let found = found.clone();
        queue.requests.pop_back().map(|request| (request, found))
    }

    /// What a thread does.
    fn work(&self) {
        let mut queue = lock(&self.queue);
        let mut leaving = false;
        loop {
            queue.requests.retain(Request::is_wanted);
            if let Some((name, thread)) = self.next(&mut queue) {
                drop(queue);
                let found = (self.look)(&name);
                drop(thread);
                queue = self.found(&name, found);
                leaving = false;
                continue;
            }
            // Whose turn it is not yet has threads that come back for it.
            if leaving {
                queue.threads -= 1;
                return;
            }
            queue.idle += 1;
            let waited = self.more.wait_timeout(queue, IDLE);
            let (mut woken, time) = waited.unwrap_or_else(|poisoned| poisoned.into_inner());
            woken.idle -= 1;
            leaving = time.timed_out();
            queue = woken;
        }
    }

    /// The first request whose party may have one more thread.
    fn next(&self, queue: &mut Queue) -> Option<(Box<str>, Share)> {
        let mut requests = queue.requests.iter().enumerate();
        let (at, thread) =
            requests.find_map(|(at, request)| Some((at, self.threads.take_for(request.party)?)))?;
        let request = queue.requests.remove(at)?;
        let name = request.name.clone();
        queue.running.push(request);
        Some((name, thread))
    }

    /// Passes an answer to all waiting lookups.
    fn found(&self, name: &str, found: Result<Vec<IpAddr>>) -> MutexGuard<'_, Queue> {
        let mut queue = lock(&self.queue);
        let at = queue.running.iter().position(|request| &*request.name == name);
        let answers = at.map_or_else(Vec::new, |at| queue.running.swap_remove(at).answers);
        if let Ok(addresses) = &found {
            queue.recent.retain(|(known, ..)| **known != *name);
            if queue.recent.len() >= RECENT_MAX {
                queue.recent.pop_front();
            }
            queue.recent.push_back((name.into(), Instant::now(), addresses.clone()));
        }
        drop(queue);
        answers.into_iter().for_each(|(answer, _)| answer.send(found.clone()));
        lock(&self.queue)
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

#[cfg(test)]
mod tests {
    use super::super::resolve::Lookup;
    use super::*;

    /// Names that begin with "slow" are never answered, as long as a test lasts.
    fn look(name: &str) -> Result<Vec<IpAddr>> {
        if name.starts_with("slow") {
            thread::sleep(Duration::from_secs(3600));
        }
        Ok(vec![Ipv4Addr::LOCALHOST.into()])
    }

    fn answer(lookup: &Lookup) -> Result<Vec<IpAddr>> {
        loop {
            match lookup.answer() {
                Some(answer) => return answer,
                None => thread::sleep(Duration::from_millis(1)),
            }
        }
    }

    fn client(ip: &str) -> Party {
        Party { client: ip.parse().ok(), ..Party::new() }
    }

    #[test]
    fn lookups_nobody_answers_hold_up_nobody_else() {
        let resolver = SystemResolver::with(look);
        charge::serve(client("10.0.0.1"));
        assert!(answer(&Lookup::begin(&resolver, "known")).is_ok());
        let slow = |nth: usize| Lookup::begin(&resolver, &format!("slow{nth}"));
        let held: Vec<_> = (0..THREADS_MAX * 2).map(slow).collect();
        while lock(&resolver.0.queue).running.len() < THREADS_MAX / 2 {
            thread::yield_now();
        }
        // They are given up, as when a line's time is over, and leave their threads running.
        drop(held);
        let held: Vec<_> = (0..THREADS_MAX * 2).map(|nth| slow(1000 + nth)).collect();
        let own = Lookup::begin(&resolver, "new");
        assert!(answer(&Lookup::begin(&resolver, "known")).is_ok(), "from the time before");
        charge::serve(client("10.0.0.2"));
        assert!(answer(&Lookup::begin(&resolver, "other")).is_ok(), "another client has its own");
        assert!(own.answer().is_none(), "and the first waits for itself");
        assert_eq!(lock(&resolver.0.queue).running.len(), THREADS_MAX / 2);
        drop(held);
        charge::serve(Party::NOBODY);
    }

    #[test]
    fn who_asks_for_the_same_name_gets_the_same_answer() {
        let resolver = SystemResolver::with(look);
        let all: Vec<_> = (0..100).map(|_| Lookup::begin(&resolver, "slow")).collect();
        assert!(lock(&resolver.0.queue).threads <= 1);
        drop(all);
    }
}
