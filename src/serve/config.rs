//! What a server is to do.

use std::fmt;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::guest::Guest;
use crate::program::Program;
use crate::vfs::Namespace;
use crate::wasi::Builder;

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
    /// How long a worker may do nothing before `/healthz` says that it is stuck. Each turns at
    /// least every second.
    pub stuck_after: Duration,
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
            unit: Unit::default(),
            keep_open: false,
            ahead: 0,
            ahead_ttl: Duration::from_secs(30),
            workers: 1,
            limits: Limits::default(),
            reload: None,
            watch: None,
            metrics: None,
            stuck_after: Duration::from_secs(10),
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

/// What clients and guests may use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Connections at once.
    pub max_conns: usize,
    /// Connections at once from one address (of IPv6, from one /64, which is what a single
    /// client has at its disposal).
    pub max_conns_per_addr: usize,
    /// Bytes of a line, its newline not counted.
    pub max_line: usize,
    /// Bytes of the reply to a line. A guest that serves a whole connection may write any
    /// number.
    pub max_reply: usize,
    /// Wall time of a line, from its first byte (or from the end of the one before, if it
    /// was sent ahead) to its guest's end, wherever that time goes; also how long a client
    /// may take to fetch the last of a reply. For a guest that serves a whole connection,
    /// the time it has to end once its client is gone.
    pub timeout: Duration,
    /// Time between two lines; for a guest that serves a whole connection, time in which
    /// no byte moved either way.
    pub idle: Duration,
    /// Bytes of memory of a guest.
    pub memory: usize,
    /// Bytes of memory of all guests together, beyond 4 MiB of each.
    pub memory_total: usize,
    /// Fuel of a guest, as [`Guest::limit_fuel`](crate::Guest::limit_fuel) counts it.
    pub fuel: Option<u64>,
    /// CPU time of a guest, as [`Guest::limit_cpu`](crate::Guest::limit_cpu) counts it.
    pub cpu: Option<Duration>,
    /// Descriptors of a guest.
    pub max_fds: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_conns: 1024,
            max_conns_per_addr: 64,
            max_line: 64 << 10,
            max_reply: 8 << 20,
            timeout: Duration::from_secs(5),
            idle: Duration::from_secs(60),
            memory: 64 << 20,
            memory_total: 2 << 30,
            fuel: None,
            cpu: None,
            max_fds: 64,
        }
    }
}

impl Limits {
    /// The same, with times that any clock can count: the longest is a century.
    pub(super) fn countable(self) -> Limits {
        Limits { timeout: self.timeout.min(CENTURY), idle: self.idle.min(CENTURY), ..self }
    }
}

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
