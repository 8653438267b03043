//! Making guests: for a job, and ahead of one.

use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering::Acquire;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::admission::party;
use super::client::stdio::{Client, ClientErrors, ClientInput, ClientOutput, PendingLink};
use super::config::Unit;
use super::conn::session::Session;
use super::door::Local;
use super::observe::reporter::Reporter;
use super::shared::Shared;
use crate::guest::Guest;
use crate::pool::{Ahead, Pool};
use crate::program::Warmth;
use crate::vfs::charge::Ends;
use crate::vfs::{Namespace, Peer};
use crate::wasi::{Strings, WasiCtx};

/// How long a guest is run ahead before it is seen whether there is something else to do.
const AHEAD_TIME: Duration = Duration::from_micros(250);

/// The guests of a worker: makes them, and takes them back.
pub(super) struct Guests {
    shared: Arc<Shared>,
    reporter: Arc<Reporter>,
    pub pool: Pool,
    /// Those that wait for their input.
    pub ahead: Ahead<PendingLink>,
    /// Number of the program that they are of.
    generation: u64,
    /// The program replies to a line only when its input ends.
    replies_late: bool,
}

impl Guests {
    pub fn new(shared: Arc<Shared>, reporter: Arc<Reporter>, ahead: usize) -> Guests {
        Guests {
            pool: Pool::new(&shared.config.program),
            ahead: Ahead::new(ahead, shared.config.ahead_ttl),
            generation: 0,
            replies_late: false,
            shared,
            reporter,
        }
    }

    /// Makes the guest of a job, whose variables are `own`. Also returns whether it was started
    /// ahead. This is the one place where guests are made.
    pub fn make(&mut self, session: &mut Session, own: &Strings, last: bool) -> (Guest, bool) {
        self.update_program();
        let shared = &self.shared;
        let peer = session.link.peer();
        let base = &shared.env;
        let http = shared.config.unit == Unit::Http;
        // What a warm program knows of its environment it knows from its start. It finds its request
        // in a file that has this.
        let mut env = if self.is_warm() && !http {
            base.clone()
        } else {
            let wire = &session.link.wire;
            let env = session.env.get_or_insert_with(|| {
                environment(base, &session.local, peer, &wire.variables(), http)
            });
            // It is not needed after the last job of a connection, which may take long.
            if last { std::mem::take(env) } else { env.clone() }
        };
        env.append(own);
        let (mut guest, waited) = match self.ahead.take() {
            Some((mut guest, slot)) => {
                slot.get_or_init(|| session.link.clone());
                // What it has is what was prepared for it.
                let prepared = std::mem::replace(&mut guest.context_mut().env, env);
                guest.context_mut().env.append(&prepared);
                (guest, true)
            }
            None => {
                let client = Client::Known(session.link.clone());
                // One that serves a connection may have to wait for its first byte.
                let pool = &mut self.pool;
                let namespace = pool.namespace(&*shared.config.namespace);
                let cx = context(shared, &self.reporter, client, namespace, Some(peer), env);
                (if last { pool.spawn_asleep(cx) } else { pool.spawn(cx) }, false)
            }
        };
        guest.set_client(peer);
        let party_of_guest = &mut guest.context_mut().party;
        party_of_guest.client = Some(party(peer.ip()));
        party_of_guest.ends = Some(Ends { peer, local: session.local.inet() });
        if let Some(fuel) = shared.config.limits.fuel {
            guest.limit_fuel(fuel);
        }
        if let Some(cpu) = shared.config.limits.cpu {
            guest.limit_cpu(cpu);
        }
        (guest, waited)
    }

    /// Whether guests start from an image.
    pub fn is_warm(&self) -> bool {
        matches!(self.pool.program().warmth(), Some(Warmth::Warm(_)))
    }

    /// Whether the program is one that serves line after line, so that a guest has ended when it
    /// asks for a second one.
    pub fn expects_one_line(&self) -> bool {
        self.pool.program().warmth().is_some() && !self.replies_late
    }

    /// The program keeps its replies until its input ends. Says whether that is new.
    pub fn reply_late(&mut self) -> bool {
        !std::mem::replace(&mut self.replies_late, true)
    }

    /// Switches to the new program after a reload.
    pub fn update_program(&mut self) {
        let generation = self.shared.generation.load(Acquire);
        if generation != self.generation {
            let program = self.shared.program.lock().unwrap_or_else(PoisonError::into_inner);
            self.pool.replace_program(&program);
            self.generation = generation;
            self.replies_late = false;
            self.ahead.clear();
        }
    }

    /// Runs one guest for a slice towards its first read.
    ///
    /// # Errors
    ///
    /// The reason, if the program turns out not to be suited. This is reported once.
    pub fn run_ahead(&mut self, now: Instant) -> Result<(), String> {
        let shared = &self.shared;
        let reporter = &self.reporter;
        self.ahead.run(&mut self.pool, now, AHEAD_TIME, || {
            let slot = PendingLink::default();
            let client = Client::Awaited(slot.clone());
            let namespace = (shared.config.namespace)();
            (context(shared, reporter, client, namespace, None, Strings::default()), slot)
        })
    }

    /// Drops the guests started ahead whose time to live is over.
    pub fn expire_ahead(&mut self, now: Instant) {
        self.ahead.expire(&mut self.pool, now);
    }
}

fn context(
    shared: &Shared,
    reporter: &Arc<Reporter>,
    client: Client,
    namespace: Namespace,
    peer: Option<Peer>,
    env: Strings,
) -> WasiCtx {
    let config = &shared.config;
    let builder = WasiCtx::builder()
        .args(shared.args.clone())
        .envs(env)
        .namespace(namespace)
        .memory_max(config.limits.memory)
        .memory_budget(shared.memory.clone())
        .fds_max(config.limits.max_fds)
        .stdin(ClientInput(client.clone()))
        .stdout(ClientOutput(client.clone()))
        .stderr(ClientErrors::new(client, reporter.clone()));
    match &config.prepare {
        Some(prepare) => prepare(peer, builder).build(),
        None => builder.build(),
    }
}

/// The environment variables about a connection, with the names of the manual pages of tcpserver and
/// unixserver, and for a program of CGI with those of RFC 3875.
fn environment(
    base: &Strings,
    local: &Local,
    peer: Peer,
    others: &[(&'static str, String)],
    http: bool,
) -> Strings {
    let mut env = base.clone();
    let mut push = |key: &str, value: &[u8]| {
        env.push(&[key.as_bytes(), b"=", value]).expect("what is known of a connection has no NUL");
    };
    let ip = |addr: SocketAddr| addr.ip().to_canonical().to_string();
    match peer {
        Peer::Inet(peer) => {
            push("PROTO", b"TCP");
            push("TCPREMOTEIP", ip(peer).as_bytes());
            push("TCPREMOTEPORT", peer.port().to_string().as_bytes());
        }
        Peer::Unix(peer) => {
            push("PROTO", b"UNIX");
            if let Some(by) = peer.credentials {
                if let Some(pid) = by.pid {
                    push("UNIXREMOTEPID", pid.to_string().as_bytes());
                }
                push("UNIXREMOTEEUID", by.uid.to_string().as_bytes());
                push("UNIXREMOTEEGID", by.gid.to_string().as_bytes());
            }
        }
    }
    match local {
        Local::Inet(local) => {
            push("TCPLOCALIP", ip(*local).as_bytes());
            push("TCPLOCALPORT", local.port().to_string().as_bytes());
        }
        Local::Unix(path) => push("UNIXLOCALPATH", path.as_os_str().as_bytes()),
    }
    others.iter().for_each(|(key, value)| push(key, value.as_bytes()));
    if http {
        // RFC 3875 knows no client without an address. This is what nginx says of one.
        let (addr, port) = match peer {
            Peer::Inet(peer) => (ip(peer), peer.port().to_string()),
            Peer::Unix(_) => ("unix:".to_owned(), String::new()),
        };
        push("REMOTE_ADDR", addr.as_bytes());
        push("REMOTE_PORT", port.as_bytes());
        let port = local.inet().map_or(80, |local| local.port());
        push("SERVER_PORT", port.to_string().as_bytes());
    }
    env
}
