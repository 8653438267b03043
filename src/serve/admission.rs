//! How much of everything there may be.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::config::Limits;
use super::observe::metrics::Refusal;

const SHARDS: usize = 16;

/// Counts connections, all together and by address. Only taking and closing one touches it.
pub(super) struct Admission {
    max: usize,
    max_per_addr: usize,
    count_loopback: bool,
    open: AtomicUsize,
    by_addr: [Mutex<HashMap<IpAddr, usize>>; SHARDS],
}

/// A place for one connection, given back when it is dropped.
pub(super) struct Ticket {
    admission: Arc<Admission>,
    /// The address that it is counted for.
    addr: Option<IpAddr>,
}

impl Admission {
    pub fn new(limits: &Limits) -> Admission {
        Admission {
            max: limits.max_conns,
            max_per_addr: limits.max_conns_per_addr,
            count_loopback: limits.count_loopback,
            open: AtomicUsize::new(0),
            by_addr: Default::default(),
        }
    }

    /// A place for a connection, if there is one. It is counted for no address yet.
    pub fn ticket(self: &Arc<Self>) -> Result<Ticket, Refusal> {
        let taken =
            self.open.fetch_update(Relaxed, Relaxed, |open| (open < self.max).then_some(open + 1));
        taken.map_err(|_| Refusal::Conns)?;
        Ok(Ticket { admission: self.clone(), addr: None })
    }

    /// Whether all places were given back.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        let shards =
            self.by_addr.iter().map(|shard| shard.lock().unwrap_or_else(PoisonError::into_inner));
        self.open.load(Relaxed) == 0 && shards.into_iter().all(|shard| shard.is_empty())
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

impl Ticket {
    /// Counts the connection for the address of its client, once.
    ///
    /// # Errors
    ///
    /// If that has too many.
    pub fn count_for(&mut self, addr: IpAddr) -> Result<(), Refusal> {
        let admission = &self.admission;
        if addr.to_canonical().is_loopback() && !admission.count_loopback {
            return Ok(());
        }
        let addr = party(addr);
        let mut shard = admission.shard(addr);
        let count = shard.entry(addr).or_default();
        if *count >= admission.max_per_addr {
            return Err(Refusal::ConnsPerAddr);
        }
        *count += 1;
        drop(shard);
        self.addr = Some(addr);
        Ok(())
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(addr) = self.addr {
            let mut shard = self.admission.shard(addr);
            if let Some(count) = shard.get_mut(&addr) {
                *count -= 1;
                if *count == 0 {
                    shard.remove(&addr);
                }
            }
        }
        self.admission.open.fetch_sub(1, Relaxed);
    }
}

/// The address that a client's connections are counted for: an IPv4 address or an IPv6 /64.
pub(crate) fn party(addr: IpAddr) -> IpAddr {
    match addr.to_canonical() {
        IpAddr::V6(addr) => Ipv6Addr::from(u128::from(addr) >> 64 << 64).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(admission: &Arc<Admission>, addr: &str) -> Result<Ticket, Refusal> {
        let mut ticket = admission.ticket()?;
        ticket.count_for(addr.parse().unwrap())?;
        Ok(ticket)
    }

    #[test]
    fn tickets_are_counted_by_address_and_given_back() {
        let limits = Limits { max_conns: 3, max_conns_per_addr: 2, ..Limits::default() };
        let admission = Arc::new(Admission::new(&limits));
        let ask = |addr: &str| ask(&admission, addr);
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

    /// All clients of this machine have one address.
    #[test]
    fn loopback_is_counted_by_address_only_if_asked_to() {
        for (count_loopback, refused) in [(false, None), (true, Some(Refusal::ConnsPerAddr))] {
            let limits =
                Limits { max_conns_per_addr: 1, count_loopback, max_conns: 4, ..Limits::default() };
            let admission = Arc::new(Admission::new(&limits));
            let ask = |addr: &str| ask(&admission, addr);
            for addr in ["127.0.0.1", "::1"] {
                let _first = ask(addr).ok().unwrap();
                assert_eq!(ask(addr).err(), refused, "{addr}");
            }
            assert!(admission.is_empty());
        }
    }
}
