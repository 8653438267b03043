//! `--trace`, `--stats`, `--crash-dir`: what is observed, and where the reports go.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tinyhost::Guest;
use tinyhost::trace::{Sink, TraceFormat, TraceOptions, crash};
use tinyhost::vfs::reach::Reach;

use super::args::{Traced, units};
use super::failure::{CliResult, Failure, plain};
use super::output::{Output, replace, synced, unguessable, unwritten, write_all};
use super::style;

/// Bytes of a buffer that are shown at the most.
const TRACE_BYTES_MAX: u64 = 1 << 20;

/// A trace that is wanted, not opened yet.
pub struct TraceRequest {
    options: TraceOptions,
    file: Option<String>,
}

/// The trace that is asked for, if one is.
///
/// # Errors
///
/// If a word of it means nothing.
pub fn wanted(typed: Traced, several: bool) -> CliResult<Option<TraceRequest>> {
    let others = [&typed.format, &typed.file, &typed.bytes];
    let Some(filter) = typed.filter else {
        return match others.iter().any(|option| option.is_some()) {
            true => Err(Failure::usage(
                "--trace-format, --trace-file and --trace-bytes have no effect without --trace: \
                 add --trace",
            )),
            false => Ok(None),
        };
    };
    let filter = filter.parse().map_err(|error| Failure::usage(format!("--trace: {error}")))?;
    let format = match typed.format.as_deref() {
        None | Some("text") => TraceFormat::Text,
        Some("json") => TraceFormat::Json,
        Some("chrome") => TraceFormat::Chrome,
        Some(other) => {
            let known = "write text, json or chrome";
            return Err(Failure::usage(format!("invalid --trace-format '{other}': {known}")));
        }
    };
    let bytes =
        typed.bytes.as_deref().map_or(Ok(32), |text| units::count("--trace-bytes", text))?;
    let bytes = usize::try_from(bytes.min(TRACE_BYTES_MAX)).unwrap_or(usize::MAX);
    let colours = typed.file.is_none() && style::stderr().colours;
    let options = TraceOptions { filter, format, bytes, who: several, colours };
    Ok(Some(TraceRequest { options, file: typed.file }))
}

/// A trace that is being written.
pub struct OpenTrace {
    pub sink: Arc<Sink>,
    file: Option<(String, File)>,
}

impl TraceRequest {
    /// Opens the file it goes to.
    ///
    /// # Errors
    ///
    /// If that can't be made.
    pub fn open(self, reach: &Reach) -> CliResult<OpenTrace> {
        let Some(path) = self.file else {
            let sink = Sink::new(self.options, Stderr);
            return Ok(OpenTrace { sink, file: None });
        };
        let file = Output::stream(&path, reach)?;
        let again = file.try_clone().ok();
        let to = Reported { path: path.clone(), to: Some(file) };
        let sink = Sink::new(self.options, BufWriter::new(to));
        Ok(OpenTrace { sink, file: again.map(|file| (path, file)) })
    }
}

impl OpenTrace {
    /// Ends it. What of it could not be written is said.
    pub fn finish(&self) {
        self.sink.finish();
        if let Some((path, file)) = &self.file
            && let Err(error) = synced(file)
        {
            log::error!("{}", unwritten(Path::new(path), &error).text);
        }
    }
}

/// Standard error, also where another process has made it non-blocking. That it takes nothing can
/// be said nowhere.
struct Stderr;

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = write_all(std::io::stderr().lock(), bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file whose first error is reported. A trace that can't be written is no reason to end a
/// guest, so what follows is dropped.
struct Reported {
    path: String,
    to: Option<File>,
}

impl Write for Reported {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if let Some(file) = &self.to
            && let Err(error) = write_all(file, bytes)
        {
            self.to = None;
            log::error!("{}", unwritten(Path::new(&self.path), &error).text);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where reports of guests that were ended go: one for each cause.
pub struct Crashes {
    /// As it was typed.
    dir: PathBuf,
    directory: OwnedFd,
    program: String,
    causes: Mutex<HashSet<String>>,
}

/// Different causes that are reported, so that a server's disk is not filled.
const CAUSES_MAX: usize = 100;

impl Crashes {
    /// Makes the directory, if it is not there, and holds it.
    ///
    /// # Errors
    ///
    /// If that is not possible.
    pub fn new(dir: &str, program: &str, reach: &Reach) -> CliResult<Crashes> {
        let dir = PathBuf::from(dir);
        let directory = reach.create_directory(&dir).map_err(|error| unwritten(&dir, &error))?;
        let (program, causes) = (program.to_owned(), Mutex::default());
        Ok(Crashes { dir, directory, program, causes })
    }

    /// Writes the report of a guest. Its path, or `None` if this cause was reported before;
    /// for a report that can't be written, the reason in place of the path.
    pub fn report(&self, why: &str, elapsed: Duration, guest: &Guest) -> Option<String> {
        {
            let mut causes = self.causes.lock().unwrap_or_else(PoisonError::into_inner);
            if causes.len() >= CAUSES_MAX || !causes.insert(why.to_owned()) {
                return None;
            }
        }
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let stem = Path::new(&self.program).file_stem().unwrap_or_default().to_string_lossy();
        let name = format!("crash-{stem}-{time}-{}.txt", unguessable());
        let path = self.dir.join(&name);
        let text = crash::report(&self.program, why, elapsed, guest);
        Some(match replace(&self.directory, OsStr::new(&name), text.as_bytes()) {
            Ok(()) => path.display().to_string(),
            Err(error) => format!("not written: {}: {}", path.display(), plain(&error)),
        })
    }
}
