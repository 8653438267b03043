//! The program's own words: records of the `log` crate, on standard error.

use std::fmt::Write;

use log::{Level, LevelFilter, Log, Metadata, Record};
use tinyhost::trace::escape::LineWriter;

use super::output::say;

/// `tinyhost: text`
struct Plain;

impl Log for Plain {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn || metadata.target().starts_with("tinyhost")
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let mut line = String::from("tinyhost: ");
            // Writing to a String can't fail.
            let _ = LineWriter(&mut line).write_fmt(*record.args());
            line.push('\n');
            say(&line);
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
