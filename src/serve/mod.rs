//! A server that runs guests for the clients of TCP ports and Unix sockets.
//!
//! A guest serves a [line](Unit::Line) or a whole [connection](Unit::Connection). Each worker is
//! a thread with its own [scheduler](crate::sched), a copy of every listener, and its own
//! connections. Workers share nothing while they serve a line.
//!
//! ```no_run
//! use tinyhost::{Program, serve::{ServeConfig, Server}};
//!
//! let program = Program::new(std::fs::read("filter.wasm")?)?;
//! let mut config = ServeConfig::new(program, "filter.wasm");
//! config.binds = vec!["127.0.0.1:1997".parse()?];
//! let server = Server::bind(config)?;
//! let handle = server.handle(); // for another thread, or a signal: handle.shutdown()
//! server.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works inside
//!
//! A door accepts connections, a protocol says what their bytes mean, a worker runs the guests.
//!
//! ```text
//!   door/     Source --accept--> Wire (a socket, or TLS or a PROXY header around one)
//!                                  |
//!   client/                      Link: the wire, and Io: the bytes on their way
//!                                /     \
//!   conn/     Conn <--given: Io, time   Input, Output, Errors: a guest's standard streams
//!              |  \                        |
//!              |   Protocol: Lines,      Guest (guests.rs: made, or started ahead)
//!              |   Stream, Status           |
//!              v                            |
//!            Action: Receive, Start, Cancel, Flush, Shut, Queue, Wait, Close
//!              |                            |
//!   session::advance carries it out: wire and link itself, the rest by a Host
//!              |
//!   jobs.rs   Jobs is the Host: scheduler, guests, counters, log
//!   worker.rs Worker turns: events and deadlines -> advance, guests' ends -> advance
//!   observe/  what is counted and logged; Status answers /metrics and /healthz
//! ```
//!
//! A `Conn` decides and does nothing: it has no socket and no clock, and nothing but its
//! protocol knows what the bytes mean. All but `jobs.rs` and `worker.rs` runs under a seeded
//! simulator (`simulate/`, run by `cargo test --lib serve::simulate`), which prints the seed of a
//! failure.
//!
//! Messages of a server that is dialled ([`NatsConfig`]) are connections of one job: `from/`.
//!
//! A connection has one job at a time, so replies are in the order of the requests. Jobs that are
//! to run at once are connections of their own: a door can make a wire out of a message.
//!
//! # Adding a protocol
//!
//! 1. `conn/NAME.rs`: a type that implements `Protocol` (`conn/protocol.rs` says what it may
//!    assume). `conn/line.rs` is the shortest that runs guests, `observe/http.rs` one that answers
//!    without a guest, `simulate/packets.rs` one with streaming bodies, framed replies, variables of
//!    each job and an upgrade to another protocol.
//! 2. `conn/protocol.rs`, `Service::of`: when it is used.
//! 3. `config.rs`: what the configuration says for that, a [`Unit`] for example.
//!
//! And a test: its requests in `simulate/client.rs` and what must come of them in
//! `simulate/model.rs`, and real clients in `tests/serve`. Something below a protocol (TLS, the
//! PROXY protocol) is a `Wire` around a wire, made in `door/`; another kind of listener is a
//! `Source` in `door/`; a metric is a row in `observe/metrics.rs`.

mod admission;
mod bind;
mod cleanup;
mod client;
mod config;
mod conn;
mod door;
mod from;
mod guests;
mod jobs;
mod observe;
mod percent;
mod reload;
mod shared;
#[cfg(test)]
mod simulate;
mod worker;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Instant;

use crate::sched::Scheduler;
use crate::vfs::net::listen;
pub use crate::vfs::{Credentials, Peer, UnixPeer};
use admission::Admission;
pub use bind::{Bind, BindError, BoundAddr, ServerSocket};
pub use client::stdio::LOG_LINE_MAX;
#[cfg(feature = "tls")]
pub use config::LoadIdentity;
pub use config::{DRAIN_MAX, Limits, Load, MakeNamespace, PostMortem, Prepare, ServeConfig, Unit};
use conn::protocol::Service;
use door::Source;
use door::proxy::Behind;
pub use door::proxy::{ProxyProtocol, TrustedProxy, TrustedProxyError};
use door::tcp::Tcp;
#[cfg(feature = "tls")]
pub use door::tls::Identity;
use door::unix::{Bound, Unix};
#[cfg(feature = "nats")]
pub use from::nats::{NatsConfig, NatsIntake, NatsLogin};
use observe::http::Status;
pub use observe::logging;
pub use observe::metrics::{Metrics, Outcome, Process, Refusal};
pub(crate) use observe::outcome::of_end;
use observe::reporter::report_warmth;
use shared::{Shared, WorkerHandle};
use worker::Worker;

/// A server that has bound its ports. [`run`](Server::run) starts serving.
pub struct Server {
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    addrs: Vec<BoundAddr>,
    status: Option<(Worker, Arc<WorkerHandle>, BoundAddr)>,
}

/// Controls a server from any thread. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Server {
    /// Binds all addresses of the configuration, or none.
    ///
    /// # Errors
    ///
    /// If an address can't be bound (the error names it), an argument or variable contains a NUL
    /// byte, or the operating system can't create a poll.
    pub fn bind(mut config: ServeConfig) -> io::Result<Server> {
        config.limits = config.limits.countable();
        let mut bound = Vec::new();
        let mut listeners = Vec::new();
        for bind in std::mem::take(&mut config.binds) {
            listeners.push(open(bind, &mut bound)?);
        }
        let status = config.metrics.take().map(|bind| open(bind, &mut bound)).transpose()?;
        let proxies = config.proxy_protocol.take().map(Arc::new);
        let addrs = listeners.iter().map(address).collect::<io::Result<Vec<_>>>()?;
        let mut schedulers = Vec::new();
        for _ in 0..config.workers.max(1) {
            schedulers.push(Scheduler::new()?);
        }
        let shared = Arc::new(Shared::new(config, bound, status.is_some(), &schedulers)?);
        let admission = Arc::new(Admission::new(&shared.config.limits));
        let mut workers = Vec::new();
        for (scheduler, handle) in schedulers.into_iter().zip(&shared.workers) {
            let service = Service::of(&shared.config, &admission);
            let sources = listeners.iter().map(|listener| {
                let source = behind(proxies.as_ref(), source(listener)?);
                secure(&shared, source)
            });
            let sources = sources.collect::<io::Result<Vec<_>>>()?;
            let handle = handle.clone();
            workers.push(Worker::new(shared.clone(), handle, service, scheduler, sources)?);
        }
        let status = status.map(|listener| status_worker(&shared, &listener)).transpose()?;
        Ok(Server { shared, workers, addrs, status })
    }

    /// Where it listens, in the order of [`ServeConfig::binds`].
    pub fn local_addrs(&self) -> &[BoundAddr] {
        &self.addrs
    }

    /// Where it serves `/metrics` and `/healthz`, if it does.
    pub fn metrics_addr(&self) -> Option<&BoundAddr> {
        self.status.as_ref().map(|(_, _, addr)| addr)
    }

    /// A handle to control the server.
    pub fn handle(&self) -> Handle {
        Handle { shared: self.shared.clone() }
    }

    /// Serves until [`Handle::shutdown`] is called and all guests have ended. Blocks the thread.
    ///
    /// # Errors
    ///
    /// If a worker fails: its thread can't be started, its poll fails, or no listener accepts
    /// connections any more. The other workers are then stopped, too.
    pub fn run(self) -> io::Result<()> {
        let Server { shared, workers, status, .. } = self;
        report_warmth(&shared.config.name, shared.config.program.warmth());
        let mut threads = Vec::new();
        let mut status_handle = None;
        if let Some((worker, handle, _)) = status {
            status_handle = Some(handle);
            let thread = thread::Builder::new().name("metrics".into());
            threads.push(thread.spawn(move || drop(worker.run()))?);
        }
        if shared.reloads_anything() {
            let shared = shared.clone();
            let thread = thread::Builder::new().name("reload".into());
            threads.push(thread.spawn(move || reload::run(&shared))?);
        }
        let result = run_all(workers, &shared);
        shared.reloads.stop();
        shared.ended.store(true, Ordering::Release);
        status_handle.inspect(|handle| handle.wake());
        for thread in threads {
            // These threads return nothing, and a panic was printed.
            let _ = thread.join();
        }
        result
    }
}

/// The source, behind proxies if there are some.
fn behind(proxies: Option<&Arc<ProxyProtocol>>, source: Box<dyn Source>) -> Box<dyn Source> {
    match proxies {
        Some(proxies) => Box::new(Behind { source, proxies: proxies.clone() }),
        None => source,
    }
}

/// The source, with TLS if the server speaks it.
#[cfg(feature = "tls")]
fn secure(shared: &Shared, source: Box<dyn Source>) -> io::Result<Box<dyn Source>> {
    Ok(match &shared.identity {
        Some(identity) => Box::new(door::tls::TlsDoor { source, identity: identity.clone() }),
        None => source,
    })
}

#[cfg(not(feature = "tls"))]
fn secure(_shared: &Shared, source: Box<dyn Source>) -> io::Result<Box<dyn Source>> {
    Ok(source)
}

/// A socket that listens there. The file of one that it makes is added to `bound`.
fn open(bind: Bind, bound: &mut Vec<Bound>) -> io::Result<ServerSocket> {
    match bind {
        Bind::Tcp(addr) => Ok(listen(addr)?.into()),
        Bind::Unix { path, mode } => {
            let (listener, file) = door::unix::listen_at(&path, mode)?;
            bound.push(file);
            Ok(listener.into())
        }
        Bind::Open(listener) => Ok(listener),
    }
}

fn address(listener: &ServerSocket) -> io::Result<BoundAddr> {
    match listener {
        ServerSocket::Tcp(listener) => listener.local_addr().map(BoundAddr::Tcp),
        ServerSocket::Unix(listener) => door::unix::path_of(listener).map(BoundAddr::Unix),
    }
}

fn source(listener: &ServerSocket) -> io::Result<Box<dyn Source>> {
    Ok(match listener {
        ServerSocket::Tcp(listener) => Box::new(Tcp::new(listener)?),
        ServerSocket::Unix(listener) => Box::new(Unix::new(listener)?),
    })
}

/// The worker that reports on the others.
fn status_worker(
    shared: &Arc<Shared>,
    listener: &ServerSocket,
) -> io::Result<(Worker, Arc<WorkerHandle>, BoundAddr)> {
    let scheduler = Scheduler::new()?;
    let handle = Arc::new(WorkerHandle::new(&scheduler));
    let service = Status::service(shared.clone());
    let sources = vec![source(listener)?];
    let worker = Worker::new(shared.clone(), handle.clone(), service, scheduler, sources)?;
    Ok((worker, handle, address(listener)?))
}

/// Runs all workers, one of them on this thread, until they have ended.
fn run_all(mut workers: Vec<Worker>, shared: &Arc<Shared>) -> io::Result<()> {
    let first = workers.remove(0);
    let mut threads = Vec::new();
    let mut result = Ok(());
    for (index, worker) in workers.into_iter().enumerate() {
        let name = format!("worker {}", index + 1);
        match thread::Builder::new().name(name).spawn(move || worker.run()) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                shared.stop();
                result = Err(error);
            }
        }
    }
    result = result.and(first.run());
    for thread in threads {
        let ended = thread.join().unwrap_or_else(|_| Err(io::Error::other("a worker panicked")));
        result = result.and(ended);
    }
    result
}

impl Handle {
    /// Shuts the server down: goes on for [`ServeConfig::drain`], and then [stops](Handle::stop). Asked
    /// again, it stops at once. Says whether it stops now.
    pub fn shutdown(&self) -> bool {
        self.shared.drain(Instant::now())
    }

    /// Stops the server: it accepts no more, closes idle connections, and waits for running guests,
    /// at most [`DRAIN_MAX`]. Then [`Server::run`] returns. Guests that serve a whole connection
    /// find their standard input at its end.
    pub fn stop(&self) {
        self.shared.stop();
    }

    /// Reloads the program, and the certificate, on a thread of its own. Running guests finish with the old program. If
    /// the new one fails to load, or [`ServeConfig::reload`] is not set, that is logged and the old
    /// program stays.
    pub fn reload(&self) {
        if self.shared.config.reload.is_none() && !self.shared.reloads_anything() {
            let program = self.shared.config.name.as_str();
            log::warn!(target: logging::TARGET, program = program; "program not reloaded: it came from no file");
        }
        self.shared.reloads.request();
    }

    /// The metrics so far.
    pub fn metrics(&self) -> Metrics {
        self.shared.metrics()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("addrs", &self.addrs).finish_non_exhaustive()
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}
