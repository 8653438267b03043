//! A small world with a network in it, and a scheduler for one file.

#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex};
use std::task::{Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tinyhost::Errno;
use tinyhost::vfs::net::{Answer, Net, NetConfig, Policy, Resolver};
use tinyhost::vfs::walk::{Follow, walk};
use tinyhost::vfs::{
    File, Filetype, Interest, Memo, Name, Namespace, Node, Open, Opened, Pending, Result, Stat,
    Wait,
};

pub use crate::busy::{LIMIT, lock};

pub const READ_WRITE: Open = Open { read: true, write: true, truncate: false, nonblock: false };
pub const BOTH: Interest = Interest { read: true, write: true };

/// A network at `/dev`, and what became of it.
pub struct World {
    pub net: Net,
    pub resolver: Arc<Fake>,
    denials: Arc<Mutex<Vec<String>>>,
    namespace: Namespace,
}

pub fn config(net: &[&str], listen: &[&str]) -> NetConfig {
    let rules = ["none"].iter().chain(net).copied();
    let policy = Policy::from_rules(rules, listen.iter().copied()).unwrap();
    NetConfig { policy, ..NetConfig::default() }
}

impl World {
    pub fn with(net: &[&str], listen: &[&str]) -> World {
        World::new(config(net, listen))
    }

    /// With a resolver that knows `localhost` and what it is told.
    pub fn new(config: NetConfig) -> World {
        let denials = Arc::new(Mutex::new(Vec::new()));
        let resolver = Arc::new(Fake::default());
        resolver.knows("localhost", &["127.0.0.1", "::1"]);
        let report = {
            let denials = denials.clone();
            Arc::new(move |line: &str| lock(&denials).push(line.to_owned()))
        };
        let net = Net::new(NetConfig { resolver: resolver.clone(), report, ..config });
        World::around(net, resolver, denials)
    }

    fn around(net: Net, resolver: Arc<Fake>, denials: Arc<Mutex<Vec<String>>>) -> World {
        let dev = Arc::new(Dev(net.clone()));
        let namespace = Namespace::builder().mount("/dev", dev).unwrap().build();
        World { net, resolver, denials, namespace }
    }

    /// The same network, for another guest.
    pub fn for_guest(&self) -> World {
        World::around(self.net.for_guest(), self.resolver.clone(), self.denials.clone())
    }

    pub fn node(&self, path: &str) -> Result<Arc<dyn Node>> {
        let base = &self.namespace.preopens()[0].place;
        Ok(walk(base, path, Follow::Yes, &Memo::default())?.existing()?.0.node)
    }

    pub fn open(&self, path: &str, how: Open) -> Result<Opened> {
        self.node(path)?.open(how)
    }

    /// Begins an open that has to wait.
    pub fn pending(&self, path: &str) -> Box<dyn Pending> {
        pending(self.open(path, READ_WRITE).unwrap())
    }

    /// Opens, and waits until it is open.
    pub fn dial(&self, path: &str) -> Result<Box<dyn File>> {
        opened(self.open(path, READ_WRITE)?)
    }

    pub fn bound_address(&self, path: &str) -> SocketAddr {
        let read = Open { read: true, ..Open::default() };
        let mut file = opened(self.open(path, read).unwrap()).unwrap();
        let mut text = [0; 64];
        let length = file.read(&mut [IoSliceMut::new(&mut text)], 0).unwrap();
        assert_eq!(file.stat().unwrap().size, length as u64);
        assert_eq!(file.read(&mut [IoSliceMut::new(&mut text)], length as u64), Ok(0));
        let text = std::str::from_utf8(&text[..length]).unwrap();
        text.strip_suffix('\n').unwrap().parse().unwrap()
    }

    pub fn denials(&self) -> Vec<String> {
        lock(&self.denials).clone()
    }
}

/// A `/dev` with nothing but the network.
struct Dev(Net);

impl Node for Dev {
    fn stat(&self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Directory))
    }

    fn open(&self, _how: Open) -> Result<Opened> {
        Err(Errno::Isdir)
    }

    fn lookup(&self, name: Name<'_>) -> Result<Arc<dyn Node>> {
        self.0.lookup(name)
    }
}

/// A resolver that answers what a test likes.
#[derive(Default)]
pub struct Fake {
    names: Mutex<HashMap<String, Vec<IpAddr>>>,
    asked: Mutex<Vec<String>>,
    /// Answers of the name `slow`, kept until the test sends them.
    pub slow: Mutex<Vec<Answer>>,
}

impl Fake {
    pub fn knows(&self, name: &str, addresses: &[&str]) {
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        lock(&self.names).insert(name.to_owned(), addresses);
    }

    pub fn asked(&self) -> Vec<String> {
        lock(&self.asked).clone()
    }
}

impl Resolver for Fake {
    fn resolve(&self, name: &str, answer: Answer) {
        lock(&self.asked).push(name.to_owned());
        if name == "slow" {
            return lock(&self.slow).push(answer);
        }
        match lock(&self.names).get(name) {
            Some(addresses) => answer.send(Ok(addresses.clone())),
            None => drop(answer),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Asks until the answer is not Again, and waits in between as the file says.
pub fn drive<T>(
    file: &mut dyn File,
    want: Interest,
    mut ask: impl FnMut(&mut dyn File) -> Result<T>,
) -> Result<T> {
    let start = Instant::now();
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match ask(file) {
            Err(Errno::Again) => {}
            done => return done,
        }
        assert!(start.elapsed() < LIMIT, "waited too long");
        wait(file.wait(want, &waker), want, start + LIMIT);
    }
}

/// Waits as a file or an open says, at most until then.
fn wait(how: Wait<'_>, want: Interest, until: Instant) {
    let time = until.saturating_duration_since(Instant::now());
    match how {
        Wait::Now => {}
        Wait::Waker | Wait::Never(_) => thread::park_timeout(time),
        Wait::FdFor(fd, want) => poll_for(&fd, want, time),
        Wait::Fd(fd) => poll_for(&fd, want, time),
    }
}

fn poll_for(fd: &impl AsFd, want: Interest, time: Duration) {
    let mut events = PollFlags::empty();
    events.set(PollFlags::IN, want.read);
    events.set(PollFlags::OUT, want.write);
    let time = Timespec::try_from(time).unwrap();
    poll(&mut [PollFd::new(fd, events)], Some(&time)).unwrap();
}

/// The file, once it is open.
pub fn opened(opened: Opened) -> Result<Box<dyn File>> {
    match opened {
        Opened::File(file) => Ok(file),
        Opened::Pending(pending) => finish(pending),
    }
}

/// The open, which has to wait.
pub fn pending(opened: Opened) -> Box<dyn Pending> {
    match opened {
        Opened::File(_) => panic!("it is open already"),
        Opened::Pending(pending) => pending,
    }
}

/// Waits until an open is done.
pub fn finish(mut pending: Box<dyn Pending>) -> Result<Box<dyn File>> {
    let start = Instant::now();
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    loop {
        match pending.proceed() {
            Err(Errno::Again) => {}
            done => return done,
        }
        assert!(start.elapsed() < LIMIT, "waited too long");
        let until = pending.deadline().unwrap_or(start + LIMIT).min(start + LIMIT);
        wait(pending.wait(&waker), BOTH, until);
    }
}

pub fn read(file: &mut dyn File, buf: &mut [u8]) -> Result<usize> {
    file.read(&mut [IoSliceMut::new(buf)], 0)
}

pub fn write_all(file: &mut dyn File, mut bytes: &[u8]) {
    while !bytes.is_empty() {
        let write = |file: &mut dyn File| file.write(&[IoSlice::new(bytes)], 0);
        let taken = drive(file, Interest::WRITE, write).unwrap();
        bytes = &bytes[taken..];
    }
}

pub fn read_to_end(file: &mut dyn File) -> Vec<u8> {
    let mut all = Vec::new();
    let mut some = [0; 16];
    loop {
        match drive(file, Interest::READ, |file| read(file, &mut some)).unwrap() {
            0 => return all,
            got => all.extend_from_slice(&some[..got]),
        }
    }
}

/// A listener that answers no more connects, and what fills it.
pub fn full_backlog() -> (TcpListener, Vec<TcpStream>, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    rustix::net::listen(listener.as_fd(), 0).unwrap();
    let at = listener.local_addr().unwrap();
    let patience = Duration::from_millis(100);
    let full = (0..16).map_while(|_| TcpStream::connect_timeout(&at, patience).ok()).collect();
    (listener, full, at)
}
