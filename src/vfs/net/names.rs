//! The nodes: which names there are, and what opening each begins.
//!
//! A name that means nothing here is ENOENT; one that has the form of a network name but
//! can't be one (a port out of range, a host with a blank) is EINVAL. Neither dials, nor
//! does `stat`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use super::dial::{Target, Transport, dial};
use super::policy::addr::Host;
use super::policy::protocol::RuleProtocol;
use super::policy::rule::port;
use super::policy::zone::Address;
use super::{Net, accept};
use crate::vfs::{Emit, Errno, File, Filetype, Name, Node, Open, Opened, Result, Stat};

/// What a name is that goes on where it should end: not in the way of a file below a file,
/// but none of ours.
const TOO_MANY_PARTS: Errno = Errno::Noent;

/// `tcp`, `udp`, `tls`, `https` and `accept`, and the `HOST` in `tcp/HOST/PORT`.
enum NetDirectory {
    Root(Transport),
    Host(Transport, Host),
    #[cfg(feature = "tls")]
    Https,
    Accept,
}

/// The port of `https/HOST`.
#[cfg(feature = "tls")]
const HTTPS_PORT: u16 = 443;

struct Directory {
    net: Net,
    place: NetDirectory,
}

/// A name that dials.
struct Dial(Net, Target);

/// A name that accepts.
struct Accept(Net, Listen);

/// `ADDR:PORT,addr`: its text is the address that the accept name is bound to.
struct BoundAddress(Net, Listen);

/// Where an accept name listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Listen {
    pub address: Address,
    pub port: u16,
}

/// As a rule would name it.
impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", Host::Addr(self.address.clone()), self.port)
    }
}

/// The meaning of a connection's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum NetworkName {
    /// A host and a port to dial, and what is spoken there.
    Dial(RuleProtocol, Host, u16),
    /// An address to accept connections on.
    Accept(Listen),
}

impl NetworkName {
    /// Reads a name below `/dev`: what opening it does, whether or not that is allowed.
    pub(crate) fn parse(name: &str) -> Option<NetworkName> {
        let dial = |protocol, host, port| Some(NetworkName::Dial(protocol, host, port));
        let in_parts = |protocol, rest: &str| {
            let (host, digits) = rest.split_once('/')?;
            dial(protocol, Host::parse_alone(host)?, port_of_peer(digits)?)
        };
        match name.split_once('/') {
            Some(("tcp" | "udp", rest)) => in_parts(RuleProtocol::Plain, rest),
            #[cfg(feature = "tls")]
            Some(("tls", rest)) => in_parts(RuleProtocol::Tls, rest),
            #[cfg(feature = "tls")]
            Some(("https", rest)) => {
                let (host, port) = https(rest).ok()?;
                dial(RuleProtocol::Https, host, port)
            }
            Some(("accept", rest)) => address(rest).ok().map(NetworkName::Accept),
            Some(_) => None,
            None => {
                let (host, digits) = name.rsplit_once(':')?;
                dial(RuleProtocol::Plain, Host::parse(host)?, port_of_peer(digits)?)
            }
        }
    }
}

/// What `name` is in `/dev`.
pub(crate) fn in_dev(net: &Net, name: &str) -> Result<Arc<dyn Node>> {
    let directory = |place| Ok(Arc::new(Directory { net: net.clone(), place }) as Arc<dyn Node>);
    match name {
        "tcp" => directory(NetDirectory::Root(Transport::Tcp)),
        "udp" => directory(NetDirectory::Root(Transport::Udp)),
        #[cfg(feature = "tls")]
        "tls" => directory(NetDirectory::Root(Transport::Tls)),
        #[cfg(feature = "tls")]
        "https" => directory(NetDirectory::Https),
        "accept" => directory(NetDirectory::Accept),
        name => {
            let (host, port) = name.rsplit_once(':').ok_or(Errno::Noent)?;
            let host = Host::parse(host).ok_or(Errno::Inval)?;
            target(net, Transport::Tcp, host, port)
        }
    }
}

fn target(net: &Net, transport: Transport, host: Host, digits: &str) -> Result<Arc<dyn Node>> {
    let port = port_of_peer(digits).ok_or(Errno::Inval)?;
    Ok(Arc::new(Dial(net.clone(), Target { transport, host, port })))
}

/// `example.org`, `example.org:8443`, `[::1]`, `[::1]:8443`.
#[cfg(feature = "tls")]
fn https(text: &str) -> Result<(Host, u16)> {
    if let Some(host) = Host::parse(text) {
        return Ok((host, HTTPS_PORT));
    }
    let (host, digits) = text.rsplit_once(':').ok_or(Errno::Inval)?;
    let host = Host::parse(host).ok_or(Errno::Inval)?;
    Ok((host, port_of_peer(digits).ok_or(Errno::Inval)?))
}

/// Port 0 can't be dialled.
fn port_of_peer(digits: &str) -> Option<u16> {
    port(digits).filter(|port| *port != 0)
}

/// `127.0.0.1:8080`, `[::1]:0`, `localhost:0`.
fn address(text: &str) -> Result<Listen> {
    let (host, digits) = text.rsplit_once(':').ok_or(Errno::Noent)?;
    let address = match Host::parse(host).ok_or(Errno::Inval)? {
        Host::Addr(address) => address,
        Host::Name(name) if name.is_localhost() => IpAddr::V4(Ipv4Addr::LOCALHOST).into(),
        Host::Name(_) => return Err(Errno::Inval),
    };
    Ok(Listen { address, port: port(digits).ok_or(Errno::Inval)? })
}

impl Node for Directory {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Directory))
    }

    /// Lists nothing: there is a name for every host of the internet. `tcp/HOST` is only
    /// there to be walked through; opened, it is a name with its port missing, as all of
    /// these are for guests that write to them.
    fn open(&self, how: Open) -> Result<Opened> {
        let incomplete = how.write || matches!(self.place, NetDirectory::Host(..));
        if incomplete { Err(Errno::Noent) } else { Ok(Opened::file(Listing)) }
    }

    fn lookup(&self, name: Name<'_>) -> Result<Arc<dyn Node>> {
        let name = name.as_str();
        match &self.place {
            NetDirectory::Root(transport) => {
                let host = Host::parse_alone(name).ok_or(Errno::Inval)?;
                let place = NetDirectory::Host(*transport, host);
                Ok(Arc::new(Directory { net: self.net.clone(), place }))
            }
            NetDirectory::Host(transport, host) => {
                target(&self.net, *transport, host.clone(), name)
            }
            #[cfg(feature = "tls")]
            NetDirectory::Https => {
                let (host, port) = https(name)?;
                let target = Target { transport: Transport::Https, host, port };
                Ok(Arc::new(Dial(self.net.clone(), target)))
            }
            NetDirectory::Accept => match name.strip_suffix(",addr") {
                Some(name) => Ok(Arc::new(BoundAddress(self.net.clone(), address(name)?))),
                None => Ok(Arc::new(Accept(self.net.clone(), address(name)?))),
            },
        }
    }
}

struct Listing;

impl File for Listing {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Directory))
    }

    fn readdir(&mut self, _cookie: u64, _emit: &mut Emit<'_>) -> Result<()> {
        Ok(())
    }
}

/// How it is opened means nothing: a stream is read and written, and the `O_CREAT|O_TRUNC`
/// of a program that takes it for a file does no harm.
impl Node for Dial {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(self.1.transport.filetype()))
    }

    fn open(&self, _how: Open) -> Result<Opened> {
        dial(&self.0, &self.1)
    }

    fn lookup(&self, _name: Name<'_>) -> Result<Arc<dyn Node>> {
        Err(TOO_MANY_PARTS)
    }
}

impl Node for Accept {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(Filetype::SocketStream))
    }

    fn open(&self, _how: Open) -> Result<Opened> {
        accept::accept(&self.0, &self.1)
    }

    fn lookup(&self, _name: Name<'_>) -> Result<Arc<dyn Node>> {
        Err(TOO_MANY_PARTS)
    }
}

impl Node for BoundAddress {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(Filetype::RegularFile))
    }

    fn open(&self, how: Open) -> Result<Opened> {
        if how.write { Err(Errno::Acces) } else { accept::bound_address(&self.0, &self.1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_reads_as_what_opening_it_does() {
        let dial = |protocol, host, port| {
            Some(NetworkName::Dial(protocol, Host::parse(host).unwrap(), port))
        };
        let plain = |host, port| dial(RuleProtocol::Plain, host, port);
        assert_eq!(NetworkName::parse("a.b:80"), plain("a.b", 80));
        assert_eq!(NetworkName::parse("tcp/::1/80"), plain("[::1]", 80));
        assert_eq!(NetworkName::parse("udp/a/53"), plain("a", 53));
        if cfg!(feature = "tls") {
            assert_eq!(NetworkName::parse("tls/a/443"), dial(RuleProtocol::Tls, "a", 443));
            assert_eq!(NetworkName::parse("tls/::1/443"), dial(RuleProtocol::Tls, "[::1]", 443));
            assert_eq!(NetworkName::parse("https/a"), dial(RuleProtocol::Https, "a", 443));
            assert_eq!(NetworkName::parse("https/a:8443"), dial(RuleProtocol::Https, "a", 8443));
            assert_eq!(NetworkName::parse("https/[::1]"), dial(RuleProtocol::Https, "[::1]", 443));
        }
        for no in
            ["tls/a", "tls/a/0", "tls/a/1/x", "https/", "https/a/443", "https/::1", "https/a:0"]
        {
            assert_eq!(NetworkName::parse(no), None, "{no}");
        }
        let accept = |text: &str| Some(NetworkName::Accept(address(text).unwrap()));
        assert_eq!(NetworkName::parse("[fe80::1%eth0]:80"), plain("[fe80::1%eth0]", 80));
        assert_eq!(NetworkName::parse("udp/fe80::1%eth0/53"), plain("[fe80::1%eth0]", 53));
        let zoned = NetworkName::parse("accept/[fe80::1%eth0]:0");
        assert!(
            matches!(zoned, Some(NetworkName::Accept(at)) if at.to_string() == "[fe80::1%eth0]:0")
        );
        assert_eq!(NetworkName::parse("accept/127.0.0.1:0"), accept("127.0.0.1:0"));
        assert_eq!(NetworkName::parse("accept/localhost:80"), accept("127.0.0.1:80"));
        for no in ["null", "tcp/a", "tcp/a/1/x", "a:b", "fd/3", "a:0", "a:080", "accept/a.b:1"] {
            assert_eq!(NetworkName::parse(no), None, "{no}");
        }
        // What would be another rule, or two.
        for no in
            ["*:80", "*.a.org:80", "a:80-90", "a:*", "10.0.0.0/8:1", "a\nnet *:80", "a b:1", "a:+1"]
        {
            assert_eq!(NetworkName::parse(no), None, "{no}");
            assert_eq!(NetworkName::parse(&format!("accept/{no}")), None, "{no}");
        }
    }
}
