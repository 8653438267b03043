//! The program's own words: records of the `log` crate, on standard error.

use std::io::Write;

use log::{LevelFilter, Log, Metadata, Record};

/// `tinyhost: text`, one record a line.
struct Plain;

impl Log for Plain {
    fn enabled(&self, _metadata: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        // A standard error that is gone is no reason to end a guest.
        let _ = writeln!(std::io::stderr().lock(), "tinyhost: {}", record.args());
    }

    fn flush(&self) {}
}

/// For `run`: only what the user should know.
pub fn plain() {
    let level = log::set_logger(&Plain).map(|()| LevelFilter::Warn);
    log::set_max_level(level.unwrap_or(LevelFilter::Off));
}
