//! The command line: what was typed, and what is meant by it.
//!
//! [`args`] says what can be typed; every word of it is checked before anything is opened,
//! bound or started.

pub mod args;
mod grant;
pub mod help;
mod logger;
mod observe;
pub mod output;
mod run;
#[cfg(feature = "serve")]
mod serve;
pub mod style;

use std::env::VarError;
use std::fmt;
use std::path::Path;

use tinyhost::trace::escape::Line;
use tinyhost::{Config, Program};

pub use run::{run, signals};
#[cfg(feature = "serve")]
pub use serve::serve;

/// Exit statuses made by the host.
pub mod status {
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
pub type Outcome<T> = Result<T, Failure>;

/// Bytes of the largest module that is read.
const MODULE_BYTES_MAX: u64 = 512 << 20;

/// Reads and compiles a program; `-` is standard input.
fn load(path: &str, config: &Config) -> Outcome<Program> {
    let fail = |text: String| Failure::not_started(format!("{path}: {text}"));
    let bytes = read_module(path)
        .map_err(|error| fail(format!("can't be read: {}: {}", plain(&error), check(&error))))?;
    let wasm = assembled(bytes).map_err(fail)?;
    // Names of what it imports are in it, and its author's.
    Program::with(config, wasm).map_err(|error| fail(Line(&error.to_string()).to_string()))
}

/// Bytes of values and number of frames for a `--stack`.
fn stacks(bytes: usize) -> (usize, usize) {
    // About the smallest frame there is.
    (bytes, (bytes / 64).max(1000))
}

fn read_module(path: &str) -> std::io::Result<Vec<u8>> {
    use std::io::{Error, ErrorKind, Read};
    let (source, len): (Box<dyn Read>, u64) = if path == "-" {
        (Box::new(std::io::stdin().lock()), 0)
    } else {
        let file = std::fs::File::open(Path::new(path))?;
        let metadata = file.metadata()?;
        if metadata.is_dir() {
            return Err(Error::new(ErrorKind::IsADirectory, "it is a directory"));
        }
        (Box::new(file), metadata.len())
    };
    // One more than there is, so that the end is seen without another piece of room.
    let len = len.min(MODULE_BYTES_MAX) + 1;
    let mut wasm = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
    source.take(MODULE_BYTES_MAX + 1).read_to_end(&mut wasm)?;
    if wasm.len() as u64 > MODULE_BYTES_MAX {
        return Err(Error::new(ErrorKind::FileTooLarge, "it is larger than 512 MiB"));
    }
    Ok(wasm)
}

/// A module in text, which begins with a parenthesis or a comment, as a binary.
fn assembled(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let start = bytes.trim_ascii_start();
    if !(start.starts_with(b"(") || start.starts_with(b";;")) {
        return Ok(bytes);
    }
    #[cfg(feature = "wat")]
    {
        wat::parse_bytes(&bytes)
            .map(std::borrow::Cow::into_owned)
            .map_err(|error| error.to_string())
    }
    #[cfg(not(feature = "wat"))]
    Err("it is a module in text: convert it with wat2wasm (or wasm-tools parse), or build \
         tinyhost with --features wat"
        .to_owned())
}

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
fn advice<'a>(error: &std::io::Error, otherwise: &'a str) -> &'a str {
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => "check its permissions",
        _ => otherwise,
    }
}

/// The same for one whose path is all there is to it.
fn check(error: &std::io::Error) -> &'static str {
    advice(error, "check the path")
}

/// `K=V`, or `K` to pass the host's own on; a variable the host does not have is left out.
///
/// # Errors
///
/// For one without a name, and for one of the host's that a guest can't have as it is.
fn environment(texts: &[String]) -> Outcome<Vec<(String, String)>> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for text in texts {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => match std::env::var(text) {
                Err(VarError::NotUnicode(_)) => {
                    return Err(Failure::usage(format!(
                        "--env {text}: its value is not UTF-8: write --env {text}=VALUE"
                    )));
                }
                value => (text.as_str(), value.ok()),
            },
        };
        if key.is_empty() {
            return Err(Failure::usage(format!(
                "--env '{text}' has no name: write --env NAME=VALUE, or --env NAME"
            )));
        }
        // The last one said wins, as in env(1).
        variables.retain(|(there, _)| there != key);
        variables.extend(value.map(|value| (key.to_owned(), value)));
    }
    Ok(variables)
}
