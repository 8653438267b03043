//! Where a guest may go: everything not allowed by a rule is denied.

pub(super) mod addr;
pub(super) mod protocol;
pub(super) mod rule;
pub(super) mod zone;

use std::net::{IpAddr, SocketAddr};

#[cfg(feature = "sockets")]
use addr::HostName;
use addr::{Class, Host};
use protocol::RuleProtocol;
use rule::{Hosts, ListenRule, Rule, RuleError};
use zone::Address;

/// The rules of a guest; their order means nothing.
///
/// A *name* is allowed by a name rule (`example.org:443`, `*.example.org:443`, `*:443`), and
/// only then looked up. Each address it has is judged again: a public one is allowed; one
/// that is loopback, private, link-local, a metadata service or otherwise special (see
/// [`Class`]) is refused, unless an address rule covers it too, so that the owner of a
/// name can't point it into the operator's network. The name `localhost` means the loopback
/// addresses and nothing else, and needs a rule with that name.
///
/// An *address* is allowed by an address rule, or by `*` if it is public.
///
/// A rule for a [`RuleProtocol`] counts only where that is spoken, or what is spoken inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    dial: Vec<Rule>,
    listen: Vec<ListenRule>,
}

impl Default for Policy {
    /// `localhost:1997`, where `tinyhost serve` is; no listening.
    fn default() -> Policy {
        let own = "localhost:1997".parse().expect("a rule");
        Policy { dial: vec![own], listen: Vec::new() }
    }
}

impl Policy {
    /// Nothing is allowed.
    pub fn none() -> Policy {
        Policy { dial: Vec::new(), listen: Vec::new() }
    }

    /// The policy of a command line: the texts given with `--net` and `--net-listen`. They
    /// add to the default; `none` among the first takes the default rule away.
    ///
    /// # Errors
    ///
    /// The first text that does not parse.
    pub fn from_rules<'t>(
        net: impl IntoIterator<Item = &'t str>,
        net_listen: impl IntoIterator<Item = &'t str>,
    ) -> Result<Policy, RuleError> {
        let mut rules = Vec::new();
        let mut default = Policy::default().dial;
        for text in net {
            if text == "none" {
                default.clear();
            } else {
                rules.push(text.parse()?);
            }
        }
        rules.append(&mut default);
        let listen = net_listen.into_iter().map(str::parse).collect::<Result<_, _>>()?;
        Ok(Policy { dial: rules, listen })
    }

    /// Adds a rule for dialling.
    pub fn allow(&mut self, rule: Rule) -> &mut Policy {
        self.dial.push(rule);
        self
    }

    /// Adds a rule for accept names.
    pub fn listen(&mut self, rule: ListenRule) -> &mut Policy {
        self.listen.push(rule);
        self
    }

    /// Whether a dial to `host` could be allowed. If not, it must not be looked up either:
    /// a lookup shows the owner of the name what the guest asked.
    pub fn name_possible(&self, protocol: RuleProtocol, host: &Host, port: u16) -> bool {
        let name = match host {
            Host::Addr(address) => return self.addr_allowed(protocol, host, address.ip(), port),
            Host::Name(name) => name,
        };
        self.rules(protocol, port).any(|hosts| match hosts {
            Hosts::Name(allowed) => name == allowed,
            Hosts::Below(parent) => name.is_below(parent),
            Hosts::Any => !name.is_localhost(),
            Hosts::Within(_) => false,
        })
    }

    /// Whether a rule has the name, for any port: it may be looked up.
    #[cfg(feature = "sockets")]
    pub(super) fn name_possible_somewhere(&self, name: &HostName) -> bool {
        let host = Host::Name(name.clone());
        let ports = self.dial.iter().filter(|rule| rule.protocol == RuleProtocol::Plain);
        ports
            .map(|rule| *rule.ports.start())
            .any(|port| self.name_possible(RuleProtocol::Plain, &host, port))
    }

    /// Whether a rule has this address and names this port, not a range of ports with it.
    #[cfg(feature = "sockets")]
    pub(super) fn names_port(&self, address: &Address, port: u16) -> bool {
        self.dial.iter().any(|rule| {
            let here = matches!(&rule.hosts, Hosts::Within(cidr) if cidr.covers(address));
            here && rule.protocol == RuleProtocol::Plain && rule.ports == (port..=port)
        })
    }

    /// Whether a dial to `asked`, which is or was resolved to `address`, is allowed. The zone of an
    /// address is that of `asked`; a resolver answers none.
    pub fn addr_allowed(
        &self,
        protocol: RuleProtocol,
        asked: &Host,
        address: IpAddr,
        port: u16,
    ) -> bool {
        let meant = match asked {
            Host::Addr(asked) => asked.clone(),
            Host::Name(_) => address.into(),
        };
        let within = |hosts: &Hosts| matches!(hosts, Hosts::Within(cidr) if cidr.covers(&meant));
        let covered = self.rules(protocol, port).any(within);
        let class = Class::of(address);
        match asked {
            Host::Addr(_) => {
                let any = self.rules(protocol, port).any(|hosts| *hosts == Hosts::Any);
                covered || (any && class == Class::Public)
            }
            Host::Name(name) => {
                let own = if name.is_localhost() { Class::Loopback } else { Class::Public };
                self.name_possible(protocol, asked, port) && (covered || class == own)
            }
        }
    }

    /// Whether listening there is allowed; port 0 is the wish for any free port.
    pub fn listen_allowed(&self, at: SocketAddr) -> bool {
        self.may_listen(&at.into(), at.port())
    }

    /// As [`listen_allowed`](Policy::listen_allowed), before the zone is looked up.
    pub(super) fn may_listen(&self, address: &Address, port: u16) -> bool {
        self.listen.iter().any(|rule| {
            let here = rule.addresses.as_ref().is_none_or(|cidr| cidr.covers(address));
            here && rule.ports.contains(&port)
        })
    }

    fn rules(&self, protocol: RuleProtocol, port: u16) -> impl Iterator<Item = &Hosts> {
        let counts = move |rule: &&Rule| rule.protocol <= protocol && rule.ports.contains(&port);
        self.dial.iter().filter(counts).map(|rule| &rule.hosts)
    }
}
