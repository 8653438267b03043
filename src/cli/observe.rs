//! `--trace`, `--stats`, `--crash-dir`: what is looked at, and where it is told.

use std::collections::HashSet;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tinyhost::Guest;
use tinyhost::trace::{Format, Options, Sink, crash};

use super::args::units;
use super::{Failure, Outcome, plain, style};

/// Bytes of a buffer that are shown at the most.
const TRACE_BYTES_MAX: u64 = 1 << 20;

/// The options of a trace, as typed.
pub struct Typed<'t> {
    pub filter: Option<&'t str>,
    pub format: Option<&'t str>,
    pub file: Option<&'t str>,
    pub bytes: Option<&'t str>,
}

/// A trace that is wanted, not opened yet.
pub struct Wanted {
    options: Options,
    file: Option<PathBuf>,
}

/// The trace that is asked for, if one is.
///
/// # Errors
///
/// If a word of it means nothing.
pub fn wanted(typed: &Typed<'_>, several: bool) -> Outcome<Option<Wanted>> {
    let others = [typed.format, typed.file, typed.bytes];
    let Some(filter) = typed.filter else {
        return match others.iter().any(Option::is_some) {
            true => Err(Failure::usage(
                "--trace-format, --trace-file and --trace-bytes say how \
                                        --trace[=FILTER] is written: add --trace",
            )),
            false => Ok(None),
        };
    };
    let filter = filter.parse().map_err(|error| Failure::usage(format!("--trace: {error}")))?;
    let format = match typed.format {
        None | Some("text") => Format::Text,
        Some("json") => Format::Json,
        Some("chrome") => Format::Chrome,
        Some(other) => {
            let known = "write text, json or chrome";
            return Err(Failure::usage(format!("--trace-format '{other}': {known}")));
        }
    };
    let bytes = typed.bytes.map_or(Ok(32), |text| units::count("--trace-bytes", text))?;
    let bytes = usize::try_from(bytes.min(TRACE_BYTES_MAX)).unwrap_or(usize::MAX);
    let colours = typed.file.is_none() && style::stderr().colours;
    let options = Options { filter, format, bytes, who: several, colours };
    Ok(Some(Wanted { options, file: typed.file.map(PathBuf::from) }))
}

impl Wanted {
    /// Opens the file it goes to.
    ///
    /// # Errors
    ///
    /// If that can't be made.
    pub fn open(self) -> Outcome<Arc<Sink>> {
        let to: Box<dyn Write + Send> = match &self.file {
            Some(path) => {
                let file = std::fs::File::create(path).map_err(|error| unwritten(path, &error))?;
                Box::new(BufWriter::new(file))
            }
            None => Box::new(std::io::stderr()),
        };
        Ok(Sink::new(self.options, to))
    }
}

/// Whether a file can be written, which is found out by opening it; what is in it stays.
///
/// # Errors
///
/// If it can't be.
pub fn writable(path: &Path) -> Outcome<()> {
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(false).open(path);
    file.map(drop).map_err(|error| unwritten(path, &error))
}

/// A file the operator wants can't be written.
pub fn unwritten(path: &Path, error: &std::io::Error) -> Failure {
    let (path, error) = (path.display(), plain(error));
    Failure::not_started(format!("{path}: can't be written: {error}: choose another path"))
}

/// Where reports of guests that were ended go: one for each cause.
pub struct Crashes {
    dir: PathBuf,
    program: String,
    causes: Mutex<HashSet<String>>,
}

/// Different causes that are reported, so that a server's disk is not filled.
const CAUSES_MAX: usize = 100;

impl Crashes {
    /// Makes the directory, if it is not there.
    ///
    /// # Errors
    ///
    /// If that is not possible.
    pub fn new(dir: &str, program: &str) -> Outcome<Crashes> {
        let dir = PathBuf::from(dir);
        std::fs::create_dir_all(&dir).map_err(|error| unwritten(&dir, &error))?;
        let (program, causes) = (program.to_owned(), Mutex::default());
        Ok(Crashes { dir, program, causes })
    }

    /// Writes the report of a guest. Its path, or `None` if this cause was reported before;
    /// a report that can't be written is told as such, in place of the path.
    pub fn report(&self, why: &str, elapsed: Duration, guest: &Guest) -> Option<String> {
        let number = {
            let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
            if causes.len() >= CAUSES_MAX || !causes.insert(why.to_owned()) {
                return None;
            }
            causes.len()
        };
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let stem = Path::new(&self.program).file_stem().unwrap_or_default().to_string_lossy();
        // WASI has no processes, and the standard library panics if it is asked for one.
        let process = if cfg!(target_family = "wasm") { 0 } else { std::process::id() };
        let path = self.dir.join(format!("crash-{stem}-{time}-{process}-{number}.txt"));
        let text = crash::report(&self.program, why, elapsed, guest);
        Some(match std::fs::write(&path, text) {
            Ok(()) => path.display().to_string(),
            Err(error) => format!("not written: {}: {}", path.display(), plain(&error)),
        })
    }
}
