//! A world: clients, connections, guests, and what a worker does for them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::Rng;
use super::client::{Client, Speaks};
use super::guest::Guest;
use super::model::{Model, Seen};
use super::packets::Packets;
use super::proxy::Announcement;
use super::wire::Cable;
use crate::serve::admission::Admission;
use crate::serve::client::link::{Dirty, Link};
use crate::serve::client::proxy::Proxied;
use crate::serve::client::stdio::{self, PendingLink};
use crate::serve::client::wire::{Stage, Wire};
use crate::serve::config::{DRAIN_MAX, Limits};
use crate::serve::conn::line::Lines;
use crate::serve::conn::protocol::{Job, Protocol, Stdin};
use crate::serve::conn::session::{
    ActionHost, Disposition, PollInterest, Session, TurnTime, advance,
};
use crate::serve::conn::stream::ByteStream;
use crate::serve::conn::table::Table;
use crate::serve::conn::{Conn, LINGER, Timeouts};
use crate::serve::door::Local;
use crate::serve::observe::metrics::{Outcome, Refusal};
use crate::vfs::Peer;

/// Connections at once.
const CONNS_MAX: usize = 6;

/// A client, and what is known of its connection.
struct Pair {
    client: Client,
    model: Model,
    link: Weak<Link>,
    /// Whose connection it is, once a proxy has said so.
    peer: Peer,
}

/// What a worker has besides its connections.
pub struct Hands {
    rng: Rng,
    now: Instant,
    scratch: Vec<u8>,
    ready: VecDeque<usize>,
    guests: BTreeMap<usize, Guest>,
    ahead: Vec<(Guest, PendingLink)>,
    version: u64,
    pairs: BTreeMap<usize, Pair>,
    echo: bool,
}

pub struct World {
    hands: Hands,
    sessions: Table,
    alarms: BinaryHeap<Reverse<(Instant, u64)>>,
    dirty: Arc<Dirty>,
    admission: Arc<Admission>,
    speaks: Speaks,
    lines: Lines,
    times: Timeouts,
    /// Steps until the server is about to end.
    retires_in: usize,
    retiring: bool,
    draining: bool,
    seen: Seen,
}

impl World {
    pub fn new(seed: u64) -> World {
        let mut rng = Rng(seed);
        let speaks = match rng.below(4) {
            0 => Speaks::Lines { keep_open: false },
            1 => Speaks::Bytes,
            2 => Speaks::Packets,
            _ => Speaks::Lines { keep_open: true },
        };
        let lines = Lines {
            max_line: [20, 1000, 70_000][rng.below(3)],
            max_reply: [30, 5_000, 1 << 20][rng.below(3)],
            keep_open: speaks != Speaks::Lines { keep_open: false },
            retiring: false,
        };
        let limits = Limits {
            max_conns: CONNS_MAX,
            max_conns_per_addr: 4,
            count_loopback: true,
            ..Limits::default()
        };
        let ms = |ms| Duration::from_millis(ms);
        let retires_in = rng.below(4000);
        World {
            times: Timeouts { timeout: ms(500), idle: ms([100, 800][rng.below(2)]) },
            hands: Hands {
                now: Instant::now(),
                scratch: vec![0; [1, 64, 4096][rng.below(3)]],
                ready: VecDeque::new(),
                guests: BTreeMap::new(),
                ahead: Vec::new(),
                version: 0,
                pairs: BTreeMap::new(),
                echo: speaks == Speaks::Bytes,
                rng,
            },
            sessions: Table::default(),
            alarms: BinaryHeap::new(),
            dirty: Arc::default(),
            admission: Arc::new(Admission::new(&limits)),
            speaks,
            lines,
            retires_in,
            retiring: false,
            draining: false,
            seen: Seen::default(),
        }
    }

    /// Something happens.
    pub fn step(&mut self) {
        self.retires_in = self.retires_in.saturating_sub(1);
        if self.retires_in == 0 && !self.retiring {
            self.retire();
        }
        let hands = &mut self.hands;
        match hands.rng.below(100) {
            0..10 => self.connect(),
            10..50 => {
                let number = hands.rng.below(hands.pairs.len());
                if let Some(pair) = hands.pairs.values_mut().nth(number) {
                    pair.client.step();
                }
            }
            50..60 => self.pass(20),
            60..62 => self.pass(400),
            62..63 => self.replace(),
            63..68 => self.run_ahead(),
            68..90 => self.turn(),
            _ => self.run_a_guest(),
        }
    }

    fn connect(&mut self) {
        let hands = &mut self.hands;
        let addr = Ipv4Addr::new(10, 0, 0, 1 + hands.rng.below(3) as u8);
        let Ok(mut ticket) = self.admission.ticket() else { return };
        let proxy = hands.rng.chance(10).then(|| Announcement::new(&mut hands.rng));
        if proxy.is_none() && ticket.count_for(addr.into()).is_err() {
            return;
        }
        assert!(self.sessions.len() < CONNS_MAX);
        let room = [1, 100, 20_000][hands.rng.below(3)];
        let cable = Cable::new(hands.rng.next(), hands.rng.chance(25), room);
        let addr = SocketAddr::from((addr, 1));
        let (peer, local) = (Peer::Inet(addr), Local::Inet(addr));
        let key = self.sessions.reserve();
        let wire: Box<dyn Wire> = match &proxy {
            Some(proxy) => Box::new(Proxied::new(cable.wire(), proxy.required)),
            None => cable.wire(),
        };
        let link = Link::new(wire, peer, key, self.dirty.clone());
        let protocol: Box<dyn Protocol> = match self.speaks {
            Speaks::Lines { .. } => Box::new(self.lines),
            Speaks::Bytes => Box::new(ByteStream),
            Speaks::Packets => Box::new(Packets { lines: self.lines, body: 0 }),
        };
        let conn = Conn::new(protocol, self.times, hands.now);
        let mut session = Box::new(Session::new(link, conn, local, hands.now, Some(ticket)));
        if proxy.is_some() {
            session.conn.opening(hands.now);
        }
        if self.retiring {
            session.conn.retire();
        }
        let header = proxy.as_ref().map_or(&[][..], |proxy| &proxy.header);
        let seed = hands.rng.next();
        let client = Client::new(cable, self.speaks, self.lines.max_line, header, seed);
        let mut model = Model::new(self.speaks, self.lines);
        model.retired = self.retiring;
        model.is_refused = proxy.as_ref().is_some_and(|proxy| proxy.is_broken);
        let peer = proxy.and_then(|proxy| proxy.peer).map_or(peer, Peer::Inet);
        let link = Arc::downgrade(&session.link);
        hands.pairs.insert(key, Pair { client, model, link, peer });
        hands.queue(&mut session);
        self.put(session);
    }

    fn put(&mut self, session: Box<Session>) {
        self.alarms.extend(self.sessions.put(session).map(Reverse));
    }

    fn pass(&mut self, ms: usize) {
        let hands = &mut self.hands;
        hands.now += Duration::from_millis(hands.rng.below(ms) as u64);
    }

    /// Another program takes the place of the one that runs.
    fn replace(&mut self) {
        self.hands.version += 1;
        self.hands.ahead.clear();
    }

    /// The server is about to end: its connections close after a reply.
    fn retire(&mut self) {
        self.retiring = true;
        for key in self.sessions.keys() {
            self.hands.pairs.get_mut(&key).expect("it is there").model.retired = true;
            self.visit(key, |session| session.conn.retire());
        }
    }

    /// A guest is run up to where it waits for its input.
    fn run_ahead(&mut self) {
        let hands = &mut self.hands;
        if self.speaks == Speaks::Bytes || hands.ahead.len() > 2 || self.draining {
            return;
        }
        let slot = PendingLink::default();
        let client = stdio::Client::Awaited(slot.clone());
        hands.ahead.push((Guest::new(client, hands.version, false, hands.rng.next()), slot));
    }

    /// What a worker does in a turn, but for guests.
    fn turn(&mut self) {
        let keys: Vec<usize> = self.hands.pairs.keys().copied().collect();
        for key in keys {
            let Some(pair) = self.hands.pairs.get_mut(&key) else { continue };
            if pair.client.cable.state().server_shut {
                pair.model.shut_at.get_or_insert(self.hands.now);
            }
            let event = pair.client.cable.event();
            if let Some(event) = event {
                let now = self.hands.now;
                self.visit(key, |session| session.on_event(event, now));
            }
        }
        while self.alarms.peek().is_some_and(|Reverse((when, _))| *when <= self.hands.now) {
            let Some(Reverse((_, slot))) = self.alarms.pop() else { break };
            if let Some(mut session) = self.sessions.on_alarm(slot, self.hands.now) {
                session.on_deadline(self.hands.now);
                self.attend(session, None);
            }
        }
        self.end_overdue();
        for _ in 0..self.hands.ready.len() {
            let Some(key) = self.hands.ready.pop_front() else { break };
            if let Some(mut session) = self.sessions.take(key) {
                session.queued = false;
                let until = self.hands.now + Duration::from_millis(self.hands.rng.below(3) as u64);
                self.attend(session, Some(TurnTime { now: self.hands.now, until }));
            }
        }
        let mut keys = Vec::new();
        self.dirty.swap(&mut keys);
        for key in keys {
            self.visit(key, |session| session.link.watch_output());
        }
        self.check();
    }

    /// The scheduler ends those whose time is up.
    fn end_overdue(&mut self) {
        let due = |guest: &Guest| guest.until.is_some_and(|until| until <= self.hands.now);
        let overdue = self.hands.guests.iter().filter(|(_, guest)| due(guest));
        for key in overdue.map(|(key, _)| *key).collect::<Vec<_>>() {
            self.guest_ended(key, Outcome::Timeout);
        }
    }

    fn run_a_guest(&mut self) {
        let hands = &mut self.hands;
        let now = hands.now;
        let runnable = hands.guests.iter().filter(|(_, guest)| guest.is_runnable(now));
        let keys: Vec<usize> = runnable.map(|(key, _)| *key).collect();
        let Some(key) = keys.get(hands.rng.below(keys.len())) else { return };
        let end = hands.guests.get_mut(key).and_then(|guest| guest.slice(now));
        if let Some(end) = end {
            self.guest_ended(*key, end);
        }
    }

    fn guest_ended(&mut self, key: usize, end: Outcome) {
        let Some(mut session) = self.sessions.take(key) else { panic!("a guest of no connection") };
        let guest = self.hands.guests.remove(&key).expect("it has ended");
        self.hands.job_ended(&mut session, guest, end);
        self.attend(session, None);
    }

    fn visit(&mut self, key: usize, act: impl FnOnce(&mut Session)) {
        if let Some(mut session) = self.sessions.take(key) {
            act(&mut session);
            self.attend(session, None);
        }
    }

    fn attend(&mut self, mut session: Box<Session>, own: Option<TurnTime>) {
        match advance(&mut self.hands, &mut session, own) {
            Disposition::Open => self.put(session),
            Disposition::Closed => self.close(session),
        }
    }

    fn close(&mut self, mut session: Box<Session>) {
        let key = session.key;
        if self.hands.guests.contains_key(&key) {
            self.hands.cancel(&mut session, Outcome::Stopped, "");
        }
        self.sessions.release(key);
        drop(session);
        let mut pair = self.hands.pairs.remove(&key).expect("it was there");
        assert!(pair.link.upgrade().is_none(), "a link is left behind");
        while !pair.client.reset && !pair.client.cable.is_over() {
            pair.client.read();
        }
        pair.client.saw_end = true;
        let long = LINGER - Duration::from_secs(1);
        pair.model.lingered = pair.model.shut_at.is_some_and(|at| self.hands.now - at >= long);
        pair.model.check(&pair.client, &mut self.seen);
    }

    /// What must hold when all that is to be done was done.
    fn check(&mut self) {
        let queued = |key: &usize| self.hands.ready.contains(key);
        for (key, pair) in &self.hands.pairs {
            let Some(link) = pair.link.upgrade() else { continue };
            let unsent = link.io().unsent();
            let works = self.hands.guests.contains_key(key);
            let told = self.speaks == Speaks::Bytes;
            assert!(!works || told || !link.io().gone, "a guest works for a client that is gone");
            let cable = pair.client.cable.state();
            let full = cable.to_client.len() >= cable.room;
            assert!(unsent < 1 << 20, "{unsent} bytes wait to be sent");
            if queued(key) || cable.reset {
                continue;
            }
            assert!(unsent == 0 || full, "{unsent} bytes lie unsent, and there is room");
            let idle = !works && unsent == 0;
            let unread = cable.to_server.len();
            assert!(!idle || unread == 0, "{unread} bytes lie unread, and nothing is done");
        }
        for (key, guest) in &mut self.hands.guests {
            assert!(!guest.has_lost_a_wake(), "the guest of {key:x} waits and could go on");
        }
    }

    /// The end of the world: clients fall silent, or the server is drained. All ends in time.
    pub fn finish(mut self, seen: &mut Seen) {
        let drains = self.hands.rng.chance(50);
        let begun = self.hands.now;
        let longest = match drains {
            true => DRAIN_MAX,
            // For a request, its reply, to fetch that, and to part.
            false => (self.times.timeout + self.times.idle) * 3 + LINGER,
        };
        if drains {
            self.draining = true;
            self.hands.ahead.clear();
            for key in self.sessions.keys() {
                if let Some(pair) = self.hands.pairs.get_mut(&key) {
                    pair.model.drained = true;
                }
                self.visit(key, Session::drain);
            }
        }
        while self.sessions.len() > 0 && self.hands.now < begun + longest {
            self.turn();
            (0..self.hands.guests.len() * 2).for_each(|_| self.run_a_guest());
            if drains {
                self.hands.pairs.values_mut().for_each(|pair| pair.client.step());
            }
            self.pass(20);
        }
        if drains {
            for key in self.sessions.keys() {
                self.seen.abandoned += 1;
                let session = self.sessions.take(key).expect("its key is there");
                self.hands.pairs.get_mut(&key).expect("and its client").model.gave_up = true;
                self.close(session);
            }
        }
        assert_eq!(self.sessions.len(), 0, "silent connections are closed in time");
        assert!(self.hands.guests.is_empty(), "guests are left behind");
        assert!(self.admission.is_empty(), "places are left taken");
        seen.add(&self.seen);
    }
}

impl Hands {
    fn model(&mut self, session: &Session) -> &mut Model {
        &mut self.pairs.get_mut(&session.key).expect("it is there").model
    }

    fn job_ended(&mut self, session: &mut Session, guest: Guest, end: Outcome) {
        let outcome = session.link.io().outcome(end);
        self.model(session).ended(&guest, outcome);
        drop(guest);
        session.ended(outcome, self.now);
    }
}

impl ActionHost for Hands {
    fn now(&self) -> Instant {
        self.now
    }

    fn scratch(&mut self) -> &mut [u8] {
        &mut self.scratch
    }

    fn start(&mut self, session: &mut Session, job: Job, now: Instant) -> Instant {
        assert!(!self.guests.contains_key(&session.key), "one guest at a time");
        let mut guest = match self.ahead.pop() {
            Some((guest, slot)) => {
                slot.get_or_init(|| session.link.clone());
                guest
            }
            None => {
                let client = stdio::Client::Known(session.link.clone());
                Guest::new(client, self.version, self.echo, self.rng.next())
            }
        };
        assert_eq!(guest.version, self.version, "a job is run by the program that is there");
        guest.until = session.conn.job_until(&job, now);
        let fed = job.stdin == Stdin::Fed;
        assert_eq!(fed, job.env.count == 1, "a job brings its variables");
        assert_eq!(session.link.peer(), self.pairs[&session.key].peer);
        self.model(session).began();
        let end = if job.stdin == Stdin::Wire { None } else { guest.slice(self.now) };
        if let Some(end) = end {
            self.job_ended(session, guest, end);
        } else {
            self.guests.insert(session.key, guest);
            session.link.watch_output();
        }
        now + Duration::from_micros(self.rng.below(1000) as u64)
    }

    fn cancel(&mut self, session: &mut Session, outcome: Outcome, _why: &str) {
        if let Some(guest) = self.guests.remove(&session.key) {
            self.model(session).ended(&guest, outcome);
            drop(guest);
            session.ended(outcome, self.now);
        }
    }

    fn report_refused(&mut self, session: &Session, outcome: Outcome) {
        self.model(session).refused = Some(outcome);
    }

    fn report_opened(&mut self, session: &Session, _stage: Stage, result: &io::Result<()>) {
        let model = self.model(session);
        assert!(result.is_err() || !model.is_refused, "a broken header was taken");
        model.gave_up |= result.is_err();
    }

    fn report_not_admitted(&mut self, session: &Session, _refusal: Refusal) {
        self.model(session).gave_up = true;
    }

    fn report_idle(&mut self, session: &Session, _why: &str) {
        self.model(session).gave_up = true;
    }

    fn queue(&mut self, session: &mut Session) {
        if !std::mem::replace(&mut session.queued, true) {
            self.ready.push_back(session.key);
        }
    }

    fn watch(&mut self, session: &mut Session, wanted: PollInterest) -> io::Result<()> {
        session.watched = wanted;
        self.pairs[&session.key].client.cable.watch(wanted);
        Ok(())
    }
}
