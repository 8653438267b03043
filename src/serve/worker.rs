//! A worker: one thread, one scheduler, its connections.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use mio::Token;

use crate::pool::{Ahead, Pool};
use crate::sched::{GuestId, Happened, Scheduler};
use crate::serve::Shared;
use crate::serve::client::link::Dirty;
use crate::serve::conn::table::{Conns, LISTENER};
use crate::serve::conn::{Conn, Fate, Phase};
use crate::serve::door::tcp::Listeners;
use crate::serve::guests::Later;
use crate::serve::observe::metrics::Counters;
use crate::serve::observe::reporter::Reporter;
use crate::serve::tidy::Tidy;

/// Alarms that are not a connection's.
pub(super) const ACCEPT_AGAIN: u64 = u64::MAX;
pub(super) const DRAINED: u64 = u64::MAX - 1;
const GAUGES: u64 = u64::MAX - 2;
pub(super) const TIDY: u64 = u64::MAX - 3;
pub(super) const EXPIRY: u64 = u64::MAX - 4;

/// How often the memory of live guests is added up, if anybody may ask.
const GAUGES_EVERY: Duration = Duration::from_secs(1);

/// How long connections with lines waiting are gone on with in one turn, and how long if more
/// clients wait to be accepted.
const LINES_PER_TURN: Duration = Duration::from_millis(10);
const LINES_AMONG_ACCEPTS: Duration = Duration::from_millis(2);

/// How long one of them is gone on with before it is the next one's turn.
const TURN_OF_ONE: Duration = Duration::from_millis(1);

const SCRATCH: usize = 64 << 10;

/// See the [module](self).
pub(super) struct Worker {
    pub shared: Arc<Shared>,
    pub index: usize,
    pub sched: Scheduler,
    pub listeners: Listeners,
    pub conns: Conns,
    /// Whose guest each is.
    pub guests: HashMap<GuestId, usize>,
    /// Connections to be gone on with.
    pub ready: VecDeque<usize>,
    pub dirty: Arc<Dirty>,
    pub dirty_keys: Vec<usize>,
    pub scratch: Box<[u8]>,
    /// Where guests come from, and go to.
    pub pool: Pool,
    /// Those that wait for their lines.
    pub ahead: Ahead<Later>,
    /// An alarm is set for those.
    pub expiry_set: bool,
    /// Number of the program that pool and guests are of.
    pub generation: u64,
    pub tidy: Tidy,
    pub reporter: Arc<Reporter>,
    /// When this turn began.
    pub now: Instant,
    pub draining: bool,
    /// The patience with those that still run is over.
    pub over: bool,
}

/// Runs all workers, one of them on this thread, until they have ended.
pub(super) fn run_all(mut workers: Vec<Worker>, shared: &Arc<Shared>) -> io::Result<()> {
    let first = workers.remove(0);
    let mut threads = Vec::new();
    let mut result = Ok(());
    let handle = crate::serve::Handle { shared: shared.clone() };
    for worker in workers {
        let name = format!("worker {}", worker.index);
        match std::thread::Builder::new().name(name).spawn(move || worker.run()) {
            Ok(thread) => threads.push(thread),
            Err(error) => {
                handle.shutdown();
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

impl Worker {
    pub fn new(
        shared: Arc<Shared>,
        index: usize,
        sched: Scheduler,
        listeners: &[Arc<TcpListener>],
    ) -> io::Result<Worker> {
        Ok(Worker {
            listeners: Listeners::new(listeners, sched.registry())?,
            reporter: Arc::new(Reporter::new(&shared.config.name)),
            pool: Pool::new(&shared.config.program),
            ahead: Worker::ahead(&shared.config),
            expiry_set: false,
            tidy: Tidy::default(),
            shared,
            index,
            sched,
            conns: Conns::default(),
            guests: HashMap::new(),
            ready: VecDeque::new(),
            dirty: Arc::default(),
            dirty_keys: Vec::new(),
            scratch: vec![0; SCRATCH].into_boxed_slice(),
            generation: 0,
            now: Instant::now(),
            draining: false,
            over: false,
        })
    }

    pub fn counters(&self) -> &Counters {
        &self.shared.seats[self.index].counters
    }

    /// The loop of the thread. However it ends, the others end with it.
    fn run(mut self) -> io::Result<()> {
        if self.shared.config.metrics.is_some() {
            self.sched.alarm(self.now + GAUGES_EVERY, GAUGES);
        }
        let mut happened = Vec::new();
        let result = loop {
            if let Err(error) = self.turn(&mut happened) {
                break Err(error);
            }
            if self.over || self.draining && self.conns.len() == 0 {
                break Ok(());
            }
        };
        if result.is_err() {
            crate::serve::Handle { shared: self.shared.clone() }.shutdown();
        }
        self.abandon();
        // Draining by now, it only lets go of what another has left for it.
        self.draining = true;
        self.take_mail();
        result
    }

    fn turn(&mut self, happened: &mut Vec<Happened>) -> io::Result<()> {
        let busy = !self.ready.is_empty() || self.listeners.pending();
        let at_once = busy || self.wants_ahead() || self.tidy.owes();
        self.sched.turn(at_once.then_some(Duration::ZERO), happened)?;
        self.now = Instant::now();
        let quiet = happened.is_empty() && !busy;
        self.renew_program();
        if self.shared.stopping() && !self.draining {
            self.drain();
        }
        happened.drain(..).for_each(|event| self.handle(event));
        self.accept();
        self.take_mail();
        self.go_on();
        // Last, for what guests wrote in this turn goes out in one piece.
        self.tend_dirty();
        if quiet && self.wants_ahead() {
            self.run_ahead();
        }
        self.free_some();
        self.watch_height();
        self.tell();
        Ok(())
    }

    /// Brings the gauges up to date.
    fn tell(&self) {
        let (counters, sched, ahead) = (self.counters(), &self.sched, self.ahead.len());
        counters.open.store(self.conns.len() as u64, Relaxed);
        counters.guests.store((sched.len() + ahead) as u64, Relaxed);
        counters.parked.store((sched.parked() + ahead) as u64, Relaxed);
        counters.ahead.store(ahead as u64, Relaxed);
    }

    fn handle(&mut self, event: Happened) {
        match event {
            Happened::Io { token: Token(token), .. } if token >= LISTENER => {
                self.listeners.ready(token);
            }
            Happened::Io { token: Token(key), readable, writable, read_closed, hangup } => {
                self.visit(key, |worker, conn| {
                    // With our own direction shut, the client's orderly end looks like a
                    // hangup, and there may be something to be read before it.
                    if hangup && !conn.shut {
                        return worker.hung_up(conn);
                    }
                    worker.moved(conn, readable, writable, read_closed)
                });
            }
            Happened::Ended(id, end, guest) => {
                let Some(key) = self.guests.remove(&id) else { return };
                self.visit(key, |worker, conn| {
                    conn.guest = None;
                    worker.ended(conn, end, *guest);
                    worker.pump(conn)
                });
            }
            Happened::Time(ACCEPT_AGAIN) => self.listeners.resume(),
            Happened::Time(DRAINED) => self.over = true,
            Happened::Time(GAUGES) => self.weigh(),
            Happened::Time(TIDY) => self.tidy_up(),
            Happened::Time(EXPIRY) => self.expire_ahead(),
            Happened::Time(slot) => {
                if let Some(conn) = self.conns.rang(slot, self.now) {
                    self.attend(conn, Self::rang);
                }
            }
        }
    }

    /// Looks after a connection, if it is still there.
    pub fn visit(&mut self, key: usize, act: impl FnOnce(&mut Worker, &mut Conn) -> Fate) {
        if let Some(conn) = self.conns.take(key) {
            self.attend(conn, act);
        }
    }

    fn attend(&mut self, mut conn: Box<Conn>, act: impl FnOnce(&mut Worker, &mut Conn) -> Fate) {
        match act(self, &mut conn) {
            Fate::Keep => self.conns.put(conn),
            Fate::Close => self.close(conn),
        }
    }

    fn close(&mut self, mut conn: Box<Conn>) {
        self.tidy.stirred = true;
        // Nobody is told of its end: whoever decided to close has counted it.
        if let Some(id) = conn.guest.take() {
            self.guests.remove(&id);
            self.sched.cancel(id).into_iter().for_each(|guest| self.let_go(*guest));
        }
        self.conns.release(conn.key);
        self.shared.seats[self.index].live.fetch_sub(1, Relaxed);
    }

    /// Has a connection looked at when its time has come.
    pub fn look_in(&mut self, conn: &mut Conn, when: Instant) {
        conn.deadline = Some(when);
        if let Some((when, key)) = self.conns.alarm(conn) {
            self.sched.alarm(when, key);
        }
    }

    /// Goes on with connections that have lines waiting, for a while: in the order in which
    /// they came to have them.
    fn go_on(&mut self) {
        let mut now = Instant::now();
        let for_long = if self.listeners.pending() { LINES_AMONG_ACCEPTS } else { LINES_PER_TURN };
        let until = now + for_long;
        for _ in 0..self.ready.len() {
            let Some(key) = self.ready.pop_front() else { break };
            let its = until.min(now + TURN_OF_ONE);
            self.visit(key, |worker, conn| {
                conn.queued = false;
                if conn.phase == Phase::Fresh {
                    worker.begin(conn, now, its)
                } else {
                    worker.serve(conn, now, its)
                }
            });
            now = Instant::now();
            if now >= until {
                break;
            }
        }
    }

    /// Looks after the connections whose guests wrote something in the scheduler's turn.
    fn tend_dirty(&mut self) {
        let mut keys = std::mem::take(&mut self.dirty_keys);
        self.dirty.swap(&mut keys);
        for key in keys.drain(..) {
            self.visit(key, |worker, conn| {
                conn.link.note_from_now();
                worker.pump(conn)
            });
        }
        self.dirty_keys = keys;
    }

    /// Adds up the memory of live guests.
    fn weigh(&mut self) {
        let guests = self.guests.keys().filter_map(|id| self.sched.guest(*id));
        let guests = guests.chain(self.ahead.guests());
        let memory: usize = guests.map(|guest| guest.context().limits.used).sum();
        self.counters().memory.store(memory as u64, Relaxed);
        self.sched.alarm(self.now + GAUGES_EVERY, GAUGES);
    }

    /// Sets a guest of the scheduler to a connection.
    pub fn employ(&mut self, conn: &mut Conn, id: GuestId) {
        conn.guest = Some(id);
        self.guests.insert(id, conn.key);
    }
}
