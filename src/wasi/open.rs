//! `path_open`.

use super::abi::{Fdflags, Oflags, Rights};
use super::fd::{Descriptor, rights_of};
use super::frame::{NewDescriptor, PendingOpen, WaitTarget};
use super::path::lookup_follow;
use super::trace::join;
use super::{Call, Stop, Sys};
use crate::errno::Errno;
use crate::vfs::namespace::open_directory;
use crate::vfs::walk::{Follow, Place, Walked, is_plain, walk};
use crate::vfs::{Access, File, Filetype, Interest, Memo, Open, Opened, Stat};

/// How often a name that comes or goes between looking and opening is looked at again.
const RACES_MAX: usize = 8;

/// What opening for writing is needed for.
const WRITING: [Rights; 3] = [Rights::FD_WRITE, Rights::FD_ALLOCATE, Rights::FD_FILESTAT_SET_SIZE];

/// The rights that are had only if asked for: they say for what a file is opened. The others
/// protect nothing that the directory does not, and programs count on having them without
/// asking: what was opened through a directory has all of them that the directory hands on.
const DIRECTION: Rights = Rights::FD_READ.union(Rights::FD_WRITE);

/// What was asked for.
struct OpenRequest {
    oflags: Oflags,
    fdflags: Fdflags,
    follow: Follow,
    /// The rights asked for, of which those of [`DIRECTION`] count.
    base: Rights,
    /// The directions asked for, also those that the directory does not hand on.
    access: Access,
    /// All that the directory hands on.
    inherited: Rights,
}

/// What was found to open.
enum Found {
    /// Another number for a descriptor there is.
    Alias(u32),
    /// What is open, or will be.
    Opened(Opened, NewDescriptor),
    /// The name came or went meanwhile.
    Raced,
}

#[expect(clippy::too_many_arguments, reason = "the spec's")]
pub(super) fn path_open(
    c: &mut Call<'_>,
    fd: u32,
    dirflags: u32,
    path: u32,
    path_len: u32,
    oflags: u32,
    fs_rights_base: u64,
    _fs_rights_inheriting: u64,
    fdflags: u32,
    opened_fd: u32,
) -> Sys {
    c.cx.serve();
    if let Some(mut open) = c.cx.frame.pending.take() {
        return match open.pending.proceed() {
            Ok(file) => number(c, file, open.shape, opened_fd),
            Err(Errno::Again) => park_open(c, open),
            Err(error) => Err(error.into()),
        };
    }
    c.has_rights(fd, Rights::PATH_OPEN)?;
    // "The implementation is allowed to return a file descriptor with fewer rights than
    // those specified": what the directory can't hand on is left out.
    let inherited = c.cx.fds.any(fd)?.inheriting;
    let asked = Rights::truncate(fs_rights_base);
    let request = OpenRequest {
        oflags: Oflags::parse(oflags)?,
        fdflags: Fdflags::parse(fdflags)?,
        follow: lookup_follow(dirflags)?,
        base: asked & inherited,
        access: Access { read: asked.has(Rights::FD_READ), write: writes(asked) },
        inherited,
    };
    c.has_rights(fd, request.needs()?)?;
    c.mem.check(opened_fd, 4)?;
    c.cx.fds.room()?;
    let dir = c.cx.fds.dir(fd, Rights::PATH_OPEN)?;
    let text = c.mem.text(path, path_len)?;
    let mut found = Found::Raced;
    for _ in 0..RACES_MAX {
        found = request.open(dir, text, &c.cx.frame.memo)?;
        if !matches!(found, Found::Raced) {
            break;
        }
    }
    match found {
        Found::Raced => Err(Errno::Busy.into()),
        Found::Alias(other) => {
            let number = c.cx.fds.alias(other)?;
            Ok(c.mem.put_u32(opened_fd, number)?)
        }
        Found::Opened(opened, mut shape) => {
            shape.path = join(&c.cx.fds.any(fd)?.path, text).into();
            match opened {
                Opened::File(file) => number(c, file, shape, opened_fd),
                Opened::Pending(pending) => park_open(c, Box::new(PendingOpen { pending, shape })),
            }
        }
    }
}

/// Waits until an open is done. NONBLOCK avoids only the wait for a client: a dial given up
/// at once would never be made.
fn park_open(c: &mut Call<'_>, open: Box<PendingOpen>) -> Sys {
    if open.shape.flags.has(Fdflags::NONBLOCK) && open.pending.restarts() {
        return Err(Errno::Again.into());
    }
    c.start();
    c.cx.frame.pending = Some(open);
    // A connect ends in a write event, an accept in a read event.
    c.cx.frame.wait(WaitTarget::Pending, Interest { read: true, write: true });
    Err(Stop::Park)
}

/// Gives an open file its number.
fn number(c: &mut Call<'_>, file: Box<dyn File>, shape: NewDescriptor, opened_fd: u32) -> Sys {
    let (base, inheriting) = rights_of(shape.filetype, file.is_terminal());
    let access = file.access().and(shape.access);
    let number = c.cx.fds.insert(Descriptor {
        file,
        filetype: shape.filetype,
        place: shape.place,
        offset: 0,
        flags: shape.flags,
        access,
        base: shape.base & base & Rights::of_access(access),
        inheriting: shape.inheriting & inheriting,
        preopen: None,
        identity: shape.identity,
        path: shape.path,
        ends_at_broken_pipe: false,
    })?;
    Ok(c.mem.put_u32(opened_fd, number)?)
}

/// Opens what is there by a path, in these directions, for a descriptor that is at its beginning.
///
/// # Errors
///
/// Of the walk and the open; EAGAIN if the open takes time.
pub(super) fn reopen(
    dir: &Place,
    path: &str,
    flags: Fdflags,
    access: Access,
) -> Result<Descriptor, Errno> {
    let base = Rights::ALL & Rights::of_access(access);
    let request = OpenRequest {
        oflags: Oflags::NONE,
        fdflags: flags,
        follow: Follow::Yes,
        base,
        access,
        inherited: Rights::ALL,
    };
    let Found::Opened(opened, shape) = request.open(dir, path, &Memo::default())? else {
        return Err(Errno::Busy);
    };
    let file = opened.at_once()?;
    let (base, inheriting) = rights_of(shape.filetype, file.is_terminal());
    let access = file.access().and(shape.access);
    Ok(Descriptor {
        filetype: shape.filetype,
        place: shape.place,
        offset: 0,
        flags: shape.flags,
        base: shape.base & base & Rights::of_access(access),
        access,
        file,
        inheriting: shape.inheriting & inheriting,
        preopen: None,
        identity: shape.identity,
        path: "".into(),
        ends_at_broken_pipe: false,
    })
}

/// Whether these rights are for writing.
fn writes(rights: Rights) -> bool {
    WRITING.iter().any(|right| rights.has(*right))
}

impl OpenRequest {
    fn creates(&self) -> bool {
        self.oflags.has(Oflags::CREAT)
    }

    fn excludes(&self) -> bool {
        self.oflags.has(Oflags::CREAT | Oflags::EXCL)
    }

    fn writes(&self) -> bool {
        writes(self.base)
    }

    /// The rights the directory must have; EINVAL for flags that contradict each other.
    fn needs(&self) -> Result<Rights, Errno> {
        let mut needs = Rights::PATH_OPEN;
        if self.creates() {
            needs = needs | Rights::PATH_CREATE_FILE;
        }
        if self.oflags.has(Oflags::TRUNC) {
            needs = needs | Rights::PATH_FILESTAT_SET_SIZE;
        }
        let shapes = Oflags::CREAT | Oflags::EXCL | Oflags::TRUNC;
        let contradicts =
            self.oflags.has(Oflags::DIRECTORY) && self.oflags & shapes != Oflags::NONE;
        if contradicts { Err(Errno::Inval) } else { Ok(needs) }
    }

    fn open(&self, dir: &Place, path: &str, memo: &Memo) -> Result<Found, Errno> {
        let shortcut = !self.excludes() && !self.oflags.has(Oflags::DIRECTORY);
        if shortcut
            && is_plain(dir, path)
            && let Some((file, filetype)) = dir.node.open_at(path, self.how())
        {
            let shape = self.shape(filetype, None, dir.identity_below(path));
            return Ok(Found::Opened(Opened::File(file), shape));
        }
        // open(2): with O_CREAT|O_EXCL a link at the end is not followed.
        let follow = if self.excludes() { Follow::No } else { self.follow };
        let walked = walk(dir, path, follow, memo)?;
        let entry = match walked {
            Walked::Itself(place) => {
                let stat = place.stat()?;
                return self.open_existing(place, &stat, false);
            }
            Walked::Entry(entry) => entry,
        };
        let name = entry.name();
        let slash = entry.slash;
        if let Some((place, stat)) = &entry.found {
            return match self.open_existing(place.clone(), stat, slash) {
                // A file that was there a moment ago. (A device or a network name may well
                // have nothing behind it.)
                Err(Errno::Noent) if self.creates() && stat.filetype == Filetype::RegularFile => {
                    Ok(Found::Raced)
                }
                other => other,
            };
        }
        if !self.creates() {
            return Err(Errno::Noent);
        }
        if slash {
            return Err(Errno::Isdir);
        }
        match entry.dir.node.create(name, self.how()) {
            Err(Errno::Exist) if !self.excludes() => Ok(Found::Raced),
            Err(error) => Err(error),
            Ok(file) => {
                let identity = entry.dir.identity_below(name.as_str());
                let shape = self.shape(Filetype::RegularFile, None, identity);
                Ok(Found::Opened(Opened::File(file), shape))
            }
        }
    }

    fn open_existing(&self, place: Place, stat: &Stat, slash: bool) -> Result<Found, Errno> {
        if self.excludes() {
            return Err(Errno::Exist);
        }
        if stat.filetype == Filetype::Directory {
            return self.open_directory(place);
        }
        if stat.filetype == Filetype::SymbolicLink {
            return Err(Errno::Loop);
        }
        if slash || self.oflags.has(Oflags::DIRECTORY) {
            return Err(Errno::Notdir);
        }
        if let Some(number) = place.node.alias() {
            return Ok(Found::Alias(number));
        }
        let opened = place.node.open(self.how())?;
        Ok(Found::Opened(opened, self.shape(stat.filetype, None, place.identity())))
    }

    fn open_directory(&self, place: Place) -> Result<Found, Errno> {
        let changes = Oflags::CREAT | Oflags::TRUNC;
        let write = self.base.has(Rights::FD_WRITE) || self.oflags & changes != Oflags::NONE;
        let opened = open_directory(&place, Open { read: true, write, ..Open::default() });
        if write {
            // /dev/tcp/HOST is there to be walked through; dialled, it lacks its port.
            let incomplete = opened.is_err_and(|errno| errno == Errno::Noent);
            return Err(if incomplete { Errno::Noent } else { Errno::Isdir });
        }
        let identity = place.identity();
        Ok(Found::Opened(opened?, self.shape(Filetype::Directory, Some(place), identity)))
    }

    fn how(&self) -> Open {
        Open {
            read: self.base.has(Rights::FD_READ),
            write: self.writes(),
            truncate: self.oflags.has(Oflags::TRUNC),
            nonblock: self.fdflags.has(Fdflags::NONBLOCK),
        }
    }

    /// What its descriptor will be; the path is filled in by the caller.
    fn shape(
        &self,
        filetype: Filetype,
        place: Option<Place>,
        identity: (u64, u64),
    ) -> NewDescriptor {
        // A connection goes both ways, whatever was asked: a program that creates a file
        // to write to it reads the answer from the same descriptor.
        let (refused, access) = match filetype {
            _ if filetype.is_socket() => (Rights::NONE, Access::BOTH),
            Filetype::Directory => (DIRECTION, Access::NONE),
            _ => (DIRECTION & !self.base, self.access),
        };
        NewDescriptor {
            filetype,
            place,
            flags: self.fdflags,
            access,
            base: self.inherited & !refused,
            inheriting: self.inherited,
            // Each connection is one of its own, whatever name it was made by.
            identity: if filetype.is_socket() { (0, 0) } else { identity },
            path: "".into(),
        }
    }
}
