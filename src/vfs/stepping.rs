//! Directories that lead to a mount where there is none.

use std::any::Any;
use std::sync::Arc;

use super::place::Mount;
use super::stat::STEPPING;
use super::{
    Dirent, Emit, Errno, File, Filetype, Memo, Name, Node, Open, Opened, Result, Stat, Times,
};

/// The directory on the way to a mount point that its surroundings do not have.
///
/// It behaves as a directory of the one it lies in, and is made there with the first change
/// in it: so a directory of the host stays as it is for a guest that only reads. Where that one
/// can't be changed, or there is none around it, nothing can be made in this one, either.
#[derive(Clone)]
pub(crate) struct Stepping {
    /// The directory it lies in, and its name there.
    around: Option<(Arc<dyn Node>, Arc<str>)>,
    /// Of its position, which identifies it, also once it is made.
    number: u32,
    /// Directories that lead to mounts in it.
    below: u64,
}

impl Stepping {
    pub(crate) fn new(around: Option<(Arc<dyn Node>, Arc<str>)>, here: &Mount) -> Stepping {
        Stepping { around, number: here.number, below: here.below.len() as u64 }
    }

    pub(crate) fn of(node: &Arc<dyn Node>) -> Option<&Stepping> {
        let node: &dyn Any = &**node;
        node.downcast_ref()
    }

    /// What was made there. Only a wait for the answer is an error.
    fn made(&self) -> Result<Option<Arc<dyn Node>>> {
        let Some((dir, name)) = &self.around else { return Ok(None) };
        let Some(name) = Name::new(name) else { return Ok(None) };
        let found = dir.lookup(name).and_then(|node| Ok((node.stat()?, node)));
        match found {
            Err(Errno::Again) => Err(Errno::Again),
            Ok((stat, node)) if stat.filetype == Filetype::Directory => Ok(Some(node)),
            _ => Ok(None),
        }
    }

    /// The directory itself, made if it is not there.
    pub(crate) fn make(&self) -> Result<Arc<dyn Node>> {
        if let Some(made) = self.made()? {
            return Ok(made);
        }
        let (dir, name) = self.around.as_ref().ok_or(Errno::Rofs)?;
        let name = Name::new(name).ok_or(Errno::Inval)?;
        match dir.create_directory(name) {
            // A file or a link that leads nowhere, which this covers.
            Err(Errno::Exist) => self.made()?.ok_or(Errno::Perm),
            Err(error) => Err(error),
            Ok(()) => self.made()?.ok_or(Errno::Noent),
        }
    }

    fn existing(&self) -> Result<Arc<dyn Node>> {
        self.made()?.ok_or(Errno::Noent)
    }
}

impl Node for Stepping {
    fn stat(&self) -> Result<Stat> {
        let around = || self.around.as_ref().and_then(|(dir, _)| dir.stat().ok());
        let stat = match self.made()? {
            Some(made) => made.stat()?,
            // Its times are those of what it lies in, as if it had been made with that.
            None => Stat { nlink: 2, size: 0, ..around().unwrap_or_default() },
        };
        Ok(Stat {
            dev: STEPPING,
            ino: self.number.into(),
            filetype: Filetype::Directory,
            nlink: stat.nlink + self.below,
            ..stat
        })
    }

    fn open(&self, how: Open) -> Result<Opened> {
        if how.write || how.truncate {
            return Err(Errno::Isdir);
        }
        Ok(Opened::file(OpenStepping { stepping: self.clone(), made: None }))
    }

    fn in_call(&self, memo: &Memo) -> Option<Arc<dyn Node>> {
        let (dir, name) = self.around.as_ref()?;
        let around = Some((dir.in_call(memo)?, name.clone()));
        Some(Arc::new(Stepping { around, ..self.clone() }))
    }

    fn set_times(&self, times: Times) -> Result<()> {
        self.make()?.set_times(times)
    }

    fn lookup(&self, name: Name<'_>) -> Result<Arc<dyn Node>> {
        self.existing()?.lookup(name)
    }

    fn create(&self, name: Name<'_>, how: Open) -> Result<Box<dyn File>> {
        self.make()?.create(name, how)
    }

    fn create_directory(&self, name: Name<'_>) -> Result<()> {
        self.make()?.create_directory(name)
    }

    fn symlink(&self, name: Name<'_>, target: &str) -> Result<()> {
        self.make()?.symlink(name, target)
    }

    fn link(&self, name: Name<'_>, to: &Arc<dyn Node>, to_name: Name<'_>) -> Result<()> {
        self.existing()?.link(name, to, to_name)
    }

    fn rename(&self, name: Name<'_>, to: &Arc<dyn Node>, to_name: Name<'_>) -> Result<()> {
        self.existing()?.rename(name, to, to_name)
    }

    fn unlink(&self, name: Name<'_>) -> Result<()> {
        self.existing()?.unlink(name)
    }

    fn remove_directory(&self, name: Name<'_>) -> Result<()> {
        self.existing()?.remove_directory(name)
    }
}

struct OpenStepping {
    stepping: Stepping,
    /// What was made there, once it is.
    made: Option<Box<dyn File>>,
}

impl OpenStepping {
    fn made(&mut self) -> Result<Option<&mut Box<dyn File>>> {
        if self.made.is_none()
            && let Some(node) = self.stepping.made()?
        {
            let how = Open { read: true, ..Open::default() };
            self.made = Some(node.open(how)?.at_once()?);
        }
        Ok(self.made.as_mut())
    }
}

impl File for OpenStepping {
    fn stat(&mut self) -> Result<Stat> {
        Node::stat(&self.stepping)
    }

    fn set_times(&mut self, times: Times) -> Result<()> {
        Node::set_times(&self.stepping, times)
    }

    fn sync(&mut self, data_only: bool) -> Result<()> {
        self.made()?.map_or(Ok(()), |made| made.sync(data_only))
    }

    fn readdir(&mut self, cookie: u64, emit: &mut Emit<'_>) -> Result<()> {
        let own = u64::from(self.stepping.number);
        if let Some(made) = self.made()? {
            return made.readdir(cookie, &mut |entry| {
                let ino = if entry.name == b"." { own } else { entry.ino };
                emit(Dirent { ino, ..entry })
            });
        }
        for (next, name, ino) in [(1, ".", own), (2, "..", 0)] {
            let entry = Dirent { next, ino, filetype: Filetype::Directory, name: name.as_bytes() };
            if next > cookie && !emit(entry) {
                break;
            }
        }
        Ok(())
    }
}
