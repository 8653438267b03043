//! Subscriptions and events.

use std::sync::atomic::{AtomicU64, Ordering};

use tinyhost::Clock;

pub const REALTIME: u32 = 0;
pub const MONOTONIC: u32 = 1;

/// What is subscribed to.
pub const CLOCK: u8 = 0;
pub const READ: u8 = 1;
pub const WRITE: u8 = 2;

/// A subscription to a clock.
pub fn clock(userdata: u64, id: u32, timeout: u64, absolute: bool) -> [u8; 48] {
    let mut record = [0; 48];
    record[..8].copy_from_slice(&userdata.to_le_bytes());
    record[16..20].copy_from_slice(&id.to_le_bytes());
    record[24..32].copy_from_slice(&timeout.to_le_bytes());
    record[40] = absolute.into();
    record
}

/// A subscription to a descriptor.
pub fn fd(userdata: u64, kind: u8, fd: u32) -> [u8; 48] {
    let mut record = [0; 48];
    record[..8].copy_from_slice(&userdata.to_le_bytes());
    record[8] = kind;
    record[16..20].copy_from_slice(&fd.to_le_bytes());
    record
}

/// An event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    pub userdata: u64,
    pub error: u16,
    pub kind: u8,
    pub nbytes: u64,
    pub hangup: bool,
}

/// One without error.
pub fn event(userdata: u64, kind: u8, nbytes: u64) -> Event {
    Event { userdata, error: 0, kind, nbytes, hangup: false }
}

pub fn events(bytes: &[u8], count: u32) -> Vec<Event> {
    let number = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
    let event = |record: &[u8]| Event {
        userdata: number(&record[..8]),
        error: u16::from_le_bytes([record[8], record[9]]),
        kind: record[10],
        nbytes: number(&record[16..24]),
        hangup: record[24] & 1 == 1,
    };
    bytes.chunks(32).take(count as usize).map(event).collect()
}

/// Clocks that stand still unless they are moved.
pub struct Hands {
    pub realtime: AtomicU64,
    pub monotonic: AtomicU64,
}

impl Hands {
    pub fn at(realtime: u64, monotonic: u64) -> Hands {
        Hands { realtime: realtime.into(), monotonic: monotonic.into() }
    }

    pub fn pass(&self, ns: u64) {
        self.realtime.fetch_add(ns, Ordering::Relaxed);
        self.monotonic.fetch_add(ns, Ordering::Relaxed);
    }
}

impl Clock for Hands {
    fn realtime(&self) -> u64 {
        self.realtime.load(Ordering::Relaxed)
    }

    fn monotonic(&self) -> u64 {
        self.monotonic.load(Ordering::Relaxed)
    }
}
