//! The host's own files, where guests can change the directories that lead to them.
//!
//! What the host opens for its operator (reports, learned policies, traces, sockets) may lie in a
//! directory that is mounted. A symbolic link there can be a guest's: following it would open,
//! with the host's rights, what the guest has no right to.

use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, Stat, fstat, mkdirat, openat, readlinkat};
use rustix::io::{Errno as Os, retry_on_intr};

/// Links that are followed in one path, as the kernel does.
const LINKS_MAX: usize = 40;

/// Directories between a file and the root of the host that are asked for.
const DEPTH_MAX: usize = 4096;

/// O_PATH asks nothing of a directory but that it is one.
#[cfg(target_os = "linux")]
const WALK: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
#[cfg(not(target_os = "linux"))]
const WALK: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Directories of the host that guests can change. No link in one of them, or below, is
/// followed when a path of the operator's is opened.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Device and inode of each: its name means nothing.
    directories: Vec<(u64, u64)>,
}

/// A name in a directory that is held open: wherever that is moved, the name stays in it.
#[derive(Debug)]
pub struct HeldName {
    /// The directory.
    pub directory: OwnedFd,
    /// The name in it, of a file that may or may not be there.
    pub name: OsString,
    /// Guests can change the directory. If the name is a link, a guest may have made it.
    pub reached: bool,
}

/// A link that a guest may have made was in the way.
#[derive(Debug)]
pub struct Planted(OsString);

impl fmt::Display for Planted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is a link in a directory that a guest can change", self.0)
    }
}

impl std::error::Error for Planted {}

impl Planted {
    fn error(name: OsString) -> io::Error {
        io::Error::other(Planted(name))
    }

    /// Whether this is why a path could not be opened.
    pub fn is_cause(error: &io::Error) -> bool {
        error.get_ref().is_some_and(|inner| inner.is::<Planted>())
    }
}

/// What is done about a directory that is not there.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    Refuse,
    Create,
}

impl Reach {
    /// Adds a directory.
    ///
    /// # Errors
    ///
    /// Those of open(2).
    pub fn add(&mut self, directory: &Path) -> io::Result<()> {
        // Under WASI the host is a guest itself, and is kept inside by its own.
        if !cfg!(target_os = "wasi") {
            let fd = openat(CWD, directory, WALK, Mode::empty())?;
            self.directories.push(identity(&fstat(&fd)?));
        }
        Ok(())
    }

    /// Whether no guest can change anything.
    pub fn is_empty(&self) -> bool {
        self.directories.is_empty()
    }

    /// Opens the directory at `path`, for names in it to be opened.
    ///
    /// # Errors
    ///
    /// Those of open(2), and [`Planted`].
    pub fn open_directory(&self, path: &Path) -> io::Result<OwnedFd> {
        self.walk(path, Missing::Refuse)
    }

    /// As [`open_directory`](Reach::open_directory), making what is not there.
    ///
    /// # Errors
    ///
    /// Those of mkdir(2) and open(2), and [`Planted`].
    pub fn create_directory(&self, path: &Path) -> io::Result<OwnedFd> {
        self.walk(path, Missing::Create)
    }

    /// The place that `path` names. A link there is followed if no guest can have made it, and
    /// is not itself a name of an open file, as those of `/proc/self/fd` are.
    ///
    /// # Errors
    ///
    /// Those of open(2), and [`Planted`] for a link on the way. A link at the end is no error:
    /// [`HeldName::reached`] says that it is not to be followed.
    pub fn locate(&self, path: &Path) -> io::Result<HeldName> {
        let mut path = path.to_owned();
        let mut base = None;
        for _ in 0..LINKS_MAX {
            let name = match path.components().next_back() {
                Some(Component::Normal(name)) => name.to_owned(),
                _ => return Err(Os::ISDIR.into()),
            };
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = parent.unwrap_or(Path::new("."));
            let directory = self.walk_from(base.take(), parent, Missing::Refuse)?;
            let reached = self.covers(&directory)?;
            let place = HeldName { directory, name, reached };
            if self.is_empty() || reached || is_proc(&place.directory) {
                return Ok(place);
            }
            match link(&place.directory, &place.name)? {
                None => return Ok(place),
                Some(text) => path = text.into(),
            }
            base = Some(place.directory);
        }
        Err(Os::LOOP.into())
    }

    /// Opens the file at `path` for reading.
    ///
    /// # Errors
    ///
    /// Those of open(2), and [`Planted`].
    pub fn open_file(&self, path: &Path) -> io::Result<std::fs::File> {
        if self.is_empty() {
            return std::fs::File::open(path);
        }
        let HeldName { directory, name, reached } = self.locate(path)?;
        if reached && link(&directory, &name)?.is_some() {
            return Err(Planted::error(name));
        }
        // What is a link still is one of /proc.
        let follow = if reached { OFlags::NOFOLLOW } else { OFlags::empty() };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | follow;
        Ok(openat(&directory, &name, flags, Mode::empty())?.into())
    }

    fn walk(&self, path: &Path, missing: Missing) -> io::Result<OwnedFd> {
        self.walk_from(None, path, missing)
    }

    /// Opens a directory, one name after the other.
    fn walk_from(
        &self,
        base: Option<OwnedFd>,
        path: &Path,
        missing: Missing,
    ) -> io::Result<OwnedFd> {
        if self.is_empty() && missing == Missing::Refuse {
            return Ok(match &base {
                Some(base) => openat(base, path, WALK, Mode::empty())?,
                None => openat(CWD, path, WALK, Mode::empty())?,
            });
        }
        let mut here = match base {
            Some(base) if !path.has_root() => base,
            _ => {
                let start = if path.has_root() { "/" } else { "." };
                openat(CWD, start, WALK, Mode::empty())?
            }
        };
        let mut left = parts(path);
        let mut links = 0;
        while let Some(name) = left.pop() {
            let error = match openat(&here, &name, WALK | OFlags::NOFOLLOW, Mode::empty()) {
                Ok(next) => {
                    here = next;
                    continue;
                }
                Err(error) => error,
            };
            if error == Os::NOENT && missing == Missing::Create {
                match mkdirat(&here, &name, Mode::from_raw_mode(0o777)) {
                    Ok(()) | Err(Os::EXIST) => left.push(name),
                    Err(error) => return Err(error.into()),
                }
                // Bounded: what is made and removed again and again is an attack.
                links += 1;
            } else {
                let text = link(&here, &name)?.ok_or(error)?;
                if self.covers(&here)? {
                    return Err(Planted::error(name));
                }
                links += 1;
                let text = Path::new(&text);
                if text.has_root() {
                    here = openat(CWD, "/", WALK, Mode::empty())?;
                }
                left.extend(parts(text));
            }
            if links > LINKS_MAX + DEPTH_MAX * usize::from(missing == Missing::Create) {
                return Err(Os::LOOP.into());
            }
        }
        Ok(here)
    }

    /// Whether a directory is one of these, or below one.
    fn covers(&self, directory: &OwnedFd) -> io::Result<bool> {
        if self.is_empty() {
            return Ok(false);
        }
        let mut at = identity(&fstat(directory)?);
        let mut above: Option<OwnedFd> = None;
        for _ in 0..DEPTH_MAX {
            if self.directories.contains(&at) {
                return Ok(true);
            }
            let here = above.as_ref().unwrap_or(directory);
            let parent = openat(here, "..", WALK, Mode::empty())?;
            let next = identity(&fstat(&parent)?);
            if next == at {
                return Ok(false);
            }
            at = next;
            above = Some(parent);
        }
        // No file lies so deep by chance.
        Ok(true)
    }
}

/// The names of a path, the last first.
fn parts(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(name).collect()
}

/// The text of a link; `None` if it is none, or nothing.
fn link(directory: impl AsFd, name: &OsString) -> io::Result<Option<OsString>> {
    match retry_on_intr(|| readlinkat(&directory, name, Vec::new())) {
        Ok(text) => Ok(Some(text_of(text.into_bytes()))),
        Err(Os::INVAL | Os::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

#[cfg(unix)]
fn text_of(bytes: Vec<u8>) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes)
}

#[cfg(target_os = "wasi")]
fn text_of(bytes: Vec<u8>) -> OsString {
    std::os::wasi::ffi::OsStringExt::from_vec(bytes)
}

#[allow(clippy::unnecessary_cast, reason = "the fields' types differ between systems")]
fn identity(stat: &Stat) -> (u64, u64) {
    (stat.st_dev as u64, stat.st_ino as u64)
}

/// Whether links in this directory lead to open files, whatever their text is.
fn is_proc(directory: &OwnedFd) -> bool {
    #[cfg(target_os = "linux")]
    return rustix::fs::fstatfs(directory)
        .is_ok_and(|stat| stat.f_type == rustix::fs::PROC_SUPER_MAGIC);
    #[cfg(not(target_os = "linux"))]
    {
        let _ = directory;
        false
    }
}
