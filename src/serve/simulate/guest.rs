//! Simulated guests, on the standard streams of real ones.

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

use super::Rng;
use crate::serve::client::io::OUTPUT_MAX;
use crate::serve::client::stdio::{Client, ClientInput, ClientOutput};
use crate::serve::observe::metrics::Outcome;
use crate::vfs::{Errno, File, Interest};

/// What a guest does in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plan {
    /// Reads all, then writes a reply.
    Answer,
    /// Reads a part, then writes a reply.
    AnswerEarly,
    /// Writes what it reads, as it comes.
    Echo,
    /// Reads all, and never ends.
    Stay,
}

/// Notes that a waiting guest is to go on.
#[derive(Default)]
pub struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What it waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    ForNothing,
    ToRead,
    ToWrite,
    Until(Instant),
}

pub struct Guest {
    rng: Rng,
    input: ClientInput,
    output: Option<ClientOutput>,
    plan: Plan,
    /// Steps until it ends by itself, in some way.
    dies_in: Option<usize>,
    waits: Waits,
    flag: Arc<Flag>,
    /// The program it is of.
    pub version: u64,
    pub until: Option<Instant>,
    pub read: Vec<u8>,
    /// It has read to the end of its input.
    pub whole: bool,
    pub written: Vec<u8>,
    reply: Option<Vec<u8>>,
    at: usize,
    /// Its client was gone when it wrote.
    pub broken_pipe: bool,
}

impl Guest {
    pub fn new(client: Client, version: u64, echo: bool, seed: u64) -> Guest {
        let mut rng = Rng(seed);
        let plan = match rng.below(20) {
            0..3 => Plan::AnswerEarly,
            3..5 => Plan::Stay,
            _ if echo => Plan::Echo,
            _ => Plan::Answer,
        };
        Guest {
            input: ClientInput(client.clone()),
            output: Some(ClientOutput(client)),
            plan,
            dies_in: rng.chance(10).then(|| rng.below(12)),
            waits: Waits::ForNothing,
            flag: Arc::default(),
            version,
            until: None,
            read: Vec::new(),
            whole: false,
            written: Vec::new(),
            reply: None,
            at: 0,
            broken_pipe: false,
            rng,
        }
    }

    /// Whether it can be run now.
    pub fn is_runnable(&self, now: Instant) -> bool {
        match self.waits {
            Waits::ForNothing => true,
            Waits::ToRead | Waits::ToWrite => self.flag.0.load(Ordering::Relaxed),
            Waits::Until(when) => when <= now,
        }
    }

    /// Whether it waits though it could go on, and no wake is on its way. One that waits to write
    /// is woken when half of the room is free.
    pub fn has_lost_a_wake(&mut self) -> bool {
        let woken = self.flag.0.load(Ordering::Relaxed);
        let ready = match self.waits {
            Waits::ToRead => self.input.ready(Interest { read: true, write: false }).is_ok(),
            Waits::ToWrite => {
                let output = self.output.as_mut().expect("it writes");
                let ready = output.ready(Interest { read: false, write: true });
                ready.is_ok_and(|ready| ready.nbytes >= OUTPUT_MAX as u64 / 2 || ready.hangup)
            }
            _ => false,
        };
        ready && !woken
    }

    /// Runs it for a slice: its end, if it came.
    pub fn slice(&mut self, now: Instant) -> Option<Outcome> {
        self.flag.0.store(false, Ordering::Relaxed);
        self.waits = Waits::ForNothing;
        for _ in 0..1 + self.rng.below(8) {
            let end = self.step(now);
            if end.is_some() || self.waits != Waits::ForNothing {
                return end;
            }
        }
        None
    }

    fn step(&mut self, now: Instant) -> Option<Outcome> {
        match &mut self.dies_in {
            Some(0) => {
                return Some(if self.rng.chance(50) { Outcome::Trap } else { Outcome::Exit });
            }
            Some(left) => *left -= 1,
            None => {}
        }
        if self.rng.chance(3) {
            let ms = self.rng.mixed(5, 5_000, 50);
            self.waits = Waits::Until(now + Duration::from_millis(ms as u64));
            return None;
        }
        if self.at < self.reply.as_ref().map_or(0, Vec::len) {
            return self.write();
        }
        let enough = self.plan == Plan::AnswerEarly && self.read.len() > 3;
        if self.plan == Plan::Echo && self.reply.is_some() {
            self.reply = None;
        }
        match (&self.reply, self.whole || enough) {
            (Some(_), _) if self.plan == Plan::Stay => {
                self.waits = Waits::Until(now + Duration::from_secs(3600));
                None
            }
            (Some(_), _) => Some(Outcome::Ok),
            (None, true) if self.plan == Plan::Echo => Some(Outcome::Ok),
            (None, true) => {
                // A line that begins so has a long reply.
                let times = match self.read.first() {
                    Some(b'A') => 1 + 100_000 / self.read.len(),
                    Some(b'B') => 3,
                    _ => 1,
                };
                let mut reply = format!("{}:", self.version).into_bytes();
                (0..times).for_each(|_| reply.extend_from_slice(&self.read));
                self.at = 0;
                self.reply = Some(reply);
                None
            }
            (None, false) => {
                self.read();
                None
            }
        }
    }

    fn read(&mut self) {
        let mut buf = [0; 3000];
        let size = 1 + self.rng.mixed(50, 7, buf.len() - 1);
        let split = self.rng.below(size);
        let (first, second) = buf[..size].split_at_mut(split);
        let result = self.input.read(&mut [IoSliceMut::new(first), IoSliceMut::new(second)], 0);
        match result {
            Ok(0) => self.whole = true,
            Ok(count) => {
                self.read.extend_from_slice(&buf[..count]);
                if self.plan == Plan::Echo {
                    self.at = 0;
                    self.reply = Some(buf[..count].to_vec());
                }
            }
            Err(Errno::Again) => self.wait(Waits::ToRead),
            // Its client has reset the connection.
            Err(_) => self.whole = true,
        }
    }

    fn write(&mut self) -> Option<Outcome> {
        let reply = self.reply.as_ref().expect("there is one");
        let left = reply.len() - self.at;
        let size = 1 + self.rng.mixed(30, left.min(9), left);
        let part = &reply[self.at..self.at + size.min(left)];
        let (first, second) = part.split_at(self.rng.below(part.len()));
        let output = self.output.as_mut().expect("it is open");
        match output.write(&[IoSlice::new(first), IoSlice::new(second)], 0) {
            Ok(count) => {
                self.written.extend_from_slice(&part[..count]);
                self.at += count;
                None
            }
            Err(Errno::Again) => {
                self.wait(Waits::ToWrite);
                None
            }
            Err(_) => {
                self.broken_pipe = true;
                Some(Outcome::Exit)
            }
        }
    }

    fn wait(&mut self, what: Waits) {
        self.waits = what;
        let waker = Waker::from(self.flag.clone());
        let now = match what {
            Waits::ToRead => {
                let want = Interest { read: true, write: false };
                matches!(self.input.wait(want, &waker), crate::vfs::Wait::Now)
            }
            _ => {
                let want = Interest { read: false, write: true };
                let output = self.output.as_mut().expect("it is open");
                matches!(output.wait(want, &waker), crate::vfs::Wait::Now)
            }
        };
        if now {
            self.waits = Waits::ForNothing;
        }
    }
}
