//! What a mount covers stays covered, by whatever name and after whatever change.
//!
//! `TINYHOST_COVERED_RUNS` makes it more or fewer runs, `TINYHOST_RANDOM_SEED` others.

use std::sync::Arc;

use tinyhost::vfs::host::HostDir;
use tinyhost::vfs::{Filetype, Name, Node, ReadOnly, mem as memory};
use tinyhost::{Errno, WasiCtx};

use crate::calls::libc::*;
use crate::calls::trees::{Tree, dir, file, link, rename, snapshot};
use crate::calls::{Calls, mounted};
use crate::escape::custom::{Folding, Unnamed};

on_each! { host slow mem: {
    a_directory_above_a_mount_stays
    another_name_leads_to_the_mount
    a_name_from_outside_leads_to_the_mount
    a_mount_in_itself_has_an_end
    no_sequence_of_calls_uncovers
} }

const SECRET: &[u8] = b"under the mount";

/// `a/s/key` is the secret, `l` another way to `a`, `k` to the secret's directory.
fn plant(tree: &Arc<dyn Node>) {
    file(tree, "a/s/key", SECRET);
    dir(tree, "b");
    link(tree, "l", "a");
    link(tree, "k", "a/s");
}

fn guest(mounts: &[(&str, &Arc<dyn Node>)]) -> Calls {
    Calls::new(WasiCtx::builder().namespace(mounted(mounts)).build())
}

/// The same tree once more: a directory of the host is opened again.
fn again(tree: &Tree) -> Arc<dyn Node> {
    match tree.path.as_str() {
        "" => tree.mount.clone(),
        path => HostDir::open(format!("{path}/mount").as_ref()).expect("a directory").node(),
    }
}

fn a_directory_above_a_mount_stays(tree: &Tree) {
    plant(&tree.mount);
    let over = memory::tree(None);
    let calls = &mut guest(&[("/", &tree.mount), ("/a/s", &over), ("/p/q", &over)]);
    let before = snapshot(&tree.mount);
    let inside = calls.open(3, "a", DIRECTORY, 0).expect("open");
    for (fd, path) in [(3, "a"), (3, "a/s"), (3, "l/s"), (3, "p"), (3, "p/q"), (inside, "s")] {
        let busy = Err(Errno::Busy);
        assert_eq!(calls.rename((fd, path), (3, "b/new")), busy, "{path}");
        assert_eq!(calls.rename((3, "b"), (fd, path)), busy, "{path}");
        assert_eq!(calls.rmdir(fd, path), busy, "{path}");
        assert!(calls.unlink(fd, path).is_err(), "{path}");
        assert!(calls.link((fd, path), 0, (3, "b/new")).is_err(), "{path}");
        assert_eq!(calls.mkdir(fd, path), Err(Errno::Exist), "{path}");
        assert_eq!(calls.symlink("b", fd, path), Err(Errno::Exist), "{path}");
    }
    assert_eq!(snapshot(&tree.mount), before);
}

/// Links, a second mount of the same tree, and a mount at a link.
fn another_name_leads_to_the_mount(tree: &Tree) {
    plant(&tree.mount);
    let (other, over) = (again(tree), memory::tree(None));
    file(&over, "own", b"mine");
    for point in ["/x/a/s", "/x/l/s", "/x/k"] {
        let mounts = [("/x", &tree.mount), ("/y", &other), (point, &over)];
        let calls = &mut guest(&mounts);
        for (fd, path) in [(3, "a/s"), (3, "l/s"), (3, "k"), (4, "a/s"), (4, "l/s"), (4, "k")] {
            let key = format!("{path}/key");
            assert_eq!(calls.cat(fd, &key).err(), Some(Errno::Noent), "{point}: {fd} {key}");
            let own = format!("{path}/own");
            assert_eq!(calls.cat(fd, &own).as_deref(), Ok(&b"mine"[..]), "{point}: {fd} {own}");
            let (stat, root) = (calls.stat(fd, path), calls.fstat(5));
            assert_eq!(stat.map(|s| (s.dev, s.ino)), root.map(|s| (s.dev, s.ino)), "{point}");
        }
        // And by none of them does what leads there go away.
        assert_eq!(calls.rename((4, "a/s"), (4, "z")), Err(Errno::Busy), "{point}");
        if point != "/x/k" {
            assert_eq!(calls.rename((4, "a"), (4, "z")), Err(Errno::Busy), "{point}");
        }
    }
}

/// Something else renames what the mount lies in, and what it covers.
fn a_name_from_outside_leads_to_the_mount(tree: &Tree) {
    plant(&tree.mount);
    let over = memory::tree(None);
    let calls = &mut guest(&[("/", &tree.mount), ("/a/s", &over)]);
    let opened = calls.open(3, "a", DIRECTORY, 0).expect("open");
    rename(&tree.mount, "a", "z");
    assert_eq!(calls.cat(3, "z/s/key").err(), Some(Errno::Noent));
    assert_eq!(calls.rename((3, "z"), (3, "y")), Err(Errno::Busy));
    rename(&tree.mount, "z/s", "open");
    assert_eq!(calls.cat(3, "open/key").err(), Some(Errno::Noent));
    assert_eq!(calls.rename((3, "open"), (3, "y")), Err(Errno::Busy));
    assert_eq!(calls.cat(opened, "s/key").err(), Some(Errno::Noent));
    // The mount is where it was, too.
    let fd = calls.open(3, "a/s/new", CREAT, FD_WRITE).expect("create");
    assert_eq!(calls.write(fd, b"x"), Ok(1));
    assert_eq!(calls.cat(3, "open/new").as_deref(), Ok(&b"x"[..]));
    let listed = calls.names(3, ".").expect("a listing");
    assert!(listed.contains(&"open".to_owned()) && listed.contains(&"a".to_owned()), "{listed:?}");
}

/// A tree mounted in itself.
fn a_mount_in_itself_has_an_end(tree: &Tree) {
    plant(&tree.mount);
    let calls = &mut guest(&[("/", &tree.mount), ("/a", &again(tree))]);
    assert_eq!(calls.stat(3, "a/a").err(), Some(Errno::Loop));
    assert_eq!(calls.stat(3, "a/b").map(|stat| stat.filetype), Ok(DIR));
    assert_eq!(calls.cat(3, "a/a/s/key").err(), Some(Errno::Loop));
}

/// Marsaglia's xorshift64: the same calls for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % limit
    }

    fn of<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        choices[self.below(choices.len())]
    }

    fn path(&mut self, parts: &[&str]) -> String {
        let count = 1 + self.below(4);
        (0..count).map(|_| self.of(parts)).collect::<Vec<_>>().join("/")
    }
}

const PARTS: [&str; 10] = ["a", "b", "s", "A", "S", "key", "l", "k", "..", "new"];

fn number(variable: &str, usual: u64) -> u64 {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// One random call; what it reads is not the secret.
fn act(calls: &mut Calls, random: &mut Random, fds: &mut Vec<u32>, readable: bool) {
    let (one, other) = (fds[random.below(fds.len())], fds[random.below(fds.len())]);
    let (path, to) = (random.path(&PARTS), random.path(&PARTS));
    match random.below(10) {
        0 => drop(calls.mkdir(one, &path)),
        1 => drop(calls.rmdir(one, &path)),
        2 => drop(calls.unlink(one, &path)),
        3 => drop(calls.symlink(&to, one, &path)),
        4 => drop(calls.link((one, &path), random.below(2) as u64, (other, &to))),
        5 | 6 => drop(calls.rename((one, &path), (other, &to))),
        7 => {
            let oflags = [0, CREAT, CREAT | TRUNC, TRUNC][random.below(4)];
            if let Ok(fd) = calls.open(one, &path, oflags, FD_READ | FD_WRITE) {
                if let Ok(text) = calls.pread(fd, 100, 0) {
                    assert!(readable || text != SECRET, "{path} is the secret");
                }
                let _ = calls.write(fd, b"changed");
                calls.close(fd).expect("close");
            }
        }
        8 => {
            let text = calls.cat(one, &path);
            assert!(readable || text.as_deref() != Ok(SECRET), "{path} is the secret");
        }
        _ => {
            if let Ok(fd) = calls.open(one, &path, DIRECTORY, 0) {
                let _ = calls.names(fd, ".");
                fds.push(fd);
            }
            if fds.len() > 24 {
                let fd = fds.swap_remove(8 + random.below(16));
                calls.close(fd).expect("close");
            }
        }
    }
}

/// The files of a tree that hold the secret.
fn secrets(node: &Arc<dyn Node>) -> usize {
    let holds = |line: &String| line.contains(std::str::from_utf8(SECRET).expect("text"));
    snapshot(node).iter().filter(|line| holds(line)).count()
}

fn no_sequence_of_calls_uncovers(tree: &Tree) {
    let runs = number("TINYHOST_COVERED_RUNS", 40);
    let first = number("TINYHOST_RANDOM_SEED", 1);
    for seed in first..first + runs {
        let random = &mut Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
        let run = format!("run{seed}");
        let root = dir(&tree.mount, &run);
        plant(&root);
        let other = match tree.path.as_str() {
            "" => root.clone(),
            path => HostDir::open(format!("{path}/mount/{run}").as_ref()).expect("dir").node(),
        };
        // As they are, without numbers of their own, with names of any case.
        let wrap = |node: Arc<dyn Node>, kind: usize| match kind {
            0 | 1 => node,
            2 => Unnamed::around(node),
            _ => Folding::around(node),
        };
        let kind = random.below(4);
        let (one, other) = match kind {
            // The same node: nothing else could tell that it is one tree.
            2 => (wrap(root.clone(), 2), None),
            kind => (wrap(root.clone(), kind), Some(wrap(other, kind))),
        };
        let other = other.unwrap_or_else(|| one.clone());
        let readable = random.below(3) == 0;
        let over = match readable {
            true => ReadOnly(one.lookup(name("a")).and_then(|a| a.lookup(name("s"))).expect("s")),
            false => ReadOnly(memory::tree(None)),
        };
        let over: Arc<dyn Node> = Arc::new(over);
        let point = random.of(&["/x/a/s", "/x/l/s", "/x/k", "/y/a/s", "/x/a"]);
        let over =
            if readable && point == "/x/a" { Arc::new(ReadOnly(memory::tree(None))) } else { over };
        let calls =
            &mut guest(&[("/x", &one), ("/y", &other), (point, &over), ("/x/b/p/q", &over)]);
        let mut fds = vec![3, 4, 5, 6];
        for step in 0..150 {
            act(calls, random, &mut fds, readable);
            if kind != 2 && random.below(20) == 0 {
                move_outside(&root);
            }
            assert_eq!(secrets(&root), 1, "seed {seed}, kind {kind}, {point}, step {step}");
        }
    }
}

fn name(text: &str) -> Name<'_> {
    Name::new(text).expect("a name")
}

/// What is not the guest moves the directory above the mount there and back, if it can.
fn move_outside(root: &Arc<dyn Node>) {
    let Ok(b) = root.lookup(name("b")) else { return };
    let is_there = |dir: &Arc<dyn Node>, text: &str| {
        let found = dir.lookup(name(text)).and_then(|node| node.stat());
        found.is_ok_and(|stat| stat.filetype == Filetype::Directory)
    };
    if is_there(root, "a") {
        let _ = root.rename(name("a"), &b, name("moved"));
    } else if is_there(&b, "moved") {
        let _ = b.rename(name("moved"), root, name("a"));
    }
}
