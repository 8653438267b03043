//! The server's words, with time, level and facts.

use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};
use tinyhost::serve::logging::{LogFormat, print};

use crate::cli::journal;

struct Logger {
    format: LogFormat,
    /// The journal reads it, and takes priorities.
    journal: bool,
}

impl Log for Logger {
    /// What libraries below say at their lowest level is of no use to who runs a server.
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tinyhost")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // A standard error that is gone is no reason to end a guest.
        let mut line = Vec::with_capacity(160);
        if self.journal {
            line.extend_from_slice(journal::priority(record.level()).as_bytes());
        }
        let _ = print(&mut line, record, self.format);
        let _ = std::io::stderr().lock().write_all(&line);
    }

    fn flush(&self) {}
}

/// Has records written in this form, down to this level.
pub fn install(format: LogFormat, level: LevelFilter) {
    let journal = journal::reads_stderr();
    crate::cli::logger::install(Logger { format, journal }, level);
}
