//! Names that a guest has looked up, so that a connect to an address can be judged by its name.
//!
//! A socket connects to an address, and rules are for names. So the answers of `sock_getaddrinfo`
//! are kept for the guest that asked, and a dial to one of the addresses is a dial to the name. The
//! addresses of the dialects have no zone: that of a link-local one is kept in the same way.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::{IpAddr, SocketAddr};
use std::sync::Mutex;
use std::task::Waker;
use std::time::Instant;

use crate::vfs::net::policy::addr::{Class, Host, HostName};
use crate::vfs::net::policy::protocol::RuleProtocol;
use crate::vfs::net::policy::zone::Address;
use crate::vfs::net::quota::Taken;
use crate::vfs::net::resolve::Lookup;
use crate::vfs::net::{Net, lock};
use crate::vfs::{Errno, Memo, Question, Result, Wait};

/// Names that are kept for a guest; the oldest goes when there is one more.
const NAMES_MAX: usize = 64;

/// Addresses of one name that are kept, and given to the guest.
const ADDRESSES_MAX: usize = 16;

/// What a guest has looked up, the latest last: names, and addresses with a zone.
#[derive(Default)]
pub(crate) struct LookedUp(Mutex<VecDeque<(Host, Vec<IpAddr>)>>);

impl LookedUp {
    fn add(&self, name: Host, addresses: Vec<IpAddr>) {
        let mut known = lock(&self.0);
        known.retain(|(there, _)| *there != name);
        if known.len() >= NAMES_MAX {
            known.pop_front();
        }
        known.push_back((name, addresses));
    }

    /// What was resolved to an address, the latest first.
    fn of(&self, address: IpAddr) -> Vec<Host> {
        let known = lock(&self.0);
        let of = known.iter().rev().filter(|(_, addresses)| addresses.contains(&address));
        of.map(|(name, _)| name.clone()).collect()
    }
}

/// A name that is being looked up for a call.
struct NameLookup {
    lookup: Lookup,
    deadline: Instant,
    _in_flight: Taken,
}

impl Question for NameLookup {
    type Answer = Vec<IpAddr>;

    fn answer(&mut self) -> Result<Vec<IpAddr>> {
        match self.lookup.answer() {
            Some(answer) => answer,
            None if Instant::now() >= self.deadline => Err(Errno::Timedout),
            None => Err(Errno::Again),
        }
    }

    fn wait(&mut self, waker: &Waker) -> Wait<'_> {
        if self.lookup.is_done_or_wakes(waker) { Wait::Now } else { Wait::Waker }
    }

    fn deadline(&self) -> Option<Instant> {
        Some(self.deadline)
    }
}

impl Net {
    /// The addresses of a host, for the call that `memo` is of. From then on the guest may connect
    /// to them where it may connect to the name.
    ///
    /// # Errors
    ///
    /// EAGAIN until there is an answer; EACCES, reported, if no rule has the name: it is not
    /// looked up then. EHOSTUNREACH if it has no address.
    pub(crate) fn addresses(&self, memo: &Memo, host: Host) -> Result<Vec<IpAddr>> {
        let name = match &host {
            Host::Addr(address) => {
                let ip = address.ip();
                if address.zone().is_some() {
                    self.names.add(host, vec![ip]);
                }
                return Ok(vec![ip]);
            }
            Host::Name(name) => name.clone(),
        };
        self.judge_lookup(&name)?;
        let mut hash = DefaultHasher::new();
        name.hash(&mut hash);
        let found = memo.asker().ask(hash.finish(), || {
            let in_flight = self.dials.take()?;
            let lookup = Lookup::begin(self.resolver(), name.as_str());
            let deadline = Instant::now() + self.connect_timeout();
            Ok(NameLookup { lookup, deadline, _in_flight: in_flight })
        })?;
        self.found(name, &found)
    }

    /// EACCES, reported, if no rule has the name: it is not looked up then.
    pub(super) fn judge_lookup(&self, name: &HostName) -> Result<()> {
        if self.policy().name_possible_somewhere(name) {
            return Ok(());
        }
        let name = name.as_str();
        self.denied(format!("denied: look up {name} (allow with --net {name}:PORT)"));
        Err(Errno::Acces)
    }

    /// What a guest gets of the addresses of a name, which is remembered; EHOSTUNREACH for none.
    pub(super) fn found(&self, name: HostName, found: &[IpAddr]) -> Result<Vec<IpAddr>> {
        let mut addresses = Vec::new();
        for address in found.iter().map(IpAddr::to_canonical) {
            if addresses.len() < ADDRESSES_MAX && !addresses.contains(&address) {
                addresses.push(address);
            }
        }
        if addresses.is_empty() {
            return Err(Errno::Hostunreach);
        }
        self.names.add(Host::Name(name), addresses.clone());
        Ok(addresses)
    }

    /// The address of a socket, in the zone in which the guest has looked it up.
    fn address_of(&self, at: SocketAddr) -> Address {
        let address = Address::from(at);
        if !address.is_of_a_link() || address.zone().is_some() {
            return address;
        }
        let zoned = |host| match host {
            Host::Addr(zoned) => Some(zoned),
            Host::Name(_) => None,
        };
        self.names.of(address.ip()).into_iter().find_map(zoned).unwrap_or(address)
    }

    /// The address that the system is given for it.
    ///
    /// # Errors
    ///
    /// ENODEV if its zone is not there any more.
    pub(super) fn zoned(&self, at: SocketAddr) -> Result<SocketAddr> {
        self.address_of(at).scoped(at)
    }

    /// The host as whose address the guest may send to `to`, if it may.
    fn host_allowed(&self, to: SocketAddr) -> Option<Host> {
        let address = self.address_of(to);
        let ip = address.ip();
        let allowed =
            |host: &Host| self.policy().addr_allowed(RuleProtocol::Plain, host, ip, to.port());
        let bare = Host::Addr(address);
        if allowed(&bare) {
            return Some(bare);
        }
        self.names.of(ip).into_iter().find(allowed)
    }

    /// Whether the guest may send to `to`. Reports nothing.
    pub(super) fn may_dial(&self, to: SocketAddr) -> bool {
        self.host_allowed(to).is_some()
    }

    /// The host as whose address the guest sends to `to`.
    ///
    /// # Errors
    ///
    /// EACCES, reported, if no rule allows it.
    pub(super) fn judge_dial(&self, to: SocketAddr) -> Result<Host> {
        if let Some(host) = self.host_allowed(to) {
            return Ok(host);
        }
        let address = self.address_of(to);
        let ip = address.ip();
        let port = to.port();
        let bare = Host::Addr(address);
        let name = self.names.of(ip).into_iter().find(|host| matches!(host, Host::Name(_)));
        self.denied(match name {
            None => format!("denied: dial {bare}:{port} (allow with --net {bare}:{port})"),
            Some(host) if self.policy().name_possible(RuleProtocol::Plain, &host, port) => {
                let class = Class::of(ip);
                format!(
                    "denied: dial {host}:{port}: it resolved to {ip}, a {class} address (allow \
                     with --net {bare}:{port})"
                )
            }
            Some(host) => format!("denied: dial {host}:{port} (allow with --net {host}:{port})"),
        });
        Err(Errno::Acces)
    }

    /// EACCES, reported, if no rule allows to listen there.
    pub(super) fn judge_listen(&self, at: SocketAddr) -> Result<()> {
        let address = self.address_of(at);
        let port = at.port();
        if self.policy().may_listen(&address, port) {
            return Ok(());
        }
        let host = Host::Addr(address);
        let line =
            format!("denied: listen on {host}:{port} (allow with --net-listen {host}:{port})");
        self.denied(line);
        Err(Errno::Acces)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_name_goes_first() {
        let names = LookedUp::default();
        let name = |n: usize| Host::parse(&format!("h{n}.example")).unwrap();
        let address = |n: usize| IpAddr::from([10, 0, 0, u8::try_from(n).unwrap()]);
        for n in 0..=NAMES_MAX {
            names.add(name(n), vec![address(n)]);
        }
        assert!(names.of(address(0)).is_empty());
        assert_eq!(names.of(address(1)), [name(1)]);
        // A name that is looked up again has the new addresses only, and is the latest.
        names.add(name(1), vec![address(2)]);
        assert!(names.of(address(1)).is_empty());
        assert_eq!(names.of(address(2)), [name(1), name(2)]);
    }
}
