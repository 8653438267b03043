//! The line server: guests behind a TCP port.
//!
//! Each worker is a thread with a [scheduler](crate::sched), a copy of every listener and
//! connections of its own; it shares nothing with the others on the path of a line. The
//! unit a guest serves is a [line](Unit::Line) or a [connection](Unit::Connection).
//!
//! ```no_run
//! use tinyhost::{Program, serve::{Config, Server}};
//!
//! let program = Program::new(std::fs::read("filter.wasm")?)?;
//! let mut config = Config::new(program, "filter.wasm");
//! config.binds = vec!["127.0.0.1:1997".parse()?];
//! let server = Server::bind(config)?;
//! let handle = server.handle(); // for another thread, or a signal: handle.shutdown()
//! server.run()?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod accept;
mod conn;
mod frame;
mod guests;
mod http;
mod lifecycle;
mod limits;
mod lines;
mod link;
pub mod log;
mod metrics;
mod reload;
mod stream;
mod tidy;
mod worker;

use std::fmt;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Waker;
use std::time::Duration;

use crate::sched::Scheduler;
use crate::vfs::Namespace;
use crate::vfs::net::listen;
use crate::wasi::{Builder, MemoryBudget, Strings};
use crate::{Guest, Program};
pub use limits::Limits;
pub use metrics::{Metrics, Outcome, Refusal};
pub use stream::LOG_LINE_MAX;

/// How long guests may go on once the server is told to stop.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);

/// What one guest serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Each line is the stdin of a fresh guest; what it writes is the reply. A guest whose
    /// client has reset the connection is ended at once.
    #[default]
    Line,
    /// A guest's stdin and stdout are the connection; it begins and ends with it. Once its
    /// client is gone its reads are at their end and its writes are EPIPE, and it has
    /// [`Limits::timeout`] to end.
    Connection,
}

/// Makes the namespace of each guest.
pub type MakeNamespace = Arc<dyn Fn() -> Namespace + Send + Sync>;

/// Loads the program anew; the error says why it can't be run.
pub type Load = Arc<dyn Fn() -> Result<Program, String> + Send + Sync>;

/// Adds to the context of each guest, which serves the client of that address, before the
/// guest is made: who is told of its calls, clocks, randomness. A guest that is run ahead of
/// its line has no client yet.
pub type Prepare = Arc<dyn Fn(Option<SocketAddr>, Builder) -> Builder + Send + Sync>;

/// Looks at a guest that trapped or was ended by the host: why, its time, and itself.
pub type PostMortem = Arc<dyn Fn(&str, Duration, &Guest) + Send + Sync>;

/// What a server is to do.
#[derive(Clone)]
pub struct Config {
    /// What is run.
    pub program: Program,
    /// Its name: the guest's `argv[0]`, and what logs call it.
    pub name: String,
    /// Arguments after the name.
    pub args: Vec<String>,
    /// Variables beside `PROTO`, `TCPREMOTEIP`, `TCPREMOTEPORT`, `TCPLOCALIP` and
    /// `TCPLOCALPORT`, which tell of the connection.
    pub env: Vec<(String, String)>,
    /// What the guest can open.
    pub namespace: MakeNamespace,
    /// Where to listen. Port 0: any that is free.
    pub binds: Vec<SocketAddr>,
    /// Sockets that listen already (handed over by systemd).
    pub listeners: Vec<Arc<TcpListener>>,
    /// What one guest serves.
    pub unit: Unit,
    /// With [`Unit::Line`]: answer line after line until the client closes, rather than
    /// close after the first reply.
    pub keep_open: bool,
    /// With [`Unit::Line`]: guests of each worker that are run up to their first read
    /// before their line comes, if the program is [suited](crate::Ahead).
    pub ahead: usize,
    /// How long such a guest may wait before another is made in its place.
    pub ahead_ttl: Duration,
    /// Threads; at least 1.
    pub workers: usize,
    /// What clients and guests may use.
    pub limits: Limits,
    /// How the program is loaded anew, for [`Handle::reload`] and `watch`.
    pub reload: Option<Load>,
    /// A file: when it changes, the program is loaded anew.
    pub watch: Option<PathBuf>,
    /// Where to answer `GET /metrics` and `GET /healthz`.
    pub metrics: Option<SocketAddr>,
    /// Adds to each guest's context.
    pub prepare: Option<Prepare>,
    /// Looks at each guest that trapped or was ended.
    pub post_mortem: Option<PostMortem>,
}

impl Config {
    /// One worker, the default limits, and nowhere to listen yet.
    pub fn new(program: Program, name: impl Into<String>) -> Config {
        let namespace = Namespace::default();
        Config {
            program,
            name: name.into(),
            args: Vec::new(),
            env: Vec::new(),
            namespace: Arc::new(move || namespace.clone()),
            binds: Vec::new(),
            listeners: Vec::new(),
            unit: Unit::Line,
            keep_open: false,
            ahead: 0,
            ahead_ttl: Duration::from_secs(30),
            workers: 1,
            limits: Limits::default(),
            reload: None,
            watch: None,
            metrics: None,
            prepare: None,
            post_mortem: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What workers, handles and the other threads have in common.
struct Shared {
    config: Config,
    args: Strings,
    env: Strings,
    admission: Arc<limits::Admission>,
    /// What all guests have of memory, beyond a little each.
    memory: Arc<MemoryBudget>,
    program: Mutex<Program>,
    /// Counts programs: a worker looks into `program` only when this has changed.
    generation: AtomicU64,
    stopping: AtomicBool,
    seats: Vec<Seat>,
    reloads: reload::Requests,
}

/// A worker as the others see it.
struct Seat {
    waker: Waker,
    /// Its connections, those on the way to it included.
    live: AtomicUsize,
    inbox: Mutex<Vec<accept::Arrival>>,
    /// Something is in the inbox.
    mail: AtomicBool,
    counters: metrics::Counters,
}

impl Shared {
    fn metrics(&self) -> Metrics {
        Metrics::sum(self.seats.iter().map(|seat| &seat.counters))
    }

    fn stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// New lines run this program from now on.
    fn replace(&self, program: Program) {
        *self.program.lock().unwrap_or_else(PoisonError::into_inner) = program;
        self.generation.fetch_add(1, Ordering::Release);
        // What they hold of the old one goes at once.
        self.wake_all();
    }

    fn wake_all(&self) {
        self.seats.iter().for_each(|seat| seat.waker.wake_by_ref());
    }
}

/// A server that has its ports and does not serve yet.
pub struct Server {
    shared: Arc<Shared>,
    workers: Vec<worker::Worker>,
    addrs: Vec<SocketAddr>,
    http: Option<http::Http>,
}

/// Steers a server from any thread. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    shared: Arc<Shared>,
}

impl Server {
    /// Binds all addresses, or none.
    ///
    /// # Errors
    ///
    /// If an address can't be bound (the text names it), an argument or variable has a NUL
    /// in it, or the system has no poll to give.
    pub fn bind(mut config: Config) -> io::Result<Server> {
        config.limits = config.limits.countable();
        let mut listeners = std::mem::take(&mut config.listeners);
        for addr in &config.binds {
            listeners.push(Arc::new(listen(*addr)?));
        }
        let http = config.metrics.map(listen).transpose()?;
        let addrs = listeners.iter().map(|l| l.local_addr()).collect::<io::Result<Vec<_>>>()?;
        let mut schedulers = Vec::new();
        for _ in 0..config.workers.max(1) {
            schedulers.push(Scheduler::new()?);
        }
        let shared = Arc::new(Shared::new(config, &schedulers)?);
        let mut workers = Vec::new();
        for (index, scheduler) in schedulers.into_iter().enumerate() {
            workers.push(worker::Worker::new(shared.clone(), index, scheduler, &listeners)?);
        }
        let http = http.map(|listener| http::Http::new(listener, shared.clone())).transpose()?;
        Ok(Server { shared, workers, addrs, http })
    }

    /// Where it listens, in the order of the configuration: sockets it was given, then
    /// those it bound.
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addrs
    }

    /// Where it answers for its metrics.
    pub fn metrics_addr(&self) -> Option<SocketAddr> {
        self.http.as_ref().map(http::Http::local_addr)
    }

    /// To steer it with.
    pub fn handle(&self) -> Handle {
        Handle { shared: self.shared.clone() }
    }

    /// Serves until it is told to [shut down](Handle::shutdown) and all has ended.
    ///
    /// # Errors
    ///
    /// If a worker can't go on: no thread to be had, or its poll fails. The others are
    /// stopped then, too.
    pub fn run(self) -> io::Result<()> {
        let Server { shared, workers, http, .. } = self;
        let mut threads = Vec::new();
        let http_waker = match http {
            Some(http) => {
                let waker = http.waker();
                let thread = std::thread::Builder::new().name("metrics".into());
                threads.push(thread.spawn(move || http.run())?);
                Some(waker)
            }
            None => None,
        };
        if shared.config.reload.is_some() {
            let shared = shared.clone();
            let thread = std::thread::Builder::new().name("reload".into());
            threads.push(thread.spawn(move || reload::run(&shared))?);
        }
        let result = worker::run_all(workers, &shared);
        shared.reloads.stop();
        if let Some(waker) = http_waker {
            waker.stop();
        }
        for thread in threads {
            // These have nothing to answer; a panic of theirs was printed.
            let _ = thread.join();
        }
        result
    }
}

impl Handle {
    /// Stops accepting, drops idle connections, lets what runs end (at most
    /// [`DRAIN_MAX`]), and has [`Server::run`] return. Guests that serve a whole connection
    /// find their stdin at its end.
    pub fn shutdown(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.wake_all();
    }

    /// Loads the program anew, on a thread of its own: lines under way finish on the old
    /// one. One that does not load is logged, and the old one stays; so is that there is
    /// nothing to load it from.
    pub fn reload(&self) {
        if self.shared.config.reload.is_none() {
            let program = self.shared.config.name.as_str();
            ::log::warn!(target: log::TARGET, program = program; "program not reloaded: it came from no file");
        }
        self.shared.reloads.ask();
    }

    /// What was counted so far.
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

impl Shared {
    fn new(config: Config, schedulers: &[Scheduler]) -> io::Result<Shared> {
        let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
        let (mut args, mut env) = (Strings::default(), Strings::default());
        for arg in std::iter::once(&config.name).chain(&config.args) {
            args.push(&[arg.as_bytes()]).map_err(invalid)?;
        }
        for (key, value) in &config.env {
            env.push(&[key.as_bytes(), b"=", value.as_bytes()]).map_err(invalid)?;
        }
        let seat = |scheduler: &Scheduler| Seat {
            waker: scheduler.waker(),
            live: AtomicUsize::new(0),
            inbox: Mutex::default(),
            mail: AtomicBool::new(false),
            counters: metrics::Counters::default(),
        };
        Ok(Shared {
            args,
            env,
            admission: Arc::new(limits::Admission::new(&config.limits)),
            memory: Arc::new(MemoryBudget::new(config.limits.memory_total)),
            program: Mutex::new(config.program.clone()),
            generation: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
            seats: schedulers.iter().map(seat).collect(),
            reloads: reload::Requests::new(config.watch.as_deref()),
            config,
        })
    }
}
