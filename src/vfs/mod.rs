//! The virtual filesystem: nodes, files, and the backends that implement them.
//!
//! There are two levels, as in Unix. A [`Node`] is an inode: it has a name, is shared, and knows
//! no guest. [`Node::open`] returns a [`File`], an open file description, which the descriptor of
//! one guest owns. Offset, append mode, rights and flags belong to the descriptor.
//!
//! # The contract
//!
//! *Nothing here blocks.* A read without data returns [`Errno::Again`]. That means: nothing was
//! done, nothing has changed, call again with the same arguments once [`File::ready`] succeeds.
//! Readiness is separate from data. A wake may be spurious; a missing wake is a bug. Regular files
//! of the host are the exception: Unix has no readiness for them, so their reads and writes go to
//! the kernel directly.
//!
//! *A directory never sees a path.* It looks up one [`Name`] at a time. Only [`walk`] knows `..`,
//! symbolic links and mount points, so no path can lead out of a backend's tree.
//!
//! *What a node can't do has its own errno.* The default of each method returns ENOTDIR, ENOTSOCK,
//! ESPIPE and so on, as the same call does on Unix.

pub(crate) mod charge;
mod covers;
pub mod dev;
#[cfg(feature = "host-fs")]
pub mod host;
mod listing;
pub mod mem;
mod memo;
mod name;
pub mod namespace;
#[cfg(all(unix, feature = "net"))]
pub mod net;
mod opened;
#[doc(hidden)]
pub mod path;
mod peer;
pub mod pipe;
mod place;
#[cfg(all(any(unix, target_os = "wasi"), any(feature = "net", feature = "host-fs")))]
pub mod reach;
mod readonly;
mod ready;
pub(crate) mod stat;
pub mod stdio;
mod stepping;
#[cfg(all(any(unix, target_os = "wasi"), any(feature = "net", feature = "host-fs")))]
mod system;
#[cfg(feature = "tar")]
pub mod tar;
pub mod walk;
mod whole;

use std::any::Any;
use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;
use std::task::Waker;

pub use crate::errno::Errno;
pub use memo::{Asker, Memo, Question};
pub use name::Name;
pub use namespace::Namespace;
pub use opened::{Opened, Pending};
pub use peer::{Credentials, Peer, UnixPeer};
pub use readonly::ReadOnly;
pub use ready::{Armed, Fd, Interest, Ready, Wait};
pub use stat::{Filetype, SetTime, Stat, Times, new_device};
pub use whole::{read, write};

/// The result of a filesystem call.
pub type Result<T, E = Errno> = std::result::Result<T, E>;

/// How a file is opened. Creation is a verb of its own ([`Node::create`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Open for reading.
    pub read: bool,
    /// Open for writing.
    pub write: bool,
    /// Truncate a regular file to length 0.
    pub truncate: bool,
    /// Opening doesn't wait for another end (`O_NONBLOCK`): a writer of a FIFO without a reader gets
    /// ENXIO.
    pub nonblock: bool,
}

/// The directions in which a file can be used: its access mode (`O_ACCMODE`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Access {
    /// It can be read.
    pub read: bool,
    /// It can be written.
    pub write: bool,
}

impl Access {
    /// Neither direction: a directory.
    pub const NONE: Access = Access { read: false, write: false };
    /// Reading only.
    pub const READ: Access = Access { read: true, write: false };
    /// Writing only.
    pub const WRITE: Access = Access { read: false, write: true };
    /// Both directions.
    pub const BOTH: Access = Access { read: true, write: true };

    /// The directions that are in both of them.
    #[must_use]
    pub fn and(self, other: Access) -> Access {
        Access { read: self.read && other.read, write: self.write && other.write }
    }
}

/// One entry of a directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dirent<'a> {
    /// The cookie of the entry after this one.
    pub next: u64,
    /// The inode number, 0 if not known.
    pub ino: u64,
    /// The type of the entry.
    pub filetype: Filetype,
    /// The name. A host can have names that are not UTF-8.
    pub name: &'a [u8],
}

/// Takes directory entries until it returns `false`. The entry for which it returned `false` was
/// not taken, and must come again when its cookie is asked for.
pub type Emit<'a> = dyn FnMut(Dirent<'_>) -> bool + 'a;

/// A thing with a name: a file, a directory, a device. This is what a backend implements.
///
/// `stat` and `open` make a complete node. A directory adds `lookup`, a writable directory the
/// methods that follow it. A node whose text is the number of players:
///
/// ```
/// use std::sync::Arc;
/// use tinyhost::vfs::{Filetype, Namespace, Node, Open, Opened, Result, Stat, pipe::Input};
///
/// struct Players(Arc<std::sync::atomic::AtomicU32>);
///
/// impl Node for Players {
///     fn stat(&self) -> Result<Stat> {
///         Ok(Stat::of(Filetype::CharacterDevice))
///     }
///
///     fn open(&self, _how: Open) -> Result<Opened> {
///         let now = self.0.load(std::sync::atomic::Ordering::Relaxed);
///         Ok(Opened::file(Input::new(format!("{now}\n"))))
///     }
/// }
///
/// # fn main() -> std::result::Result<(), Box<dyn std::error::Error>> {
/// # use tinyhost::{Guest, Program, Step, WasiCtx, vfs::pipe::Capture};
/// let players = Arc::new(Players(Arc::new(7.into())));
/// let names = Namespace::builder().mount("/game/players", players)?.build();
/// let cat = Program::new(std::fs::read("fixtures/cat.wasm")?)?;
/// let out = Capture::new(64);
/// let cx = WasiCtx::builder().arg("cat")?.arg("/game/players")?;
/// let mut guest = Guest::new(&cat, cx.namespace(names).stdout(out.clone()).build());
/// assert_eq!(guest.run()?, Step::Exited(0));
/// assert_eq!(out.take(), b"7\n");
/// # Ok(())
/// # }
/// ```
///
/// A file whose content isn't known when it is opened implements [`File::read`] and
/// [`File::write`], which get the guest's own buffers.
///
/// # Errors
///
/// Each default method returns the errno that Unix returns for a node without that ability. Each
/// method you write returns the errors of the POSIX call of the same name.
pub trait Node: Any + Send + Sync {
    /// The node's type, size, times and so on, as of its lookup or later. For current values look
    /// it up again, or call [`File::stat`]. Must not open, dial or wait.
    fn stat(&self) -> Result<Stat>;

    /// Opens the node: a file, a directory for reading its entries, a connection. An open that
    /// takes time starts here and continues as a [`Pending`].
    fn open(&self, how: Open) -> Result<Opened>;

    /// The text of a symbolic link.
    fn readlink(&self) -> Result<String> {
        Err(Errno::Inval)
    }

    /// Sets times without opening; on a symbolic link, the link's own.
    fn set_times(&self, _times: Times) -> Result<()> {
        Err(Errno::Perm)
    }

    /// The child of that name, a symbolic link as itself.
    fn lookup(&self, _name: Name<'_>) -> Result<Arc<dyn Node>> {
        Err(Errno::Notdir)
    }

    /// A shortcut for several components at once, all of them directories and none a link. `None`
    /// means: walk. It must never lead anywhere that the walk would not.
    fn descend(&self, _dirs: &str) -> Option<Arc<dyn Node>> {
        None
    }

    /// A shortcut that opens the file at a path of plain names below this directory. `None` means:
    /// walk, which also finds the error. It must never open what the walk would not, nor a
    /// directory, nor what is reached through a link.
    fn open_at(&self, _path: &str, _how: Open) -> Option<(Box<dyn File>, Filetype)> {
        None
    }

    /// A shortcut for the stat of what is at a path of plain names below this directory, on the
    /// terms of [`Node::open_at`]. `None` for a link and what is reached through one.
    fn stat_at(&self, _path: &str) -> Option<Stat> {
        None
    }

    /// This node for the length of one call, whose questions and answers `memo` keeps; so are
    /// the nodes that its [`lookup`](Node::lookup) finds. `None`, as for all nodes that ask
    /// no server: it needs no memo.
    ///
    /// A node that asks a server for what it answers is bound here. Its verbs may then answer
    /// EAGAIN: the call waits for the answer and is run again from its beginning (see
    /// [`Asker::ask`]). Unbound, it still answers [`stat`](Node::stat) with what it is, if it is
    /// the root of a mount, and [`open`](Node::open).
    fn in_call(&self, _memo: &Memo) -> Option<Arc<dyn Node>> {
        None
    }

    /// The number of the guest's descriptor that this node duplicates, as `/dev/stdin` does. Opening
    /// the node returns a second number for that descriptor.
    fn alias(&self) -> Option<u32> {
        None
    }

    /// Creates and opens a regular file that must not exist yet (else EEXIST).
    fn create(&self, _name: Name<'_>, _how: Open) -> Result<Box<dyn File>> {
        Err(unchanging(self))
    }

    /// `mkdir`.
    fn create_directory(&self, _name: Name<'_>) -> Result<()> {
        Err(unchanging(self))
    }

    /// Creates a symbolic link with this text.
    fn symlink(&self, _name: Name<'_>, _target: &str) -> Result<()> {
        Err(unchanging(self))
    }

    /// A second name, `to_name` in `to`, for this directory's child `name`; `to` is of the
    /// same mount. A symbolic link is linked as itself.
    fn link(&self, _name: Name<'_>, _to: &Arc<dyn Node>, _to_name: Name<'_>) -> Result<()> {
        Err(unchanging(self))
    }

    /// Renames the child `name` to `to_name` in `to`, of the same mount, replacing what is
    /// there as rename(2) does.
    fn rename(&self, _name: Name<'_>, _to: &Arc<dyn Node>, _to_name: Name<'_>) -> Result<()> {
        Err(unchanging(self))
    }

    /// Removes a child that is not a directory (EISDIR).
    fn unlink(&self, _name: Name<'_>) -> Result<()> {
        Err(unchanging(self))
    }

    /// Removes an empty directory.
    fn remove_directory(&self, _name: Name<'_>) -> Result<()> {
        Err(unchanging(self))
    }
}

/// What a node answers that can't change names: ENOTDIR, or of a directory EPERM, as mkdir(2),
/// link(2) and unlink(2) say it of a filesystem that has no such thing.
fn unchanging(node: &(impl Node + ?Sized)) -> Errno {
    match node.stat() {
        Ok(stat) if stat.filetype == Filetype::Directory => Errno::Perm,
        _ => Errno::Notdir,
    }
}

/// An open file description.
///
/// Streams ignore the offsets they are given.
pub trait File: Send {
    /// What it is.
    fn stat(&mut self) -> Result<Stat>;

    /// The directions it has. A guest that uses another one gets EBADF, whether it reads, writes
    /// or polls, and the file is not asked. What the guest opened for one direction has no more
    /// than that, whatever is answered here.
    fn access(&self) -> Access {
        Access::BOTH
    }

    /// Reads into `bufs` in order, from `offset` in a file that has positions. 0 is end of file.
    fn read(&mut self, _bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        Err(Errno::Badf)
    }

    /// Writes, and returns how many bytes were taken. A guest's write that blocks is whole: the rest
    /// is offered again at once, and after EAGAIN once the file is ready. 0 means that no more is
    /// taken, and ends the guest's write with a short count. So does an error after a part was
    /// taken. A datagram is taken as one or refused, and never offered in parts.
    fn write(&mut self, _bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        Err(Errno::Badf)
    }

    /// Appends, also if others write to the file at the same time. Returns how many bytes were
    /// taken and the offset after them.
    fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
        let end = self.stat()?.size;
        let written = self.write(bufs, end)?;
        Ok((written, end + written as u64))
    }

    /// Truncates or extends (with zeros) to this length, in bytes.
    fn set_len(&mut self, _len: u64) -> Result<()> {
        Err(Errno::Inval)
    }

    /// Makes sure that `offset..offset + len` has room, extending the file.
    fn allocate(&mut self, _offset: u64, _len: u64) -> Result<()> {
        Err(Errno::Spipe)
    }

    /// Sets times.
    fn set_times(&mut self, _times: Times) -> Result<()> {
        Err(Errno::Perm)
    }

    /// Writes changes through to the disk, as fsync does; with `data_only`, as fdatasync does.
    fn sync(&mut self, _data_only: bool) -> Result<()> {
        Err(Errno::Inval)
    }

    /// Entries from `cookie` on (0 is the first, others are those of [`Dirent::next`]).
    fn readdir(&mut self, _cookie: u64, _emit: &mut Emit<'_>) -> Result<()> {
        Err(Errno::Notdir)
    }

    /// Whether what is wanted could be done now; EAGAIN if not.
    fn ready(&mut self, _want: Interest) -> Result<Ready> {
        Ok(Ready::default())
    }

    /// How to learn of readiness after EAGAIN from `read`, `write`, `accept` or `ready`.
    /// Edge-triggered and one-shot.
    fn wait(&mut self, _want: Interest, _waker: &Waker) -> Wait<'_> {
        Wait::Now
    }

    /// Whether it is a terminal (`isatty`).
    fn is_terminal(&self) -> bool {
        false
    }

    /// The next connection of a listening socket.
    fn accept(&mut self) -> Result<Box<dyn File>> {
        Err(Errno::Notsock)
    }

    /// Like `read`, but leaves the data to be read again (`MSG_PEEK`).
    fn peek(&mut self, _bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        Err(Errno::Notsock)
    }

    /// Whether the last read or peek cut off the end of a datagram (`MSG_TRUNC`).
    fn truncated(&self) -> bool {
        false
    }

    /// The verbs that sockets of the network have besides: addresses, options, connecting.
    #[cfg(all(unix, feature = "sockets"))]
    fn endpoint(&mut self) -> Result<&mut dyn net::Endpoint> {
        Err(Errno::Notsock)
    }

    /// Ends one or both directions of a stream.
    fn shutdown(&mut self, _how: Interest) -> Result<()> {
        Err(Errno::Notsock)
    }
}
