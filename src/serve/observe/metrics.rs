//! What is counted, and how Prometheus is told.
//!
//! Each worker counts for itself, in atomics only it writes; they are added up when
//! somebody asks.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

pub use super::outcome::{Outcome, Refusal};

/// Upper bounds of the latency histogram, µs.
const BOUNDS_US: [u64; 16] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    1_000_000, 5_000_000,
];

/// What one worker has counted.
#[derive(Default)]
pub(crate) struct Counters {
    outcomes: [AtomicU64; Outcome::ALL.len()],
    refusals: [AtomicU64; Refusal::ALL.len()],
    latency: [AtomicU64; BOUNDS_US.len() + 1],
    latency_us: AtomicU64,
    pub conns: AtomicU64,
    pub conns_idle: AtomicU64,
    pub fuel: AtomicU64,
    pub cpu_ns: AtomicU64,
    pub bytes_in: AtomicU64,
    pub bytes_out: AtomicU64,
    pub ahead_taken: AtomicU64,
    /// Those from here on are states, not counts.
    pub open: AtomicU64,
    pub guests: AtomicU64,
    pub parked: AtomicU64,
    pub ahead: AtomicU64,
    pub memory: AtomicU64,
}

/// Adds to a counter that only this thread writes.
#[inline]
pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(count), Relaxed);
}

impl Counters {
    pub fn outcome(&self, outcome: Outcome, elapsed: Duration) {
        add(&self.outcomes[outcome as usize], 1);
        let us = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        add(&self.latency[BOUNDS_US.partition_point(|bound| *bound < us)], 1);
        add(&self.latency_us, us);
    }

    /// There is nothing any more.
    pub fn reset_gauges(&self) {
        for gauge in [&self.open, &self.guests, &self.parked, &self.ahead, &self.memory] {
            gauge.store(0, Relaxed);
        }
    }

    pub fn refused(&self, refusal: Refusal) {
        add(&self.refusals[refusal as usize], 1);
    }
}

/// All workers' counts, added up.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metrics {
    outcomes: [u64; Outcome::ALL.len()],
    refusals: [u64; Refusal::ALL.len()],
    latency: [u64; BOUNDS_US.len() + 1],
    latency_us: u64,
    /// Connections taken.
    pub conns: u64,
    /// Connections open now.
    pub conns_open: u64,
    /// The same, worker by worker.
    pub conns_by_worker: Vec<u64>,
    /// Connections closed because nothing came for too long.
    pub conns_idle: u64,
    /// Guests alive now that did not end in their first slice, and those run ahead.
    pub guests: u64,
    /// Those of them that wait for something.
    pub guests_parked: u64,
    /// Those of them that were run ahead and wait for their line.
    pub guests_ahead: u64,
    /// Lines given to such a one.
    pub ahead_taken: u64,
    /// Bytes of memory of those guests, brought up to date every second.
    pub memory: u64,
    /// Fuel used by guests that have ended.
    pub fuel: u64,
    /// CPU time used by guests that have ended, ns.
    pub cpu_ns: u64,
    /// Bytes guests got from clients.
    pub bytes_in: u64,
    /// Bytes guests wrote to clients.
    pub bytes_out: u64,
}

impl Metrics {
    pub(crate) fn sum<'a>(workers: impl Iterator<Item = &'a Counters>) -> Metrics {
        let mut sum = Metrics::default();
        let each = |to: &mut [u64], from: &[AtomicU64]| {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from.load(Relaxed));
        };
        for worker in workers {
            each(&mut sum.outcomes, &worker.outcomes);
            each(&mut sum.refusals, &worker.refusals);
            each(&mut sum.latency, &worker.latency);
            sum.latency_us += worker.latency_us.load(Relaxed);
            sum.conns += worker.conns.load(Relaxed);
            let open = worker.open.load(Relaxed);
            sum.conns_open += open;
            sum.conns_by_worker.push(open);
            sum.conns_idle += worker.conns_idle.load(Relaxed);
            sum.guests += worker.guests.load(Relaxed);
            sum.guests_parked += worker.parked.load(Relaxed);
            sum.guests_ahead += worker.ahead.load(Relaxed);
            sum.ahead_taken += worker.ahead_taken.load(Relaxed);
            sum.memory += worker.memory.load(Relaxed);
            sum.fuel += worker.fuel.load(Relaxed);
            sum.cpu_ns += worker.cpu_ns.load(Relaxed);
            sum.bytes_in += worker.bytes_in.load(Relaxed);
            sum.bytes_out += worker.bytes_out.load(Relaxed);
        }
        sum
    }

    /// Lines (or whole connections) that ended so.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// How often that was refused.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refusals[refusal as usize]
    }

    /// The text format of Prometheus (0.0.4).
    pub fn prometheus(&self) -> String {
        let mut text = String::with_capacity(4096);
        let mut one = |name: &str, kind: &str, help: &str, value: u64| {
            head(&mut text, name, kind, help);
            let _ = writeln!(text, "tinyhost_{name} {value}");
        };
        one("connections_total", "counter", "Connections taken.", self.conns);
        one("connections_open", "gauge", "Connections open now.", self.conns_open);
        one(
            "connections_idle_closed_total",
            "counter",
            "Connections closed because nothing came for too long.",
            self.conns_idle,
        );
        one("guests_live", "gauge", "Guests alive beyond their first slice.", self.guests);
        one("guests_parked", "gauge", "Guests that wait for something.", self.guests_parked);
        one("guests_ahead", "gauge", "Guests that wait for a line to come.", self.guests_ahead);
        one("ahead_lines_total", "counter", "Lines a guest had waited for.", self.ahead_taken);
        one("guest_memory_bytes", "gauge", "Memory of the live guests.", self.memory);
        let help =
            "Fuel used by guests that have ended: instructions at the most, and ns of calls.";
        one("fuel_total", "counter", help, self.fuel);
        one("received_bytes_total", "counter", "Bytes guests got from clients.", self.bytes_in);
        one("sent_bytes_total", "counter", "Bytes guests wrote to clients.", self.bytes_out);
        head(&mut text, "worker_connections", "gauge", "Connections open now, by worker.");
        for (worker, open) in self.conns_by_worker.iter().enumerate() {
            let _ = writeln!(text, "tinyhost_worker_connections{{worker=\"{worker}\"}} {open}");
        }
        head(&mut text, "lines_total", "counter", "Guests ended (one a line), by outcome.");
        for outcome in Outcome::ALL {
            let count = self.outcome(*outcome);
            let _ =
                writeln!(text, "tinyhost_lines_total{{outcome=\"{}\"}} {count}", outcome.name());
        }
        head(&mut text, "refused_total", "counter", "What was refused for a limit.");
        for refusal in Refusal::ALL {
            let count = self.refused(*refusal);
            let _ =
                writeln!(text, "tinyhost_refused_total{{limit=\"{}\"}} {count}", refusal.name());
        }
        let help = "CPU time used by guests that have ended.";
        head(&mut text, "guest_cpu_seconds_total", "counter", help);
        let cpu = Duration::from_nanos(self.cpu_ns).as_secs_f64();
        let _ = writeln!(text, "tinyhost_guest_cpu_seconds_total {cpu}");
        self.histogram(&mut text);
        text
    }

    fn histogram(&self, text: &mut String) {
        const NAME: &str = "line_seconds";
        head(text, NAME, "histogram", "From a line's being whole to its guest's end.");
        let mut sum = 0;
        for (index, count) in self.latency.iter().enumerate() {
            sum += count;
            let bound = BOUNDS_US.get(index).map(|us| Duration::from_micros(*us).as_secs_f64());
            let bound = bound.map_or("+Inf".to_owned(), |bound| bound.to_string());
            let _ = writeln!(text, "tinyhost_{NAME}_bucket{{le=\"{bound}\"}} {sum}");
        }
        let seconds = Duration::from_micros(self.latency_us).as_secs_f64();
        let _ = writeln!(text, "tinyhost_{NAME}_sum {seconds}\ntinyhost_{NAME}_count {sum}");
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(text, "# HELP tinyhost_{name} {help}\n# TYPE tinyhost_{name} {kind}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_what_is_at_most_their_bound() {
        let (one, two) = (Counters::default(), Counters::default());
        one.outcome(Outcome::Ok, Duration::from_micros(10));
        one.outcome(Outcome::Trap, Duration::from_micros(11));
        two.outcome(Outcome::Ok, Duration::from_secs(60));
        two.refused(Refusal::Conns);
        let text = Metrics::sum([&one, &two].into_iter()).prometheus();
        for line in [
            "tinyhost_lines_total{outcome=\"ok\"} 2",
            "tinyhost_lines_total{outcome=\"trap\"} 1",
            "tinyhost_refused_total{limit=\"conns\"} 1",
            "tinyhost_line_seconds_bucket{le=\"0.00001\"} 1",
            "tinyhost_line_seconds_bucket{le=\"0.000025\"} 2",
            "tinyhost_line_seconds_bucket{le=\"5\"} 2",
            "tinyhost_line_seconds_bucket{le=\"+Inf\"} 3",
            "tinyhost_line_seconds_count 3",
        ] {
            assert!(text.lines().any(|have| have == line), "{line} is not in\n{text}");
        }
    }
}
