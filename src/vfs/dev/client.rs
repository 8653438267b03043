//! `/dev/client`: the connection that a guest of a server serves.

use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Listing;
use crate::vfs::charge::{self, Ends};
use crate::vfs::{Access, Errno, File, Filetype, Name, Node, Open, Opened, Result, Stat};

/// The directory's name in `/dev`.
pub(super) const NAME: &str = "client";

/// A file. An address or a port ends with a newline.
#[derive(Clone, Copy)]
enum Fact {
    Addr,
    Port,
    LocalAddr,
    LocalPort,
    /// The guest's environment, in the form of `/proc/PID/environ` (proc(5)).
    Environ,
}

const FACTS: [(&str, Fact); 5] = [
    ("addr", Fact::Addr),
    ("port", Fact::Port),
    ("local-addr", Fact::LocalAddr),
    ("local-port", Fact::LocalPort),
    ("environ", Fact::Environ),
];

impl Fact {
    fn text(self, ends: Ends) -> Arc<Vec<u8>> {
        let addr = |end: SocketAddr| Arc::new(format!("{}\n", end.ip().to_canonical()).into());
        let port = |end: SocketAddr| Arc::new(format!("{}\n", end.port()).into());
        match self {
            Fact::Addr => addr(ends.peer),
            Fact::Port => port(ends.peer),
            Fact::LocalAddr => addr(ends.local),
            Fact::LocalPort => port(ends.local),
            Fact::Environ => charge::environ(),
        }
    }
}

/// The directory with its files.
pub(super) struct Directory(pub(super) Ends);

impl Node for Directory {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Directory))
    }

    fn open(&self, _how: Open) -> Result<Opened> {
        let names = FACTS.map(|(name, _)| (name, Filetype::RegularFile));
        Ok(Opened::file(Listing(names.to_vec())))
    }

    fn lookup(&self, name: Name<'_>) -> Result<Arc<dyn Node>> {
        let fact = super::find(&FACTS, name).ok_or(Errno::Noent)?;
        Ok(Arc::new(Text(fact.text(self.0))))
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
