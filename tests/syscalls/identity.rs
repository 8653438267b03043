//! Device and inode: different things differ, and the same thing is the same.

use std::collections::HashMap;
use std::sync::Arc;

use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::net::{Net, NetConfig};
use tinyhost::vfs::pipe::{Capture, Input};
use tinyhost::vfs::{Filetype, Node, Open, Opened, Result as Answer, Stat, mem as memory};
use tinyhost::{Errno, WasiCtx};

use crate::calls::libc::*;
use crate::calls::trees::{Tree, dir, file};
use crate::calls::{Calls, mounted};

on_each! { host mem: {
    different_things_differ
    the_same_thing_is_the_same
    listings_agree_with_stat
    a_directory_on_the_way_stays_what_it_is
    a_directory_on_the_way_is_one_of_its_surroundings
} }

/// What an embedder writes that knows of no numbers.
struct Plain(Filetype);

impl Node for Plain {
    fn stat(&self) -> Answer<Stat> {
        Ok(Stat::of(self.0))
    }

    fn open(&self, _how: Open) -> Answer<Opened> {
        Ok(Opened::file(Input::new("text")))
    }

    fn lookup(&self, name: tinyhost::vfs::Name<'_>) -> Answer<Arc<dyn Node>> {
        match name.as_str() {
            "deep" => Ok(Arc::new(Plain(Filetype::Directory))),
            "one" | "two" => Ok(Arc::new(Plain(Filetype::CharacterDevice))),
            _ => Err(Errno::Noent),
        }
    }
}

/// `/` with a file and a directory, `/dev` with the network, a mount where nothing leads to,
/// one in a directory, one of an embedder's own, and a file as a mount.
fn guest(tree: &Tree) -> Calls {
    file(&tree.mount, "f", b"x");
    dir(&tree.mount, "d/under");
    dir(&tree.mount, "dev");
    let net = Net::new(NetConfig::default());
    let dev: Arc<dyn Node> = Arc::new(Dev::with_net(net));
    let (one, other): (_, Arc<dyn Node>) =
        (memory::tree(None), Arc::new(Plain(Filetype::Directory)));
    file(&one, "f", b"x");
    let f = one.lookup(tinyhost::vfs::Name::new("f").expect("a name")).expect("f");
    let namespace = mounted(&[
        ("/", &tree.mount),
        ("/d/under", &one),
        ("/x/y/z", &memory::tree(None)),
        ("/own", &other),
        ("/sock/f", &f),
        ("/dev", &dev),
    ]);
    let cx = WasiCtx::builder().stdin(Input::new("")).stdout(Capture::new(9));
    Calls::new(cx.namespace(namespace).build())
}

fn numbers(stat: Result<Filestat>) -> (u64, u64) {
    let stat = stat.expect("stat");
    assert_ne!(stat.ino, 0);
    (stat.dev, stat.ino)
}

fn different_things_differ(tree: &Tree) {
    let calls = &mut guest(tree);
    let mut seen = HashMap::new();
    let mut differs = |what: &str, numbers: (u64, u64)| {
        let before = seen.insert(numbers, what.to_owned());
        assert_eq!(before, None, "{what} has the numbers of another: {numbers:?}");
    };
    for path in [
        ".",
        "f",
        "d",
        "d/under",
        "d/under/f",
        "x",
        "x/y",
        "x/y/z",
        "own",
        "own/deep",
        "own/one",
        "own/two",
        "own/deep/one",
        "sock",
        "dev",
        "dev/null",
        "dev/zero",
        "dev/full",
        "dev/random",
        "dev/urandom",
        "dev/fd",
        "dev/tcp",
        "dev/udp",
        "dev/localhost:1997",
        "dev/localhost:1998",
        "dev/tcp/localhost",
        "dev/accept/127.0.0.1:0",
    ] {
        differs(path, numbers(calls.stat(3, path)));
    }
    for fd in [0, 1, 2] {
        differs(&format!("descriptor {fd}"), numbers(calls.fstat(fd)));
    }
}

fn the_same_thing_is_the_same(tree: &Tree) {
    let calls = &mut guest(tree);
    for (name, fd) in [("stdin", 0), ("stdout", 1), ("stderr", 2), ("fd/0", 0), ("fd/1", 1)] {
        let by_name = numbers(calls.stat(3, format!("dev/{name}")));
        assert_eq!(by_name, numbers(calls.fstat(fd)), "{name}");
    }
    assert_eq!(calls.stat(3, "dev/fd/99").err(), Some(Errno::Noent));
    for path in ["f", "d", "d/under", "d/under/f", "x/y", "own", "own/one", "own/deep", "dev/null"]
    {
        let by_name = numbers(calls.stat(3, path));
        assert_eq!(numbers(calls.stat(3, format!("d/../{path}"))), by_name, "{path}");
        for _ in 0..2 {
            let fd = calls.open(3, path, 0, FD_READ).expect("open");
            assert_eq!(numbers(calls.fstat(fd)), by_name, "{path}, opened");
            calls.close(fd).expect("close");
        }
    }
    let null = numbers(calls.stat(3, "dev/null"));
    let dev = calls.open(3, "dev", DIRECTORY, 0).expect("open");
    assert_eq!(numbers(calls.stat(dev, "null")), null);
    let written = calls.open(dev, "null", CREAT | TRUNC, FD_WRITE).expect("open");
    assert_eq!(numbers(calls.fstat(written)), null);
    calls.link((3, "f"), 0, (3, "g")).expect("link");
    assert_eq!(numbers(calls.stat(3, "g")), numbers(calls.stat(3, "f")));
}

fn listings_agree_with_stat(tree: &Tree) {
    let calls = &mut guest(tree);
    for path in [".", "d", "d/under", "x", "x/y", "x/y/z", "sock", "dev", "dev/fd"] {
        let fd = calls.open(3, path, DIRECTORY, 0).expect("open");
        let (entries, _) = calls.readdir(fd, 2000, 0).expect("a listing");
        for entry in entries.iter().filter(|entry| entry.name != b"..") {
            let name = std::str::from_utf8(&entry.name).expect("UTF-8");
            let stat = calls.statat(fd, name, 0).expect("stat");
            // Of a name for an open file it is left to be asked.
            let of_name = !name.starts_with("std") && path != "dev/fd" || name == ".";
            let ino = if of_name { stat.ino } else { 0 };
            assert_eq!((entry.ino, entry.filetype), (ino, entry.filetype), "{path}: {name}");
            assert!(!of_name || entry.filetype == stat.filetype, "{path}: {name}");
        }
        calls.close(fd).expect("close");
    }
}

/// Before it is made, and after; and for what was opened before.
fn a_directory_on_the_way_stays_what_it_is(tree: &Tree) {
    let calls = &mut guest(tree);
    let before = numbers(calls.stat(3, "x/y"));
    let opened = calls.open(3, "x/y", DIRECTORY, 0).expect("open");
    calls.mkdir(3, "x/y/new").expect("mkdir");
    assert_eq!(numbers(calls.stat(3, "x/y")), before);
    assert_eq!(numbers(calls.fstat(opened)), before);
    let mut names = calls.names(opened, ".").expect("a listing");
    names.retain(|name| !name.starts_with('.'));
    assert_eq!(names, ["new", "z"]);
}

fn a_directory_on_the_way_is_one_of_its_surroundings(tree: &Tree) {
    let calls = &mut guest(tree);
    let (around, on_the_way) =
        (calls.stat(3, ".").expect("stat"), calls.stat(3, "x").expect("stat"));
    assert_eq!(on_the_way.mtim, around.mtim);
    assert!(on_the_way.nlink > 2, "another directory is in it");
    assert_eq!(calls.mkdir(3, "x"), Err(Errno::Exist));
    assert_eq!(calls.rmdir(3, "x"), Err(Errno::Busy));
    assert_eq!(calls.open(3, "x", CREAT | EXCL, FD_WRITE), Err(Errno::Exist));
    // Into it, by each of the ways.
    calls.rename((3, "f"), (3, "x/moved")).expect("rename");
    calls.link((3, "x/moved"), 0, (3, "x/y/linked")).expect("link");
    calls.symlink("moved", 3, "x/l").expect("symlink");
    calls.mkdir(3, "x/dir").expect("mkdir");
    calls.make(3, "x/made", b"made");
    assert_eq!(calls.cat(3, "x/l").as_deref(), Ok(&b"x"[..]));
    assert_eq!(calls.cat(3, "x/made").as_deref(), Ok(&b"made"[..]));
    calls.utimes(3, "x", 1, (1, 2)).expect("times");
    assert_eq!(calls.stat(3, "x").map(|stat| (stat.atim, stat.mtim)), Ok((1, 2)));
    // And out of it again.
    calls.unlink(3, "x/l").expect("unlink");
    calls.rmdir(3, "x/dir").expect("rmdir");
    calls.rename((3, "x/y/linked"), (3, "back")).expect("rename");
    assert_eq!(calls.cat(3, "back").as_deref(), Ok(&b"x"[..]));
    assert_eq!(calls.rename((3, "x/made"), (3, "x/y/z/made")), Err(Errno::Xdev));
}
