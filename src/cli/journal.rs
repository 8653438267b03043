//! Whether systemd's journal reads standard error, and the priorities it takes (`sd-daemon(3)`).

use log::Level;

/// Whether standard error is a stream of the journal's: JOURNAL_STREAM says so, unless it has been
/// redirected since. (`systemd.exec(5)`)
pub fn reads_stderr() -> bool {
    let Ok(stream) = std::env::var("JOURNAL_STREAM") else { return false };
    let Ok(stat) = rustix::fs::fstat(std::io::stderr()) else { return false };
    stream == format!("{}:{}", stat.st_dev, stat.st_ino)
}

/// What precedes a line of this level.
pub fn priority(level: Level) -> &'static str {
    match level {
        Level::Error => "<3>",
        Level::Warn => "<4>",
        Level::Info => "<6>",
        Level::Debug | Level::Trace => "<7>",
    }
}
