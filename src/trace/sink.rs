//! Where traces go.

use std::fmt;
use std::io::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::record::{Arg, Record};
use super::{Filter, Since, chrome, json, text};
use crate::wasi::Row;

/// How a trace is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TraceFormat {
    /// A line a call, as strace(1) has it.
    #[default]
    Text,
    /// A JSON object a line.
    Json,
    /// A timeline for Perfetto and chrome://tracing.
    Chrome,
}

/// What is written about calls, and how.
#[derive(Clone, Debug)]
pub struct TraceOptions {
    /// Which calls.
    pub filter: Filter,
    /// In what form.
    pub format: TraceFormat,
    /// Bytes of a buffer that are shown.
    pub bytes: usize,
    /// Text lines begin with the guest's name: for several guests.
    pub who: bool,
    /// Text has a terminal's colours.
    pub colours: bool,
}

impl Default for TraceOptions {
    /// All calls as text, 32 bytes of each buffer.
    fn default() -> TraceOptions {
        let (filter, format) = Default::default();
        TraceOptions { filter, format, bytes: 32, who: false, colours: false }
    }
}

/// Takes the traces of any number of guests, each line in one piece. A sink that can't be
/// written to any more is no reason to end a guest: what it does not take is lost.
pub struct Sink {
    pub(super) options: TraceOptions,
    start: Since,
    tracks: AtomicU64,
    out: Mutex<Out>,
}

struct Out {
    to: Box<dyn Write + Send>,
    /// Something is in the list of events already.
    begun: bool,
    finished: bool,
}

impl Sink {
    /// A sink that writes to `to`; time begins now.
    pub fn new(options: TraceOptions, to: impl Write + Send + 'static) -> Arc<Sink> {
        let out = Mutex::new(Out { to: Box::new(to), begun: false, finished: false });
        Arc::new(Sink { options, start: Since::now(), tracks: AtomicU64::new(0), out })
    }

    pub(super) fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn out(&self) -> MutexGuard<'_, Out> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn style(&self) -> text::Style {
        text::Style { who: self.options.who, colours: self.options.colours }
    }

    /// A number for one more guest.
    pub(super) fn track(&self, name: &str) -> u64 {
        let track = self.tracks.fetch_add(1, Ordering::Relaxed) + 1;
        if self.options.format == TraceFormat::Chrome {
            self.out().event(&chrome::track(track, name));
        }
        track
    }

    pub(super) fn write(&self, record: &Record<'_>) {
        match self.options.format {
            TraceFormat::Text => self.out().put(text::line(record, self.style()).as_bytes()),
            TraceFormat::Json => {
                let line = json::object(record) + "\n";
                self.out().put(line.as_bytes());
            }
            TraceFormat::Chrome => {
                let events = chrome::events(record);
                let mut out = self.out();
                events.iter().for_each(|event| out.event(event));
            }
        }
    }

    /// A call is parked. The trace of a guest that hangs must show in what, so all that
    /// was written goes out as well.
    pub(super) fn parked(&self, who: &str, at: Duration, row: &Row, args: &[Arg]) {
        let mut out = self.out();
        if self.options.format == TraceFormat::Text {
            out.put(text::parked(who, at, row, args, self.style()).as_bytes());
        }
        let _ = out.to.flush();
    }

    /// A guest is gone: the file then has all it did.
    pub(super) fn guest_ended(&self) {
        let _ = self.out().to.flush();
    }

    /// Ends the trace: nothing more is written.
    pub fn finish(&self) {
        let mut out = self.out();
        if self.options.format == TraceFormat::Chrome && !out.finished {
            let end: &[u8] = if out.begun { b"\n]\n" } else { b"[]\n" };
            out.put(end);
        }
        out.finished = true;
        let _ = out.to.flush();
    }
}

impl Out {
    fn put(&mut self, bytes: &[u8]) {
        if !self.finished {
            let _ = self.to.write_all(bytes);
        }
    }

    /// One more in a list that is never closed if the process is killed: the format allows it.
    fn event(&mut self, event: &str) {
        let before: &[u8] = if std::mem::replace(&mut self.begun, true) { b",\n" } else { b"[\n" };
        self.put(before);
        self.put(event.as_bytes());
    }
}

impl fmt::Debug for Sink {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sink").field("options", &self.options).finish_non_exhaustive()
    }
}
