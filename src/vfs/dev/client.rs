//! `/dev/client`: the connection that a guest of a server serves.

use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Listing;
use crate::vfs::charge::{self, Ends};
use crate::vfs::{Access, Errno, File, Filetype, Name, Node, Open, Opened, Peer, Result, Stat};

/// The directory's name in `/dev`.
pub(super) const NAME: &str = "client";

/// A file. A fact that is a number or an address ends with a newline.
#[derive(Clone, Copy)]
enum Fact {
    Addr,
    Port,
    LocalAddr,
    LocalPort,
    /// Of the process that connected to a Unix socket, as are those that follow.
    Pid,
    Uid,
    Gid,
    /// The guest's environment, in the form of `/proc/PID/environ` (proc(5)).
    Environ,
}

const FACTS: [(&str, Fact); 8] = [
    ("addr", Fact::Addr),
    ("port", Fact::Port),
    ("local-addr", Fact::LocalAddr),
    ("local-port", Fact::LocalPort),
    ("pid", Fact::Pid),
    ("uid", Fact::Uid),
    ("gid", Fact::Gid),
    ("environ", Fact::Environ),
];

impl Fact {
    /// `None` if a connection of this kind has no such fact.
    fn text(self, ends: Ends) -> Option<Arc<Vec<u8>>> {
        let line = |fact: String| Arc::new(format!("{fact}\n").into());
        let addr = |end: SocketAddr| end.ip().to_canonical().to_string();
        let port = |end: SocketAddr| end.port().to_string();
        let (peer, by) = match ends.peer {
            Peer::Inet(peer) => (Some(peer), None),
            Peer::Unix(peer) => (None, peer.credentials),
        };
        let fact = match self {
            // What is neither of IPv4 nor of IPv6 says so.
            Fact::Addr => Some(peer.map_or_else(|| "unix".to_owned(), addr)),
            Fact::Port => peer.map(port),
            Fact::LocalAddr => ends.local.map(addr),
            Fact::LocalPort => ends.local.map(port),
            Fact::Pid => by.and_then(|by| by.pid).map(|pid| pid.to_string()),
            Fact::Uid => by.map(|by| by.uid.to_string()),
            Fact::Gid => by.map(|by| by.gid.to_string()),
            Fact::Environ => return Some(charge::environ()),
        };
        fact.map(line)
    }
}

/// The directory with its files.
pub(super) struct Directory(pub(super) Ends);

impl Node for Directory {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Directory))
    }

    fn open(&self, _how: Open) -> Result<Opened> {
        let there = FACTS.iter().filter(|(_, fact)| fact.text(self.0).is_some());
        Ok(Opened::file(Listing(there.map(|(name, _)| (*name, Filetype::RegularFile)).collect())))
    }

    fn lookup(&self, name: Name<'_>) -> Result<Arc<dyn Node>> {
        let fact = super::find(&FACTS, name).ok_or(Errno::Noent)?;
        Ok(Arc::new(Text(fact.text(self.0).ok_or(Errno::Noent)?)))
    }
}

/// A file that can only be read.
#[derive(Clone)]
struct Text(Arc<Vec<u8>>);

impl Text {
    fn stat(&self) -> Stat {
        Stat { size: self.0.len() as u64, ..Stat::of(Filetype::RegularFile) }
    }
}

impl Node for Text {
    fn stat(&self) -> Result<Stat> {
        Ok(Text::stat(self))
    }

    fn open(&self, how: Open) -> Result<Opened> {
        if how.write || how.truncate {
            return Err(Errno::Acces);
        }
        Ok(Opened::file(self.clone()))
    }
}

impl File for Text {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Text::stat(self))
    }

    fn access(&self) -> Access {
        Access::READ
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        let mut rest = usize::try_from(offset).ok().and_then(|at| self.0.get(at..));
        let mut total = 0;
        for buf in bufs {
            let bytes = rest.unwrap_or_default();
            let count = bytes.len().min(buf.len());
            buf[..count].copy_from_slice(&bytes[..count]);
            rest = bytes.get(count..);
            total += count;
        }
        Ok(total)
    }
}
