//! The server's words, with time, level and facts.

use log::{LevelFilter, Log, Metadata, Record};
use tinyhost::serve::logging::{LogFormat, print};

struct Logger(LogFormat);

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
        let _ = print(&mut std::io::stderr().lock(), record, self.0);
    }

    fn flush(&self) {}
}

/// Has records written in this form, down to this level.
pub fn install(format: LogFormat, level: LevelFilter) {
    crate::cli::logger::install(Logger(format), level);
}
