//! The program's own words: records of the `log` crate, on standard error.

use std::io::Write;

use log::{Level, LevelFilter, Log, Metadata, Record};

/// `tinyhost: text`
struct Plain;

impl Log for Plain {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn || metadata.target().starts_with("tinyhost")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            // A standard error that is gone is no reason to end a guest.
            let _ = writeln!(std::io::stderr().lock(), "tinyhost: {}", record.args());
        }
    }

    fn flush(&self) {}
}

/// Has records written by `logger`, down to this level.
pub fn install(logger: impl Log + 'static, level: LevelFilter) {
    // Only one is ever installed in a process.
    if log::set_boxed_logger(Box::new(logger)).is_ok() {
        log::set_max_level(level);
    }
}

/// For `run`: what the user should know, which is where the guest listens, too.
pub fn plain() {
    install(Plain, LevelFilter::Info);
}
