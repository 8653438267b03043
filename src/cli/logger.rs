//! The program's own words: records of the `log` crate, on standard error.

use std::io::Write;

use log::{Level, LevelFilter, Log, Metadata, Record};

/// `tinyhost: text`, one record a line.
struct Plain;

impl Log for Plain {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn || metadata.target().starts_with("tinyhost")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        // A standard error that is gone is no reason to end a guest.
        let _ = writeln!(std::io::stderr().lock(), "tinyhost: {}", record.args());
    }

    fn flush(&self) {}
}

/// For `run`: only what the user should know: warnings, and where tinyhost itself listens
/// or what it could not look up.
pub fn plain() {
    let level = log::set_logger(&Plain).map(|()| LevelFilter::Info);
    log::set_max_level(level.unwrap_or(LevelFilter::Off));
}
