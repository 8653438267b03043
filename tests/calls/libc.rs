//! The calls under the names C has for them.

use tinyhost::Errno;

use super::{Calls, DATA, IOVS, OTHER, OUT, PATH};

pub type Result<T = ()> = std::result::Result<T, Errno>;

/// Bits of `oflags`.
pub const CREAT: u64 = 1;
pub const DIRECTORY: u64 = 2;
pub const EXCL: u64 = 4;
pub const TRUNC: u64 = 8;

/// Bits of `fdflags`.
pub const APPEND: u64 = 1;
pub const DSYNC: u64 = 2;
pub const NONBLOCK: u64 = 4;
pub const SYNC: u64 = 16;

/// Rights.
pub const FD_READ: u64 = 1 << 1;
pub const FD_SEEK: u64 = 1 << 2;
pub const FD_WRITE: u64 = 1 << 6;
pub const FD_ALLOCATE: u64 = 1 << 8;
pub const ALL: u64 = (1 << 30) - 1;
/// Everything but what makes an open one for writing.
pub const READ: u64 = ALL & !(FD_WRITE | FD_ALLOCATE | 1 << 22);

/// Bits of `fstflags`.
pub const ATIM: u64 = 1;
pub const ATIM_NOW: u64 = 2;
pub const MTIM: u64 = 4;
pub const MTIM_NOW: u64 = 8;

/// A `filestat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filestat {
    pub dev: u64,
    pub ino: u64,
    pub filetype: u8,
    pub nlink: u64,
    pub size: u64,
    pub atim: u64,
    pub mtim: u64,
}

pub const DIR: u8 = 3;
pub const FILE: u8 = 4;
pub const LINK: u8 = 7;

/// A directory entry.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    pub name: Vec<u8>,
    pub next: u64,
    pub ino: u64,
    pub filetype: u8,
}

impl Calls {
    /// Puts a path there; its two arguments.
    pub fn path(&mut self, at: u32, path: impl AsRef<[u8]>) -> [u64; 2] {
        let path = path.as_ref();
        [u64::from(self.put(at, path)), path.len() as u64]
    }

    pub fn open(&mut self, dir: u32, path: &str, oflags: u64, rights: u64) -> Result<u32> {
        self.openat(dir, path, 1, oflags, rights, 0)
    }

    pub fn openat(
        &mut self,
        dir: u32,
        path: impl AsRef<[u8]>,
        lookup: u64,
        oflags: u64,
        rights: u64,
        fdflags: u64,
    ) -> Result<u32> {
        let [at, len] = self.path(PATH, path);
        let out = u64::from(OUT);
        let args = [dir.into(), lookup, at, len, oflags, rights, ALL, fdflags, out];
        self.call("path_open", &args)?;
        Ok(self.u32_at(OUT))
    }

    /// Gives up all rights but these.
    pub fn limit(&mut self, fd: u32, base: u64) {
        self.call("fd_fdstat_set_rights", &[fd.into(), base, 0]).expect("rights it has");
    }

    pub fn close(&mut self, fd: u32) -> Result {
        self.call("fd_close", &[fd.into()])
    }

    fn iovec(&mut self, len: usize) -> [u64; 2] {
        self.put(IOVS, &DATA.to_le_bytes());
        self.put(IOVS + 4, &(len as u32).to_le_bytes());
        [IOVS.into(), 1]
    }

    pub fn read(&mut self, fd: u32, len: usize) -> Result<Vec<u8>> {
        let [iovs, count] = self.iovec(len);
        self.call("fd_read", &[fd.into(), iovs, count, OUT.into()])?;
        let len = self.u32_at(OUT);
        Ok(self.bytes(DATA, len))
    }

    pub fn pread(&mut self, fd: u32, len: usize, offset: u64) -> Result<Vec<u8>> {
        let [iovs, count] = self.iovec(len);
        self.call("fd_pread", &[fd.into(), iovs, count, offset, OUT.into()])?;
        let len = self.u32_at(OUT);
        Ok(self.bytes(DATA, len))
    }

    pub fn write(&mut self, fd: u32, bytes: &[u8]) -> Result<u32> {
        self.put(DATA, bytes);
        let [iovs, count] = self.iovec(bytes.len());
        self.call("fd_write", &[fd.into(), iovs, count, OUT.into()])?;
        Ok(self.u32_at(OUT))
    }

    pub fn pwrite(&mut self, fd: u32, bytes: &[u8], offset: u64) -> Result<u32> {
        self.put(DATA, bytes);
        let [iovs, count] = self.iovec(bytes.len());
        self.call("fd_pwrite", &[fd.into(), iovs, count, offset, OUT.into()])?;
        Ok(self.u32_at(OUT))
    }

    pub fn seek(&mut self, fd: u32, offset: i64, whence: u64) -> Result<u64> {
        self.call("fd_seek", &[fd.into(), offset.cast_unsigned(), whence, OUT.into()])?;
        Ok(self.u64_at(OUT))
    }

    pub fn tell(&mut self, fd: u32) -> Result<u64> {
        self.call("fd_tell", &[fd.into(), OUT.into()])?;
        Ok(self.u64_at(OUT))
    }

    fn filestat(&mut self) -> Filestat {
        let [dev, ino, nlink, size, atim, mtim] =
            [0, 8, 24, 32, 40, 48].map(|at| self.u64_at(OUT + at));
        Filestat { dev, ino, filetype: self.bytes(OUT + 16, 1)[0], nlink, size, atim, mtim }
    }

    pub fn fstat(&mut self, fd: u32) -> Result<Filestat> {
        self.call("fd_filestat_get", &[fd.into(), OUT.into()])?;
        Ok(self.filestat())
    }

    pub fn stat(&mut self, dir: u32, path: impl AsRef<[u8]>) -> Result<Filestat> {
        self.statat(dir, path, 1)
    }

    pub fn statat(&mut self, dir: u32, path: impl AsRef<[u8]>, lookup: u64) -> Result<Filestat> {
        let [at, len] = self.path(PATH, path);
        self.call("path_filestat_get", &[dir.into(), lookup, at, len, OUT.into()])?;
        Ok(self.filestat())
    }

    pub fn utimes(
        &mut self,
        dir: u32,
        path: impl AsRef<[u8]>,
        lookup: u64,
        (atim, mtim): (u64, u64),
    ) -> Result {
        let [at, len] = self.path(PATH, path);
        let args = [dir.into(), lookup, at, len, atim, mtim, ATIM | MTIM];
        self.call("path_filestat_set_times", &args)
    }

    fn one(&mut self, name: &str, dir: u32, path: impl AsRef<[u8]>) -> Result {
        let [at, len] = self.path(PATH, path);
        self.call(name, &[dir.into(), at, len])
    }

    pub fn mkdir(&mut self, dir: u32, path: impl AsRef<[u8]>) -> Result {
        self.one("path_create_directory", dir, path)
    }

    pub fn rmdir(&mut self, dir: u32, path: impl AsRef<[u8]>) -> Result {
        self.one("path_remove_directory", dir, path)
    }

    pub fn unlink(&mut self, dir: u32, path: impl AsRef<[u8]>) -> Result {
        self.one("path_unlink_file", dir, path)
    }

    pub fn symlink(&mut self, text: impl AsRef<[u8]>, dir: u32, path: impl AsRef<[u8]>) -> Result {
        let [old, old_len] = self.path(OTHER, text);
        let [at, len] = self.path(PATH, path);
        self.call("path_symlink", &[old, old_len, dir.into(), at, len])
    }

    pub fn link(
        &mut self,
        (from, old): (u32, impl AsRef<[u8]>),
        lookup: u64,
        (to, new): (u32, impl AsRef<[u8]>),
    ) -> Result {
        let [old, old_len] = self.path(OTHER, old);
        let [new, new_len] = self.path(PATH, new);
        self.call("path_link", &[from.into(), lookup, old, old_len, to.into(), new, new_len])
    }

    pub fn rename(
        &mut self,
        (from, old): (u32, impl AsRef<[u8]>),
        (to, new): (u32, impl AsRef<[u8]>),
    ) -> Result {
        let [old, old_len] = self.path(OTHER, old);
        let [new, new_len] = self.path(PATH, new);
        self.call("path_rename", &[from.into(), old, old_len, to.into(), new, new_len])
    }

    pub fn readlink(&mut self, dir: u32, path: impl AsRef<[u8]>, room: u32) -> Result<Vec<u8>> {
        let [at, len] = self.path(PATH, path);
        let args = [dir.into(), at, len, DATA.into(), room.into(), OUT.into()];
        self.call("path_readlink", &args)?;
        let len = self.u32_at(OUT);
        Ok(self.bytes(DATA, len))
    }

    pub fn renumber(&mut self, fd: u32, to: u32) -> Result {
        self.call("fd_renumber", &[fd.into(), to.into()])
    }

    /// One `fd_readdir`: whole entries, and the bytes used.
    pub fn readdir(&mut self, fd: u32, room: u32, cookie: u64) -> Result<(Vec<Entry>, u32)> {
        let args = [fd.into(), DATA.into(), room.into(), cookie, OUT.into()];
        self.call("fd_readdir", &args)?;
        let (mut entries, mut at, used) = (Vec::new(), DATA, self.u32_at(OUT));
        while at + 24 <= DATA + used {
            let len = self.u32_at(at + 16);
            if at + 24 + len > DATA + used {
                break;
            }
            let (next, ino) = (self.u64_at(at), self.u64_at(at + 8));
            let (filetype, name) = (self.bytes(at + 20, 1)[0], self.bytes(at + 24, len));
            entries.push(Entry { name, next, ino, filetype });
            at += 24 + len;
        }
        Ok((entries, used))
    }

    /// The names in a directory, sorted, without `.` and `..`.
    pub fn names(&mut self, dir: u32, path: &str) -> Result<Vec<String>> {
        let fd = self.open(dir, path, DIRECTORY, READ)?;
        let (entries, _) = self.readdir(fd, 60_000, 0)?;
        self.close(fd)?;
        let text = |entry: Entry| String::from_utf8(entry.name).expect("UTF-8");
        let mut names: Vec<_> = entries.into_iter().map(text).collect();
        names.retain(|name| name != "." && name != "..");
        names.sort();
        Ok(names)
    }

    /// A new file of this content.
    pub fn make(&mut self, dir: u32, path: &str, bytes: &[u8]) {
        let fd = self.open(dir, path, CREAT | TRUNC, ALL).expect("open");
        assert_eq!(self.write(fd, bytes).expect("write"), bytes.len() as u32);
        self.close(fd).expect("close");
    }

    /// The content of a file.
    pub fn cat(&mut self, dir: u32, path: &str) -> Result<Vec<u8>> {
        let fd = self.open(dir, path, 0, READ)?;
        let bytes = self.read(fd, 60_000);
        self.close(fd)?;
        bytes
    }
}
