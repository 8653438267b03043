//! Trees of an embedder's own: around another, with something different.

use std::any::Any;
use std::sync::Arc;

use tinyhost::vfs::{Dirent, Emit, Errno, File, Name, Node, Open, Opened, Result, Stat, Times};

/// Says nothing of devices and inodes.
pub struct Unnamed(Arc<dyn Node>);

/// Takes `A` and `a` for one name.
pub struct Folding(Arc<dyn Node>);

impl Unnamed {
    pub fn around(node: Arc<dyn Node>) -> Arc<dyn Node> {
        Arc::new(Unnamed(node))
    }

    fn name<T>(name: Name<'_>, with: impl FnOnce(Name<'_>) -> T) -> T {
        with(name)
    }

    fn stat(stat: Stat) -> Stat {
        Stat { dev: 0, ino: 0, ..stat }
    }
}

impl Folding {
    pub fn around(node: Arc<dyn Node>) -> Arc<dyn Node> {
        Arc::new(Folding(node))
    }

    fn name<T>(name: Name<'_>, with: impl FnOnce(Name<'_>) -> T) -> T {
        let lower = name.as_str().to_ascii_lowercase();
        with(Name::new(&lower).expect("as good a name"))
    }

    fn stat(stat: Stat) -> Stat {
        stat
    }
}

struct Around {
    file: Box<dyn File>,
    stat: fn(Stat) -> Stat,
}

impl File for Around {
    fn stat(&mut self) -> Result<Stat> {
        Ok((self.stat)(self.file.stat()?))
    }

    fn read(&mut self, bufs: &mut [std::io::IoSliceMut<'_>], offset: u64) -> Result<usize> {
        self.file.read(bufs, offset)
    }

    fn write(&mut self, bufs: &[std::io::IoSlice<'_>], offset: u64) -> Result<usize> {
        self.file.write(bufs, offset)
    }

    fn readdir(&mut self, cookie: u64, emit: &mut Emit<'_>) -> Result<()> {
        let number = (self.stat)(Stat { ino: 1, ..Stat::default() }).ino;
        self.file.readdir(cookie, &mut |entry| emit(Dirent { ino: entry.ino * number, ..entry }))
    }
}

macro_rules! node {
    ($tree:ident) => {
        impl $tree {
            fn inner(node: &Arc<dyn Node>) -> Result<&Arc<dyn Node>> {
                let node: &dyn Any = &**node;
                node.downcast_ref::<$tree>().map(|tree| &tree.0).ok_or(Errno::Xdev)
            }
        }

        impl Node for $tree {
            fn stat(&self) -> Result<Stat> {
                Ok($tree::stat(self.0.stat()?))
            }

            fn open(&self, how: Open) -> Result<Opened> {
                let around = |file| Box::new(Around { file, stat: $tree::stat }) as Box<dyn File>;
                Ok(self.0.open(how)?.map(around))
            }

            fn readlink(&self) -> Result<String> {
                self.0.readlink()
            }

            fn set_times(&self, times: Times) -> Result<()> {
                self.0.set_times(times)
            }

            fn lookup(&self, name: Name<'_>) -> Result<Arc<dyn Node>> {
                Ok(Arc::new($tree($tree::name(name, |name| self.0.lookup(name))?)))
            }

            fn create(&self, name: Name<'_>, how: Open) -> Result<Box<dyn File>> {
                let file = $tree::name(name, |name| self.0.create(name, how))?;
                Ok(Box::new(Around { file, stat: $tree::stat }))
            }

            fn create_directory(&self, name: Name<'_>) -> Result<()> {
                $tree::name(name, |name| self.0.create_directory(name))
            }

            fn symlink(&self, name: Name<'_>, target: &str) -> Result<()> {
                $tree::name(name, |name| self.0.symlink(name, target))
            }

            fn link(&self, name: Name<'_>, to: &Arc<dyn Node>, to_name: Name<'_>) -> Result<()> {
                let to = $tree::inner(to)?;
                $tree::name(name, |name| $tree::name(to_name, |new| self.0.link(name, to, new)))
            }

            fn rename(&self, name: Name<'_>, to: &Arc<dyn Node>, to_name: Name<'_>) -> Result<()> {
                let to = $tree::inner(to)?;
                $tree::name(name, |name| $tree::name(to_name, |new| self.0.rename(name, to, new)))
            }

            fn unlink(&self, name: Name<'_>) -> Result<()> {
                $tree::name(name, |name| self.0.unlink(name))
            }

            fn remove_directory(&self, name: Name<'_>) -> Result<()> {
                $tree::name(name, |name| self.0.remove_directory(name))
            }
        }
    };
}

node!(Unnamed);
node!(Folding);
