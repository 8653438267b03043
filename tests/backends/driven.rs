//! A node around one that waits for a server: it waits in place, so that the suite can run on it.

use std::any::Any;
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

use tinyhost::vfs::{
    Emit, Errno, File, Interest, Memo, Name, Node, Open, Opened, Ready, Result, Stat, Times,
};

use super::support::Nothing;
use super::waiting::{Server, Waiting};

/// A node that waits in place: each verb is a call of its own, run again until it is through.
struct Driven {
    inner: Arc<dyn Node>,
    server: Arc<Server>,
}

pub fn waiting() -> (Arc<dyn Node>, Nothing) {
    let server = Server::new(1997);
    (Arc::new(Driven { inner: Waiting::root(&server), server }), Nothing)
}

impl Driven {
    fn call<T>(&self, mut verb: impl FnMut(&Arc<dyn Node>) -> Result<T>) -> Result<T> {
        let memo = Memo::default();
        loop {
            let node = self.inner.in_call(&memo).expect("it asks");
            match verb(&node) {
                Err(Errno::Again) => assert!(self.server.work(), "nothing to wait for"),
                done => return done,
            }
            memo.rewind();
        }
    }

    fn with(&self, inner: Arc<dyn Node>) -> Arc<dyn Node> {
        Arc::new(Driven { inner, server: self.server.clone() })
    }

    fn file(&self, inner: Box<dyn File>) -> Box<dyn File> {
        Box::new(DrivenFile { inner, server: self.server.clone() })
    }

    fn other(to: &Arc<dyn Node>) -> Result<Arc<dyn Node>> {
        let to: &dyn Any = &**to;
        Ok(to.downcast_ref::<Driven>().ok_or(Errno::Xdev)?.inner.clone())
    }
}

impl Node for Driven {
    fn stat(&self) -> Result<Stat> {
        self.call(|node| node.stat())
    }

    fn open(&self, how: Open) -> Result<Opened> {
        let Opened::Pending(mut pending) = self.call(|node| node.open(how))? else {
            panic!("every open waits");
        };
        loop {
            match pending.proceed() {
                Err(Errno::Again) => assert!(self.server.work(), "nothing to wait for"),
                done => return Ok(Opened::File(self.file(done?))),
            }
        }
    }

    fn readlink(&self) -> Result<String> {
        self.call(|node| node.readlink())
    }

    fn set_times(&self, times: Times) -> Result<()> {
        self.call(|node| node.set_times(times))
    }

    fn lookup(&self, name: Name<'_>) -> Result<Arc<dyn Node>> {
        Ok(self.with(self.call(|node| node.lookup(name))?))
    }

    fn create(&self, name: Name<'_>, how: Open) -> Result<Box<dyn File>> {
        Ok(self.file(self.call(|node| node.create(name, how))?))
    }

    fn create_directory(&self, name: Name<'_>) -> Result<()> {
        self.call(|node| node.create_directory(name))
    }

    fn symlink(&self, name: Name<'_>, target: &str) -> Result<()> {
        self.call(|node| node.symlink(name, target))
    }

    fn link(&self, name: Name<'_>, to: &Arc<dyn Node>, to_name: Name<'_>) -> Result<()> {
        let to = Driven::other(to)?;
        self.call(|node| node.link(name, &to, to_name))
    }

    fn rename(&self, name: Name<'_>, to: &Arc<dyn Node>, to_name: Name<'_>) -> Result<()> {
        let to = Driven::other(to)?;
        self.call(|node| node.rename(name, &to, to_name))
    }

    fn unlink(&self, name: Name<'_>) -> Result<()> {
        self.call(|node| node.unlink(name))
    }

    fn remove_directory(&self, name: Name<'_>) -> Result<()> {
        self.call(|node| node.remove_directory(name))
    }
}

struct DrivenFile {
    inner: Box<dyn File>,
    server: Arc<Server>,
}

impl DrivenFile {
    fn call<T>(&mut self, mut verb: impl FnMut(&mut dyn File) -> Result<T>) -> Result<T> {
        loop {
            match verb(&mut *self.inner) {
                Err(Errno::Again) => assert!(self.server.work(), "nothing to wait for"),
                done => return done,
            }
        }
    }
}

impl File for DrivenFile {
    fn stat(&mut self) -> Result<Stat> {
        self.call(|file| file.stat())
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        self.call(|file| file.read(bufs, offset))
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        self.call(|file| file.write(bufs, offset))
    }

    fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
        self.call(|file| file.append(bufs))
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        self.call(|file| file.set_len(len))
    }

    fn allocate(&mut self, offset: u64, len: u64) -> Result<()> {
        self.call(|file| file.allocate(offset, len))
    }

    fn set_times(&mut self, times: Times) -> Result<()> {
        self.call(|file| file.set_times(times))
    }

    fn sync(&mut self, data_only: bool) -> Result<()> {
        self.call(|file| file.sync(data_only))
    }

    fn readdir(&mut self, cookie: u64, emit: &mut Emit<'_>) -> Result<()> {
        self.call(|file| file.readdir(cookie, emit))
    }

    fn ready(&mut self, want: Interest) -> Result<Ready> {
        self.inner.ready(want)
    }

    fn accept(&mut self) -> Result<Box<dyn File>> {
        self.inner.accept()
    }

    fn peek(&mut self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        self.inner.peek(bufs)
    }

    fn shutdown(&mut self, how: Interest) -> Result<()> {
        self.inner.shutdown(how)
    }
}
