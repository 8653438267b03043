//! Simulated clients.

use super::Rng;
use super::wire::Cable;

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    Lines { keep_open: bool },
    Bytes,
    Packets,
}

pub struct Client {
    rng: Rng,
    pub cable: Cable,
    /// What it is going to send after the header of its proxy, and how far it has.
    script: Vec<u8>,
    header: usize,
    at: usize,
    pub received: Vec<u8>,
    pub shut: bool,
    pub reset: bool,
    /// In percent: how often it sends, reads, cuts all off.
    sends: usize,
    reads: usize,
    cuts: usize,
    /// It shuts its direction when it has sent all.
    shuts: bool,
    /// It sends on after the server's end.
    sends_on: bool,
    /// It saw the end of what the server sends.
    pub saw_end: bool,
}

impl Client {
    pub fn new(cable: Cable, speaks: Speaks, line_max: usize, header: &[u8], seed: u64) -> Client {
        let mut rng = Rng(seed);
        let script = [header, &script(&mut rng, speaks, line_max)].concat();
        let often = [1, 10, 60, 100];
        Client {
            cable,
            script,
            header: header.len(),
            at: 0,
            received: Vec::new(),
            shut: false,
            reset: false,
            sends: often[rng.below(4)],
            reads: if rng.chance(5) { 0 } else { often[rng.below(4)] },
            cuts: usize::from(rng.chance(10)),
            shuts: rng.chance(60),
            sends_on: rng.chance(10),
            saw_end: false,
            rng,
        }
    }

    /// All it has sent after the header of its proxy.
    pub fn sent(&self) -> &[u8] {
        &self.script[self.header.min(self.at)..self.at]
    }

    pub fn step(&mut self) {
        if self.reset {
            return;
        }
        if self.cuts > 0 && self.rng.chance(self.cuts) {
            self.reset = true;
            return self.cable.reset();
        }
        if self.rng.chance(self.sends) && (!self.saw_end || self.sends_on) {
            self.send();
        }
        if self.rng.chance(self.reads) {
            self.read();
        }
    }

    fn send(&mut self) {
        let left = self.script.len() - self.at;
        if left > 0 {
            let most = [1, 5, 100, left][self.rng.below(4)].min(left);
            let size = 1 + self.rng.below(most);
            self.cable.send(&self.script[self.at..self.at + size]);
            self.at += size;
        } else if self.shuts && !self.shut {
            self.shut = true;
            self.cable.shut();
        }
    }

    pub fn read(&mut self) {
        let size = 1 + self.rng.mixed(30, 5, 50_000);
        self.received.extend(self.cable.take(size));
        self.saw_end |= self.cable.is_over();
    }
}

fn script(rng: &mut Rng, speaks: Speaks, line_max: usize) -> Vec<u8> {
    let mut script = Vec::new();
    for _ in 0..rng.below(12) {
        match speaks {
            Speaks::Lines { .. } => line(rng, line_max, &mut script),
            Speaks::Bytes => bytes(rng, 300, &mut script),
            Speaks::Packets => match rng.below(40) {
                0 => script.extend_from_slice(b"nonsense\n"),
                1 => script.extend_from_slice(b"pabcdefghijklmnopqrstuvwxyz"),
                2..8 => script.extend_from_slice(b"q\n"),
                8..10 => {
                    script.extend_from_slice(b"u\n");
                    (0..rng.below(6)).for_each(|_| line(rng, line_max, &mut script));
                    return script;
                }
                _ => {
                    let size = if rng.chance(10) { 100_000 } else { 200 };
                    let size = rng.below(size);
                    script.extend_from_slice(format!("p{size}\n").as_bytes());
                    bytes(rng, size, &mut script);
                }
            },
        }
    }
    // The last line may have no newline.
    if matches!(speaks, Speaks::Lines { .. }) && rng.chance(20) {
        script.pop();
    }
    script
}

fn bytes(rng: &mut Rng, count: usize, script: &mut Vec<u8>) {
    script.extend((0..count).map(|_| b'a' + rng.below(26) as u8));
}

fn line(rng: &mut Rng, max: usize, script: &mut Vec<u8>) {
    let len = match rng.below(40) {
        0 => max + 1,
        1 => max,
        2..5 => 0,
        _ => rng.below(max.min(60)),
    };
    if len > 0 {
        script.push(b"AAABBBcdefghijklmnopqrstuvwxyz"[rng.below(30)]);
        bytes(rng, len - 1, script);
    }
    script.push(b'\n');
}
