//! The writer: replies in the order of the items, and what is to be said of them.

use std::fmt;
use std::io::{self, Write};

use super::batch::{Chunk, Saying};
use super::config::{OnError, PipeConfig};
use super::flow::{Flow, InputEnd, Stop, WriterWork};
use super::framing::Framing;
use super::{Error, Summary};

/// What is collected before it is written. A larger piece is written directly.
const COLLECT: usize = 64 << 10;

/// An item that has failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailedItem {
    /// Its number, from 1.
    pub number: u64,
    /// The reason, in words.
    pub why: String,
}

/// What is to be said while a filter runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note<'a> {
    /// What an item is called: line or frame.
    pub unit: &'static str,
    /// What it is about.
    pub kind: NoteKind<'a>,
}

/// See [`Note`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoteKind<'a> {
    /// A guest has written this to its standard error: the number of its item, and a line without
    /// its newline.
    Errors(u64, &'a [u8]),
    /// An item has failed.
    Failed(&'a FailedItem),
}

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            NoteKind::Errors(number, text) => {
                write!(f, "{} {number}: {}", self.unit, String::from_utf8_lossy(text))
            }
            NoteKind::Failed(failure) => {
                write!(f, "{} {}: {}", self.unit, failure.number, failure.why)
            }
        }
    }
}

/// See the [module](self).
pub(super) struct Writer<'a, W> {
    flow: &'a Flow,
    framing: Framing,
    fail: bool,
    output: W,
    note: &'a mut dyn FnMut(Note<'_>),
    collected: Vec<u8>,
}

impl<'a, W: Write> Writer<'a, W> {
    pub fn new(
        config: &PipeConfig,
        flow: &'a Flow,
        output: W,
        note: &'a mut dyn FnMut(Note<'_>),
    ) -> Writer<'a, W> {
        let fail = config.on_error == OnError::Fail;
        Writer { flow, framing: config.framing, fail, output, note, collected: Vec::new() }
    }

    /// Writes until all is written, or the filter is stopped.
    pub fn run(mut self) -> Result<Summary, Error> {
        let result = self.write_all();
        // However it ends, the others end with it.
        self.flow.stop(Stop::Asked);
        match result {
            Err(Error::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {}
            other => other?,
        }
        Ok(self.flow.progress())
    }

    fn write_all(&mut self) -> Result<(), Error> {
        loop {
            match self.flow.next_output() {
                WriterWork::Chunks(chunks) => {
                    if self.chunks(chunks)? {
                        return Ok(());
                    }
                }
                WriterWork::End(InputEnd::Whole) | WriterWork::Stopped(Stop::Asked) => {
                    return Ok(());
                }
                WriterWork::End(InputEnd::Failed(error)) => return Err(Error::Read(error)),
                WriterWork::End(InputEnd::Broken(number, why)) => {
                    return Err(Error::Broken(number, why));
                }
                WriterWork::Stopped(Stop::Worker(error)) => return Err(Error::Worker(error)),
            }
        }
    }

    /// Writes what has come. Says whether it was the last.
    fn chunks(&mut self, chunks: Vec<Chunk>) -> Result<bool, Error> {
        let (mut bytes, mut items, mut failed) = (0, 0, 0);
        let mut over = false;
        for mut chunk in chunks {
            bytes += chunk.size();
            let notes = std::mem::take(&mut chunk.notes);
            let mut at = 0;
            for (end, saying) in notes {
                self.collect(&chunk.output[at..end])?;
                at = end;
                self.flush()?;
                if let Saying::Failed(_) = saying {
                    failed += 1;
                    over = self.fail;
                }
                self.say(saying);
            }
            items += chunk.items;
            if over {
                break;
            }
            self.collect(&chunk.output[at..])?;
        }
        self.flush()?;
        self.flow.wrote(bytes, items, failed);
        Ok(over)
    }

    fn say(&mut self, saying: Saying) {
        let unit = self.framing.unit();
        match saying {
            Saying::Failed(failure) => {
                (self.note)(Note { unit, kind: NoteKind::Failed(&failure) });
            }
            Saying::Errors(number, text) => {
                let text = text.strip_suffix(b"\n").unwrap_or(&text);
                for line in text.split(|byte| *byte == b'\n') {
                    (self.note)(Note { unit, kind: NoteKind::Errors(number, line) });
                }
            }
        }
    }

    fn collect(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.collected.len() + bytes.len() > COLLECT {
            self.flush()?;
        }
        if bytes.len() > COLLECT {
            return self.output.write_all(bytes).map_err(Error::Write);
        }
        self.collected.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        if !self.collected.is_empty() {
            self.output.write_all(&self.collected).map_err(Error::Write)?;
            self.collected.clear();
        }
        self.output.flush().map_err(Error::Write)
    }
}
