//! Sums of what a guest did.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::Since;
use super::units::{Bytes, Nanos};
use crate::wasi::{CallOutcome, Trace, TracedCall};

/// Descriptors that have a row of their own; those beyond share one.
const DESCRIPTORS_MAX: usize = 1000;

/// Adds up calls by name and bytes by descriptor. [`Display`](fmt::Display) is the table.
#[derive(Default)]
pub struct Stats {
    calls: BTreeMap<&'static str, Calls>,
    bytes: BTreeMap<(u32, Box<str>), (u64, u64)>,
    began: Option<Since>,
    parked: Option<Since>,
    current: Calls,
}

/// Sums of the calls of one name.
#[derive(Default, Clone, Copy)]
struct Calls {
    count: u64,
    errors: u64,
    time: Duration,
    parked: Duration,
}

impl Stats {
    fn moved(&mut self, call: &TracedCall<'_>) {
        let (count, read) = match call.row.name {
            "fd_read" | "fd_pread" => ("nread", true),
            "sock_recv" => ("ro_datalen", true),
            "fd_write" | "fd_pwrite" => ("nwritten", false),
            "sock_send" => ("so_datalen", false),
            _ => return,
        };
        let count = call.arg_u32(count).and_then(|at| call.mem.array(at).ok());
        let count = u64::from(count.map_or(0, |bytes| u32::from_le_bytes(*bytes)));
        let Some(fd) = call.arg_u32("fd") else { return };
        let path: Box<str> = call.descriptor(fd).map_or_else(Box::default, |d| (*d.path).into());
        let mut key = (fd, path);
        if self.bytes.len() >= DESCRIPTORS_MAX && !self.bytes.contains_key(&key) {
            key = (u32::MAX, "all others".into());
        }
        let (bytes_in, bytes_out) = self.bytes.entry(key).or_default();
        *if read { bytes_in } else { bytes_out } += count;
    }
}

impl Trace for Stats {
    fn begin(&mut self, _call: &TracedCall<'_>) {
        if let Some(parked) = self.parked.take() {
            self.current.parked += parked.elapsed();
        }
        self.began = Some(Since::now());
    }

    fn call(&mut self, call: &TracedCall<'_>, outcome: CallOutcome) {
        self.current.time += self.began.take().map_or(Duration::ZERO, Since::elapsed);
        if !outcome.is_end() {
            self.parked = Some(Since::now());
            return;
        }
        let done = std::mem::take(&mut self.current);
        let sum = self.calls.entry(call.row.name).or_default();
        sum.count += 1;
        sum.time += done.time;
        sum.parked += done.parked;
        match outcome {
            CallOutcome::Done(Some(_)) => sum.errors += 1,
            _ => self.moved(call),
        }
    }
}

impl fmt::Display for Stats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nanos = |time: Duration| {
            let nanos = Nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
            if time.is_zero() { "-".to_owned() } else { nanos.to_string() }
        };
        writeln!(f, "  {:<24}{:>8}{:>8}{:>12}{:>12}", "call", "count", "errors", "time", "parked")?;
        let mut calls: Vec<_> = self.calls.iter().collect();
        calls.sort_by_key(|(name, calls)| (std::cmp::Reverse(calls.count), **name));
        for (name, calls) in calls {
            let (time, parked) = (nanos(calls.time), nanos(calls.parked));
            let (count, errors) = (calls.count, calls.errors);
            writeln!(f, "  {name:<24}{count:>8}{errors:>8}{time:>12}{parked:>12}")?;
        }
        if self.bytes.is_empty() {
            return Ok(());
        }
        writeln!(f, "  {:<32}{:>12}{:>12}", "descriptor", "in", "out")?;
        for ((fd, path), (bytes_in, bytes_out)) in &self.bytes {
            let name = match fd {
                &u32::MAX => path.to_string(),
                fd => format!("{fd}{}", super::text::behind(path)),
            };
            writeln!(f, "  {name:<32}{:>12}{:>12}", Bytes(*bytes_in), Bytes(*bytes_out))?;
        }
        Ok(())
    }
}
