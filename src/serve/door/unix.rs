//! Unix sockets that listen.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net as std_unix;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use mio::net::UnixListener;
use mio::{Interest, Registry, Token};
use rustix::fs::{
    AtFlags, CWD, FileType, FlockOperation, Mode, OFlags, chmod, fchmod, flock, openat, statat,
    unlinkat,
};
use rustix::io::Errno as Os;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, connect, listen, socket};

use super::{Accepted, Local, Source, peercred};
use crate::vfs::net::BACKLOG;
use crate::vfs::{Peer, UnixPeer};

/// How long a socket that no program listens at is watched before it is taken to be left over: between
/// bind(2) and listen(2) that of another server looks the same.
const SETTLE: Duration = Duration::from_millis(50);

/// How often it is tried to take the place of a socket that is left over.
const TRIES: usize = 5;

/// How often the lock of a directory is asked for.
const LOCK_TRIES: usize = 40;

/// See the [module](self).
pub(crate) struct Unix {
    socket: UnixListener,
    path: Arc<Path>,
}

impl Unix {
    /// One more owner of a listening socket.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn new(listener: &std_unix::UnixListener) -> io::Result<Unix> {
        let listener = listener.try_clone()?;
        listener.set_nonblocking(true)?;
        let path = path_of(&listener)?.into();
        Ok(Unix { socket: UnixListener::from_std(listener), path })
    }
}

/// The path of a socket, empty if it has none.
pub(crate) fn path_of(listener: &std_unix::UnixListener) -> io::Result<PathBuf> {
    Ok(listener.local_addr()?.as_pathname().map(Path::to_owned).unwrap_or_default())
}

impl Source for Unix {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        registry.register(&mut self.socket, token, Interest::READABLE)
    }

    fn accept(&mut self) -> io::Result<Accepted> {
        let (stream, _) = self.socket.accept()?;
        let peer = Peer::Unix(UnixPeer { number: number(), credentials: peercred::of(&stream) });
        let local = Local::Unix(self.path.clone());
        Ok(Accepted { wire: Box::new(stream), peer, local, refusal: None })
    }
}

/// The number of one more connection of a Unix socket.
pub(crate) fn number() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    LAST.fetch_add(1, Relaxed) + 1
}

/// The file of a socket that this process has made. It is removed when this is dropped, unless
/// another file has taken its place.
pub(crate) struct Bound {
    path: PathBuf,
    id: FileId,
}

/// Device and inode.
type FileId = (u64, u64);

impl Drop for Bound {
    fn drop(&mut self) {
        if file(&self.path).is_ok_and(|(_, id)| id == self.id) {
            let _ = unlinkat(CWD, &self.path, AtFlags::empty());
        }
    }
}

/// Makes a socket that listens at a path.
///
/// # Errors
///
/// What is in the way, with the path and what to do.
pub(crate) fn listen_at(
    path: &Path,
    mode: Option<u32>,
) -> io::Result<(std_unix::UnixListener, Bound)> {
    let failed =
        |why: &str| io::Error::other(format!("can't listen on unix:{}: {why}", path.display()));
    let addr = SocketAddrUnix::new(path).map_err(|error| match error {
        Os::NAMETOOLONG => {
            failed("the path is too long for a socket (107 bytes on Linux): choose a shorter one")
        }
        error => failed(&plain(error)),
    })?;
    let _lock = lock_directory(path);
    for _ in 0..TRIES {
        let socket = new_socket().map_err(|error| failed(&plain(error)))?;
        if let Some(mode) = mode {
            // Linux makes the file with these, less the umask, so that no one else can connect
            // before the next step.
            let _ = fchmod(&socket, Mode::from_raw_mode(mode as _));
        }
        match bind(&socket, &addr) {
            Ok(()) => {}
            Err(Os::ADDRINUSE) => {
                make_way(path).map_err(|why| failed(&why))?;
                continue;
            }
            Err(error) => return Err(failed(&hint(error))),
        }
        let (_, id) = file(path).map_err(|error| failed(&plain(error)))?;
        let bound = Bound { path: path.to_owned(), id };
        if let Some(mode) = mode {
            chmod(path, Mode::from_raw_mode(mode as _)).map_err(|error| failed(&plain(error)))?;
        }
        listen(&socket, BACKLOG).map_err(|error| failed(&plain(error)))?;
        return Ok((socket.into(), bound));
    }
    Err(failed("another server keeps taking the path: stop it, or choose another path"))
}

fn new_socket() -> rustix::io::Result<OwnedFd> {
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::CLOEXEC)?;
    Ok(socket)
}

fn file(path: &Path) -> rustix::io::Result<(FileType, FileId)> {
    let stat = statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    Ok((FileType::from_raw_mode(stat.st_mode), (stat.st_dev as u64, stat.st_ino as u64)))
}

/// Removes what is at the path, if it is a socket that no program listens at.
///
/// # Errors
///
/// What it is else.
fn make_way(path: &Path) -> Result<(), String> {
    let (kind, id) = match file(path) {
        Ok(found) => found,
        // It was removed meanwhile.
        Err(Os::NOENT) => return Ok(()),
        Err(error) => return Err(plain(error)),
    };
    if kind != FileType::Socket {
        return Err(format!("there is {}: remove it, or choose another path", named(kind)));
    }
    for _ in 0..2 {
        match dial(path) {
            Err(Os::CONNREFUSED) => std::thread::sleep(SETTLE),
            Err(Os::NOENT) => return Ok(()),
            Err(Os::PROTOTYPE) => {
                return Err("there is a socket of another kind: choose another path".into());
            }
            Err(Os::ACCESS | Os::PERM) => {
                return Err("there is a socket, and whether it is in use can't be seen without \
                            permission to connect: choose another path"
                    .into());
            }
            // A full queue belongs to a program.
            Ok(()) | Err(Os::AGAIN | Os::INPROGRESS) => {
                return Err("another program listens there: stop it, or choose another path".into());
            }
            Err(error) => return Err(plain(error)),
        }
    }
    match file(path) {
        Ok((_, found)) if found == id => unlinkat(CWD, path, AtFlags::empty()).map_err(|error| {
            format!("the socket there is left over, and can't be removed: {}", plain(error))
        }),
        // Another one has come meanwhile.
        _ => Ok(()),
    }
}

/// Keeps other servers of this program from a directory, so that of two which find a socket left
/// over one takes its place and the other finds it taken. `None` if that can't be had.
fn lock_directory(path: &Path) -> Option<OwnedFd> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let fd = openat(CWD, directory.unwrap_or(Path::new(".")), flags, Mode::empty()).ok()?;
    // Any user that may read the directory can hold its lock for ever.
    for _ in 0..LOCK_TRIES {
        match flock(&fd, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Some(fd),
            Err(Os::WOULDBLOCK) => std::thread::sleep(SETTLE),
            Err(_) => return None,
        }
    }
    None
}

/// Looks whether a program listens.
fn dial(path: &Path) -> rustix::io::Result<()> {
    let socket = new_socket()?;
    rustix::io::ioctl_fionbio(&socket, true)?;
    connect(&socket, &SocketAddrUnix::new(path)?)
}

fn named(kind: FileType) -> &'static str {
    match kind {
        FileType::RegularFile => "a regular file",
        FileType::Directory => "a directory",
        FileType::Symlink => "a symbolic link",
        FileType::Fifo => "a FIFO",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "something that is not a socket",
    }
}

fn hint(error: Os) -> String {
    let hint = match error {
        Os::NOENT => ": make its directory first",
        Os::ACCESS | Os::PERM | Os::ROFS => ": choose a directory that you may write to",
        Os::NOTDIR => ": a part of the path is not a directory",
        _ => "",
    };
    format!("{}{hint}", plain(error))
}

fn plain(error: Os) -> String {
    crate::vfs::net::plain(&error.into())
}
