//! `/dev/HOST:PORT`, `/dev/tcp/HOST/PORT`, `/dev/udp/HOST/PORT`, `/dev/tls/HOST/PORT` and
//! `/dev/https/HOST`: opening dials.
//!
//! Name, lookup and connect are one operation of the host: the name is looked up once, and
//! the addresses that were judged are the ones dialled, one after the other.
//!
//! What the open of a guest answers: EACCES for what the policy denies, EHOSTUNREACH for a
//! name that has no address (ENOENT would say that the file is missing and lead people to
//! look for a mount), ETIMEDOUT after the time limit, ENFILE beyond the guest's limits, and
//! else what connect(2) said, of several answers the most telling.

use std::collections::VecDeque;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::task::Waker;
use std::time::{Duration, Instant};

use mio::net::{TcpStream, UdpSocket};
use rustix::net::{getpeername, getsockname, sockopt};

use super::policy::addr::{Class, Host};
use super::policy::protocol::RuleProtocol;
use super::quota::Taken;
use super::resolve::Lookup;
use super::socket::Socket;
#[cfg(feature = "tls")]
use super::tls::handshake::Handshake;
use super::{Net, udp};
use crate::vfs::charge;
use crate::vfs::{Errno, File, Filetype, Opened, Pending, Result, Wait};

/// Addresses of one name that are tried.
const ADDRESSES_MAX: usize = 16;

/// Time that an address gets if others are left to try after it.
const ATTEMPT_MIN: Duration = Duration::from_secs(2);

/// What carries the bytes of a guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Tcp,
    Udp,
    /// TLS on TCP.
    #[cfg(feature = "tls")]
    Tls,
    /// One HTTP request in TLS on TCP.
    #[cfg(feature = "tls")]
    Https,
}

impl Transport {
    /// What its files are to a guest.
    pub fn filetype(self) -> Filetype {
        match self {
            Transport::Udp => Filetype::SocketDgram,
            _ => Filetype::SocketStream,
        }
    }

    /// What rules have to allow for it.
    pub fn protocol(self) -> RuleProtocol {
        match self {
            Transport::Tcp | Transport::Udp => RuleProtocol::Plain,
            #[cfg(feature = "tls")]
            Transport::Tls => RuleProtocol::Tls,
            #[cfg(feature = "tls")]
            Transport::Https => RuleProtocol::Https,
        }
    }
}

/// Where to, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub transport: Transport,
    pub host: Host,
    pub port: u16,
}

/// As a rule would name it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}:{}", self.transport.protocol(), self.host, self.port)
    }
}

struct Dial {
    net: Net,
    target: Target,
    state: State,
    /// When all of it has to be done.
    deadline: Instant,
    /// Both are handed on or given back when the dial is over. The first is never `None`
    /// before that.
    socket: Option<Taken>,
    _in_flight: Taken,
}

enum State {
    Resolving(Lookup),
    /// At one of the addresses, after none (`None`) at the first.
    Connecting {
        attempt: Option<(TcpStream, Instant)>,
        left: VecDeque<SocketAddr>,
        error: Option<Errno>,
    },
    /// Connected, and not secure yet.
    #[cfg(feature = "tls")]
    Securing(Box<Handshake>),
}

/// A socket that is connected.
enum Connected {
    Stream(TcpStream),
    Datagram(UdpSocket),
}

/// Begins a dial.
///
/// # Errors
///
/// EACCES, reported, if no rule could allow it; ENFILE; ENODEV if there is no such interface.
pub(crate) fn dial(net: &Net, target: &Target) -> Result<Opened> {
    if !net.policy().name_possible(target.transport.protocol(), &target.host, target.port) {
        net.denied(format!("denied: dial {target} (allow with --net {target})"));
        return Err(Errno::Acces);
    }
    let in_flight = net.dials.take()?;
    let socket = net.sockets.take()?;
    let state = match &target.host {
        Host::Addr(address) => State::connecting([address.socket_addr(target.port)?].into()),
        Host::Name(name) => State::Resolving(Lookup::begin(net.resolver(), name.as_str())),
    };
    let dial = Dial {
        net: net.clone(),
        target: target.clone(),
        state,
        deadline: Instant::now() + net.connect_timeout(),
        socket: Some(socket),
        _in_flight: in_flight,
    };
    Opened::begin(dial)
}

impl State {
    fn connecting(left: VecDeque<SocketAddr>) -> State {
        State::Connecting { attempt: None, left, error: None }
    }
}

impl Dial {
    /// The addresses the policy allows, in the order they came.
    fn check_policy(&self, found: Vec<IpAddr>) -> Result<VecDeque<SocketAddr>> {
        let Target { transport, host, port } = &self.target;
        let protocol = transport.protocol();
        let canonical = found.iter().map(IpAddr::to_canonical);
        let mut allowed = VecDeque::new();
        let mut refused = None;
        for address in canonical {
            let at = SocketAddr::new(address, *port);
            if !self.net.policy().addr_allowed(protocol, host, address, *port) {
                refused = refused.or(Some(address));
            } else if allowed.len() < ADDRESSES_MAX && !allowed.contains(&at) {
                allowed.push_back(at);
            }
        }
        match refused {
            Some(address) if allowed.is_empty() => {
                let class = Class::of(address);
                let rule = format!("{protocol}{}:{port}", Host::from(address));
                self.net.denied(format!(
                    "denied: dial {}: it resolved to {address}, a {class} address \
                     (allow with --net {rule})",
                    self.target
                ));
                Err(Errno::Acces)
            }
            _ if allowed.is_empty() => Err(Errno::Hostunreach),
            _ => Ok(allowed),
        }
    }

    /// What the guest gets of a connected socket, at once or after a handshake.
    fn open(&mut self, connected: Connected) -> Result<Box<dyn File>> {
        let stream = match connected {
            Connected::Datagram(socket) => return Ok(Socket::datagram(socket, self.counted()?)),
            Connected::Stream(stream) => stream,
        };
        #[cfg(feature = "tls")]
        if self.target.transport != Transport::Tcp {
            let handshake = Handshake::begin(&self.net, &self.target, stream)?;
            self.state = State::Securing(Box::new(handshake));
            return self.secure();
        }
        Ok(Socket::stream(stream, self.counted()?))
    }

    fn counted(&mut self) -> Result<Taken> {
        self.socket.take().ok_or(Errno::Badf)
    }

    /// Continues the handshake; the file, once it is done.
    #[cfg(feature = "tls")]
    fn secure(&mut self) -> Result<Box<dyn File>> {
        let State::Securing(handshake) = &mut self.state else { return Err(Errno::Again) };
        match handshake.proceed() {
            Ok(()) => {}
            Err(Errno::Again) if Instant::now() >= self.deadline => {
                handshake.report_timeout();
                return Err(Errno::Timedout);
            }
            Err(errno) => return Err(errno),
        }
        let counted = self.counted()?;
        match std::mem::replace(&mut self.state, State::connecting(VecDeque::new())) {
            State::Securing(handshake) => handshake.into_file(counted),
            _ => Err(Errno::Badf),
        }
    }

    /// Goes through the addresses until one is connected, or has to be waited for.
    fn connect(&mut self) -> Result<Connected> {
        let State::Connecting { attempt, left, error } = &mut self.state else {
            return Err(Errno::Again);
        };
        let now = Instant::now();
        loop {
            let failed = match attempt.take() {
                None => None,
                Some((stream, until)) => match connected(stream.as_fd()) {
                    Ok(()) => return Ok(Connected::Stream(stream)),
                    Err(Errno::Again) if now < until => {
                        *attempt = Some((stream, until));
                        return Err(Errno::Again);
                    }
                    Err(Errno::Again) => Some(Errno::Timedout),
                    Err(errno) => Some(errno),
                },
            };
            *error = more_specific(*error, failed);
            let Some(address) = left.pop_front().filter(|_| now < self.deadline) else {
                return Err(error.unwrap_or(Errno::Timedout));
            };
            if self.target.transport == Transport::Udp {
                match udp::connect(address) {
                    Ok(socket) => return Ok(Connected::Datagram(socket)),
                    Err(errno) => *error = more_specific(*error, Some(errno)),
                }
                continue;
            }
            match TcpStream::connect(address) {
                Ok(stream) => *attempt = Some((stream, share(now, self.deadline, left.len()))),
                Err(refused) => *error = more_specific(*error, Some(refused.into())),
            }
        }
    }
}

impl Pending for Dial {
    fn proceed(&mut self) -> Result<Box<dyn File>> {
        charge::ask_kernel();
        if let State::Resolving(lookup) = &self.state {
            let found = match lookup.answer() {
                Some(found) => found?,
                None if Instant::now() >= self.deadline => return Err(Errno::Timedout),
                None => return Err(Errno::Again),
            };
            self.state = State::connecting(self.check_policy(found)?);
        }
        #[cfg(feature = "tls")]
        if let State::Securing(_) = &self.state {
            return self.secure();
        }
        let connected = self.connect()?;
        self.open(connected)
    }

    fn wait(&mut self, waker: &Waker) -> Wait<'_> {
        match &self.state {
            State::Resolving(lookup) if lookup.is_done_or_wakes(waker) => Wait::Now,
            State::Resolving(_) => Wait::Waker,
            State::Connecting { attempt: Some((stream, _)), .. } => Wait::Fd(stream.as_fd()),
            State::Connecting { attempt: None, .. } => Wait::Now,
            #[cfg(feature = "tls")]
            State::Securing(handshake) => handshake.wait(),
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Connecting { attempt: Some((_, until)), .. } => Some(*until),
            _ => Some(self.deadline),
        }
    }
}

/// Whether a stream is connected, by the steps that mio names: the error that the socket
/// keeps, then the peer. Any other way can take a connect in progress for a done one.
pub(super) fn connected(stream: BorrowedFd<'_>) -> Result<()> {
    sockopt::socket_error(stream)?.map_err(Errno::from)?;
    let peer = match getpeername(stream).map_err(Errno::from) {
        Ok(peer) => peer,
        Err(Errno::Notconn | Errno::Inprogress) => return Err(Errno::Again),
        Err(errno) => return Err(errno),
    };
    // A dial to a local port without a listener can get that very port as its own and
    // meet itself (TCP's simultaneous open).
    if getsockname(stream).is_ok_and(|own| Some(own) == peer) {
        return Err(Errno::Connrefused);
    }
    sockopt::set_tcp_nodelay(stream, true)?;
    Ok(())
}

/// When an address has to have answered: what is left of the time is shared by those left
/// to try, so that a first one that swallows packets does not use up all of it.
fn share(now: Instant, deadline: Instant, others: usize) -> Instant {
    let left = deadline.saturating_duration_since(now);
    let others = u32::try_from(others).unwrap_or(u32::MAX);
    let share = left / others.saturating_add(1);
    now + share.max(ATTEMPT_MIN).min(left)
}

/// Of two failures the one that says more; the earlier if they say the same.
fn more_specific(before: Option<Errno>, now: Option<Errno>) -> Option<Errno> {
    let rank = |errno: &Errno| match errno {
        Errno::Connrefused | Errno::Connreset => 4, // a host answered
        Errno::Timedout => 3,
        Errno::Hostunreach => 2,
        Errno::Netunreach | Errno::Addrnotavail | Errno::Afnosupport => 0, // no IPv6, mostly
        _ => 1,
    };
    // "No free local port" is EAGAIN on some systems, which here would mean "wait".
    let now = now.map(|errno| if errno == Errno::Again { Errno::Addrnotavail } else { errno });
    match (before, now) {
        (Some(before), Some(now)) if rank(&now) > rank(&before) => Some(now),
        (before, now) => before.or(now),
    }
}
