//! What the behaviours have in common: trees, and short ways to say what happens in them.

use std::io::{IoSlice, IoSliceMut};
use std::sync::Arc;

use tinyhost::vfs::walk::{self, Follow, Place, Walked};
use tinyhost::vfs::{
    Errno, File, Filetype, Memo, Name, Namespace, Node, Open, Opened, Result, SetTime, Stat, Times,
    mem,
};

pub type Root = Arc<dyn Node>;

pub const READ: Open = Open { read: true, write: false, truncate: false, nonblock: false };
pub const WRITE: Open = Open { read: false, write: true, truncate: false, nonblock: false };
pub const BOTH: Open = Open { read: true, write: true, truncate: false, nonblock: false };

/// A tree that needs nothing to be put away after it.
pub struct Nothing;

impl Drop for Nothing {
    fn drop(&mut self) {}
}

pub fn mem() -> (Root, Nothing) {
    (mem::tree(Some(64 << 20)), Nothing)
}

/// An empty directory of the host, gone when this is.
#[cfg(all(unix, feature = "host-fs"))]
pub struct TempDir(std::path::PathBuf);

#[cfg(all(unix, feature = "host-fs"))]
impl TempDir {
    fn new() -> TempDir {
        use std::sync::atomic::{AtomicU32, Ordering};
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("tinyhost-backends-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir(&path).expect("a new directory");
        TempDir(path)
    }
}

#[cfg(all(unix, feature = "host-fs"))]
impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(all(unix, feature = "host-fs"))]
pub fn host() -> (Root, TempDir) {
    let dir = TempDir::new();
    (tinyhost::vfs::host::open(&dir.0).expect("open"), dir)
}

#[cfg(all(unix, feature = "host-fs"))]
pub fn host_without_shortcut() -> (Root, TempDir) {
    let dir = TempDir::new();
    let host = tinyhost::vfs::host::HostDir::open(&dir.0).expect("open");
    (host.without_shortcut().node(), dir)
}

/// The error must be this one.
#[macro_export]
macro_rules! refused {
    ($result:expr, $errno:ident) => {
        assert_eq!($result.err(), Some(tinyhost::vfs::Errno::$errno), "{}", stringify!($result))
    };
}

pub fn name(text: &str) -> Name<'_> {
    Name::new(text).expect("a name")
}

/// A new file with these bytes.
pub fn put(dir: &Root, path: &str, bytes: &[u8]) {
    let mut file = dir.create(name(path), WRITE).expect("create");
    assert_eq!(write(&mut *file, bytes, 0).expect("write"), bytes.len());
}

/// A new directory.
pub fn dir(parent: &Root, text: &str) -> Root {
    parent.create_directory(name(text)).expect("create_directory");
    child(parent, text)
}

pub fn child(parent: &Root, text: &str) -> Root {
    parent.lookup(name(text)).expect("lookup")
}

/// What is in the file of that name.
pub fn get(dir: &Root, text: &str) -> Vec<u8> {
    read_all(&mut *open(&child(dir, text), READ))
}

/// Opens it, at once.
pub fn open(node: &Root, how: Open) -> Box<dyn File> {
    node.open(how).and_then(Opened::at_once).expect("open")
}

pub fn stat(dir: &Root, text: &str) -> Stat {
    child(dir, text).stat().expect("stat")
}

pub fn absent(dir: &Root, text: &str) {
    refused!(dir.lookup(name(text)), Noent);
}

pub fn read(file: &mut dyn File, len: usize, offset: u64) -> Result<Vec<u8>> {
    let mut bytes = vec![0xee; len];
    let n = file.read(&mut [IoSliceMut::new(&mut bytes)], offset)?;
    bytes.truncate(n);
    Ok(bytes)
}

pub fn read_all(file: &mut dyn File) -> Vec<u8> {
    let mut all = Vec::new();
    loop {
        let part = read(file, 10_000, all.len() as u64).expect("read");
        if part.is_empty() {
            return all;
        }
        all.extend(part);
    }
}

pub fn write(file: &mut dyn File, bytes: &[u8], offset: u64) -> Result<usize> {
    file.write(&[IoSlice::new(bytes)], offset)
}

pub fn to(atim: u64, mtim: u64) -> Times {
    Times { atim: Some(SetTime::To(atim)), mtim: Some(SetTime::To(mtim)) }
}

/// A directory entry, kept.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    pub name: String,
    pub next: u64,
    pub ino: u64,
    pub filetype: u8,
}

/// Up to `limit` entries from `cookie` on.
pub fn list(file: &mut dyn File, cookie: u64, limit: usize) -> Vec<Listed> {
    let mut entries = Vec::new();
    file.readdir(cookie, &mut |entry| {
        if entries.len() == limit {
            return false;
        }
        let name = String::from_utf8(entry.name.to_vec()).expect("UTF-8");
        let (next, ino, filetype) = (entry.next, entry.ino, entry.filetype as u8);
        entries.push(Listed { name, next, ino, filetype });
        true
    })
    .expect("readdir");
    entries
}

/// The names in an open directory, sorted, without `.` and `..`.
pub fn names(file: &mut dyn File) -> Vec<String> {
    let entries = list(file, 0, usize::MAX).into_iter().map(|entry| entry.name);
    let mut names: Vec<String> = entries.filter(|name| name != "." && name != "..").collect();
    names.sort();
    names
}

pub fn names_in(dir: &Root) -> Vec<String> {
    names(&mut *open(dir, READ))
}

/// The tree as the only mount of a namespace.
pub fn place(root: &Root) -> Place {
    let builder = Namespace::builder().mount("/", root.clone()).expect("mount");
    builder.build().preopens()[0].place.clone()
}

/// Walks a path in a call of its own.
pub fn walk<'p>(base: &Place, path: &'p str, follow: Follow) -> Result<Walked<'p>> {
    walk::walk(base, path, follow, &Memo::default())
}

/// Where a path leads, following links, and what is there.
pub fn go(base: &Place, path: &str) -> Result<(Place, Stat)> {
    walk(base, path, Follow::Yes)?.existing()
}

/// The file a path leads to.
pub fn cat(base: &Place, path: &str) -> Result<Vec<u8>> {
    let (place, _) = go(base, path)?;
    Ok(read_all(&mut *place.node.open(READ)?.at_once()?))
}

/// What a walk came to, in words that can be compared: the directory's inode, the name,
/// what is there, and whether a slash ended the path.
#[derive(Debug, PartialEq)]
pub enum Arrived {
    Itself(u64),
    Entry { dir: u64, name: String, found: Option<(u64, Filetype)>, slash: bool },
    Refused(Errno),
}

pub fn arrive(base: &Place, path: &str, follow: Follow) -> Arrived {
    let ino = |place: &Place| place.node.stat().expect("stat").ino;
    match walk(base, path, follow) {
        Err(errno) => Arrived::Refused(errno),
        Ok(Walked::Itself(place)) => Arrived::Itself(ino(&place)),
        Ok(Walked::Entry(entry)) => Arrived::Entry {
            dir: ino(&entry.dir),
            name: entry.name().as_str().into(),
            found: entry.found.as_ref().map(|(_, stat)| (stat.ino, stat.filetype)),
            slash: entry.slash,
        },
    }
}
