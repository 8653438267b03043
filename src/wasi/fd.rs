//! The descriptor table and the one gate to it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use super::abi::{Fdflags, Rights};
use crate::errno::Errno;
use crate::vfs::stat::STREAMS;
use crate::vfs::stdio::Closed;
use crate::vfs::walk::Place;
use crate::vfs::{Access, File, Filetype, Stat};

/// An open descriptor: its file, and the state that belongs to the descriptor rather than to the
/// file.
pub struct Descriptor {
    /// The open file description.
    pub file: Box<dyn File>,
    /// The type of the file when it was opened.
    pub filetype: Filetype,
    /// The place of a directory in the namespace, where walks begin. `None` for other files.
    pub place: Option<Place>,
    /// Position of the next read or write, in bytes.
    pub offset: u64,
    /// APPEND, NONBLOCK and the like.
    pub flags: Fdflags,
    /// The directions it was opened for and the file has.
    pub access: Access,
    /// The rights of the descriptor.
    pub base: Rights,
    /// The rights of descriptors opened through it.
    pub inheriting: Rights,
    /// The name it is preopened under.
    pub preopen: Option<Arc<str>>,
    /// Device and inode for a file that has none of its own. Both are 0 until the descriptor is in
    /// a table, which gives each a number.
    pub identity: (u64, u64),
    /// The path it was opened by, for traces and reports.
    pub path: Cow<'static, str>,
    /// A write here whose reader is gone ends the guest, as SIGPIPE would: see
    /// [`CtxBuilder::exit_on_broken_pipe`](super::CtxBuilder::exit_on_broken_pipe).
    pub(crate) ends_at_broken_pipe: bool,
}

impl Descriptor {
    /// A descriptor of a stream: a standard stream or a socket.
    pub fn stream(mut file: Box<dyn File>, path: impl Into<Cow<'static, str>>) -> Descriptor {
        let filetype = file.stat().map_or(Filetype::Unknown, |stat| stat.filetype);
        let access = file.access();
        Descriptor {
            base: rights_of(filetype, file.is_terminal()).0 & Rights::of_access(access),
            access,
            file,
            filetype,
            place: None,
            offset: 0,
            flags: Fdflags::NONE,
            inheriting: Rights::NONE,
            preopen: None,
            identity: (0, 0),
            path: path.into(),
            ends_at_broken_pipe: false,
        }
    }

    /// What it is.
    pub fn stat(&mut self) -> Result<Stat, Errno> {
        let stat = self.file.stat()?;
        let (dev, ino) = stat.identity_or(self.identity);
        Ok(Stat { dev, ino, ..stat })
    }

    /// Keeps it from being used in other directions than these.
    #[must_use]
    pub(crate) fn only(mut self, access: Access) -> Descriptor {
        self.access = self.access.and(access);
        self.base = self.base & Rights::of_access(self.access);
        self
    }

    /// Why a call that needs this right, which it lacks, is refused: EBADF (of a size, EINVAL) for
    /// a direction that was not opened, ENOTCAPABLE for what it was not granted or has given up.
    #[cold]
    fn refusal(&self, right: Rights) -> Errno {
        let opened = right & Rights::of_access(self.access) == right;
        match right {
            _ if opened => Errno::Notcapable,
            // ftruncate(2) says EINVAL of a file that is not open for writing.
            Rights::FD_FILESTAT_SET_SIZE if self.filetype == Filetype::RegularFile => Errno::Inval,
            _ => Errno::Badf,
        }
    }

    /// Whether position means anything here. ESPIPE otherwise.
    pub fn seekable(&self) -> Result<(), Errno> {
        match self.filetype {
            Filetype::RegularFile | Filetype::BlockDevice => Ok(()),
            // lseek on /dev/null and /dev/zero succeeds, on a terminal it does not.
            Filetype::CharacterDevice if !self.file.is_terminal() => Ok(()),
            Filetype::Directory => Err(Errno::Isdir),
            _ => Err(Errno::Spipe),
        }
    }
}

/// All the rights a thing of this kind can have: its own, and what it can hand on.
pub fn rights_of(filetype: Filetype, terminal: bool) -> (Rights, Rights) {
    match filetype {
        Filetype::Directory => (Rights::DIRECTORY, Rights::INHERITING),
        Filetype::RegularFile | Filetype::BlockDevice => (Rights::FILE, Rights::NONE),
        Filetype::CharacterDevice if !terminal => (Rights::FILE, Rights::NONE),
        Filetype::SocketDgram | Filetype::SocketStream => (Rights::SOCKET, Rights::NONE),
        _ => (Rights::STREAM, Rights::NONE),
    }
}

/// What kind of descriptor a call needs.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Any will do.
    Any,
    /// A directory, else ENOTDIR.
    Directory,
    /// A socket, else ENOTSOCK.
    Socket,
}

/// Index into `Fds::open`.
type Key = usize;

struct Entry {
    descriptor: Descriptor,
    /// How many numbers stand for it: opening `/dev/stdin` gives a second one.
    numbers: usize,
}

/// The table. Numbers are given out lowest first, as POSIX demands.
pub struct Fds {
    numbers: Vec<Option<Key>>,
    open: Vec<Option<Entry>>,
    /// Places in `open` to be used again.
    free: Vec<Key>,
    /// No number below this one is free.
    lowest: usize,
    limit: usize,
    /// Counts descriptors that got an identity here.
    counted: u64,
    /// The guest wanted more than the limit and was refused.
    pub(crate) refused: bool,
}

/// Numbers a guest can have at the most, whatever it is configured with.
pub const FDS_MAX: usize = 1 << 20;

impl Fds {
    /// A table with room for `limit` descriptors.
    pub fn new(limit: usize) -> Fds {
        Fds {
            numbers: Vec::new(),
            open: Vec::new(),
            free: Vec::new(),
            lowest: 0,
            limit: limit.min(FDS_MAX),
            counted: 0,
            refused: false,
        }
    }

    fn key(&self, fd: u32) -> Result<Key, Errno> {
        let number = usize::try_from(fd).map_err(|_| Errno::Badf)?;
        self.numbers.get(number).copied().flatten().ok_or(Errno::Badf)
    }

    /// The descriptor with a number; EBADF if it is not open.
    pub fn any(&mut self, fd: u32) -> Result<&mut Descriptor, Errno> {
        let key = self.key(fd)?;
        let entry = self.open.get_mut(key).and_then(Option::as_mut);
        Ok(&mut entry.ok_or(Errno::Badf)?.descriptor)
    }

    /// The gate every call goes through: EBADF, then ENOTDIR or ENOTSOCK, then EBADF for a
    /// direction that was not opened or ENOTCAPABLE.
    pub fn get(&mut self, fd: u32, need: Need, right: Rights) -> Result<&mut Descriptor, Errno> {
        let descriptor = self.any(fd)?;
        match need {
            Need::Directory if descriptor.place.is_none() => Err(Errno::Notdir),
            // A program that was given no files takes 3 for closed (the public testsuite's
            // sock_shutdown-invalid_fd does), and knows nothing of what is preopened there.
            Need::Socket if descriptor.preopen.is_some() => Err(Errno::Badf),
            Need::Socket if !descriptor.filetype.is_socket() => Err(Errno::Notsock),
            _ if !descriptor.base.has(right) => Err(descriptor.refusal(right)),
            _ => Ok(descriptor),
        }
    }

    /// The gate of `fd_pread` and `fd_pwrite`: what has no position is ESPIPE before all else, as
    /// pread(2) answers.
    pub fn positioned(&mut self, fd: u32, right: Rights) -> Result<&mut Descriptor, Errno> {
        if self.any(fd)?.seekable() == Err(Errno::Spipe) {
            return Err(Errno::Spipe);
        }
        let descriptor = self.get(fd, Need::Any, right)?;
        descriptor.seekable()?;
        Ok(descriptor)
    }

    /// The place of a directory descriptor, for a walk.
    pub fn dir(&mut self, fd: u32, right: Rights) -> Result<&Place, Errno> {
        let descriptor = self.get(fd, Need::Directory, right)?;
        descriptor.place.as_ref().ok_or(Errno::Notdir)
    }

    /// EMFILE if no more can be opened. Check this before asking the host for a file.
    pub fn room(&mut self) -> Result<(), Errno> {
        let free = self.lowest < self.numbers.len() || self.numbers.len() < self.limit;
        self.refused |= !free;
        if free { Ok(()) } else { Err(Errno::Mfile) }
    }

    /// Puts a descriptor at the lowest free number.
    pub fn insert(&mut self, mut descriptor: Descriptor) -> Result<u32, Errno> {
        self.room()?;
        if descriptor.identity == (0, 0) {
            self.counted += 1;
            descriptor.identity = match &descriptor.place {
                Some(place) => place.identity(),
                None => (STREAMS, self.counted),
            };
        }
        let entry = Some(Entry { descriptor, numbers: 1 });
        let key = self.free.pop().unwrap_or(self.open.len());
        if key == self.open.len() {
            self.open.push(entry);
        } else {
            self.open[key] = entry;
        }
        self.number(key)
    }

    /// A second number for the descriptor `fd`, as dup(2) gives.
    pub fn alias(&mut self, fd: u32) -> Result<u32, Errno> {
        let key = self.key(fd)?;
        self.room()?;
        if let Some(Some(entry)) = self.open.get_mut(key) {
            entry.numbers += 1;
        }
        self.number(key)
    }

    fn number(&mut self, key: Key) -> Result<u32, Errno> {
        let free = self.lowest;
        if free == self.numbers.len() {
            self.numbers.push(Some(key));
        } else {
            self.numbers[free] = Some(key);
        }
        let later = self.numbers[free..].iter().position(Option::is_none);
        self.lowest = later.map_or(self.numbers.len(), |gap| free + gap);
        u32::try_from(free).map_err(|_| Errno::Mfile)
    }

    /// Forgets a number; what it stood for is closed with its last one.
    pub fn close(&mut self, fd: u32) -> Result<(), Errno> {
        let key = self.key(fd)?;
        let number = usize::try_from(fd).map_err(|_| Errno::Badf)?;
        self.numbers[number] = None;
        self.lowest = self.lowest.min(number);
        self.release(key);
        Ok(())
    }

    fn release(&mut self, key: Key) {
        let Some(Some(entry)) = self.open.get_mut(key) else { return };
        entry.numbers -= 1;
        if entry.numbers == 0 {
            self.open[key] = None;
            self.free.push(key);
        }
    }

    /// `fd_renumber`: moves the descriptor `from` to the number `to`, and frees `from`.
    /// Both must be open; onto itself nothing happens.
    pub fn renumber(&mut self, from: u32, to: u32) -> Result<(), Errno> {
        let key = self.key(from)?;
        let replaced = self.key(to)?;
        if from == to {
            return Ok(());
        }
        let index = |fd| usize::try_from(fd).map_err(|_| Errno::Badf);
        let from = index(from)?;
        let to = index(to)?;
        self.numbers[to] = Some(key);
        self.numbers[from] = None;
        self.lowest = self.lowest.min(from);
        self.release(replaced);
        Ok(())
    }

    /// The numbers in use, each with a key that is the same for all numbers of one descriptor.
    pub(crate) fn keys(&self) -> Vec<(u32, usize)> {
        let numbers = (0..).zip(&self.numbers);
        numbers.filter_map(|(number, key)| Some((number, (*key)?))).collect()
    }

    /// Empties the table: its descriptors, by the first of their numbers.
    pub(crate) fn take_all(&mut self) -> BTreeMap<u32, Descriptor> {
        let mut taken = BTreeMap::new();
        for (number, key) in self.keys() {
            if let Some(entry) = self.open[key].take() {
                taken.insert(number, entry.descriptor);
            }
        }
        self.numbers.clear();
        self.open.clear();
        self.free.clear();
        self.lowest = 0;
        taken
    }

    /// Puts a descriptor at a number that is free, whatever the limit.
    pub(crate) fn insert_at(&mut self, number: u32, descriptor: Descriptor) {
        self.open.push(Some(Entry { descriptor, numbers: 1 }));
        self.set(number, self.open.len() - 1);
    }

    /// Gives a descriptor another number, which is free.
    pub(crate) fn alias_at(&mut self, number: u32, of: u32) {
        let Ok(key) = self.key(of) else { return };
        if let Some(Some(entry)) = self.open.get_mut(key) {
            entry.numbers += 1;
        }
        self.set(number, key);
    }

    fn set(&mut self, number: u32, key: Key) {
        let index = number as usize;
        if index >= self.numbers.len() {
            self.numbers.resize(index + 1, None);
        }
        self.numbers[index] = Some(key);
        let gap = self.numbers.iter().position(Option::is_none);
        self.lowest = gap.unwrap_or(self.numbers.len());
    }

    /// Lets go of every file, as the end of a process does. What the numbers stood for can
    /// still be read, for reports.
    pub fn close_all(&mut self) {
        for entry in self.open.iter_mut().flatten() {
            entry.descriptor.file = Box::new(Closed);
            entry.descriptor.place = None;
        }
    }

    /// The descriptor with a number, for inspection.
    pub fn at(&self, fd: u32) -> Option<&Descriptor> {
        let key = self.key(fd).ok()?;
        self.open.get(key)?.as_ref().map(|entry| &entry.descriptor)
    }

    /// The numbers in use with their descriptors. For reports.
    pub fn iter(&self) -> impl Iterator<Item = (usize, &Descriptor)> {
        let descriptor =
            |key: Key| self.open.get(key).and_then(Option::as_ref).map(|entry| &entry.descriptor);
        let numbers = self.numbers.iter().enumerate();
        numbers.filter_map(move |(number, key)| Some((number, descriptor((*key)?)?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vfs::{Result, Stat};

    struct Nothing;

    impl File for Nothing {
        fn stat(&mut self) -> Result<Stat> {
            Ok(Stat::of(Filetype::SocketStream))
        }
    }

    fn descriptor(path: &'static str) -> Descriptor {
        Descriptor::stream(Box::new(Nothing), path)
    }

    fn paths(fds: &Fds) -> Vec<(usize, String)> {
        fds.iter().map(|(number, d)| (number, d.path.to_string())).collect()
    }

    #[test]
    fn the_lowest_number_is_given() {
        let mut fds = Fds::new(4);
        for (i, path) in ["a", "b", "c", "d"].iter().enumerate() {
            assert_eq!(fds.insert(descriptor(path)), Ok(i as u32));
        }
        assert_eq!(fds.insert(descriptor("e")), Err(Errno::Mfile));
        fds.close(2).unwrap();
        fds.close(1).unwrap();
        assert_eq!(fds.insert(descriptor("x")), Ok(1));
        assert_eq!(fds.insert(descriptor("y")), Ok(2));
        assert_eq!(fds.room(), Err(Errno::Mfile));
        assert_eq!(fds.close(9), Err(Errno::Badf));
        assert_eq!(fds.close(u32::MAX), Err(Errno::Badf));
    }

    #[test]
    fn renumber_replaces_and_frees() {
        let mut fds = Fds::new(8);
        for path in ["a", "b", "c"] {
            fds.insert(descriptor(path)).unwrap();
        }
        fds.renumber(2, 0).unwrap();
        assert_eq!(paths(&fds), [(0, "c".into()), (1, "b".into())]);
        assert_eq!(fds.renumber(2, 0), Err(Errno::Badf));
        assert_eq!(fds.renumber(0, 5), Err(Errno::Badf));
        fds.renumber(1, 1).unwrap();
        assert_eq!(fds.insert(descriptor("d")), Ok(2));
        for _ in 0..1000 {
            fds.renumber(2, 0).unwrap();
            assert_eq!(fds.insert(descriptor("e")), Ok(2));
        }
        assert!(fds.open.len() <= 4, "closed descriptors' places are used again");
    }

    #[test]
    fn an_alias_keeps_the_file_open() {
        let mut fds = Fds::new(4);
        fds.insert(descriptor("a")).unwrap();
        assert_eq!(fds.alias(0), Ok(1));
        fds.any(0).unwrap().offset = 7;
        fds.close(0).unwrap();
        assert_eq!(fds.any(1).unwrap().offset, 7);
        fds.close(1).unwrap();
        assert_eq!(fds.iter().count(), 0);
        assert!(fds.open.iter().all(Option::is_none));
    }

    #[test]
    fn the_gate_checks_in_order() {
        let mut fds = Fds::new(4);
        let fd = fds.insert(descriptor("a")).unwrap();
        let get = |fds: &mut Fds, fd, need, right| fds.get(fd, need, right).err();
        assert_eq!(get(&mut fds, 7, Need::Directory, Rights::FD_SEEK), Some(Errno::Badf));
        assert_eq!(get(&mut fds, fd, Need::Directory, Rights::FD_SEEK), Some(Errno::Notdir));
        assert_eq!(get(&mut fds, fd, Need::Any, Rights::FD_SEEK), Some(Errno::Notcapable));
        assert_eq!(get(&mut fds, fd, Need::Socket, Rights::FD_READ), None);
    }
}
