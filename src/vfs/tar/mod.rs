//! A tar image, plain or gzip, as a read-only tree.
//!
//! The image stays in memory as it is; files are ranges of it. Whatever it claims, nothing
//! is written anywhere: an image can at worst be refused, with the offset of what is wrong.
//! Where two entries have one path, the later one counts, as when unpacking.

mod build;
mod entry;
mod error;
mod gzip;

use std::io::IoSliceMut;
use std::ops::Range;
use std::sync::Arc;

use super::{
    Access, Dirent, Emit, Errno, File, Filetype, Name, Node, Open, Opened, ReadOnly, Result, Stat,
    charge, new_device,
};
pub use error::{TarError, TarErrorKind};

/// Bytes a gzip image may unpack to.
pub const INFLATED_MAX: usize = 1 << 30;

/// Files and directories in an image.
pub const NODES_MAX: usize = 1 << 20;

/// The tree in the image `bytes`. Every change in it answers EROFS.
///
/// Understood are ustar, GNU (long names, large numbers) and pax (path, linkpath, size,
/// mtime). A `/` before a path is dropped; devices are left out.
///
/// # Errors
///
/// For an image that is damaged, truncated, too large, or has a path with `..`.
pub fn open(bytes: Vec<u8>) -> Result<Arc<dyn Node>, TarError> {
    if let Some((_, with)) = COMPRESSED.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Err(TarErrorKind::Compressed(with).at(0));
    }
    let bytes =
        if bytes.starts_with(&gzip::MAGIC) { gzip::unpack(&bytes, INFLATED_MAX)? } else { bytes };
    let nodes = build::build(&bytes)?;
    let image = Arc::new(Image { bytes, nodes, dev: new_device() });
    Ok(Arc::new(ReadOnly(Arc::new(TarNode { image, index: ROOT }))))
}

/// How files begin that are compressed in ways that are not understood here.
const COMPRESSED: [(&[u8], &str); 3] =
    [(b"\xfd7zXZ\0", "xz"), (b"\x28\xb5\x2f\xfd", "zstd"), (b"BZh", "bzip2")];

const ROOT: usize = 0;

struct Image {
    bytes: Vec<u8>,
    nodes: Vec<Inode>,
    dev: u64,
}

struct Inode {
    nlink: u64,
    mtim: u64,
    body: Body,
}

enum Body {
    File(Range<usize>),
    Link(Box<str>),
    /// The parent, and the children sorted by name.
    Dir {
        parent: usize,
        children: Vec<(Box<str>, usize)>,
    },
}

impl Body {
    fn filetype(&self) -> Filetype {
        match self {
            Body::File(_) => Filetype::RegularFile,
            Body::Link(_) => Filetype::SymbolicLink,
            Body::Dir { .. } => Filetype::Directory,
        }
    }
}

fn ino(index: usize) -> u64 {
    index as u64 + 1
}

/// A node of an image, and that same node opened; what would change it is refused by the
/// [`ReadOnly`] around the root.
#[derive(Clone)]
struct TarNode {
    image: Arc<Image>,
    index: usize,
}

impl TarNode {
    fn inode(&self) -> &Inode {
        &self.image.nodes[self.index]
    }

    fn at(&self, index: usize) -> TarNode {
        TarNode { image: self.image.clone(), index }
    }
}

impl Node for TarNode {
    fn stat(&self) -> Result<Stat> {
        let Inode { nlink, mtim, body } = self.inode();
        let size = match body {
            Body::File(data) => data.len(),
            Body::Link(text) => text.len(),
            Body::Dir { .. } => 0,
        };
        Ok(Stat {
            dev: self.image.dev,
            ino: ino(self.index),
            filetype: body.filetype(),
            nlink: *nlink,
            size: size as u64,
            atim: *mtim,
            mtim: *mtim,
            ctim: *mtim,
        })
    }

    fn open(&self, _how: Open) -> Result<Opened> {
        match self.inode().body {
            Body::Link(_) => Err(Errno::Loop),
            _ => Ok(Opened::file(self.clone())),
        }
    }

    fn readlink(&self) -> Result<String> {
        match &self.inode().body {
            Body::Link(text) => Ok(text.to_string()),
            _ => Err(Errno::Inval),
        }
    }

    fn lookup(&self, name: Name<'_>) -> Result<Arc<dyn Node>> {
        let Body::Dir { children, .. } = &self.inode().body else {
            return Err(Errno::Notdir);
        };
        let found = children.binary_search_by(|(known, _)| (**known).cmp(name.as_str()));
        let position = found.map_err(|_| Errno::Noent)?;
        Ok(Arc::new(self.at(children[position].1)))
    }
}

impl File for TarNode {
    fn access(&self) -> Access {
        Access::READ
    }

    fn stat(&mut self) -> Result<Stat> {
        Node::stat(self)
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        let Body::File(data) = &self.inode().body else {
            return Err(Errno::Isdir);
        };
        let offset = usize::try_from(offset).unwrap_or(usize::MAX);
        let mut rest = self.image.bytes[data.clone()].get(offset..).unwrap_or_default();
        let mut total = 0;
        for buf in bufs {
            let (now, later) = rest.split_at(rest.len().min(buf.len()));
            buf[..now.len()].copy_from_slice(now);
            total += now.len();
            rest = later;
        }
        Ok(total)
    }

    fn sync(&mut self, _data_only: bool) -> Result<()> {
        Ok(())
    }

    /// Cookies are positions: `.`, `..`, then the children.
    fn readdir(&mut self, cookie: u64, emit: &mut Emit<'_>) -> Result<()> {
        let Body::Dir { parent, children } = &self.inode().body else {
            return Err(Errno::Notdir);
        };
        let dots = [(".", self.index), ("..", *parent)];
        let children = children.iter().map(|(name, index)| (&**name, *index));
        let skipped = usize::try_from(cookie).unwrap_or(usize::MAX);
        // There is no way to the entry but along those before it.
        charge::add(skipped.min(children.len()) as u64 * charge::SKIPPED);
        let entries = dots.into_iter().chain(children).enumerate().skip(skipped);
        for (position, (name, index)) in entries {
            let filetype = self.image.nodes[index].body.filetype();
            let next = position as u64 + 1;
            if !emit(Dirent { next, ino: ino(index), filetype, name: name.as_bytes() }) {
                break;
            }
        }
        Ok(())
    }
}
