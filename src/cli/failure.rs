//! Why a command ends before its guest does, and errors of the system in words.

use std::fmt;

/// Exit statuses made by the host.
pub mod status {
    /// Lines of `tinyhost pipe` have failed, or could not be read or written.
    #[cfg(feature = "serve")]
    pub const LINES: u8 = 1;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// The guest's time was up.
    pub const TIMEOUT: u8 = 124;
    /// The guest could not be started.
    pub const NOT_STARTED: u8 = 125;
    /// The guest trapped.
    pub const TRAP: u8 = 134;
    /// The guest came to its limit of memory, fuel or CPU time.
    pub const LIMIT: u8 = 137;
}

/// Why the command ends before the guest does: one line, and the exit status.
#[derive(Debug)]
pub struct Failure {
    /// The exit status.
    pub status: u8,
    /// What happened, and what to do.
    pub text: String,
    /// The signal by which the process then ends.
    pub signal: Option<i32>,
}

impl Failure {
    /// Something typed is wrong.
    pub fn usage(text: impl fmt::Display) -> Failure {
        Failure { status: status::USAGE, text: text.to_string(), signal: None }
    }

    /// Something needed is not there.
    pub fn not_started(text: impl fmt::Display) -> Failure {
        Failure { status: status::NOT_STARTED, text: text.to_string(), signal: None }
    }
}

/// What a command answers.
pub type CliResult<T> = Result<T, Failure>;

/// An error of the system in words, without its number.
pub fn plain(error: &std::io::Error) -> String {
    use rustix::io::Errno;
    if Errno::from_io_error(error) == Some(Errno::MFILE) {
        return "too many open files for this process: raise its limit (ulimit -n)".to_owned();
    }
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut chars = text.chars();
    let first = chars.next().map(|first| first.to_lowercase().to_string());
    first.unwrap_or_default() + chars.as_str()
}

/// What to do about a file that can't be read: `otherwise`, unless it may not be.
pub fn advice<'a>(error: &std::io::Error, otherwise: &'a str) -> &'a str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => "check its permissions",
        _ => otherwise,
    }
}

/// The same for one whose path is all there is to it.
pub fn check(error: &std::io::Error) -> &'static str {
    advice(error, "check the path")
}
