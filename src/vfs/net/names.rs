//! The nodes: which names there are, and what opening each begins.
//!
//! A name that means nothing here is ENOENT; one that has the form of a network name but
//! can't be one (a port out of range, a host with a blank) is EINVAL. Neither dials, nor
//! does `stat`.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use super::dial::{Target, dial};
use super::policy::addr::Host;
use super::policy::rule::port;
use super::{Net, accept};
use crate::vfs::{Emit, Errno, File, Filetype, Name, Node, Open, Opened, Result, Stat};

/// What a name is that goes on where it should end: not in the way of a file below a file,
/// but none of ours.
const TOO_MANY_PARTS: Errno = Errno::Noent;

/// `tcp`, `udp` and `accept`, and the `HOST` in `tcp/HOST/PORT`.
enum Place {
    Root(Filetype),
    Host(Filetype, Host),
    Accept,
}

struct Directory {
    net: Net,
    place: Place,
}

/// A name that dials.
struct Dial(Net, Target);

/// A name that accepts.
struct Accept(Net, SocketAddr);

/// `ADDR:PORT,addr`: reading it tells what the accept name is bound to.
struct BoundAddress(Net, SocketAddr);

/// What `name` is in `/dev`.
pub(crate) fn in_dev(net: &Net, name: &str) -> Result<Arc<dyn Node>> {
    let directory = |place| Ok(Arc::new(Directory { net: net.clone(), place }) as Arc<dyn Node>);
    match name {
        "tcp" => directory(Place::Root(Filetype::SocketStream)),
        "udp" => directory(Place::Root(Filetype::SocketDgram)),
        "accept" => directory(Place::Accept),
        name => {
            let (host, port) = name.rsplit_once(':').ok_or(Errno::Noent)?;
            let host = Host::parse(host).ok_or(Errno::Inval)?;
            target(net, Filetype::SocketStream, host, port)
        }
    }
}

fn target(net: &Net, kind: Filetype, host: Host, digits: &str) -> Result<Arc<dyn Node>> {
    let port = port(digits).filter(|port| *port != 0).ok_or(Errno::Inval)?;
    Ok(Arc::new(Dial(net.clone(), Target { kind, host, port })))
}

/// `127.0.0.1:8080`, `[::1]:0`, `localhost:0`.
fn address(text: &str) -> Result<SocketAddr> {
    let (host, digits) = text.rsplit_once(':').ok_or(Errno::Noent)?;
    let address: IpAddr = match Host::parse(host).ok_or(Errno::Inval)? {
        Host::Addr(address) => address,
        Host::Name(name) if name.is_localhost() => Ipv4Addr::LOCALHOST.into(),
        Host::Name(_) => return Err(Errno::Inval),
    };
    Ok(SocketAddr::new(address, port(digits).ok_or(Errno::Inval)?))
}

impl Node for Directory {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Directory))
    }

    /// Lists nothing: there is a name for every host of the internet. `tcp/HOST` is only
    /// there to be walked through; opened, it is a name with its port missing, as all of
    /// these are for whoever wants to write to them.
    fn open(&self, how: Open) -> Result<Opened> {
        let incomplete = how.write || matches!(self.place, Place::Host(..));
        if incomplete { Err(Errno::Noent) } else { Ok(Opened::file(Listing)) }
    }

    fn lookup(&self, name: Name<'_>) -> Result<Arc<dyn Node>> {
        let name = name.as_str();
        match &self.place {
            Place::Root(kind) => {
                let host = Host::parse_alone(name).ok_or(Errno::Inval)?;
                let place = Place::Host(*kind, host);
                Ok(Arc::new(Directory { net: self.net.clone(), place }))
            }
            Place::Host(kind, host) => target(&self.net, *kind, host.clone(), name),
            Place::Accept => match name.strip_suffix(",addr") {
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
        Ok(Stat::of(self.1.kind))
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
        accept::accept(&self.0, self.1)
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
        if how.write { Err(Errno::Acces) } else { accept::bound_address(&self.0, self.1) }
    }
}
