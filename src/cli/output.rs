//! What is written for the operator: lines on the standard streams, and files.
//!
//! A guest can't end the program by way of these, nor lead them anywhere: a stream that takes
//! nothing is given up, and a file is made by its name in a directory that is opened before the
//! guest runs, whatever links are there.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno as Os;
use tinyhost::vfs::reach::{HeldName, Planted, Reach};

use super::failure::{CliResult, Failure, plain};

/// Writes to standard error. That it can't be written to is no reason to do anything else.
pub fn say(text: &str) {
    let _ = write_all(std::io::stderr().lock(), text.as_bytes());
}

/// Writes all of it, also to a descriptor that another process has made non-blocking.
///
/// # Errors
///
/// Those of write(2).
pub fn write_all(mut to: impl Write + AsFd, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match to.write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => bytes = &bytes[n..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => wait_for_room(&to)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    to.flush()
}

fn wait_for_room(to: &impl AsFd) -> io::Result<()> {
    use rustix::event::{PollFd, PollFlags, poll};
    match poll(&mut [PollFd::new(to, PollFlags::OUT)], None) {
        Ok(_) | Err(Os::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// A file that the operator asked for, found before the guest runs.
pub struct Output {
    path: PathBuf,
    to: To,
}

enum To {
    /// Written beside the old one, and renamed: it is there whole, or not at all.
    Replaced(HeldName),
    /// What is no regular file (a pipe, a terminal), or is in a directory that can't be written.
    Open(File),
}

impl Output {
    /// A file that is to be written whole at the end.
    ///
    /// # Errors
    ///
    /// If it can't be written.
    pub fn new(path: &str, reach: &Reach) -> CliResult<Output> {
        let path = PathBuf::from(path);
        let to = find(&path, reach).map_err(|error| unwritten(&path, &error))?;
        Ok(Output { path, to })
    }

    /// Opens a file to be written bit by bit.
    ///
    /// # Errors
    ///
    /// If it can't be made.
    pub fn stream(path: &str, reach: &Reach) -> CliResult<File> {
        let path = Path::new(path);
        stream(path, reach).map_err(|error| unwritten(path, &error))
    }

    /// Writes it.
    ///
    /// # Errors
    ///
    /// If that is not possible.
    pub fn write(&self, bytes: &[u8]) -> CliResult<()> {
        let written = match &self.to {
            To::Replaced(place) => replace(&place.directory, &place.name, bytes),
            To::Open(file) => overwrite(file, bytes),
        };
        written.map_err(|error| unwritten(&self.path, &error))
    }
}

/// A file the operator wants can't be written.
pub fn unwritten(path: &Path, error: &io::Error) -> Failure {
    let (path, text) = (path.display(), plain(error));
    let hint = match Planted::is_cause(error) {
        true => "give the path that the link leads to",
        false => "choose another path",
    };
    Failure::not_started(format!("{path}: can't write the file: {text}: {hint}"))
}

/// What there is at a place.
fn kind(place: &HeldName) -> io::Result<Option<FileType>> {
    match rustix::fs::statat(&place.directory, &place.name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Os::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn find(path: &Path, reach: &Reach) -> io::Result<To> {
    let place = reach.locate(path)?;
    match kind(&place)? {
        Some(FileType::Directory) => return Err(Os::ISDIR.into()),
        None | Some(FileType::RegularFile) => {}
        Some(FileType::Symlink) if place.reached => {}
        // A link that no guest has made is followed; so is one of /proc/self/fd.
        Some(FileType::Symlink) => return open(&place, OFlags::empty()).map(To::Open),
        Some(_) => return open(&place, OFlags::NOFOLLOW).map(To::Open),
    }
    match probe(&place.directory) {
        Ok(()) => Ok(To::Replaced(place)),
        Err(Os::ACCESS | Os::PERM | Os::ROFS) => open(&place, OFlags::NOFOLLOW).map(To::Open),
        Err(error) => Err(error.into()),
    }
}

fn stream(path: &Path, reach: &Reach) -> io::Result<File> {
    let place = reach.locate(path)?;
    match kind(&place)? {
        None => open(&place, OFlags::NOFOLLOW | OFlags::CREATE | OFlags::EXCL),
        // Not cut: its other names may lead to what is not the guest's.
        Some(FileType::RegularFile | FileType::Symlink) if place.reached => {
            let (name, file) = create(&place.directory, Path::new("trace"))?;
            rename(&place.directory, &name, &place.name)?;
            Ok(file)
        }
        Some(FileType::Symlink) => open(&place, OFlags::TRUNC),
        Some(_) => open(&place, OFlags::NOFOLLOW | OFlags::TRUNC),
    }
}

fn open(place: &HeldName, flags: OFlags) -> io::Result<File> {
    let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC | flags;
    let mode = Mode::from_raw_mode(0o666);
    Ok(rustix::fs::openat(&place.directory, &place.name, flags, mode)?.into())
}

/// Whether files can be made in a directory.
fn probe(directory: &OwnedFd) -> Result<(), Os> {
    let (name, _) = create(directory, Path::new("probe"))?;
    rustix::fs::unlinkat(directory, &name, AtFlags::empty())
}

/// Makes a file whose name no guest can know before, or have put a link at.
fn create(directory: &OwnedFd, stem: &Path) -> Result<(String, File), Os> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let name = format!(".{}-{}.tmp", stem.display(), unguessable());
    let file = rustix::fs::openat(directory, &name, flags, Mode::from_raw_mode(0o666))?;
    Ok((name, file.into()))
}

fn rename(directory: &OwnedFd, from: &str, to: &OsStr) -> Result<(), Os> {
    let renamed = rustix::fs::renameat(directory, from, directory, to);
    if renamed.is_err() {
        // One error is enough.
        let _ = rustix::fs::unlinkat(directory, from, AtFlags::empty());
    }
    renamed
}

/// Puts a file with these bytes in the place of what is at `name`; a link there is replaced
/// itself.
///
/// # Errors
///
/// If that is not possible. What was there is still there.
pub fn replace(directory: &OwnedFd, name: &OsStr, bytes: &[u8]) -> io::Result<()> {
    let (temporary, file) = create(directory, Path::new("tinyhost"))?;
    if let Ok(before) = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
        && FileType::from_raw_mode(before.st_mode) == FileType::RegularFile
    {
        keep_mode(&file, before.st_mode);
    }
    let written = overwrite(&file, bytes);
    if written.is_err() {
        let _ = rustix::fs::unlinkat(directory, &temporary, AtFlags::empty());
        return written;
    }
    Ok(rename(directory, &temporary, name)?)
}

#[cfg(unix)]
fn keep_mode(file: &File, mode: rustix::fs::RawMode) {
    // As well as it goes: another user's file has another owner now.
    let _ = rustix::fs::fchmod(file, Mode::from_raw_mode(mode));
}

/// WASI has no modes.
#[cfg(not(unix))]
fn keep_mode(_file: &File, _mode: rustix::fs::RawMode) {}

/// Writes a file whole, from its beginning.
fn overwrite(file: &File, bytes: &[u8]) -> io::Result<()> {
    let regular = file.metadata()?.is_file();
    if regular {
        file.set_len(0)?;
    }
    write_all(file, bytes)?;
    if regular { synced(file) } else { Ok(()) }
}

/// Has the disk take what was written: it may say only now that it is full, or gone.
///
/// # Errors
///
/// Those of fsync(2), but that there is no such thing for this file.
pub fn synced(file: &File) -> io::Result<()> {
    match rustix::fs::fsync(file) {
        Err(Os::INVAL | Os::ROFS | Os::NOTSUP | Os::BADF) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// 64 random bits, as hexadecimal digits.
pub fn unguessable() -> String {
    let mut bytes = [0; 8];
    // Without randomness a name may be guessed, but never leads through a link: it is made
    // exclusively, and fails instead.
    let _ = getrandom::fill(&mut bytes);
    format!("{:016x}", u64::from_ne_bytes(bytes))
}
