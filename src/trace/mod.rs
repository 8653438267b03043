//! What a guest does, written down: a trace of its calls, sums of them, the last of them, what they
//! needed, and why they could not be done.
//!
//! [`Tracer`] writes each call as it is made, in the manner of strace(1); [`Stats`] adds
//! them up; [`Last`] keeps the last ones for a [crash report](crash); [`Learn`] notes what
//! a policy would have to allow; [`Hints`] explains denials. All of them are
//! [`Trace`]s, given with [`CtxBuilder::trace`](crate::wasi::CtxBuilder::trace) (several in a
//! [`Tee`](crate::wasi::Tee)) and found again with
//! [`WasiCtx::trace`](crate::WasiCtx::trace).

mod chrome;
pub mod crash;
mod decode;
pub mod escape;
mod filter;
mod hints;
mod json;
mod learn;
mod network;
mod record;
mod said;
mod sink;
mod stats;
mod text;
mod units;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub use crash::Last;
pub use filter::{BadFilter, Filter};
pub use hints::{Hints, Mounted, ReportHint, outside};
pub use learn::{Learn, PathUse, Used};
pub use sink::{Sink, TraceFormat, TraceOptions};
pub use stats::Stats;

use crate::wasi::{CallOutcome, Trace, TracedCall};
use record::{Arg, Record};

/// Writes a line for each call of one guest.
///
/// ```
/// use tinyhost::trace::{TraceOptions, Sink, Tracer};
/// use tinyhost::{Guest, Program, WasiCtx};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let program = Program::new(std::fs::read("fixtures/exit42.wasm")?)?;
/// let sink = Sink::new(TraceOptions::default(), std::io::stderr());
/// let cx = WasiCtx::builder().trace(Tracer::new(&sink, "exit42")).build();
/// Guest::new(&program, cx).run()?; // 0.000012 proc_exit(rval=42) = ?
/// # Ok(())
/// # }
/// ```
pub struct Tracer {
    sink: Arc<Sink>,
    /// Number of the guest among those of the sink.
    track: u64,
    name: String,
    /// The call that was begun, and has not ended.
    open: Option<Open>,
}

/// A call under way.
struct Open {
    row: &'static crate::wasi::Row,
    at: Duration,
    /// `None`: the filter does not want it, as far as is known yet.
    args: Option<Vec<Arg>>,
    /// Of the network, by what its descriptor is.
    network: bool,
    /// Since when it is parked.
    parked_at: Option<Duration>,
    parks: Vec<(Duration, Duration)>,
    /// That it is parked has been written.
    told: bool,
}

impl Tracer {
    /// A tracer of the guest that is called `name` where there are several.
    pub fn new(sink: &Arc<Sink>, name: &str) -> Tracer {
        let track = sink.track(name);
        Tracer { sink: sink.clone(), track, name: name.into(), open: None }
    }

    fn record(&self, open: Open, outcome: Option<CallOutcome>, until: Duration) -> Record<'_> {
        Record {
            track: self.track,
            who: &self.name,
            at: open.at,
            until,
            parks: open.parks,
            row: open.row,
            args: open.args.unwrap_or_default(),
            results: Vec::new(),
            outcome,
        }
    }
}

impl Trace for Tracer {
    fn begin(&mut self, call: &TracedCall<'_>) {
        let now = self.sink.now();
        if let Some(open) = &mut self.open {
            let parked_at = open.parked_at.take().unwrap_or(now);
            open.parks.push((parked_at, now));
            return;
        }
        let network = network::is_network(call);
        let wanted = self.sink.options.filter.wants(call.row.name, network);
        let args = wanted.then(|| decode::args(call, self.sink.options.bytes));
        self.open = Some(Open {
            row: call.row,
            at: now,
            args,
            network,
            parked_at: None,
            parks: Vec::new(),
            told: false,
        });
    }

    fn call(&mut self, call: &TracedCall<'_>, outcome: CallOutcome) {
        let Some(mut open) = self.open.take() else { return };
        let now = self.sink.now();
        let filter = &self.sink.options.filter;
        let wanted = open.args.is_some() && filter.wants(call.row.name, open.network);
        if !outcome.is_end() {
            open.parked_at = Some(now);
            let parked = wanted && outcome == CallOutcome::Parked;
            if parked && !filter.errors_only() && !std::mem::replace(&mut open.told, true) {
                let args = open.args.as_deref().unwrap_or_default();
                self.sink.parked(&self.name, open.at, open.row, args);
            }
            self.open = Some(open);
            return;
        }
        if !wanted || filter.errors_only() && !matches!(outcome, CallOutcome::Done(Some(_))) {
            return;
        }
        if let Some(args) = &mut open.args {
            decode::moved(call, outcome, args, self.sink.options.bytes);
        }
        let results = match outcome {
            CallOutcome::Done(None) => decode::results(call, self.sink.options.bytes),
            _ => Vec::new(),
        };
        let mut record = self.record(open, Some(outcome), now);
        record.results = results;
        self.sink.write(&record);
    }
}

impl Drop for Tracer {
    /// A guest that was ended while it waited: what it waited in is what one wants to know.
    fn drop(&mut self) {
        let untold = |open: &Open| open.args.is_some() && !self.sink.options.filter.errors_only();
        if let Some(mut open) = self.open.take().filter(untold) {
            let now = self.sink.now();
            open.parks.extend(open.parked_at.take().map(|since| (since, now)));
            self.sink.write(&self.record(open, None, now));
        }
        self.sink.guest_ended();
    }
}

/// Time since a start, in a type that is a value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Since(Instant);

impl Since {
    pub fn now() -> Since {
        Since(Instant::now())
    }

    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}
