//! What a guest can do in a directory of the host, and what it can't.

mod charges;
mod entries;
mod files;
mod races;
mod shortcut;
mod streams;
mod verbs;

use std::fs;
use std::io::{IoSlice, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{HostDir, open};
use crate::vfs::Memo;
use crate::vfs::namespace::Preopen;
use crate::vfs::walk::{Follow, Place, Walked};
use crate::vfs::{Errno, File, Name, Namespace, Node, Open, Result};

const LOOK: Open = Open { read: false, write: false, truncate: false, nonblock: false };
const READ: Open = Open { read: true, write: false, truncate: false, nonblock: false };
const WRITE: Open = Open { read: false, write: true, truncate: false, nonblock: false };
const BOTH: Open = Open { read: true, write: true, truncate: false, nonblock: false };

/// A directory that is removed with everything in it.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Scratch {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("tinyhost-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    /// With these in it: `dir/`, `file=its text`, `link->its text`.
    fn with(entries: &[&str]) -> Scratch {
        let scratch = Scratch::new();
        for entry in entries {
            if let Some((link, text)) = entry.split_once("->") {
                std::os::unix::fs::symlink(text, scratch.path(link)).unwrap();
            } else if let Some((file, text)) = entry.split_once('=') {
                fs::write(scratch.path(file), text).unwrap();
            } else {
                fs::create_dir_all(scratch.path(entry)).unwrap();
            }
        }
        scratch
    }

    fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.0.join(path)
    }

    fn text(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap()
    }

    fn node(&self) -> Arc<dyn Node> {
        open(&self.0).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn name(text: &str) -> Name<'_> {
    Name::new(text).unwrap()
}

/// Where a walk through `node` begins.
fn base(node: Arc<dyn Node>) -> Place {
    let namespace = Namespace::builder().mount("/", node).unwrap().build();
    let [Preopen { place, .. }] = namespace.preopens() else { panic!("one mount") };
    place.clone()
}

fn read(file: &mut dyn File, len: usize, offset: u64) -> Result<String> {
    let mut buf = vec![0; len];
    let read = file.read(&mut [IoSliceMut::new(&mut buf)], offset)?;
    buf.truncate(read);
    Ok(String::from_utf8(buf).unwrap())
}

fn write(file: &mut dyn File, text: &str, offset: u64) -> Result<usize> {
    file.write(&[IoSlice::new(text.as_bytes())], offset)
}

/// The error of something whose success can't be printed.
fn error<T>(result: Result<T>) -> Errno {
    result.err().expect("an error")
}

/// Marsaglia's xorshift64: the same trees and paths at every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn pick<'a>(&mut self, from: &[&'a str]) -> &'a str {
        from[self.below(from.len())]
    }
}

/// Walks a path in a call of its own.
fn walk<'p>(base: &Place, path: &'p str, follow: Follow) -> Result<Walked<'p>> {
    crate::vfs::walk::walk(base, path, follow, &Memo::default())
}
