//! Trees to mount, each inside a larger one that the guest must never reach.

use std::fs;
use std::io::{IoSlice, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tinyhost::vfs::host::HostDir;
use tinyhost::vfs::{Filetype, Name, Node, Open, Opened, mem as memory};

/// `mount`, which a guest is given, and beside it what it must leave alone.
pub struct Tree {
    /// The directory around it.
    pub top: Arc<dyn Node>,
    /// What is mounted: `mount` in `top`.
    pub mount: Arc<dyn Node>,
    /// The absolute path of `top`, by which links made by the host can lead there.
    pub path: String,
    _scratch: Option<Scratch>,
}

/// A directory that is removed with everything in it.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new() -> Scratch {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("tinyhost-calls-{}-{number}", std::process::id());
        // Without links, so that it can be compared with what /proc says.
        let path = std::env::temp_dir().canonicalize().expect("a temp directory").join(name);
        fs::create_dir(&path).expect("a scratch directory");
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A directory of the host, with the shortcut where the system has it.
pub fn host() -> Tree {
    on_host(true)
}

/// A directory of the host, walked step by step.
pub fn slow() -> Tree {
    on_host(false)
}

fn on_host(shortcut: bool) -> Tree {
    let scratch = Scratch::new();
    fs::create_dir(scratch.0.join("mount")).expect("mkdir");
    let open = |path: &Path| HostDir::open(path).expect("a directory");
    let mount = open(&scratch.0.join("mount"));
    let mount = if shortcut { mount } else { mount.without_shortcut() }.node();
    let top = open(&scratch.0).without_shortcut().node();
    let path = scratch.0.to_str().expect("UTF-8").to_owned();
    Tree { top, mount, path, _scratch: Some(scratch) }
}

/// A directory in memory, of a tree that has more.
pub fn mem() -> Tree {
    let top = memory::tree(Some(64 << 20));
    let mount = dir(&top, "mount");
    Tree { top, mount, path: String::new(), _scratch: None }
}

fn name(text: &str) -> Name<'_> {
    Name::new(text).expect("a name")
}

fn child(node: &Arc<dyn Node>, text: &str) -> Arc<dyn Node> {
    node.lookup(name(text)).expect("lookup")
}

/// The directory a path of plain names leads to, made if it is not there.
pub fn dir(from: &Arc<dyn Node>, path: &str) -> Arc<dyn Node> {
    path.split('/').fold(from.clone(), |dir, part| {
        let _ = dir.create_directory(name(part));
        child(&dir, part)
    })
}

/// The directory that a path's last name is in, and that name.
fn split<'p>(from: &Arc<dyn Node>, path: &'p str) -> (Arc<dyn Node>, Name<'p>) {
    match path.rsplit_once('/') {
        Some((parents, last)) => (dir(from, parents), name(last)),
        None => (from.clone(), name(path)),
    }
}

pub fn file(from: &Arc<dyn Node>, path: &str, bytes: &[u8]) {
    let (dir, last) = split(from, path);
    let how = Open { write: true, ..Open::default() };
    let written = dir.create(last, how).expect("create").write(&[IoSlice::new(bytes)], 0);
    assert_eq!(written, Ok(bytes.len()));
}

pub fn link(from: &Arc<dyn Node>, path: &str, text: &str) {
    let (dir, last) = split(from, path);
    dir.symlink(last, text).expect("symlink");
}

pub fn unlink(from: &Arc<dyn Node>, path: &str) {
    let (dir, last) = split(from, path);
    dir.unlink(last).expect("unlink");
}

pub fn rename(from: &Arc<dyn Node>, path: &str, to: &str) {
    let ((dir, last), (to, to_last)) = (split(from, path), split(from, to));
    dir.rename(last, &to, to_last).expect("rename");
}

/// All that can be known of a tree: names, kinds, sizes, times, number of links, contents.
/// (The time of access is left out: looking here changes it.)
pub fn snapshot(node: &Arc<dyn Node>) -> Vec<String> {
    let mut seen = Vec::new();
    look(node, "", &mut seen);
    seen.sort();
    seen
}

fn look(node: &Arc<dyn Node>, path: &str, seen: &mut Vec<String>) {
    let stat = node.stat().expect("stat");
    let how = Open { read: true, ..Open::default() };
    let mut content = String::new();
    match stat.filetype {
        Filetype::Directory => {
            let mut names = Vec::new();
            let mut entries = node.open(how).and_then(Opened::at_once).expect("open");
            let read = entries.readdir(0, &mut |entry| {
                names.push(String::from_utf8_lossy(entry.name).into_owned());
                true
            });
            read.expect("readdir");
            for name in names.iter().filter(|name| *name != "." && *name != "..") {
                look(&child(node, name), &format!("{path}/{name}"), seen);
            }
        }
        Filetype::SymbolicLink => content = node.readlink().expect("readlink"),
        _ => {
            let mut bytes = vec![0; 1000];
            let mut open = node.open(how).and_then(Opened::at_once).expect("open");
            let len = open.read(&mut [IoSliceMut::new(&mut bytes)], 0).expect("read");
            content = String::from_utf8_lossy(&bytes[..len]).into_owned();
        }
    }
    let (kind, size) = (stat.filetype, stat.size);
    let (nlink, mtim, ctim) = (stat.nlink, stat.mtim, stat.ctim);
    seen.push(format!("{path} {kind:?} {size} {nlink} {mtim} {ctim} {content}"));
}
