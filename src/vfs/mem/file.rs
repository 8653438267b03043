//! Open files and directories of a tree.

use std::io::{IoSlice, IoSliceMut};

use super::content::Content;
use super::tree::{Body, Ino, Tree};
use super::{FILE_MAX, Handle};
use crate::vfs::{Dirent, Emit, Errno, File, Open, Result, SetTime, Stat, Times, charge};

/// Directory entries taken out of the lock at first, and at a time at the most. A guest may want
/// only one: what is taken for nothing is no more than what is shown.
const FIRST_BATCH: usize = 4;
const BATCH_MAX: usize = 32;

pub(super) struct OpenFile {
    pub handle: Handle,
    pub how: Open,
}

impl OpenFile {
    fn writable(&self, otherwise: Errno) -> Result<()> {
        if self.how.write { Ok(()) } else { Err(otherwise) }
    }
}

impl File for OpenFile {
    fn stat(&mut self) -> Result<Stat> {
        Ok(self.handle.stat())
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        if !self.how.read {
            return Err(Errno::Badf);
        }
        let (now, mut tree) = self.handle.lock();
        Ok(tree.read(self.handle.ino, bufs, offset, now))
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        self.writable(Errno::Badf)?;
        let (now, mut tree) = self.handle.lock();
        Ok(tree.write(self.handle.ino, bufs, Some(offset), now)?.0)
    }

    fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
        self.writable(Errno::Badf)?;
        let (now, mut tree) = self.handle.lock();
        tree.write(self.handle.ino, bufs, None, now)
    }

    fn set_len(&mut self, len: u64) -> Result<()> {
        self.writable(Errno::Inval)?;
        let (now, mut tree) = self.handle.lock();
        tree.set_len(self.handle.ino, len, now)
    }

    fn allocate(&mut self, offset: u64, len: u64) -> Result<()> {
        self.writable(Errno::Badf)?;
        if len == 0 {
            return Err(Errno::Inval);
        }
        let end = offset.checked_add(len).ok_or(Errno::Fbig)?;
        let (now, mut tree) = self.handle.lock();
        if end <= tree.content(self.handle.ino).len() {
            return Ok(());
        }
        tree.set_len(self.handle.ino, end, now)
    }

    fn set_times(&mut self, times: Times) -> Result<()> {
        self.handle.set_times(times);
        Ok(())
    }

    fn sync(&mut self, _data_only: bool) -> Result<()> {
        Ok(())
    }
}

pub(super) struct OpenDir(pub Handle);

impl File for OpenDir {
    fn stat(&mut self) -> Result<Stat> {
        Ok(self.0.stat())
    }

    fn read(&mut self, _bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        Err(Errno::Isdir)
    }

    fn set_times(&mut self, times: Times) -> Result<()> {
        self.0.set_times(times);
        Ok(())
    }

    fn sync(&mut self, _data_only: bool) -> Result<()> {
        Ok(())
    }

    fn readdir(&mut self, mut cookie: u64, emit: &mut Emit<'_>) -> Result<()> {
        let mut count = FIRST_BATCH;
        loop {
            // Entries leave the lock before they are shown: `emit` may look into the tree.
            let (now, mut tree) = self.0.lock();
            let batch = tree.list(self.0.ino, cookie, count, now)?;
            drop(tree);
            count = BATCH_MAX.min(count * 2);
            let Some(last) = batch.last() else {
                return Ok(());
            };
            cookie = last.next;
            for entry in &batch {
                let (next, ino, filetype) = (entry.next, entry.ino, entry.filetype);
                if !emit(Dirent { next, ino, filetype, name: entry.name.as_bytes() }) {
                    return Ok(());
                }
            }
        }
    }
}

impl Tree {
    fn content(&self, ino: Ino) -> &Content {
        match &self.inode(ino).body {
            Body::File(content) => content,
            _ => unreachable!("only files are opened as files, and inodes don't change kind"),
        }
    }

    fn content_mut(&mut self, ino: Ino) -> &mut Content {
        match &mut self.inode_mut(ino).body {
            Body::File(content) => content,
            _ => unreachable!("only files are opened as files, and inodes don't change kind"),
        }
    }

    fn read(&mut self, ino: Ino, bufs: &mut [IoSliceMut<'_>], offset: u64, now: u64) -> usize {
        let n = self.content(ino).read(bufs, offset);
        if n > 0 {
            self.inode_mut(ino).atim = now;
        }
        n
    }

    /// Writes at `offset`, or at the end, what fits; says how much and where it ended.
    fn write(
        &mut self,
        ino: Ino,
        bufs: &[IoSlice<'_>],
        offset: Option<u64>,
        now: u64,
    ) -> Result<(usize, u64)> {
        let room = self.room();
        let content = self.content_mut(ino);
        let len = content.len();
        let offset = offset.unwrap_or(len);
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok((0, offset));
        }
        if offset >= FILE_MAX {
            return Err(Errno::Fbig);
        }
        let fits = len.saturating_add(room).min(FILE_MAX).saturating_sub(offset);
        let mut fits = usize::try_from(fits).unwrap_or(usize::MAX);
        if fits == 0 {
            return Err(Errno::Nospc);
        }
        let mut total = 0;
        for buf in bufs {
            let part = &buf[..buf.len().min(fits)];
            let taken = content.write(part, offset + total as u64);
            total += taken;
            fits -= taken;
            if taken < buf.len() {
                break;
            }
        }
        if total == 0 {
            return Err(Errno::Nomem);
        }
        let growth = content.len() - len;
        self.charge(growth)?;
        self.touch(ino, now);
        Ok((total, offset + total as u64))
    }

    pub fn set_times(&mut self, ino: Ino, times: Times, now: u64) {
        let inode = self.inode_mut(ino);
        let value = |time| match time {
            SetTime::Now => now,
            SetTime::To(ns) => ns,
        };
        inode.atim = times.atim.map_or(inode.atim, value);
        inode.mtim = times.mtim.map_or(inode.mtim, value);
        if times != Times::default() {
            inode.ctim = now;
        }
    }

    pub fn set_len(&mut self, ino: Ino, len: u64, now: u64) -> Result<()> {
        charge::add(charge::RESIZE);
        let old = self.content(ino).len();
        if len > FILE_MAX {
            return Err(Errno::Fbig);
        }
        self.charge(len.saturating_sub(old))?;
        self.refund(old.saturating_sub(len));
        if let Some(cut) = self.content_mut(ino).set_len(len) {
            self.free_later(cut);
        }
        self.touch(ino, now);
        Ok(())
    }
}
