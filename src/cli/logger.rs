//! The program's own words: records of the `log` crate, on standard error.

use std::io::Write;

use log::{Level, LevelFilter, Log, Metadata, Record};
use tinyhost::serve::log::{Format, print};

/// How records look.
enum Logger {
    /// `tinyhost: text`
    Plain,
    /// With time, level and facts.
    Full(Format),
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        match self {
            Logger::Plain => {
                metadata.level() <= Level::Warn || metadata.target().starts_with("tinyhost")
            }
            Logger::Full(_) => true,
        }
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut out = std::io::stderr().lock();
        // A standard error that is gone is no reason to end a guest.
        let _ = match self {
            Logger::Plain => writeln!(out, "tinyhost: {}", record.args()),
            Logger::Full(format) => print(&mut out, record, *format),
        };
    }

    fn flush(&self) {}
}

fn install(logger: Logger, level: LevelFilter) {
    // Only one is ever installed in a process.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
}

/// For `run`: what the user should know, which is where the guest listens, too.
pub fn plain() {
    install(Logger::Plain, LevelFilter::Info);
}

/// For `serve`.
pub fn full(format: Format, level: LevelFilter) {
    install(Logger::Full(format), level);
}
