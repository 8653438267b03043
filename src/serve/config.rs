//! The configuration of a server.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::bind::Bind;
use super::door::proxy::ProxyProtocol;
#[cfg(feature = "tls")]
use super::door::tls::Identity;
#[cfg(feature = "nats")]
use super::from::nats::NatsConfig;
use crate::guest::Guest;
use crate::program::Program;
use crate::vfs::{Namespace, Peer};
use crate::wasi::CtxBuilder;

/// How long guests may run after a server has stopped accepting.
pub const DRAIN_MAX: Duration = Duration::from_secs(5);

/// What one guest serves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// A new guest for each line. The line is its standard input, and its standard output is the
    /// reply. A guest whose client resets the connection is ended at once.
    #[default]
    Line,
    /// A new guest for each connection, which is its standard input and output. Once the client is
    /// gone, reads are at end of file, writes fail with EPIPE, and the guest has
    /// [`Limits::timeout`] to exit.
    Connection,
    /// A new guest for each request of HTTP/1.1, as a program of CGI (RFC 3875): the request is in its
    /// environment, the body its standard input, and it writes header lines, an empty line, and the
    /// body of the reply. A guest whose client resets the connection is ended at once.
    Http,
    /// A new guest for each request of SCGI, as a program of CGI: a server in front has read the request
    /// of HTTP. What the guest writes goes back as it is.
    Scgi,
}

/// Makes the namespace of each guest.
pub type MakeNamespace = Arc<dyn Fn() -> Namespace + Send + Sync>;

/// Loads the program again. The error is the reason why it can't be run, for the log.
pub type Load = Arc<dyn Fn() -> Result<Program, String> + Send + Sync>;

/// Loads a certificate again. The error is the reason why it can't be used, for the log.
#[cfg(feature = "tls")]
pub type LoadIdentity = Arc<dyn Fn() -> Result<Identity, String> + Send + Sync>;

/// Changes the context of each guest before the guest is made: its trace, clocks, random bytes.
/// A guest that is started ahead of its line has no client yet.
pub type Prepare = Arc<dyn Fn(Option<Peer>, CtxBuilder) -> CtxBuilder + Send + Sync>;

/// Called with each guest that trapped or that the host ended: the reason, the time it ran, and
/// the guest.
pub type PostMortem = Arc<dyn Fn(&str, Duration, &Guest) + Send + Sync>;

/// The configuration of a server.
#[derive(Clone)]
pub struct ServeConfig {
    /// The program to run.
    pub program: Program,
    /// The program's name: the guest's `argv[0]`, and the name in logs.
    pub name: String,
    /// Arguments after the name.
    pub args: Vec<String>,
    /// Environment variables. The server adds `PROTO`, `TCPREMOTEIP`, `TCPREMOTEPORT`,
    /// `TCPLOCALIP` and `TCPLOCALPORT`, as tcpserver does; for a client of a Unix socket `PROTO`,
    /// `UNIXLOCALPATH`, `UNIXREMOTEPID`, `UNIXREMOTEEUID` and `UNIXREMOTEEGID`, as unixserver does.
    pub env: Vec<(String, String)>,
    /// Makes the files that a guest sees.
    pub namespace: MakeNamespace,
    /// Where to listen.
    pub binds: Vec<Bind>,
    /// The proxies that say whose connections they pass on. All that is known of a client, and all
    /// limits, are then of that one. It holds for all of `binds`, and not for `metrics`.
    pub proxy_protocol: Option<ProxyProtocol>,
    /// How long the server goes on to accept after [`shutdown`](crate::serve::Handle::shutdown),
    /// with `/healthz` at 503, so that balancers find out before they are refused. Connections that
    /// are kept open close after a reply meanwhile.
    pub drain: Duration,
    /// A NATS server whose messages are served besides, a new guest for each: the message and a newline
    /// are its standard input, and its standard output is the reply.
    #[cfg(feature = "nats")]
    pub from: Option<NatsConfig>,
    /// What one guest serves.
    pub unit: Unit,
    /// With [`Unit::Line`]: answer line after line until the client closes the connection. If not
    /// set, the connection is closed after the first reply.
    pub keep_open: bool,
    /// With [`Unit::Line`]: the number of guests that each worker starts ahead of their lines, up to
    /// their first read, if the program is [suited](crate::Ahead).
    pub ahead: usize,
    /// How long a guest started ahead may wait before it is replaced.
    pub ahead_ttl: Duration,
    /// The number of worker threads. 0 is taken as 1.
    pub workers: usize,
    /// Limits on clients and guests.
    pub limits: Limits,
    /// Loads the program again, for [`Handle::reload`](crate::serve::Handle::reload) and `watch`.
    pub reload: Option<Load>,
    /// The certificate with which connections are served by TLS. The server adds `SSL_PROTOCOL` to the
    /// variables of a guest, and `SSL_CLIENT_S_DN`, the subject of its client's certificate, if
    /// that has one.
    #[cfg(feature = "tls")]
    pub tls: Option<Identity>,
    /// Loads the certificate again, for [`Handle::reload`](crate::serve::Handle::reload).
    #[cfg(feature = "tls")]
    pub reload_tls: Option<LoadIdentity>,
    /// A file. When it changes, the program is reloaded.
    pub watch: Option<PathBuf>,
    /// Where to serve `GET /metrics` and `GET /healthz`.
    pub metrics: Option<Bind>,
    /// How long a worker may be busy with one turn before `/healthz` reports it as stuck. A worker
    /// that is well turns at least every second.
    pub stuck_after: Duration,
    /// Changes each guest's context.
    pub prepare: Option<Prepare>,
    /// Called with each guest that trapped or that the host ended.
    pub post_mortem: Option<PostMortem>,
}

impl ServeConfig {
    /// A configuration with one worker, the default limits, and no address to listen at.
    pub fn new(program: Program, name: impl Into<String>) -> ServeConfig {
        let namespace = Namespace::default();
        ServeConfig {
            program,
            name: name.into(),
            args: Vec::new(),
            env: Vec::new(),
            namespace: Arc::new(move || namespace.clone()),
            binds: Vec::new(),
            proxy_protocol: None,
            drain: Duration::ZERO,
            #[cfg(feature = "nats")]
            from: None,
            unit: Unit::default(),
            keep_open: false,
            ahead: 0,
            ahead_ttl: Duration::from_secs(30),
            workers: 1,
            limits: Limits::default(),
            reload: None,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            reload_tls: None,
            watch: None,
            metrics: None,
            stuck_after: Duration::from_secs(10),
            prepare: None,
            post_mortem: None,
        }
    }
}

impl fmt::Debug for ServeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Limits on the clients and guests of a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Open connections.
    pub max_conns: usize,
    /// Open connections from one IPv4 address, or from one IPv6 /64, which a single client commonly
    /// has to itself.
    pub max_conns_per_addr: usize,
    /// Whether that limit holds for clients of this machine, too. They all have the loopback
    /// address, or none (those of Unix sockets), so it would be one for all of them together.
    pub count_loopback: bool,
    /// Bytes of a line without its newline.
    pub max_line: usize,
    /// With [`Unit::Http`] and [`Unit::Scgi`]: bytes of the head of a request.
    pub max_head: usize,
    /// With [`Unit::Http`] and [`Unit::Scgi`]: bytes of the body of a request.
    pub max_body: usize,
    /// Bytes of the reply to a line or a request. The output of a guest that serves a whole connection is not
    /// limited.
    pub max_reply: usize,
    /// Wall time from the first byte of a line until its guest ends. If the line was sent ahead,
    /// the time begins at the end of the line before. It also limits how long a client may take to
    /// read the end of a reply. A guest that serves a whole connection has this time to end once
    /// its client is gone.
    pub timeout: Duration,
    /// Time between two lines. For a guest that serves a whole connection, time without a byte in
    /// either direction.
    pub idle: Duration,
    /// Bytes of memory of a guest.
    pub memory: usize,
    /// Bytes of memory of all guests together. The first 4 MiB of each are not counted.
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
            count_loopback: false,
            max_line: 64 << 10,
            max_head: 16 << 10,
            max_body: 8 << 20,
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
    /// Cuts times to a century, which any clock can count.
    pub(super) fn countable(self) -> Limits {
        Limits { timeout: self.timeout.min(CENTURY), idle: self.idle.min(CENTURY), ..self }
    }
}

const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
