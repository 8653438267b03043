//! A filter: items of a stream go to guests, and the replies come out in the order of the items.
//!
//! An item is a line, or a frame of another [framing](Framing). Each has a guest of its own, which
//! finds the item on its standard input; what it writes is the reply. Guests run on all workers at
//! once, and one that waits does not keep others from running. No more than a window of items is
//! under way, so memory stays flat however long the stream is and however slowly it is read.
//!
//! ```no_run
//! use tinyhost::{Program, pipe::{PipeConfig, Pipe}};
//!
//! let program = Program::new(std::fs::read("filter.wasm")?)?;
//! let pipe = Pipe::new(PipeConfig::new(program, "filter.wasm"))?;
//! let summary = pipe.run(std::io::stdin(), std::io::stdout(), &mut |note| eprintln!("{note}"))?;
//! eprintln!("{} of {} lines failed", summary.failed, summary.items);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # How it works inside
//!
//! ```text
//!   reader (a thread)       Splitter: bytes -> items -> Batch
//!        |                                                      waits while the window is full
//!   Flow: queue             batches, the first item first
//!        |
//!   workers (threads)       a guest for each item: Scheduler, Pool
//!        |                  a guest that does not end in its first slice stays with its worker;
//!        |                  the rest of its batch goes back to the queue
//!   Flow: done              chunks of replies, by the number of their first item
//!        |
//!   writer (the caller)     the chunk whose turn it is; failures are reported in the same order
//! ```

mod batch;
mod config;
mod flow;
mod framing;
mod reader;
mod slot;
mod worker;
mod writer;

use std::fmt;
use std::io::{self, Read, Write};
use std::sync::Arc;
use std::thread;

use crate::sched::Scheduler;
pub use config::{MakeNamespace, OnError, PipeConfig, PostMortem, PrepareItem};
use flow::{Flow, Stop};
pub use framing::Framing;
use reader::Reader;
use worker::{Shared, Worker};
use writer::Writer;
pub use writer::{FailedItem, Note, NoteKind};

/// A filter that is ready to [run](Pipe::run).
pub struct Pipe {
    shared: Arc<Shared>,
    schedulers: Vec<Scheduler>,
    flow: Arc<Flow>,
}

/// Watches or stops a filter from any thread. Cheap to clone.
#[derive(Clone)]
pub struct PipeHandle {
    flow: Arc<Flow>,
}

/// What a filter has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Items that were answered, or have failed.
    pub items: u64,
    /// Those of them that have failed.
    pub failed: u64,
}

/// Why a filter ended before its input did.
#[derive(Debug)]
pub enum Error {
    /// The input can't be read.
    Read(io::Error),
    /// The output can't be written. An output whose reader is gone is no error.
    Write(io::Error),
    /// What came is not of the [framing](Framing): the number of the frame, from 1, and what is
    /// wrong with it. All frames before it were answered.
    Broken(u64, String),
    /// The system has no threads left, or can't poll.
    Worker(io::Error),
}

impl Pipe {
    /// Makes what a filter needs of the system.
    ///
    /// # Errors
    ///
    /// If an argument or variable contains a NUL byte, or the operating system can't create a poll.
    pub fn new(config: PipeConfig) -> io::Result<Pipe> {
        let workers = config.workers.max(1);
        let mut schedulers = Vec::new();
        for _ in 0..workers {
            schedulers.push(Scheduler::new()?);
        }
        let wakers = schedulers.iter().map(Scheduler::waker).collect();
        let flow = Arc::new(Flow::new(config.window_items(), wakers));
        let shared = Arc::new(Shared::new(config)?);
        Ok(Pipe { shared, schedulers, flow })
    }

    /// A handle to watch or stop the filter.
    pub fn handle(&self) -> PipeHandle {
        PipeHandle { flow: self.flow.clone() }
    }

    /// Answers all items of `input` on `output`. Blocks the thread until the input has ended and
    /// all is written, or the filter is stopped. `note` is called on this thread with what guests
    /// write to their standard error and with each failure, in the order of the items, each after
    /// the replies before it were written.
    ///
    /// The input is read on a thread of its own, which ends with the input, or with its next read
    /// after the filter has ended.
    ///
    /// # Errors
    ///
    /// See [`Error`]. What was answered before is written.
    pub fn run(
        self,
        input: impl Read + Send + 'static,
        output: impl Write,
        note: &mut dyn FnMut(Note<'_>),
    ) -> Result<Summary, Error> {
        let Pipe { shared, schedulers, flow } = self;
        let mut threads = Vec::new();
        let reader = Reader::new(&shared.config, flow.clone(), input);
        let spawned = thread::Builder::new().name("input".into()).spawn(move || reader.run());
        let mut result = spawned.map(drop);
        for (index, scheduler) in schedulers.into_iter().enumerate() {
            let name = format!("worker {index}");
            let worker = Worker::new(shared.clone(), flow.clone(), index, scheduler);
            match thread::Builder::new().name(name).spawn(move || worker.run()) {
                Ok(thread) => threads.push(thread),
                Err(error) => result = result.and(Err(error)),
            }
        }
        if let Err(error) = &result {
            flow.stop(Stop::Worker(io::Error::new(error.kind(), error.to_string())));
        }
        let summary = Writer::new(&shared.config, &flow, output, note).run();
        for thread in threads {
            if thread.join().is_err() {
                return Err(Error::Worker(io::Error::other("a worker panicked")));
            }
        }
        summary
    }
}

impl PipeHandle {
    /// What was done so far.
    pub fn progress(&self) -> Summary {
        self.flow.progress()
    }

    /// Ends the filter: nothing more is read or written, and guests are cancelled.
    pub fn stop(&self) {
        self.flow.stop(Stop::Asked);
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Read(error) => write!(f, "can't read the input: {error}"),
            Error::Write(error) => write!(f, "can't write the output: {error}"),
            Error::Broken(number, why) => write!(f, "frame {number}: {why}"),
            Error::Worker(error) => write!(f, "can't run the guests: {error}"),
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Debug for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pipe").field("workers", &self.schedulers.len()).finish_non_exhaustive()
    }
}

impl fmt::Debug for PipeHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").field("progress", &self.progress()).finish()
    }
}
