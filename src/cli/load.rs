//! A program, read and compiled.

use std::path::Path;

use tinyhost::trace::escape::Line;
use tinyhost::{Capturable, CaptureError, Program, ProgramConfig, ProgramError};

use super::failure::{CliResult, Failure, check, plain};
#[cfg(unix)]
use super::fatal_signal;

/// Bytes of the largest module that is read.
const MODULE_BYTES_MAX: u64 = 512 << 20;

/// Reads and compiles a program; `-` is standard input.
///
/// # Errors
///
/// If it can't be read, or is not a program that can run here.
pub fn load(path: &str, config: &ProgramConfig) -> CliResult<Program> {
    load_as(path, |wasm| Program::with(config, wasm))
}

/// Reads a program and makes of it what `compile` does.
///
/// # Errors
///
/// As [`load`].
pub fn load_as(
    path: &str,
    compile: impl FnOnce(Vec<u8>) -> Result<Program, ProgramError>,
) -> CliResult<Program> {
    let wasm = read(path)?;
    compile(wasm).map_err(|error| unfit(path, &error))
}

/// The same for a program whose guest is to be captured. `refused` says what that is for, if it can't
/// be.
///
/// # Errors
///
/// If it can't be read, or is not a program that can run here and be captured.
pub fn load_capturable(path: &str, config: &ProgramConfig, refused: &str) -> CliResult<Capturable> {
    let wasm = read(path)?;
    Capturable::new(config, wasm).map_err(|error| match error {
        CaptureError::Program(error) => unfit(path, &error),
        error => Failure::not_started(format!("{path}: {refused}: {error}")),
    })
}

/// A program can't be used. Names of what it imports are in the text, and its author's.
pub fn unfit(path: &str, error: &dyn std::error::Error) -> Failure {
    Failure::not_started(format!("{path}: {}", Line(&error.to_string())))
}

/// Reads a module.
///
/// # Errors
///
/// If it can't be read.
pub fn read(path: &str) -> CliResult<Vec<u8>> {
    let fail = |text: String| Failure::not_started(format!("{path}: {text}"));
    #[cfg(unix)]
    fatal_signal::set_program(path);
    let unread = |error| fail(format!("can't read the file: {}: {}", plain(&error), hint(&error)));
    let bytes = read_module(path).map_err(unread)?;
    assembled(bytes).map_err(fail)
}

/// Bytes of values and number of frames for a `--stack`.
pub fn stacks(bytes: usize) -> (usize, usize) {
    // About the smallest frame there is.
    (bytes, (bytes / 64).max(1000))
}

fn hint(error: &std::io::Error) -> &'static str {
    match error.kind() {
        std::io::ErrorKind::IsADirectory => "give the path of a .wasm file",
        _ => check(error),
    }
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
    Err("the file is WebAssembly text: convert it with wat2wasm (or wasm-tools parse), or build \
         tinyhost with --features wat"
        .to_owned())
}
