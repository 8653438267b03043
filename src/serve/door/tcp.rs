//! Taking connections, and spreading them over the workers.

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::{AcqRel, Relaxed};
use std::time::{Duration, Instant};

use mio::net::{TcpListener, TcpStream};
use mio::unix::SourceFd;
use mio::{Interest, Token};

use crate::serve::Unit;
use crate::serve::admission::Ticket;
use crate::serve::client::link::Link;
use crate::serve::conn::table::LISTENER;
use crate::serve::conn::{Conn, Fate, Phase, Watched};
use crate::serve::observe::log::TARGET;
use crate::serve::observe::metrics::{Refusal, add};
use crate::serve::observe::reporter::Bucket;
use crate::serve::worker::{ACCEPT_AGAIN, Worker};

/// Connections accepted before those that are there are looked after. Clients that come
/// faster than they are taken fill the system's queue, and whoever then finds it full waits
/// a second for the next try: so this is done in big pieces, and making guests is not part
/// of it.
const ACCEPTS_PER_TURN: usize = 512;

/// How long nothing is accepted after the system had no descriptors left.
pub(crate) const PAUSE: Duration = Duration::from_millis(50);

/// A connection accepted by one worker for another.
pub(crate) struct Arrival {
    stream: TcpStream,
    peer: SocketAddr,
    local: SocketAddr,
    ticket: Ticket,
}

/// A worker's copy of the listeners.
pub(crate) struct Listeners {
    sockets: Vec<Listening>,
    /// Accepting rests until an alarm.
    paused: bool,
    /// The system was short of descriptors, and nothing was accepted since.
    starved: bool,
    refusals: Bucket,
}

struct Listening {
    socket: TcpListener,
    addr: SocketAddr,
    /// There may be connections waiting.
    ready: bool,
}

impl Listeners {
    pub fn new(
        listeners: &[std::sync::Arc<std::net::TcpListener>],
        registry: &mio::Registry,
    ) -> io::Result<Listeners> {
        let mut sockets = Vec::new();
        for (index, listener) in listeners.iter().enumerate() {
            let listener = listener.try_clone()?;
            listener.set_nonblocking(true)?;
            let addr = listener.local_addr()?;
            // Replies are written in whole turns; waiting for more would only delay them.
            #[cfg(target_os = "linux")]
            let _ = rustix::net::sockopt::set_tcp_nodelay(&listener, true);
            let mut socket = TcpListener::from_std(listener);
            registry.register(&mut socket, Token(LISTENER | index), Interest::READABLE)?;
            // What waits there already makes no event on every system.
            sockets.push(Listening { socket, addr, ready: true });
        }
        let refusals = Bucket::new(10);
        Ok(Listeners { sockets, paused: false, starved: false, refusals })
    }

    pub fn ready(&mut self, token: usize) {
        if let Some(listening) = self.sockets.get_mut(token & !LISTENER) {
            listening.ready = true;
        }
    }

    /// Whether accepting is to go on in the next turn without waiting.
    pub fn pending(&self) -> bool {
        !self.paused && self.sockets.iter().any(|listening| listening.ready)
    }

    pub fn resume(&mut self) {
        self.paused = false;
    }

    /// Closes them.
    pub fn close(&mut self) {
        self.sockets.clear();
    }

    /// The next connection, with the address it came to.
    fn next(&mut self) -> Option<io::Result<(TcpStream, SocketAddr, SocketAddr)>> {
        for listening in self.sockets.iter_mut().filter(|listening| listening.ready) {
            match listening.socket.accept() {
                Ok((stream, peer)) => return Some(Ok((stream, peer, listening.addr))),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    listening.ready = false;
                }
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }
}

impl Worker {
    /// Accepts what waits, within bounds.
    pub(crate) fn accept(&mut self) {
        for _ in 0..ACCEPTS_PER_TURN {
            if self.listeners.paused {
                return;
            }
            match self.listeners.next() {
                None => return,
                // The others have ended perhaps, and whoever comes now comes too late.
                Some(Ok(_)) if self.shared.stopping() => {}
                Some(Ok((stream, peer, local))) => {
                    self.listeners.starved = false;
                    self.admit(stream, peer, local);
                }
                Some(Err(error)) if is_the_clients(&error) => {}
                Some(Err(error)) => self.pause(&error),
            }
        }
    }

    /// EMFILE and the like: the listener stays ready, so going on would only spin.
    fn pause(&mut self, error: &io::Error) {
        self.listeners.paused = true;
        self.sched.alarm(Instant::now() + PAUSE, ACCEPT_AGAIN);
        if !std::mem::replace(&mut self.listeners.starved, true) {
            self.counters().refused(Refusal::Accept);
            log::error!(target: TARGET, error:% = error; "can't accept connections, trying again (raise the limit on open files)");
        }
    }

    fn admit(&mut self, stream: TcpStream, peer: SocketAddr, local: SocketAddr) {
        let ticket = match self.shared.admission.ticket(peer.ip()) {
            Ok(ticket) => ticket,
            Err(refusal) => return self.refuse(peer, refusal),
        };
        // A listener on all addresses does not know which of them the client came to.
        let local =
            if local.ip().is_unspecified() { stream.local_addr().unwrap_or(local) } else { local };
        // Linux takes it over from the listener.
        #[cfg(not(target_os = "linux"))]
        let _ = stream.set_nodelay(true);
        let arrival = Arrival { stream, peer, local, ticket };
        let seat = self.seat_for();
        self.shared.seats[seat].live.fetch_add(1, Relaxed);
        if seat == self.index {
            self.open(arrival);
        } else {
            let seat = &self.shared.seats[seat];
            seat.inbox.lock().unwrap_or_else(PoisonError::into_inner).push(arrival);
            seat.mail.store(true, std::sync::atomic::Ordering::Release);
            seat.waker.wake_by_ref();
        }
    }

    fn refuse(&mut self, peer: SocketAddr, refusal: Refusal) {
        self.counters().refused(refusal);
        if self.listeners.refusals.take(self.now) {
            let missed = self.listeners.refusals.missed().unwrap_or(0);
            log::warn!(target: TARGET, client:% = peer, limit = refusal.name(), unreported = missed; "connection refused");
        }
    }

    /// This worker, unless another has clearly fewer connections.
    fn seat_for(&self) -> usize {
        let live = |seat: &crate::serve::shared::Seat| seat.live.load(Relaxed);
        let own = live(&self.shared.seats[self.index]);
        let least = self.shared.seats.iter().enumerate().min_by_key(|(_, seat)| live(seat));
        match least {
            Some((seat, other)) if live(other) + 1 + own / 16 < own => seat,
            _ => self.index,
        }
    }

    /// Takes what other workers have accepted for this one.
    pub(crate) fn take_mail(&mut self) {
        let seat = &self.shared.seats[self.index];
        if !seat.mail.load(Relaxed) || !seat.mail.swap(false, AcqRel) {
            return;
        }
        let mail = std::mem::take(&mut *seat.inbox.lock().unwrap_or_else(PoisonError::into_inner));
        mail.into_iter().for_each(|arrival| self.open(arrival));
    }

    /// Takes a connection in, to be begun in its turn.
    fn open(&mut self, arrival: Arrival) {
        let Arrival { stream, peer, local, ticket } = arrival;
        if self.draining {
            self.shared.seats[self.index].live.fetch_sub(1, Relaxed);
            return;
        }
        add(&self.counters().conns, 1);
        let key = self.conns.reserve();
        let link = Link::new(stream, peer, key, self.dirty.clone());
        let mut conn = Box::new(Conn::new(key, link, local, self.now, ticket));
        self.queue(&mut conn);
        self.tidy.stirred = true;
        self.look_in(&mut conn, self.now + self.shared.config.limits.idle);
        self.conns.put(conn);
    }

    /// Begins to serve a connection, in its turn.
    pub(crate) fn begin(&mut self, conn: &mut Conn, now: Instant, until: Instant) -> Fate {
        conn.phase = Phase::Open;
        match self.shared.config.unit {
            _ if self.draining => return Fate::Close,
            // Its line has often come by now. One that is answered at once never gets into
            // the poll.
            Unit::Line => conn.link.io().readable = true,
            Unit::Connection => {
                conn.started = self.now;
                let guest = self.new_guest(conn);
                let id = self.sched.spawn(guest, None);
                self.employ(conn, id);
            }
        }
        if self.serve(conn, now, until) == Fate::Close {
            return Fate::Close;
        }
        // Whatever has come in the meantime makes an event at once.
        let wanted = if conn.watched == Watched::Both { Watched::Both } else { Watched::Reads };
        match self.watch(conn, wanted) {
            Ok(()) => Fate::Keep,
            Err(error) => {
                log::debug!(target: TARGET, client:% = conn.link.peer, error:% = error; "connection dropped");
                Fate::Close
            }
        }
    }

    /// Has the poll tell of a connection what is wanted.
    pub(crate) fn watch(&mut self, conn: &mut Conn, wanted: Watched) -> io::Result<()> {
        let before = std::mem::replace(&mut conn.watched, wanted);
        let (registry, token) = (self.sched.registry(), Token(conn.key));
        let fd = conn.link.stream.as_raw_fd();
        let interest = match wanted {
            Watched::Both => Interest::READABLE | Interest::WRITABLE,
            Watched::Reads | Watched::Not => Interest::READABLE,
        };
        match before {
            Watched::Not => registry.register(&mut SourceFd(&fd), token, interest),
            before if before != wanted => registry.reregister(&mut SourceFd(&fd), token, interest),
            _ => Ok(()),
        }
    }
}

/// Errors of accept(2) that are the connection's, not the listener's.
pub(crate) fn is_the_clients(error: &io::Error) -> bool {
    use io::ErrorKind::{
        ConnectionAborted, ConnectionReset, HostUnreachable, Interrupted, NetworkDown,
        NetworkUnreachable, TimedOut,
    };
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | HostUnreachable
            | Interrupted
            | NetworkDown
            | NetworkUnreachable
            | TimedOut
    )
}
