//! A tree of tinyhost, by the verbs of its nodes.

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tinyhost::vfs::{self, File, Filetype, Node, Open, Opened, Result, host, mem};

use super::{Answer, Name, Op, Path, Tree};

const READ: Open = Open { read: true, write: false, truncate: false, nonblock: false };
const WRITE: Open = Open { read: false, write: true, truncate: false, nonblock: false };

pub struct Real {
    pub name: &'static str,
    root: Arc<dyn Node>,
    /// Where it is on the host, to be removed.
    directory: Option<std::path::PathBuf>,
}

impl Real {
    pub fn in_memory() -> Real {
        Real { name: "mem", root: mem::tree(Some(16 << 20)), directory: None }
    }

    pub fn of_the_host() -> Real {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("tinyhost-fuzz-{}-{number}", std::process::id());
        // A tree in memory if there is one: a disk would only make it slow.
        let shm = std::path::Path::new("/dev/shm");
        let base = if shm.is_dir() { shm.to_owned() } else { std::env::temp_dir() };
        let directory = base.join(name);
        std::fs::create_dir(&directory).expect("a directory");
        let root = host::open(&directory).expect("a directory");
        Real { name: "host", root, directory: Some(directory) }
    }

    /// The directory of a path. As the walk does, it lets nothing else through. A link on the way is
    /// not followed: that is the walk's.
    fn parent(&self, path: Path) -> Result<Arc<dyn Node>> {
        let Some(name) = path.directory else { return Ok(self.root.clone()) };
        let node = self.root.lookup(of(name))?;
        if node.stat()?.filetype == Filetype::Directory {
            Ok(node)
        } else {
            Err(vfs::Errno::Notdir)
        }
    }

    fn node(&self, path: Path) -> Result<Arc<dyn Node>> {
        self.parent(path)?.lookup(of(path.name))
    }

    fn open(&self, path: Path, how: Open) -> Result<Box<dyn File>> {
        let node = self.node(path)?;
        // The walk never opens a link, and no guest opens a directory for writing.
        match node.stat()?.filetype {
            Filetype::SymbolicLink => Err(vfs::Errno::Loop),
            Filetype::Directory if how.write => Err(vfs::Errno::Isdir),
            _ => node.open(how).and_then(Opened::at_once),
        }
    }

    fn answer(&self, op: Op) -> Result<Answer> {
        let done = |()| Answer::Done;
        match op {
            Op::Create(path) => {
                self.parent(path)?.create(of(path.name), WRITE).map(|_| Answer::Done)
            }
            Op::CreateDirectory(path) => {
                self.parent(path)?.create_directory(of(path.name)).map(done)
            }
            Op::Symlink(path, to) => self.parent(path)?.symlink(of(path.name), to.text()).map(done),
            Op::Link(from, to) => {
                let (from_dir, to_dir) = (self.parent(from)?, self.parent(to)?);
                from_dir.link(of(from.name), &to_dir, of(to.name)).map(done)
            }
            Op::Rename(from, to) => {
                let (from_dir, to_dir) = (self.parent(from)?, self.parent(to)?);
                from_dir.rename(of(from.name), &to_dir, of(to.name)).map(done)
            }
            Op::Unlink(path) => self.parent(path)?.unlink(of(path.name)).map(done),
            Op::RemoveDirectory(path) => {
                self.parent(path)?.remove_directory(of(path.name)).map(done)
            }
            Op::Write(path, at, len) => {
                let bytes = pattern(len);
                let mut file = self.open(path, WRITE)?;
                file.write(&[IoSlice::new(&bytes)], at.into()).map(Answer::Count)
            }
            Op::Append(path, len) => {
                let bytes = pattern(len);
                let (count, end) = self.open(path, WRITE)?.append(&[IoSlice::new(&bytes)])?;
                Ok(Answer::Is('a', count as u64, end))
            }
            Op::Read(path, at, len) => {
                let mut bytes = vec![0xee; len.into()];
                if self.node(path)?.stat()?.filetype == Filetype::Directory {
                    // Backends may answer EBADF, too. Guests see one of both (src/wasi/file.rs).
                    return Err(vfs::Errno::Isdir);
                }
                let mut file = self.open(path, READ)?;
                let count = file.read(&mut [IoSliceMut::new(&mut bytes)], at.into())?;
                bytes.truncate(count);
                Ok(Answer::Bytes(bytes))
            }
            Op::SetLen(path, len) => self.open(path, WRITE)?.set_len(len.into()).map(done),
            Op::Allocate(path, at, len) => {
                self.open(path, WRITE)?.allocate(at.into(), u64::from(len) + 1).map(done)
            }
            Op::Truncate(path) => {
                self.open(path, Open { truncate: true, ..WRITE }).map(|_| Answer::Done)
            }
            Op::Readlink(path) => self.node(path)?.readlink().map(Answer::Text),
            Op::Stat(path) => self.stat(path),
            Op::List(name) => {
                let node = name.map_or(Ok(self.root.clone()), |name| self.root.lookup(of(name)))?;
                if node.stat()?.filetype != Filetype::Directory {
                    return Err(vfs::Errno::Notdir);
                }
                list(&mut *node.open(READ)?.at_once()?)
            }
        }
    }

    fn stat(&self, path: Path) -> Result<Answer> {
        let stat = self.node(path)?.stat()?;
        // How long a directory is, and how many names it has, is each file system's own.
        Ok(match stat.filetype {
            Filetype::Directory => Answer::Is('d', 0, 0),
            other => Answer::Is(letter(other), stat.size, stat.nlink),
        })
    }
}

impl Tree for Real {
    fn run(&mut self, op: Op) -> Answer {
        self.answer(op).unwrap_or_else(Answer::Refused)
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        if let Some(directory) = &self.directory {
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}

fn of(name: Name) -> vfs::Name<'static> {
    vfs::Name::new(name.text()).expect("a name")
}

/// What is written: its length says all of it.
pub fn pattern(len: u8) -> Vec<u8> {
    (0..len).map(|at| at ^ len).collect()
}

fn letter(filetype: Filetype) -> char {
    match filetype {
        Filetype::Directory => 'd',
        Filetype::RegularFile => 'f',
        Filetype::SymbolicLink => 'l',
        _ => '?',
    }
}

fn list(file: &mut dyn File) -> Result<Answer> {
    let mut names = Vec::new();
    file.readdir(0, &mut |entry| {
        let name = String::from_utf8_lossy(entry.name).into_owned();
        if name != "." && name != ".." {
            names.push((name, letter(entry.filetype)));
        }
        true
    })?;
    names.sort();
    Ok(Answer::Names(names))
}
