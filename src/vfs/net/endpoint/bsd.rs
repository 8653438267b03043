//! A socket that is opened before it is anything.

use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::task::Waker;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, SocketType};

use super::dns::Resolver;
use super::system::{accept, open};
use super::{Endpoint, Family, Received};
use crate::vfs::charge;
use crate::vfs::net::Net;
use crate::vfs::net::accept::next_client;
use crate::vfs::net::dial::connected;
use crate::vfs::net::policy::addr::Host;
use crate::vfs::net::quota::Taken;
use crate::vfs::net::socket::{Socket, readiness};
use crate::vfs::{Errno, File, Filetype, Interest, Ready, Result, Stat, Wait};

/// Clients that wait to be accepted, at the most.
const BACKLOG_MAX: u32 = 4096;

/// Datagrams of senders that the guest could not send to, which one call throws away.
const UNWANTED_MAX: usize = 64;

/// The socket. Once it is connected it is what a dialled one is.
pub(super) struct BsdSocket {
    net: Net,
    socket: Socket,
    family: Family,
    state: State,
    /// Bound by a rule for listening: datagrams of anyone are received.
    bound: Option<SocketAddr>,
    /// The error of a connect that has failed, until it is asked for.
    error: Option<Errno>,
    /// What it was last allowed to send to.
    peer: Option<Peer>,
    /// What it has asked the host's resolver, if that is what it has sent to.
    resolver: Option<Box<Resolver>>,
    /// It is connected to the resolver, at this address.
    resolver_at: Option<SocketAddr>,
}

/// An address that the guest may send to.
struct Peer {
    /// As the guest has written it.
    to: SocketAddr,
    /// As the system is given it, with its zone.
    at: SocketAddr,
    /// Whose it is.
    host: Host,
}

enum State {
    Idle,
    /// Counted among the dials of the guest until it is known how it ends.
    Connecting {
        until: Instant,
        _in_flight: Taken,
    },
    Connected,
    Listening,
}

impl Net {
    /// A socket that is neither bound nor connected.
    ///
    /// # Errors
    ///
    /// ENFILE beyond the guest's limit; EAFNOSUPPORT if the system has no such family.
    pub(crate) fn socket(&self, family: Family, kind: Filetype) -> Result<Box<dyn File>> {
        let counted = self.sockets.take()?;
        charge::ask_kernel();
        let of = match family {
            Family::V4 => AddressFamily::INET,
            Family::V6 => AddressFamily::INET6,
        };
        let ty =
            if kind == Filetype::SocketStream { SocketType::STREAM } else { SocketType::DGRAM };
        let socket = Socket::of(open(of, ty)?, kind, counted);
        Ok(Box::new(BsdSocket {
            net: self.clone(),
            socket,
            family,
            state: State::Idle,
            bound: None,
            error: None,
            peer: None,
            resolver: None,
            resolver_at: None,
        }))
    }
}

impl BsdSocket {
    fn is_stream(&self) -> bool {
        self.socket.kind() == Filetype::SocketStream
    }

    fn check_family(&self, address: SocketAddr) -> Result<()> {
        if Family::of(address) == self.family { Ok(()) } else { Err(Errno::Afnosupport) }
    }

    /// Notes how a connect has ended, if it has.
    fn settle(&mut self) {
        let State::Connecting { until, .. } = &self.state else { return };
        let answer = match connected(self.socket.as_fd()) {
            Err(Errno::Again) if Instant::now() < *until => return,
            Err(Errno::Again) => Err(Errno::Timedout),
            answer => answer,
        };
        self.state = match answer {
            Ok(()) => State::Connected,
            Err(errno) => {
                self.error = Some(errno);
                State::Idle
            }
        };
    }

    /// Whether the guest may send to `to`, and its address for the system. What it may is remembered,
    /// so that a stream of datagrams is not judged one by one.
    fn judge(&mut self, to: SocketAddr) -> Result<SocketAddr> {
        if let Some(peer) = &self.peer
            && peer.to == to
        {
            return Ok(peer.at);
        }
        let host = self.net.judge_dial(to)?;
        let at = self.net.zoned(to)?;
        self.peer = Some(Peer { to, at, host });
        Ok(at)
    }

    /// Whether datagrams to that address are for the host's resolver.
    fn is_resolver(&self, at: SocketAddr) -> bool {
        !self.is_stream() && self.net.is_resolver(at)
    }

    fn ask_resolver(&mut self, bufs: &[IoSlice<'_>], at: SocketAddr) -> usize {
        charge::ask_kernel();
        self.resolver.get_or_insert_default().ask(&self.net, bufs, at)
    }

    fn receive(&mut self, bufs: &mut [IoSliceMut<'_>], peek: bool) -> Result<Received> {
        if let Some(resolver) = &mut self.resolver {
            let answer = resolver.receive(&self.net, bufs, peek);
            if answer != Err(Errno::Again) || self.resolver_at.is_some() {
                let cut = |received: &Received| received.truncated;
                self.socket.set_truncated(answer.as_ref().is_ok_and(cut));
                return answer;
            }
        }
        if !self.is_stream() && self.bound.is_none() {
            self.skip_unwanted()?;
        }
        self.socket.receive_from(bufs, peek)
    }

    /// Whether the resolver's answers, or room for questions, are what is waited for; `None` if not.
    fn resolver_ready(&mut self, want: Interest) -> Option<Result<Ready>> {
        let answer = self.resolver.as_mut()?.ready(&self.net);
        let connected = self.resolver_at.is_some();
        match answer {
            Ok(ready) if want.read => Some(Ok(ready)),
            _ if connected && want.write => Some(Ok(Ready::default())),
            Err(errno) if connected => Some(Err(errno)),
            _ => None,
        }
    }

    /// Throws datagrams away that no rule lets the guest hear: a socket that was not bound by a
    /// rule for listening hears only those that it may send to. None of them gets into its memory.
    fn skip_unwanted(&mut self) -> Result<()> {
        for _ in 0..UNWANTED_MAX {
            let from = self.socket.receive_from(&mut [], true)?.from;
            if self.net.may_dial(from) {
                return Ok(());
            }
            self.socket.receive_from(&mut [], false)?;
        }
        Err(Errno::Again)
    }
}

impl Endpoint for BsdSocket {
    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    fn kind(&self) -> Filetype {
        self.socket.kind()
    }

    fn bind(&mut self, at: SocketAddr) -> Result<()> {
        self.check_family(at)?;
        if self.bound.is_some() || !matches!(self.state, State::Idle) {
            return Err(Errno::Inval);
        }
        self.net.judge_listen(at)?;
        let at = self.net.zoned(at)?;
        charge::ask_kernel();
        rustix::net::bind(self.socket.as_fd(), &at)?;
        self.bound = Some(at);
        Ok(())
    }

    fn listen(&mut self, backlog: u32) -> Result<()> {
        if !self.is_stream() {
            return Err(Errno::Notsup);
        }
        if !matches!(self.state, State::Idle | State::Listening) {
            return Err(Errno::Inval);
        }
        if self.bound.is_none() {
            // The system binds it to any address and a free port.
            let any: IpAddr = match self.family {
                Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
                Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
            };
            self.bind((any, 0).into())?;
        }
        charge::ask_kernel();
        let backlog = i32::try_from(backlog.clamp(1, BACKLOG_MAX)).map_err(|_| Errno::Inval)?;
        rustix::net::listen(self.socket.as_fd(), backlog)?;
        self.state = State::Listening;
        Ok(())
    }

    fn connect(&mut self, to: SocketAddr) -> Result<()> {
        self.settle();
        match self.state {
            State::Idle => {}
            State::Connecting { .. } => return Err(Errno::Already),
            State::Connected if self.is_stream() => return Err(Errno::Isconn),
            State::Connected => {}
            State::Listening => return Err(Errno::Inval),
        }
        self.check_family(to)?;
        if to.port() == 0 {
            return Err(Errno::Addrnotavail);
        }
        if self.is_resolver(to) {
            self.resolver_at = Some(to);
            self.resolver.get_or_insert_default();
            self.state = State::Connected;
            return Ok(());
        }
        let to = self.judge(to)?;
        charge::ask_kernel();
        self.resolver_at = None;
        self.error = None;
        if !self.is_stream() {
            rustix::net::connect(self.socket.as_fd(), &to)?;
            self.state = State::Connected;
            return Ok(());
        }
        let in_flight = self.net.dials.take()?;
        let until = Instant::now() + self.net.connect_timeout();
        match rustix::net::connect(self.socket.as_fd(), &to).map_err(Errno::from) {
            // An interrupted connect goes on.
            Ok(()) | Err(Errno::Inprogress | Errno::Intr) => {}
            // "No free local port" is EAGAIN on some systems, which here would mean "wait".
            Err(Errno::Again) => return Err(Errno::Addrnotavail),
            Err(errno) => return Err(errno),
        }
        self.state = State::Connecting { until, _in_flight: in_flight };
        self.connected().map_err(|errno| match errno {
            Errno::Again => Errno::Inprogress,
            errno => errno,
        })
    }

    fn connected(&mut self) -> Result<()> {
        charge::ask_kernel();
        self.settle();
        match (self.error.take(), &self.state) {
            (Some(errno), _) => Err(errno),
            (None, State::Connecting { .. }) => Err(Errno::Again),
            (None, State::Connected) => Ok(()),
            (None, _) => Err(Errno::Notconn),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match self.state {
            State::Connecting { until, .. } => Some(until),
            _ => None,
        }
    }

    fn timeout(&self, want: Interest) -> Option<Duration> {
        self.socket.timeout(want)
    }

    fn set_timeout(&mut self, want: Interest, time: Option<Duration>) -> Result<()> {
        self.socket.set_timeout(want, time)
    }

    fn name(&self) -> Option<String> {
        let transport = if self.is_stream() { "tcp" } else { "udp" };
        match (&self.peer, self.bound) {
            (Some(Peer { to, host: Host::Name(name), .. }), _) => {
                Some(format!("/dev/{transport}/{}/{}", name.as_str(), to.port()))
            }
            (Some(Peer { to, host: Host::Addr(address), .. }), _) => {
                Some(format!("/dev/{transport}/{address}/{}", to.port()))
            }
            (None, Some(at)) => Some(format!("/dev/accept/{at}")),
            (None, None) => None,
        }
    }

    fn receive_from(&mut self, bufs: &mut [IoSliceMut<'_>], peek: bool) -> Result<Received> {
        charge::ask_kernel();
        self.settle();
        self.receive(bufs, peek)
    }

    fn send_to(&mut self, bufs: &[IoSlice<'_>], to: SocketAddr) -> Result<usize> {
        self.settle();
        if self.is_stream() {
            let connected = matches!(self.state, State::Connected);
            return Err(if connected { Errno::Isconn } else { Errno::Notconn });
        }
        self.check_family(to)?;
        if to.port() == 0 {
            return Err(Errno::Inval);
        }
        if self.is_resolver(to) {
            return Ok(self.ask_resolver(bufs, to));
        }
        let to = self.judge(to)?;
        charge::ask_kernel();
        self.socket.send_to(bufs, to)
    }

    fn peer_addr(&mut self) -> Result<SocketAddr> {
        charge::ask_kernel();
        self.settle();
        match self.state {
            State::Connected if self.resolver_at.is_some() => {
                self.resolver_at.ok_or(Errno::Notconn)
            }
            State::Connected => self.socket.peer_addr(),
            _ => Err(Errno::Notconn),
        }
    }

    fn take_error(&mut self) -> Result<Option<Errno>> {
        charge::ask_kernel();
        self.settle();
        match self.error.take() {
            Some(errno) => Ok(Some(errno)),
            // Until it has ended the system's own error is for `settle` to take.
            None if matches!(self.state, State::Connecting { .. }) => Ok(None),
            None => self.socket.take_error(),
        }
    }
}

impl File for BsdSocket {
    fn stat(&mut self) -> Result<Stat> {
        self.socket.stat()
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        charge::ask_kernel();
        self.settle();
        if self.is_stream() {
            return self.socket.read(bufs, offset);
        }
        Ok(self.receive(bufs, false)?.count)
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        self.settle();
        if let Some(at) = self.resolver_at {
            return Ok(self.ask_resolver(bufs, at));
        }
        self.socket.write(bufs, offset)
    }

    fn ready(&mut self, want: Interest) -> Result<Ready> {
        charge::ask_kernel();
        self.settle();
        if let Some(ready) = self.resolver_ready(want) {
            return ready;
        }
        let connected = !matches!(self.state, State::Listening);
        match (&self.state, self.error) {
            // It is ready in every way: the next call answers how it went.
            (_, Some(_)) => Ok(Ready { nbytes: 0, hangup: true }),
            (State::Connecting { .. }, None) => Err(Errno::Again),
            _ => readiness(self.socket.as_fd(), want, connected),
        }
    }

    fn wait(&mut self, want: Interest, waker: &Waker) -> Wait<'_> {
        if let Some(resolver) = &mut self.resolver {
            // A question is never waited for.
            if want.read && resolver.is_ready_or_wakes(waker)
                || !want.read && self.resolver_at.is_some()
            {
                return Wait::Now;
            }
            if self.resolver_at.is_some() {
                return Wait::Waker;
            }
        }
        match self.state {
            State::Connecting { .. } => Wait::FdFor(self.socket.as_fd(), Interest::WRITE.or(want)),
            _ => Wait::Fd(self.socket.as_fd()),
        }
    }

    fn accept(&mut self) -> Result<Box<dyn File>> {
        if !matches!(self.state, State::Listening) {
            return Err(if self.is_stream() { Errno::Inval } else { Errno::Notsup });
        }
        let counted = self.net.sockets.take()?;
        let client = next_client(|| Ok(accept(self.socket.as_fd())?))?;
        // Only a client that is gone already refuses this; its reads will fail.
        let _ = rustix::net::sockopt::set_tcp_nodelay(&client, true);
        Ok(self.socket.accepted(client, counted))
    }

    fn peek(&mut self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        charge::ask_kernel();
        self.settle();
        if self.is_stream() {
            return self.socket.peek(bufs);
        }
        Ok(self.receive(bufs, true)?.count)
    }

    fn truncated(&self) -> bool {
        self.socket.truncated()
    }

    fn endpoint(&mut self) -> Result<&mut dyn Endpoint> {
        Ok(self)
    }

    fn shutdown(&mut self, how: Interest) -> Result<()> {
        self.settle();
        self.socket.shutdown(how)
    }
}
