//! Servers by file: `/dev/accept/ADDR:PORT`. The first open binds; each open is parked until
//! a client is there, and then is that client's stream.
//!
//! A bound listener belongs to the guests that have asked for it. It lives as long as the
//! [`Net`] of one of them, not only while a guest waits: a server that is busy between two
//! accepts keeps its clients in the backlog instead of having them refused.
//!
//! Opens that wait at one listener, of however many guests, form a queue: only the first
//! watches the socket and accepts, the next is woken when it leaves. If all watched, the
//! kernel would wake the latest first, and a guest that comes back quickly would get every
//! client.

use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, Weak};
use std::task::Waker;

use mio::net::TcpListener;

use super::names::Listen;
use super::quota::{Share, Shares, Taken};
use super::socket::{Socket, readiness};
use super::{Net, lock};
use crate::vfs::charge;
use crate::vfs::{
    Access, Errno, File, Filetype, Interest, Opened, Pending, Ready, Result, Stat, Wait,
};

/// Listeners that accept names can bind in one network, for all guests together.
const LISTENERS_MAX: usize = 64;

/// Those that one guest can have, of its own or with others.
const LISTENERS_OF_GUEST_MAX: usize = 16;

/// The listeners bound by accept names, by the address that was asked.
pub(crate) struct Services {
    bound: Mutex<Vec<Weak<Service>>>,
    shares: Arc<Shares>,
}

/// One of them.
struct Service {
    asked: SocketAddr,
    bound: SocketAddr,
    socket: TcpListener,
    queue: Mutex<Queue>,
    /// The guest that asked for it first.
    _share: Share,
}

/// Those that a guest has asked for, until its end.
#[derive(Default)]
pub(crate) struct Own(Mutex<Vec<Arc<Service>>>);

/// The opens that wait, in the order they came.
#[derive(Default)]
struct Queue {
    next: u64,
    waiting: VecDeque<(u64, Option<Waker>)>,
}

impl Services {
    pub fn new() -> Services {
        Services { bound: Mutex::default(), shares: Shares::new(LISTENERS_MAX) }
    }

    /// What was asked, and the address that is.
    pub fn bound(&self) -> Vec<(SocketAddr, SocketAddr)> {
        let bound = lock(&self.bound);
        let live = bound.iter().filter_map(Weak::upgrade);
        live.map(|service| (service.asked, service.bound)).collect()
    }

    /// The one at `asked`, which `own` has or now has.
    fn at(&self, asked: SocketAddr, own: &Own) -> Result<Arc<Service>> {
        let mut own = lock(&own.0);
        if let Some(service) = own.iter().find(|service| service.asked == asked) {
            return Ok(service.clone());
        }
        if own.len() >= LISTENERS_OF_GUEST_MAX {
            return Err(Errno::Nfile);
        }
        let service = self.shared(asked)?;
        own.push(service.clone());
        Ok(service)
    }

    /// That of another guest, or a new one.
    fn shared(&self, asked: SocketAddr) -> Result<Arc<Service>> {
        let mut bound = lock(&self.bound);
        bound.retain(|service| service.strong_count() > 0);
        let mut live = bound.iter().filter_map(Weak::upgrade);
        if let Some(service) = live.find(|service| service.asked == asked) {
            return Ok(service);
        }
        let share = self.shares.take()?;
        charge::ask_kernel();
        let socket = TcpListener::bind(asked)?;
        let at = socket.local_addr()?;
        log::info!("listening on {at}");
        let queue = Mutex::default();
        let service = Arc::new(Service { asked, bound: at, socket, queue, _share: share });
        bound.push(Arc::downgrade(&service));
        Ok(service)
    }
}

/// The service at `asked`, bound now if it was not.
///
/// # Errors
///
/// EACCES, reported, if no rule allows it; EADDRINUSE, EADDRNOTAVAIL and so on as bind(2)
/// answers them; ENFILE; ENODEV if there is no such interface.
fn service(net: &Net, asked: &Listen) -> Result<Arc<Service>> {
    if !net.policy().may_listen(&asked.address, asked.port) {
        net.denied(format!("denied: listen on {asked} (allow with --net-listen {asked})"));
        return Err(Errno::Acces);
    }
    let at = asked.address.socket_addr(asked.port)?;
    net.services().at(at, &net.listeners)
}

/// Opens an accept name: a place in its queue, and in the end a client.
pub(crate) fn accept(net: &Net, asked: &Listen) -> Result<Opened> {
    let service = service(net, asked)?;
    let counted = net.sockets.take()?;
    // Each waits on a descriptor of its own: epoll takes one only once.
    let watched = service.socket.as_fd().try_clone_to_owned()?;
    let number = {
        let mut queue = lock(&service.queue);
        let number = queue.next;
        queue.next += 1;
        queue.waiting.push_back((number, None));
        number
    };
    let turn = Turn { service, number, watched, counted: Some(counted) };
    Opened::begin(turn)
}

/// The address that an accept name is bound to, as text with a newline.
pub(crate) fn bound_address(net: &Net, asked: &Listen) -> Result<Opened> {
    let bound = service(net, asked)?.bound;
    Ok(Opened::file(Text(format!("{bound}\n").into_bytes())))
}

/// A place in the queue.
struct Turn {
    service: Arc<Service>,
    number: u64,
    watched: OwnedFd,
    counted: Option<Taken>,
}

impl Turn {
    fn is_first(&self, queue: &Queue) -> bool {
        queue.waiting.front().is_some_and(|(first, _)| *first == self.number)
    }
}

impl Pending for Turn {
    fn proceed(&mut self) -> Result<Box<dyn File>> {
        if !self.is_first(&lock(&self.service.queue)) {
            return Err(Errno::Again);
        }
        let client = client(&self.service.socket)?;
        Ok(Socket::stream(client, self.counted.take().ok_or(Errno::Badf)?))
    }

    /// A waiter that gives up has taken no client; it only loses its place.
    fn restarts(&self) -> bool {
        true
    }

    fn wait(&mut self, waker: &Waker) -> Wait<'_> {
        let mut queue = lock(&self.service.queue);
        if self.is_first(&queue) {
            return Wait::Fd(self.watched.as_fd());
        }
        if let Some(own) = queue.waiting.iter_mut().find(|(number, _)| *number == self.number) {
            own.1 = Some(waker.clone());
        }
        Wait::Waker
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queue = lock(&self.service.queue);
        let was_first = self.is_first(&queue);
        queue.waiting.retain(|(number, _)| *number != self.number);
        let next = queue.waiting.front_mut().filter(|_| was_first);
        let waker = next.and_then(|(_, waker)| waker.take());
        drop(queue);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// The next client of a listening socket.
fn client(socket: &TcpListener) -> Result<mio::net::TcpStream> {
    let (client, _) = next_client(|| socket.accept())?;
    // Only a client that is gone already refuses this; its reads will fail.
    let _ = client.set_nodelay(true);
    Ok(client)
}

/// What `accept` answers of a client that is there still.
pub(super) fn next_client<T>(mut accept: impl FnMut() -> io::Result<T>) -> Result<T> {
    charge::ask_kernel();
    loop {
        match accept().map_err(Errno::from) {
            Ok(client) => return Ok(client),
            // A client that left while it waited is not the listener's error (accept(2)).
            Err(Errno::Connaborted | Errno::Intr | Errno::Proto | Errno::Connreset) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// A listening socket that the operator opened (`--listen`), for `sock_accept`.
pub struct Listener {
    net: Net,
    socket: TcpListener,
}

impl Listener {
    /// Makes `socket` a file; what is accepted counts among the connections of `net`. No
    /// rule is asked: the embedder that bound it has allowed it.
    pub fn new(socket: std::net::TcpListener, net: &Net) -> io::Result<Listener> {
        socket.set_nonblocking(true)?;
        Ok(Listener { net: net.clone(), socket: TcpListener::from_std(socket) })
    }

    /// The same socket once more, for another guest.
    pub fn try_clone(&self, net: &Net) -> io::Result<Listener> {
        let socket = self.socket.as_fd().try_clone_to_owned()?;
        Ok(Listener { net: net.clone(), socket: TcpListener::from(socket) })
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }
}

#[cfg(feature = "sockets")]
impl super::Endpoint for Listener {
    fn fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn kind(&self) -> Filetype {
        Filetype::SocketStream
    }

    /// It listens already: the backlog stays what the operator's is.
    fn listen(&mut self, _backlog: u32) -> Result<()> {
        Ok(())
    }

    fn connect(&mut self, _to: SocketAddr) -> Result<()> {
        Err(Errno::Inval)
    }

    fn send_to(&mut self, _bufs: &[IoSlice<'_>], _to: SocketAddr) -> Result<usize> {
        Err(Errno::Notconn)
    }

    fn set_option(&mut self, _name: super::OptionName, _value: super::OptionValue) -> Result<()> {
        Err(Errno::Noprotoopt)
    }
}

impl File for Listener {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::SocketStream))
    }

    fn accept(&mut self) -> Result<Box<dyn File>> {
        let counted = self.net.sockets.take()?;
        Ok(Socket::stream(client(&self.socket)?, counted))
    }

    fn ready(&mut self, want: Interest) -> Result<Ready> {
        charge::ask_kernel();
        readiness(self.socket.as_fd(), want, false)
    }

    fn wait(&mut self, _want: Interest, _waker: &Waker) -> Wait<'_> {
        Wait::Fd(self.socket.as_fd())
    }

    fn read(&mut self, _bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        Err(Errno::Notconn)
    }

    fn write(&mut self, _bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        Err(Errno::Notconn)
    }

    fn peek(&mut self, _bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        Err(Errno::Notconn)
    }

    #[cfg(feature = "sockets")]
    fn endpoint(&mut self) -> Result<&mut dyn super::Endpoint> {
        Ok(self)
    }

    fn shutdown(&mut self, _how: Interest) -> Result<()> {
        Err(Errno::Notconn)
    }
}

/// A few bytes to read.
struct Text(Vec<u8>);

impl File for Text {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat { size: self.0.len() as u64, ..Stat::of(Filetype::RegularFile) })
    }

    fn access(&self) -> Access {
        Access::READ
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        let from = usize::try_from(offset).unwrap_or(usize::MAX).min(self.0.len());
        Ok(io::Read::read_vectored(&mut &self.0[from..], bufs)?)
    }
}
