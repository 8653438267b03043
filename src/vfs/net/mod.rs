//! The network as a filesystem.
//!
//! | name | opening it |
//! |---|---|
//! | `/dev/HOST:PORT`, `/dev/tcp/HOST/PORT` | dials |
//! | `/dev/udp/HOST/PORT` | a connected datagram socket: one read, one datagram |
//! | `/dev/tls/HOST/PORT` | dials, and speaks TLS: the guest reads and writes what is inside |
//! | `/dev/https/HOST[:PORT]` | the same, for one HTTP request, to whose head a [secret](Secret) is added |
//! | `/dev/accept/ADDR:PORT` | waits for a client, and is its stream; port 0 is any free port |
//! | `/dev/accept/ADDR:PORT,addr` | text: the address that name is bound to |
//!
//! IPv6 addresses are in brackets: `/dev/[::1]:1997`, `/dev/[fe80::1%eth0]:1997`. Every open is checked against a [`Policy`].
//! Each denial is reported once, with the rule that would have allowed it.

mod accept;
mod dial;
#[cfg(feature = "sockets")]
pub(crate) mod endpoint;
#[cfg(feature = "tls")]
mod https;
mod inherited;
mod listen;
mod lookup;
mod names;
mod policy;
mod quota;
mod resolve;
mod socket;
#[cfg(feature = "tls")]
pub(crate) mod tls;
mod udp;
mod unix;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use accept::Listener;
#[cfg(feature = "sockets")]
pub use endpoint::{Endpoint, Family, OptionName, OptionValue, Received};
#[cfg(feature = "tls")]
pub use https::{Secret, SecretError};
#[cfg(feature = "serve")]
pub(crate) use listen::BACKLOG;
pub use listen::listen;
#[cfg(feature = "serve")]
pub(crate) use listen::plain;
pub use lookup::SystemResolver;
pub(crate) use names::NetworkName;
pub use policy::Policy;
#[cfg(feature = "serve")]
pub(crate) use policy::addr::Cidr;
pub use policy::addr::{Class, Host, HostName};
pub use policy::protocol::RuleProtocol;
pub use policy::rule::{ListenRule, Rule, RuleError};
pub use policy::zone::{Address, Zone};
#[cfg(feature = "nats")]
pub(crate) use resolve::Lookup;
pub use resolve::{Answer, Resolver};
#[cfg(feature = "tls")]
pub use tls::{Pin, Tls};
pub use unix::UnixSocket;

use crate::vfs::{Name, Node, Result};
pub(crate) use inherited::Inherited;
pub(crate) use quota::Quota;
use quota::{Share, Shares};
pub(crate) use socket::Socket;

/// Denials that are remembered so that each is reported once. One guest can have half of them
/// reported; after that it is silence, for it.
const DENIALS_MAX: usize = 512;

/// When they are forgotten if there were too many of them.
const DENIALS_FORGOTTEN: Duration = Duration::from_secs(600);

/// Takes the line about a denial.
pub type ReportDenial = Arc<dyn Fn(&str) + Send + Sync>;

/// The configuration of a [`Net`].
#[derive(Clone)]
pub struct NetConfig {
    /// What guests may dial and where they may listen.
    pub policy: Policy,
    /// Resolves host names.
    pub resolver: Arc<dyn Resolver>,
    /// Dials of one guest in progress, lookups included. Beyond it a dial fails with ENFILE.
    pub dials_max: u32,
    /// Sockets of one guest that are open or waited for. Beyond it an open fails with ENFILE.
    pub sockets_max: u32,
    /// Time limit of a dial, lookup included. Beyond it the dial fails with ETIMEDOUT.
    pub connect_timeout: Duration,
    /// Called once with each denial. By default it logs a warning.
    pub report: ReportDenial,
    /// Which authorities and keys the names of TLS trust.
    #[cfg(feature = "tls")]
    pub tls: Tls,
}

impl Default for NetConfig {
    fn default() -> NetConfig {
        NetConfig {
            policy: Policy::default(),
            resolver: SystemResolver::shared(),
            dials_max: 64,
            sockets_max: 1024,
            connect_timeout: Duration::from_secs(30),
            report: Arc::new(|line| log::warn!("{line}")),
            #[cfg(feature = "tls")]
            tls: Tls::default(),
        }
    }
}

/// The network of a guest. A clone shares its counters.
#[derive(Clone)]
pub struct Net {
    common: Arc<Common>,
    dials: Arc<Quota>,
    sockets: Arc<Quota>,
    listeners: Arc<accept::Own>,
    /// What the guest has looked up.
    #[cfg(feature = "sockets")]
    names: Arc<endpoint::LookedUp>,
}

/// What guests share.
struct Common {
    config: NetConfig,
    services: accept::Services,
    denied: Mutex<Denied>,
}

/// What was reported already, each with its guest's share of it.
struct Denied {
    shares: Arc<Shares>,
    lines: HashMap<String, Share>,
    /// Since when some guest's are not reported any more.
    silent: Option<Instant>,
}

impl Net {
    /// The directories that a network has in `/dev`; its other names are not listed.
    pub const DIRECTORIES: &'static [&'static str] = &[
        "tcp",
        "udp",
        #[cfg(feature = "tls")]
        "tls",
        #[cfg(feature = "tls")]
        "https",
        "accept",
    ];

    /// A network for one guest, or for guests that share its limits.
    pub fn new(config: NetConfig) -> Net {
        #[cfg(feature = "tls")]
        let config = allow_secrets(config);
        let dials = Quota::new(config.dials_max);
        let sockets = Quota::new(config.sockets_max);
        let shares = Shares::new(DENIALS_MAX);
        let denied = Mutex::new(Denied { shares, lines: HashMap::new(), silent: None });
        let services = accept::Services::new();
        let common = Arc::new(Common { config, services, denied });
        Net::with(common, dials, sockets)
    }

    /// The same network for another guest: policy, resolver, and the memory of what was reported
    /// are common, the limits count from 0. It finds the listeners that accept names of others
    /// have bound, as long as they live; those it binds end with it, and with those of the
    /// others who have asked for them.
    pub fn for_guest(&self) -> Net {
        let common = self.common.clone();
        let dials = Quota::new(common.config.dials_max);
        let sockets = Quota::new(common.config.sockets_max);
        Net::with(common, dials, sockets)
    }

    /// For a guest that has asked for nothing yet.
    fn with(common: Arc<Common>, dials: Arc<Quota>, sockets: Arc<Quota>) -> Net {
        Net {
            common,
            dials,
            sockets,
            listeners: Arc::default(),
            #[cfg(feature = "sockets")]
            names: Arc::default(),
        }
    }

    /// The node of that name in `/dev`: `HOST:PORT`, or one of [`Net::DIRECTORIES`].
    ///
    /// # Errors
    ///
    /// ENOENT if the name has nothing to do with the network, EINVAL if it has a colon but
    /// what is around it is not a host or a port.
    pub fn lookup(&self, name: Name<'_>) -> Result<Arc<dyn Node>> {
        names::in_dev(self, name.as_str())
    }

    /// The listeners that accept names have bound: the address asked, and the one it is.
    pub fn bound(&self) -> Vec<(SocketAddr, SocketAddr)> {
        self.services().bound()
    }

    fn policy(&self) -> &Policy {
        &self.common.config.policy
    }

    fn resolver(&self) -> &dyn Resolver {
        &*self.common.config.resolver
    }

    #[cfg(feature = "tls")]
    fn tls(&self) -> &Tls {
        &self.common.config.tls
    }

    fn connect_timeout(&self) -> Duration {
        self.common.config.connect_timeout
    }

    fn services(&self) -> &accept::Services {
        &self.common.services
    }

    /// Reports a denial, or why a peer is not who it should be, if that was not reported before.
    /// Guests can't write what they like into it (host names are checked), nor fill the log with it.
    fn denied(&self, line: String) {
        let mut denied = lock(&self.common.denied);
        if denied.silent.is_some_and(|since| since.elapsed() > DENIALS_FORGOTTEN) {
            denied.lines.clear();
            denied.silent = None;
        }
        if denied.lines.contains_key(&line) {
            return;
        }
        let Ok(share) = denied.shares.take() else {
            let told = denied.silent.replace(Instant::now()).is_some();
            drop(denied);
            if !told {
                let last =
                    "denied: too many different things of one guest; no more of it is reported";
                (self.common.config.report)(last);
            }
            return;
        };
        denied.lines.insert(line.clone(), share);
        drop(denied);
        (self.common.config.report)(&line);
    }
}

impl fmt::Debug for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = self.bound();
        f.debug_struct("Net").field("policy", self.policy()).field("bound", &bound).finish()
    }
}

/// A secret is a rule as well: for the requests that it is added to.
#[cfg(feature = "tls")]
fn allow_secrets(mut config: NetConfig) -> NetConfig {
    for rule in config.tls.rules() {
        config.policy.allow(rule);
    }
    config
}

/// Nothing here panics while it holds a lock, so what a poisoned one guards is whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
