//! What is said while a filter runs: failures, what guests say, and how far it is.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tinyhost::pipe::{Error, Note, NoteKind, PipeHandle, Summary};
use tinyhost::trace::escape::Line;

use super::{Failing, early};
use crate::cli::failure::{Failure, status};
use crate::cli::output::say;

/// Lines said in a second. A stream of a million lines that all fail must not say a million.
const PER_SECOND: u32 = 20;

/// How often the progress is shown.
const EVERY: Duration = Duration::from_millis(500);

/// Takes the cursor to the beginning of an empty line.
const CLEAR: &str = "\r\x1b[K";

/// Says what comes of the items.
pub struct Notes {
    failing: Failing,
    /// There is a line of progress to be cleared first.
    clears: bool,
    since: Instant,
    said: u32,
    missed: u64,
    /// The last line that the guest of an item has written to its standard error.
    last: Option<(u64, String)>,
    /// The failure that ended the filter.
    fatal: Option<String>,
}

impl Notes {
    pub fn new(failing: Failing, clears: bool) -> Notes {
        Notes {
            failing,
            clears,
            since: Instant::now(),
            said: 0,
            missed: 0,
            last: None,
            fatal: None,
        }
    }

    /// Takes one.
    pub fn take(&mut self, note: &Note<'_>) {
        let text = note.to_string();
        match (self.failing, note.kind) {
            (Failing::Stderr, NoteKind::Errors(number, line)) => {
                self.last = Some((number, String::from_utf8_lossy(line).into_owned()));
            }
            (Failing::Stderr, NoteKind::Failed(failure)) => {
                let last = self.last.take().filter(|(number, _)| *number == failure.number);
                let last = last.map_or(String::new(), |(_, line)| format!(": {line}"));
                // Its reader takes a line for each that has failed: none is left out.
                say(&format!("{}\n", Line(&format!("{text}{last}"))));
            }
            (Failing::Fail, NoteKind::Failed(_)) => self.fatal = Some(text),
            _ => self.limited(&text),
        }
    }

    fn limited(&mut self, text: &str) {
        if self.since.elapsed() >= Duration::from_secs(1) {
            self.since = Instant::now();
            self.said = 0;
        }
        if self.said >= PER_SECOND {
            self.missed += 1;
            return;
        }
        self.said += 1;
        self.say(text);
    }

    fn say(&self, text: &str) {
        let clear = if self.clears { CLEAR } else { "" };
        say(&format!("{clear}tinyhost: {}\n", Line(text)));
    }

    fn say_missed(&mut self) {
        let missed = std::mem::take(&mut self.missed);
        if missed > 0 {
            self.say(&format!("{missed} more messages were left out: too many a second"));
        }
    }

    /// Why the filter ended early.
    pub fn failure(&mut self, error: Error) -> Failure {
        self.say_missed();
        early(&error)
    }

    /// Says what is left to be said at the end, and the exit status.
    ///
    /// # Errors
    ///
    /// The failure that ended the filter.
    pub fn end(mut self, unit: &str, summary: Summary) -> Result<u8, Failure> {
        self.say_missed();
        if let Some(fatal) = self.fatal {
            let text = format!("{fatal} (--on-error pass, drop or stderr goes on after it)");
            return Err(Failure { status: status::LINES, text, signal: None });
        }
        let Summary { items, failed } = summary;
        if failed == 0 {
            return Ok(0);
        }
        if self.failing != Failing::Stderr {
            self.say(&format!("{failed} of {items} {unit}s failed"));
        }
        Ok(status::LINES)
    }
}

/// Shows how far a filter is, in the last line of a terminal, until it is dropped.
pub struct Progress {
    /// Closed to end it.
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    pub fn start(handle: PipeHandle, unit: &'static str) -> Progress {
        let (end, ended) = channel::<()>();
        let show = move || {
            let (mut before, mut since) = (0, Instant::now());
            while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
                let Summary { items, failed } = handle.progress();
                let ms = since.elapsed().as_millis().max(1);
                let rate = u128::from(items - before) * 1000 / ms;
                (before, since) = (items, Instant::now());
                let failed = match failed {
                    0 => String::new(),
                    failed => format!(", {failed} failed"),
                };
                say(&format!("{CLEAR}{items} {unit}s, {rate}/s{failed}"));
            }
            say(CLEAR);
        };
        // Without it the filter works as well.
        let thread = std::thread::Builder::new().name("progress".into()).spawn(show).ok();
        Progress { end: Some(end), thread }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.end.take();
        if let Some(thread) = self.thread.take() {
            // It returns nothing, and a panic was printed.
            let _ = thread.join();
        }
    }
}
