//! How much of everything there may be.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::metrics::Refusal;

/// What clients and guests may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub max_conns: usize,
    /// Connections at once from one address (of IPv6, from one /64, which is what a single
    /// client has at its disposal).
    pub max_conns_per_addr: usize,
    /// Bytes of a line, its newline not counted.
    pub max_line: usize,
    /// Bytes of the reply to a line. A guest that serves a whole connection may write any
    /// number.
    pub max_reply: usize,
    /// Wall time of a line, from its first byte (or from the end of the one before, if it
    /// was sent ahead) to its guest's end, wherever that time goes; also how long a client
    /// may take to fetch the last of a reply. For a guest that serves a whole connection,
    /// the time it has to end once its client is gone.
    pub timeout: Duration,
    /// Time between two lines; for a guest that serves a whole connection, time in which
    /// no byte moved either way.
    pub idle: Duration,
    /// Bytes of memory of a guest.
    pub memory: usize,
    /// Bytes of memory of all guests together, beyond 4 MiB of each.
    pub memory_total: usize,
    /// Fuel of a guest, about one an instruction and one a nanosecond of a call.
    pub fuel: Option<u64>,
    /// Descriptors of a guest.
    pub max_fds: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_conns: 1024,
            max_conns_per_addr: 64,
            max_line: 64 << 10,
            max_reply: 8 << 20,
            timeout: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            memory: 64 << 20,
            memory_total: 2 << 30,
            fuel: None,
            max_fds: 64,
        }
    }
}

impl Limits {
    /// The same, with times that any clock can count: the longest is a century.
    pub(super) fn countable(self) -> Limits {
        let (timeout, idle) = (self.timeout.min(CENTURY), self.idle.min(CENTURY));
        Limits { timeout, idle, ..self }
    }
}

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);

const SHARDS: usize = 16;

/// Counts connections, all together and by address. Only taking and closing one touches it.
pub(super) struct Admission {
    max: usize,
    max_per_addr: usize,
    open: AtomicUsize,
    by_addr: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
}

/// A place for one connection, given back when it is dropped.
pub(super) struct Ticket {
    admission: Arc<Admission>,
    addr: IpAddr,
}

impl Admission {
    pub fn new(limits: &Limits) -> Admission {
        Admission {
            max: limits.max_conns,
            max_per_addr: limits.max_conns_per_addr,
            open: AtomicUsize::new(0),
            by_addr: Default::default(),
        }
    }

    /// A place for a connection from there, if there is one.
    pub fn ticket(self: &Arc<Self>, addr: IpAddr) -> Result<Ticket, Refusal> {
        let addr = party(addr);
        let taken =
            self.open.fetch_update(Relaxed, Relaxed, |open| (open < self.max).then_some(open + 1));
        taken.map_err(|_| Refusal::Conns)?;
        let mut shard = self.shard(addr);
        let count = shard.entry(addr).or_default();
        if *count >= self.max_per_addr {
            self.open.fetch_sub(1, Relaxed);
            return Err(Refusal::ConnsPerAddr);
        }
        *count += 1;
        drop(shard);
        Ok(Ticket { admission: self.clone(), addr })
    }

    fn shard(&self, addr: IpAddr) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        let bytes = match addr {
            IpAddr::V4(addr) => u128::from(u32::from(addr)),
            IpAddr::V6(addr) => u128::from(addr) >> 64,
        };
        let shard = usize::try_from(bytes % SHARDS as u128).unwrap_or_default();
        self.by_addr[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let mut shard = self.admission.shard(self.addr);
        if let Some(count) = shard.get_mut(&self.addr) {
            *count -= 1;
            if *count == 0 {
                shard.remove(&self.addr);
            }
        }
        drop(shard);
        self.admission.open.fetch_sub(1, Relaxed);
    }
}

/// Whom an address is counted for.
fn party(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => Ipv6Addr::from(u128::from(addr) >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tickets_are_counted_by_address_and_given_back() {
        let limits = Limits { max_conns: 3, max_conns_per_addr: 2, ..Limits::default() };
        let admission = Arc::new(Admission::new(&limits));
        let ask = |addr: &str| admission.ticket(addr.parse().unwrap());
        let first = ask("10.0.0.1").ok().unwrap();
        let _mapped = ask("::ffff:10.0.0.1").ok().unwrap();
        assert_eq!(ask("10.0.0.1").err(), Some(Refusal::ConnsPerAddr));
        let _other = ask("2001:db8::1").ok().unwrap();
        assert_eq!(ask("2001:db8::2").err(), Some(Refusal::Conns));
        drop(first);
        let _same_net = ask("2001:db8::2").ok().unwrap();
        assert_eq!(ask("10.0.0.2").err(), Some(Refusal::Conns));
        drop(_mapped);
        assert_eq!(ask("2001:db8::ffff:1").err(), Some(Refusal::ConnsPerAddr));
        assert!(ask("10.0.0.1").is_ok());
    }
}
