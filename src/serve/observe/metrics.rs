//! What is counted: a row for each metric, and the text of Prometheus.
//!
//! Each worker counts for itself, in atomics that only it writes. They are added up on request.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

pub use super::outcome::{Outcome, Refusal};
pub use super::process::Process;

/// Upper bounds of the latency histogram, µs.
const BOUNDS_US: [u64; 16] = [
    10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000,
    1_000_000, 5_000_000,
];

/// What a metric is to Prometheus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// Only grows.
    Counter,
    /// Says how much there is.
    Gauge,
    Histogram,
    /// A counter of nanoseconds, shown in seconds.
    Seconds,
}

/// A metric.
struct Row {
    /// Without what all names begin with.
    name: &'static str,
    kind: Kind,
    help: &'static str,
    get: Get,
}

/// How a metric is read.
enum Get {
    One(fn(&Metrics) -> u64),
    /// By the values of a label.
    Each(&'static str, fn(&Metrics) -> Vec<(String, u64)>),
    /// The times of lines.
    Times,
}

/// The metrics that are one number, a row each: its help, its field, its kind and its name. Another
/// one is a row more, and counted where it happens. `if` names the feature that it belongs to.
macro_rules! metrics {
    ($($(#[doc = $help:literal])+ $field:ident: $kind:ident $name:literal $(if $feature:literal)?,)*) => {
        /// What one worker has counted.
        #[derive(Default)]
        pub(crate) struct Counters {
            outcomes: [AtomicU64; Outcome::ALL.len()],
            refusals: [AtomicU64; Refusal::ALL.len()],
            latency: [AtomicU64; BOUNDS_US.len() + 1],
            latency_us: AtomicU64,
            $($(#[cfg(feature = $feature)])? pub $field: AtomicU64,)*
        }

        impl Counters {
            /// Sets all gauges to 0.
            pub fn reset_gauges(&self) {
                $($(#[cfg(feature = $feature)])? if Kind::$kind == Kind::Gauge {
                    self.$field.store(0, Relaxed);
                })*
            }
        }

        /// The metrics of a server, added up over all workers.
        #[derive(Clone, Debug, Default, PartialEq, Eq)]
        pub struct Metrics {
            outcomes: [u64; Outcome::ALL.len()],
            refusals: [u64; Refusal::ALL.len()],
            latency: [u64; BOUNDS_US.len() + 1],
            latency_us: u64,
            /// Connections that are open, worker by worker.
            pub conns_by_worker: Vec<u64>,
            /// How often the program or the certificate was loaded again.
            pub reloads: u64,
            /// How often that failed, and the old one stayed.
            pub reloads_failed: u64,
            /// What the process takes of its machine.
            pub process: Process,
            /// Bytes of the image that guests start from.
            pub image_bytes: u64,
            /// Why guests do not start from an image although they should.
            pub cold_because: Option<String>,
            $($(#[doc = $help])+ $(#[cfg(feature = $feature)])? pub $field: u64,)*
        }

        impl Metrics {
            fn add_numbers(&mut self, worker: &Counters) {
                $($(#[cfg(feature = $feature)])? { self.$field += worker.$field.load(Relaxed); })*
            }
        }

        const NUMBERS: &[Row] = &[$($(#[cfg(feature = $feature)])? Row {
            name: $name,
            kind: Kind::$kind,
            help: concat!($($help),+),
            get: Get::One(|metrics| metrics.$field),
        },)*];
    };
}

metrics! {
    /// Connections accepted.
    conns: Counter "connections_total",
    /// Connections that are open.
    conns_open: Gauge "connections_open",
    /// Connections closed because nothing was received, or a reply was not read, in time.
    conns_idle: Counter "connections_idle_closed_total",
    /// Connections of trusted proxies closed because their PROXY header was missing, not valid or late.
    proxy_headers_failed: Counter "proxy_headers_failed_total",
    /// TLS handshakes that were completed.
    handshakes: Counter "tls_handshakes_total" if "tls",
    /// TLS handshakes that failed.
    handshakes_failed: Counter "tls_handshakes_failed_total" if "tls",
    /// Guests that did not end in their first slice of fuel, and guests started ahead.
    guests: Gauge "guests_live",
    /// Live guests that wait for input, for room for output, or for time to pass.
    guests_parked: Gauge "guests_parked",
    /// Live guests that were started ahead and wait for a line.
    guests_ahead: Gauge "guests_ahead",
    /// Lines given to a guest that was started ahead.
    ahead_taken: Counter "ahead_lines_total",
    /// Lines (connections, with --per connection) given to a guest that started from an image.
    warm_lines: Counter "warm_lines_total",
    /// Pages of 4 KiB put back into the memories of guests that had ended.
    pages_restored: Counter "pages_restored_total",
    /// Memories and tables of the live guests, updated every second. Their stacks are not in it: the
    /// interpreter does not report their size.
    memory: Gauge "guest_memory_bytes",
    /// Fuel used by guests that have ended.
    fuel: Counter "fuel_total",
    /// CPU time used by guests that have ended.
    cpu_ns: Seconds "guest_cpu_seconds_total",
    /// Bytes received from clients and passed to guests.
    bytes_in: Counter "received_bytes_total",
    /// Bytes that guests wrote to their clients.
    bytes_out: Counter "sent_bytes_total",
    /// Connections to the NATS server by which messages come, at most one for each worker.
    nats_connected: Gauge "nats_connections" if "nats",
    /// Times that such a connection was made.
    nats_connects: Counter "nats_connects_total" if "nats",
    /// Messages received from the NATS server.
    nats_messages: Counter "nats_messages_total" if "nats",
    /// Messages of a stream that had been delivered before.
    nats_redelivered: Counter "nats_redelivered_total" if "nats",
    /// Replies published, or with a stream stored.
    nats_replies: Counter "nats_replies_total" if "nats",
    /// Replies that were stored already.
    nats_duplicates: Counter "nats_duplicates_total" if "nats",
    /// Messages given back to their stream, to be delivered again.
    nats_retries: Counter "nats_retries_total" if "nats",
    /// Messages that failed for good.
    nats_dead: Counter "nats_dead_letters_total" if "nats",
    /// Replies dropped because there was no connection.
    nats_lost: Counter "nats_lost_replies_total" if "nats",
}

/// The other metrics.
const FAMILIES: &[Row] = &[
    Row {
        name: "build_info",
        kind: Kind::Gauge,
        help: "1, with the version of tinyhost.",
        get: Get::Each("version", |_| vec![(env!("CARGO_PKG_VERSION").to_owned(), 1)]),
    },
    Row {
        name: "reloads_total",
        kind: Kind::Counter,
        help: "Reloads of the program or the certificate, by whether they failed.",
        get: Get::Each("result", |metrics| {
            vec![("ok".to_owned(), metrics.reloads), ("failed".to_owned(), metrics.reloads_failed)]
        }),
    },
    Row {
        name: "worker_connections",
        kind: Kind::Gauge,
        help: "Connections that are open, by worker.",
        get: Get::Each("worker", |metrics| {
            let workers = metrics.conns_by_worker.iter().enumerate();
            workers.map(|(worker, open)| (worker.to_string(), *open)).collect()
        }),
    },
    Row {
        name: "image_bytes",
        kind: Kind::Gauge,
        help: "Bytes of the image that guests start from, without zeros.",
        get: Get::One(|metrics| metrics.image_bytes),
    },
    Row {
        name: "program_cold",
        kind: Kind::Gauge,
        help: "1 with the reason, if guests should start from an image and do not.",
        get: Get::Each("why", |metrics| {
            metrics.cold_because.iter().map(|why| (label(why), 1)).collect()
        }),
    },
    Row {
        name: "lines_total",
        kind: Kind::Counter,
        help: "Lines (connections, with --per connection) that have ended, by outcome.",
        get: Get::Each("outcome", |metrics| {
            let outcomes = Outcome::ALL.iter();
            outcomes.map(|outcome| (outcome.name().into(), metrics.outcome(*outcome))).collect()
        }),
    },
    Row {
        name: "refused_total",
        kind: Kind::Counter,
        help: "Connections, memory and descriptors that were refused, by limit.",
        get: Get::Each("limit", |metrics| {
            let refusals = Refusal::ALL.iter();
            refusals.map(|refusal| (refusal.name().into(), metrics.refused(*refusal))).collect()
        }),
    },
    Row {
        name: "line_seconds",
        kind: Kind::Histogram,
        help: "Time from receiving a complete line until its guest exits.",
        get: Get::Times,
    },
];

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

    pub fn refused(&self, refusal: Refusal) {
        add(&self.refusals[refusal as usize], 1);
    }
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
            sum.conns_by_worker.push(worker.conns_open.load(Relaxed));
            sum.add_numbers(worker);
        }
        sum
    }

    /// The number of lines, or whole connections, that ended with this outcome.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[outcome as usize]
    }

    /// The number of refusals for this limit.
    pub fn refused(&self, refusal: Refusal) -> u64 {
        self.refusals[refusal as usize]
    }

    /// The metrics in the text format of Prometheus (0.0.4).
    pub fn prometheus(&self) -> String {
        let mut text = String::with_capacity(4096);
        NUMBERS.iter().chain(FAMILIES).for_each(|row| row.write(self, &mut text));
        self.process.write(&mut text);
        text
    }
}

/// A text as a label may have it.
fn label(text: &str) -> String {
    let plain = text.chars().filter(|c| !c.is_control());
    let escaped =
        plain.flat_map(|c| ['\\'].into_iter().filter(move |_| matches!(c, '"' | '\\')).chain([c]));
    escaped.collect()
}

impl Row {
    fn write(&self, metrics: &Metrics, text: &mut String) {
        let Row { name, help, .. } = self;
        let help = help.trim_start();
        let kind = match self.kind {
            Kind::Counter | Kind::Seconds => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let _ = writeln!(text, "# HELP tinyhost_{name} {help}\n# TYPE tinyhost_{name} {kind}");
        match self.get {
            Get::One(get) if self.kind == Kind::Seconds => {
                let seconds = Duration::from_nanos(get(metrics)).as_secs_f64();
                let _ = writeln!(text, "tinyhost_{name} {seconds}");
            }
            Get::One(get) => {
                let _ = writeln!(text, "tinyhost_{name} {}", get(metrics));
            }
            Get::Each(label, get) => {
                for (value, count) in get(metrics) {
                    let _ = writeln!(text, "tinyhost_{name}{{{label}=\"{value}\"}} {count}");
                }
            }
            Get::Times => self.write_times(metrics, text),
        }
    }

    fn write_times(&self, metrics: &Metrics, text: &mut String) {
        let name = self.name;
        let mut sum = 0;
        for (index, count) in metrics.latency.iter().enumerate() {
            sum += count;
            let bound = BOUNDS_US.get(index).map(|us| Duration::from_micros(*us).as_secs_f64());
            let bound = bound.map_or("+Inf".to_owned(), |bound| bound.to_string());
            let _ = writeln!(text, "tinyhost_{name}_bucket{{le=\"{bound}\"}} {sum}");
        }
        let seconds = Duration::from_micros(metrics.latency_us).as_secs_f64();
        let _ = writeln!(text, "tinyhost_{name}_sum {seconds}\ntinyhost_{name}_count {sum}");
    }
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
