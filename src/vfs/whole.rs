//! Whole files, from the host's side.

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

use super::{Errno, Name, Node, Open, Result};

/// Reads the file at `path` below `root`, a directory of any backend, up to `bytes_max`.
///
/// The path is plain: names and slashes, no `..`, no symbolic links on the way.
///
/// # Errors
///
/// What a guest would get; EFBIG if it is longer; Again if it is a stream that has nothing.
pub fn read(root: &Arc<dyn Node>, path: &str, bytes_max: usize) -> Result<Vec<u8>> {
    let mut node = root.clone();
    for name in path.split('/').filter(|part| !part.is_empty()) {
        node = node.lookup(Name::new(name).ok_or(Errno::Inval)?)?;
    }
    let mut file = node.open(Open { read: true, ..Open::default() })?.at_once()?;
    let (mut bytes, mut chunk) = (Vec::new(), vec![0; 16 << 10]);
    loop {
        let n = file.read(&mut [IoSliceMut::new(&mut chunk)], bytes.len() as u64)?;
        if n == 0 {
            return Ok(bytes);
        }
        if bytes.len() + n > bytes_max {
            return Err(Errno::Fbig);
        }
        bytes.extend_from_slice(&chunk[..n]);
    }
}

/// Writes the file at `path` below `root`, created or truncated, and the directories on
/// the way where they are missing.
///
/// ```
/// use tinyhost::vfs;
///
/// let tree = vfs::mem::tree(None);
/// vfs::write(&tree, "/saves/one", b"level 3")?;
/// assert_eq!(vfs::read(&tree, "saves/one", 1 << 20)?, b"level 3");
/// # Ok::<(), tinyhost::Errno>(())
/// ```
///
/// # Errors
///
/// What a guest would get, ENOSPC for one.
pub fn write(root: &Arc<dyn Node>, path: &str, bytes: &[u8]) -> Result<()> {
    let mut directory = root.clone();
    let mut names = path.split('/').filter(|part| !part.is_empty()).peekable();
    while let Some(name) = names.next() {
        let name = Name::new(name).ok_or(Errno::Inval)?;
        if names.peek().is_some() {
            directory = match directory.lookup(name) {
                Err(Errno::Noent) => {
                    directory.create_directory(name)?;
                    directory.lookup(name)?
                }
                there => there?,
            };
            continue;
        }
        let how = Open { write: true, truncate: true, ..Open::default() };
        let mut file = match directory.create(name, how) {
            Err(Errno::Exist) => directory.lookup(name)?.open(how)?.at_once()?,
            created => created?,
        };
        let mut done = 0;
        while done < bytes.len() {
            match file.write(&[IoSlice::new(&bytes[done..])], done as u64)? {
                0 => return Err(Errno::Io),
                n => done += n,
            }
        }
        return Ok(());
    }
    Err(Errno::Isdir)
}
