//! Making guests: for a line or a connection, and ahead of a line.

use std::net::SocketAddr;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::sync::{Arc, OnceLock, PoisonError};

use crate::pool::Ahead;
use crate::sched::SLICE_FUEL;
use crate::serve::client::link::Link;
use crate::serve::client::stdio::{Client, Errors, LineInput, Output, SocketInput};
use crate::serve::conn::Conn;
use crate::serve::observe::log::TARGET;
use crate::serve::observe::metrics::add;
use crate::serve::observe::reporter::Reporter;
use crate::serve::worker::{EXPIRY, Worker};
use crate::serve::{Shared, Unit};
use crate::wasi::Strings;
use crate::{Guest, WasiCtx};

/// Where a guest that runs ahead of its line finds its client, once it has one.
pub(super) type Later = Arc<OnceLock<Arc<Link>>>;

impl Worker {
    /// The one place where guests are made.
    pub(super) fn new_guest(&mut self, conn: &mut Conn) -> Guest {
        self.tidy.stirred = true;
        self.renew_program();
        let shared = self.shared.clone();
        let limits = &shared.config.limits;
        let peer = conn.link.peer;
        let env = conn.env.get_or_insert_with(|| environment(&shared.env, conn.local, peer));
        // Only lines may follow each other in a connection, each with the same environment.
        let env = match shared.config.unit {
            Unit::Line => env.clone(),
            Unit::Connection => std::mem::take(env),
        };
        let mut guest = match self.ahead.take() {
            Some((mut guest, later)) => {
                later.get_or_init(|| conn.link.clone());
                // What it has is what was prepared for it.
                let prepared = std::mem::replace(&mut guest.context_mut().env, env);
                guest.context_mut().env.append(&prepared);
                let counters = self.counters();
                counters.ahead.store(self.ahead.len() as u64, Relaxed);
                add(&counters.ahead_taken, 1);
                guest
            }
            None => {
                let client = Client::Here(conn.link.clone());
                self.pool.spawn(context(&shared, &self.reporter, client, Some(peer), env))
            }
        };
        if let Some(fuel) = limits.fuel {
            guest.limit_fuel(fuel);
        }
        guest
    }

    /// Takes over a new program, if there is one.
    pub(super) fn renew_program(&mut self) {
        let generation = self.shared.generation.load(Acquire);
        if generation != self.generation {
            let program = self.shared.program.lock().unwrap_or_else(PoisonError::into_inner);
            self.pool.renew(&program);
            self.generation = generation;
            self.ahead.clear();
        }
    }

    /// Guests to run ahead, as the configuration wants it.
    pub(super) fn ahead(config: &crate::serve::Config) -> Ahead<Later> {
        let count = if config.unit == Unit::Line { config.ahead } else { 0 };
        Ahead::new(count, config.ahead_ttl)
    }

    /// Whether there is one to be run ahead when there is nothing else to do.
    pub(super) fn wants_ahead(&self) -> bool {
        self.ahead.wants() && !self.draining
    }

    /// Goes on with one more guest, for a slice, up to where it waits for its line.
    pub(super) fn run_ahead(&mut self) {
        self.tidy.stirred = true;
        let (shared, reporter) = (&self.shared, &self.reporter);
        let tried = self.ahead.run(&mut self.pool, self.now, SLICE_FUEL, || {
            let later = Later::default();
            let client = Client::Later(later.clone());
            (context(shared, reporter, client, None, Strings::default()), later)
        });
        if let Err(why) = tried {
            let program = self.reporter.program.as_str();
            log::warn!(target: TARGET, program = program, why:% = why; "guests are not run ahead of their lines");
        }
        self.await_expiry();
    }

    /// The time to live of guests that were run ahead may be over.
    pub(super) fn expire_ahead(&mut self) {
        self.expiry_set = false;
        self.ahead.expire(&mut self.pool, self.now);
        self.await_expiry();
    }

    /// One alarm is enough: it looks for the next.
    fn await_expiry(&mut self) {
        if let Some(when) = self.ahead.next_expiry().filter(|_| !self.expiry_set) {
            self.expiry_set = true;
            self.sched.alarm(when, EXPIRY);
        }
    }
}

fn context(
    shared: &Shared,
    reporter: &Arc<Reporter>,
    client: Client,
    peer: Option<SocketAddr>,
    env: Strings,
) -> WasiCtx {
    let config = &shared.config;
    let builder = WasiCtx::builder()
        .args(shared.args.clone())
        .envs(env)
        .namespace((config.namespace)())
        .memory_max(config.limits.memory)
        .memory_budget(shared.memory.clone())
        .fds_max(config.limits.max_fds)
        .stdout(Output(client.clone()))
        .stderr(Errors::new(client.clone(), reporter.clone()));
    let builder = match config.unit {
        Unit::Line => builder.stdin(LineInput(client)),
        Unit::Connection => builder.stdin(SocketInput(client)),
    };
    match &config.prepare {
        Some(prepare) => prepare(peer, builder).build(),
        None => builder.build(),
    }
}

/// What a guest is told of its connection, as by tcpserver (its manual page's names).
fn environment(base: &Strings, local: SocketAddr, peer: SocketAddr) -> Strings {
    let mut env = base.clone();
    let mut push = |key: &str, value: &str| {
        env.push(&[key.as_bytes(), b"=", value.as_bytes()]).expect("an address has no NUL");
    };
    push("PROTO", "TCP");
    push("TCPREMOTEIP", &peer.ip().to_canonical().to_string());
    push("TCPREMOTEPORT", &peer.port().to_string());
    push("TCPLOCALIP", &local.ip().to_canonical().to_string());
    push("TCPLOCALPORT", &local.port().to_string());
    env
}
