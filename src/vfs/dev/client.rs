//! `/dev/client`: the connection that a guest of a server serves.

use std::io::IoSliceMut;
use std::net::SocketAddr;
use std::sync::Arc;

use super::Listing;
use crate::vfs::charge::Ends;
use crate::vfs::{Access, Errno, File, Filetype, Name, Node, Open, Opened, Result, Stat};

/// The directory's name in `/dev`.
pub(super) const NAME: &str = "client";

/// A file: an address or a port, and a newline.
#[derive(Clone, Copy)]
enum Fact {
    Addr,
    Port,
    LocalAddr,
    LocalPort,
}

const FACTS: [(&str, Fact); 4] = [
    ("addr", Fact::Addr),
    ("port", Fact::Port),
    ("local-addr", Fact::LocalAddr),
    ("local-port", Fact::LocalPort),
];

impl Fact {
    fn text(self, ends: Ends) -> String {
        let addr = |end: SocketAddr| format!("{}\n", end.ip().to_canonical());
        let port = |end: SocketAddr| format!("{}\n", end.port());
        match self {
            Fact::Addr => addr(ends.peer),
            Fact::Port => port(ends.peer),
            Fact::LocalAddr => addr(ends.local),
            Fact::LocalPort => port(ends.local),
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
        Ok(Arc::new(Text(fact.text(self.0).into())))
    }
}

/// A file that can only be read.
#[derive(Clone)]
struct Text(Arc<str>);

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
        let mut rest = usize::try_from(offset).ok().and_then(|at| self.0.as_bytes().get(at..));
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
