//! A node around a node that lets nothing be changed.

use std::io::IoSliceMut;
use std::sync::Arc;
use std::task::Waker;

use super::{
    Access, Dirent, Emit, Errno, File, Filetype, Interest, Memo, Name, Node, Open, Opened, Ready,
    Result, Stat, Times, Wait,
};

/// Any node, read-only: every change below it answers EROFS.
pub struct ReadOnly(pub Arc<dyn Node>);

impl Node for ReadOnly {
    fn stat(&self) -> Result<Stat> {
        self.0.stat()
    }

    fn open(&self, how: Open) -> Result<Opened> {
        if how.write || how.truncate {
            return Err(Errno::Rofs);
        }
        Ok(self.0.open(how)?.map(|file| Box::new(ReadOnlyFile(file))))
    }

    fn readlink(&self) -> Result<String> {
        self.0.readlink()
    }

    fn set_times(&self, _times: Times) -> Result<()> {
        Err(Errno::Rofs)
    }

    fn lookup(&self, name: Name<'_>) -> Result<Arc<dyn Node>> {
        Ok(Arc::new(ReadOnly(self.0.lookup(name)?)))
    }

    fn descend(&self, dirs: &str) -> Option<Arc<dyn Node>> {
        Some(Arc::new(ReadOnly(self.0.descend(dirs)?)))
    }

    fn open_at(&self, path: &str, how: Open) -> Option<(Box<dyn File>, Filetype)> {
        if how.write || how.truncate {
            return None;
        }
        let (file, filetype) = self.0.open_at(path, how)?;
        Some((Box::new(ReadOnlyFile(file)), filetype))
    }

    fn stat_at(&self, path: &str) -> Option<Stat> {
        self.0.stat_at(path)
    }

    fn in_call(&self, memo: &Memo) -> Option<Arc<dyn Node>> {
        Some(Arc::new(ReadOnly(self.0.in_call(memo)?)))
    }

    fn create(&self, _name: Name<'_>, _how: Open) -> Result<Box<dyn File>> {
        Err(Errno::Rofs)
    }

    fn create_directory(&self, _name: Name<'_>) -> Result<()> {
        Err(Errno::Rofs)
    }

    fn symlink(&self, _name: Name<'_>, _target: &str) -> Result<()> {
        Err(Errno::Rofs)
    }

    fn link(&self, _name: Name<'_>, _to: &Arc<dyn Node>, _to_name: Name<'_>) -> Result<()> {
        Err(Errno::Rofs)
    }

    fn rename(&self, _name: Name<'_>, _to: &Arc<dyn Node>, _to_name: Name<'_>) -> Result<()> {
        Err(Errno::Rofs)
    }

    fn unlink(&self, _name: Name<'_>) -> Result<()> {
        Err(Errno::Rofs)
    }

    fn remove_directory(&self, _name: Name<'_>) -> Result<()> {
        Err(Errno::Rofs)
    }
}

/// An open file of a read-only mount. Writing was refused when it was opened; what is left
/// to refuse are the changes that need no write access.
struct ReadOnlyFile(Box<dyn File>);

impl File for ReadOnlyFile {
    fn stat(&mut self) -> Result<Stat> {
        self.0.stat()
    }

    fn access(&self) -> Access {
        self.0.access().and(Access::READ)
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        self.0.read(bufs, offset)
    }

    fn set_len(&mut self, _len: u64) -> Result<()> {
        Err(Errno::Rofs)
    }

    fn allocate(&mut self, _offset: u64, _len: u64) -> Result<()> {
        Err(Errno::Rofs)
    }

    fn set_times(&mut self, _times: Times) -> Result<()> {
        Err(Errno::Rofs)
    }

    fn sync(&mut self, data_only: bool) -> Result<()> {
        self.0.sync(data_only)
    }

    fn readdir(&mut self, cookie: u64, emit: &mut Emit<'_>) -> Result<()> {
        self.0.readdir(cookie, &mut |entry: Dirent<'_>| emit(entry))
    }

    fn ready(&mut self, want: Interest) -> Result<Ready> {
        self.0.ready(want)
    }

    fn wait(&mut self, want: Interest, waker: &Waker) -> Wait<'_> {
        self.0.wait(want, waker)
    }

    fn is_terminal(&self) -> bool {
        self.0.is_terminal()
    }
}
