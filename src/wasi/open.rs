//! `path_open`.

use super::abi::{Fdflags, Oflags, Rights};
use super::fd::{Descriptor, rights_of};
use super::frame::{HalfOpen, On};
use super::path::lookup_follow;
use super::trace::join;
use super::{Call, Stop, Sys};
use crate::Errno;
use crate::vfs::namespace::open_directory;
use crate::vfs::walk::{Follow, Place, Walked, is_plain, walk};
use crate::vfs::{File, Filetype, Interest, Open, Stat};

/// How often a name that comes or goes between looking and opening is looked at again.
const RACES_MAX: usize = 8;

/// What opening for writing is needed for.
const WRITING: [Rights; 3] = [Rights::FD_WRITE, Rights::FD_ALLOCATE, Rights::FD_FILESTAT_SET_SIZE];

/// The rights that are had only if asked for: they say for what a file is opened. The others
/// protect nothing that the directory does not, and programs count on having them without
/// asking: what was opened through a directory has all of them that the directory hands on.
const DIRECTION: Rights = Rights::FD_READ.union(Rights::FD_WRITE);

/// What follows from having been opened for writing.
const CHANGES: Rights = Rights::FD_ALLOCATE.union(Rights::FD_FILESTAT_SET_SIZE);

/// What was asked for.
struct Wish {
    oflags: Oflags,
    fdflags: Fdflags,
    follow: Follow,
    /// The rights asked for, of which those of [`DIRECTION`] count.
    base: Rights,
    /// All that the directory hands on.
    inherited: Rights,
}

/// What was opened.
enum Opened {
    /// Another number for a descriptor there is.
    Alias(u32),
    /// A file that may still be connecting, or a directory with its place.
    File(HalfOpen, Option<Place>),
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
    if let Some(half) = c.cx.frame.half_open.take() {
        return finish(c, half, None, opened_fd);
    }
    c.has_rights(fd, Rights::PATH_OPEN)?;
    // "The implementation is allowed to return a file descriptor with fewer rights than
    // those specified": what the directory can't hand on is left out.
    let inherited = c.cx.fds.any(fd)?.inheriting;
    let wish = Wish {
        oflags: Oflags::parse(oflags)?,
        fdflags: Fdflags::parse(fdflags)?,
        follow: lookup_follow(dirflags)?,
        base: Rights::truncate(fs_rights_base) & inherited,
        inherited,
    };
    c.has_rights(fd, wish.needs()?)?;
    c.mem.check(opened_fd, 4)?;
    c.cx.fds.room()?;
    let dir = c.cx.fds.dir(fd, Rights::PATH_OPEN)?;
    let text = c.mem.text(path, path_len)?;
    let mut opened = Opened::Raced;
    for _ in 0..RACES_MAX {
        opened = wish.open(dir, text)?;
        if !matches!(opened, Opened::Raced) {
            break;
        }
    }
    match opened {
        Opened::Raced => Err(Errno::Busy.into()),
        Opened::Alias(other) => {
            let number = c.cx.fds.alias(other)?;
            Ok(c.mem.put_u32(opened_fd, number)?)
        }
        Opened::File(mut half, place) => {
            half.path = join(&c.cx.fds.any(fd)?.path, text).into();
            finish(c, half, place, opened_fd)
        }
    }
}

/// Gives an opened file its number, or waits until it is connected. NONBLOCK avoids only
/// the wait for a client: a dial given up at once would never be made.
fn finish(c: &mut Call<'_>, mut half: HalfOpen, place: Option<Place>, opened_fd: u32) -> Sys {
    match half.file.opened() {
        Ok(()) => {}
        Err(Errno::Again) if half.flags.has(Fdflags::NONBLOCK) && half.file.reopens() => {
            return Err(Errno::Again.into());
        }
        Err(Errno::Again) => {
            c.start();
            c.cx.frame.half_open = Some(half);
            c.cx.frame.wait(On::HalfOpen, Interest { read: true, write: true });
            return Err(Stop::Park);
        }
        Err(error) => return Err(error.into()),
    }
    let number = c.cx.fds.insert(Descriptor {
        file: half.file,
        filetype: half.filetype,
        place,
        offset: 0,
        flags: half.flags,
        base: half.base,
        inheriting: half.inheriting,
        preopen: None,
        path: half.path,
    })?;
    Ok(c.mem.put_u32(opened_fd, number)?)
}

impl Wish {
    fn creates(&self) -> bool {
        self.oflags.has(Oflags::CREAT)
    }

    fn excludes(&self) -> bool {
        self.oflags.has(Oflags::CREAT | Oflags::EXCL)
    }

    fn writes(&self) -> bool {
        WRITING.iter().any(|right| self.base.has(*right))
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

    fn open(&self, dir: &Place, path: &str) -> Result<Opened, Errno> {
        let shortcut = !self.excludes() && !self.oflags.has(Oflags::DIRECTORY);
        if shortcut
            && is_plain(dir, path)
            && let Some((file, filetype)) = dir.node.open_at(path, self.how())
        {
            return Ok(Opened::File(self.half_open(file, filetype), None));
        }
        // open(2): with O_CREAT|O_EXCL a link at the end is not followed.
        let follow = if self.excludes() { Follow::No } else { self.follow };
        let walked = walk(dir, path, follow)?;
        let entry = match walked {
            Walked::Itself(place) => {
                let stat = place.node.stat()?;
                return self.open_existing(place, &stat, false);
            }
            Walked::Entry(entry) => entry,
        };
        let (name, slash) = (entry.name(), entry.slash);
        if let Some((place, stat)) = &entry.found {
            return match self.open_existing(place.clone(), stat, slash) {
                // A file that was there a moment ago. (A device or a network name may well
                // have nothing behind it.)
                Err(Errno::Noent) if self.creates() && stat.filetype == Filetype::RegularFile => {
                    Ok(Opened::Raced)
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
            Err(Errno::Exist) if !self.excludes() => Ok(Opened::Raced),
            Err(error) => Err(error),
            Ok(file) => Ok(Opened::File(self.half_open(file, Filetype::RegularFile), None)),
        }
    }

    fn open_existing(&self, place: Place, stat: &Stat, slash: bool) -> Result<Opened, Errno> {
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
            return Ok(Opened::Alias(number));
        }
        let file = place.node.open(self.how())?;
        Ok(Opened::File(self.half_open(file, stat.filetype), None))
    }

    fn open_directory(&self, place: Place) -> Result<Opened, Errno> {
        let changes = Oflags::CREAT | Oflags::TRUNC;
        let write = self.base.has(Rights::FD_WRITE) || self.oflags & changes != Oflags::NONE;
        let file = open_directory(&place, Open { read: true, write, truncate: false });
        if write {
            // /dev/tcp/HOST is there to be walked through; dialled, it lacks its port.
            let incomplete = file.is_err_and(|errno| errno == Errno::Noent);
            return Err(if incomplete { Errno::Noent } else { Errno::Isdir });
        }
        let file = file?;
        Ok(Opened::File(self.half_open(file, Filetype::Directory), Some(place)))
    }

    fn how(&self) -> Open {
        Open {
            read: self.base.has(Rights::FD_READ),
            write: self.writes(),
            truncate: self.oflags.has(Oflags::TRUNC),
        }
    }

    /// Its path is told by who knows where it began.
    fn half_open(&self, file: Box<dyn File>, filetype: Filetype) -> HalfOpen {
        let (base, inheriting) = rights_of(filetype, file.is_terminal());
        // A connection goes both ways, whatever was asked: a program that creates a file
        // to write to it reads the answer from the same descriptor.
        let refused = match filetype {
            _ if filetype.is_socket() => Rights::NONE,
            _ if self.writes() => DIRECTION & !self.base,
            _ => CHANGES | (DIRECTION & !self.base),
        };
        HalfOpen {
            file,
            filetype,
            flags: self.fdflags,
            base: base & self.inherited & !refused,
            inheriting: inheriting & self.inherited,
            path: "".into(),
        }
    }
}
