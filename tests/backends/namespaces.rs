//! Mounts: a tree with others in it.

use std::sync::Arc;

use tinyhost::vfs::namespace::{MountError, open_directory};
use tinyhost::vfs::walk::{Follow, Place, Walked};
use tinyhost::vfs::{Filetype, Namespace, Opened, ReadOnly, mem};

use super::support::*;
use crate::refused;

/// A tree with one file in it, which tells whose it is.
fn tree(file: &str) -> Root {
    let tree = mem::tree(None);
    put(&tree, file, file.as_bytes());
    tree
}

fn namespace(mounts: &[(&str, &Root)]) -> Namespace {
    let add = |builder: tinyhost::vfs::namespace::NamespaceBuilder,
               (path, node): &(&str, &Root)| {
        builder.mount(path, (*node).clone()).expect("mount")
    };
    mounts.iter().fold(Namespace::builder(), add).build()
}

fn base(namespace: &Namespace) -> &Place {
    &namespace.preopens()[0].place
}

fn listed(place: &Place) -> Vec<String> {
    names(&mut *open_directory(place, READ).and_then(Opened::at_once).expect("open"))
}

pub fn preopens_come_in_order(root: &Root) {
    put(root, "r", b"");
    let (x, y) = (tree("x"), tree("y"));
    let ns = namespace(&[("/b", &x), ("", root), ("a/c/", &y)]);
    let names: Vec<&str> = ns.preopens().iter().map(|preopen| &*preopen.name).collect();
    assert_eq!(names, ["/b", "/", "a/c/"]);
    for (preopen, file) in ns.preopens().iter().zip(["x", "r", "y"]) {
        go(&preopen.place, file).expect("its own file");
    }
    assert!(Namespace::default().preopens().is_empty());
}

pub fn the_longest_mount_wins(root: &Root) {
    let a = dir(root, "a");
    let b = dir(&a, "b");
    put(&b, "f", b"covered");
    put(&a, "g", b"seen");
    let (x, y) = (tree("x"), tree("y"));
    let ns = namespace(&[("/", root), ("/a/b", &x), ("/a/b/c/d", &y)]);
    let base = base(&ns);
    assert_eq!(cat(base, "a/g").as_deref(), Ok(&b"seen"[..]));
    assert_eq!(cat(base, "a/b/x").as_deref(), Ok(&b"x"[..]));
    assert_eq!(cat(base, "a/b/c/d/y").as_deref(), Ok(&b"y"[..]));
    refused!(go(base, "a/b/f"), Noent);
    // From a preopen in between as well, and not from a mount that holds none.
    assert_eq!(cat(&ns.preopens()[1].place, "c/d/y").as_deref(), Ok(&b"y"[..]));
    refused!(go(&ns.preopens()[2].place, "x"), Noent);
}

pub fn dot_dot_crosses_a_mount_point(root: &Root) {
    let a = dir(root, "a");
    put(&a, "g", b"seen");
    let x = tree("x");
    let ns = namespace(&[("/", root), ("/a/b", &x)]);
    assert_eq!(cat(base(&ns), "a/b/../g").as_deref(), Ok(&b"seen"[..]));
    assert_eq!(cat(base(&ns), "a/b/../b/x").as_deref(), Ok(&b"x"[..]));
    refused!(walk(&ns.preopens()[1].place, "../g", Follow::Yes), Notcapable);
    // A link in a mount goes up through it as well, if the walk came in from there.
    x.symlink(name("up"), "../g").expect("symlink");
    assert_eq!(cat(base(&ns), "a/b/up").as_deref(), Ok(&b"seen"[..]));
    refused!(walk(&ns.preopens()[1].place, "up", Follow::Yes), Notcapable);
}

pub fn mounts_need_no_directory_there(root: &Root) {
    let x = tree("x");
    let ns = namespace(&[("/", root), ("/p/q/r", &x)]);
    let base = base(&ns);
    assert_eq!(cat(base, "p/q/r/x").as_deref(), Ok(&b"x"[..]));
    assert_eq!(cat(base, "p/./q/../q/r/x").as_deref(), Ok(&b"x"[..]));
    for path in ["p", "p/", "p/q", "p/q/r"] {
        assert_eq!(go(base, path).expect("walk").1.filetype, Filetype::Directory, "{path}");
    }
    refused!(go(base, "p/x"), Noent);
    absent(root, "p");
    // Made meanwhile, it is the real one; the mount stays where it is.
    let p = dir(root, "p");
    put(&p, "f", b"real");
    assert_eq!(cat(base, "p/f").as_deref(), Ok(&b"real"[..]));
    assert_eq!(cat(base, "p/q/r/x").as_deref(), Ok(&b"x"[..]));
}

/// A directory that only leads to a mount is one of the directory it lies in, as soon as
/// something is to be made in it.
pub fn the_way_to_a_mount_is_made_when_it_is_changed(root: &Root) {
    let x = tree("x");
    let ns = namespace(&[("/", root), ("/p/q/r", &x)]);
    let (q, seen) = go(base(&ns), "p/q").expect("walk");
    let n = name("n");
    refused!(q.node.unlink(n), Noent);
    refused!(q.node.remove_directory(n), Noent);
    refused!(q.node.rename(n, root, n), Noent);
    refused!(q.node.link(n, root, n), Noent);
    refused!(q.node.lookup(n), Noent);
    refused!(q.node.open(WRITE), Isdir);
    let opened = open_directory(&q, READ).and_then(Opened::at_once);
    let mut listing = opened.expect("open");
    assert_eq!(names(&mut *listing), ["r"]);
    absent(root, "p");
    write(&mut *q.node.create(n, WRITE).expect("create"), b"new", 0).expect("write");
    assert_eq!(get(&child(&child(root, "p"), "q"), "n"), b"new");
    assert_eq!(cat(base(&ns), "p/q/n").as_deref(), Ok(&b"new"[..]));
    assert_eq!(cat(base(&ns), "p/q/r/x").as_deref(), Ok(&b"x"[..]));
    // What was opened before, and what was seen of it, are the same directory.
    assert_eq!(names(&mut *listing), ["n", "r"]);
    let (_, now) = go(base(&ns), "p/q").expect("walk");
    assert_eq!((now.dev, now.ino), (seen.dev, seen.ino));
    for make in [|q: &Root| q.create_directory(name("d")), |q: &Root| q.symlink(name("l"), "n")] {
        assert_eq!(make(&q.node), Ok(()));
    }
    assert_eq!(names(&mut *listing), ["d", "l", "n", "r"]);
    // It can't be made where nothing is around it, nor in what is read-only.
    let (p, _) = go(base(&namespace(&[("/p/q/f", &child(&q.node, "n"))])), ".").expect("walk");
    refused!(p.node.create(n, WRITE), Rofs);
    refused!(p.node.create_directory(n), Rofs);
    let ns = namespace(&[("/", &(Arc::new(ReadOnly(root.clone())) as Root)), ("/o/q", &x)]);
    let (o, _) = go(base(&ns), "o").expect("walk");
    refused!(o.node.create(n, WRITE), Rofs);
    refused!(o.node.symlink(n, "x"), Rofs);
    absent(root, "o");
}

/// What is no directory can't lead to a mount, and is covered by one that does.
pub fn what_is_no_directory_is_covered_on_the_way(root: &Root) {
    put(root, "f", b"covered");
    root.symlink(name("dangling"), "nowhere").expect("symlink");
    root.symlink(name("out"), "../../x").expect("symlink");
    let x = tree("x");
    let ns = namespace(&[("/", root), ("/f/q", &x), ("/dangling/q", &x), ("/out/q", &x)]);
    for way in ["f", "dangling", "out"] {
        let (place, stat) = go(base(&ns), way).expect("walk");
        assert_eq!(stat.filetype, Filetype::Directory, "{way}");
        assert_eq!(cat(base(&ns), &format!("{way}/q/x")).as_deref(), Ok(&b"x"[..]), "{way}");
        assert_eq!(listed(&place), ["q"], "{way}");
        refused!(place.node.create(name("n"), WRITE), Perm);
    }
    assert_eq!(get(root, "f"), b"covered");
}

/// A name that leads to a mount stays: what is mounted there, and what is on the way.
pub fn a_name_that_leads_to_a_mount_is_busy(root: &Root) {
    let a = dir(root, "a");
    dir(&a, "b");
    dir(root, "c");
    let x = tree("x");
    let ns = namespace(&[("/", root), ("/a/b", &x), ("/p/q/r", &x)]);
    let is_busy = |path: &str| match walk(base(&ns), path, Follow::Yes).expect("walk") {
        Walked::Entry(entry) => entry.is_busy(),
        Walked::Itself(_) => panic!("an entry"),
    };
    for path in ["a", "a/", "c/../a", "a/b", "p", "p/q", "p/q/r"] {
        assert!(is_busy(path), "{path}");
    }
    for path in ["c", "new", "a/new", "a/b/x", "p/q/r/x"] {
        assert!(!is_busy(path), "{path}");
    }
}

pub fn listing_shows_mounts(root: &Root) {
    dir(root, "real");
    put(root, "covered", b"a file");
    put(root, "f", b"");
    let x = tree("x");
    let mounts = [("/", root), ("/covered", &x), ("/absent", &x), ("/real/in", &x), ("/p/q", &x)];
    let ns = namespace(&mounts);
    let base = base(&ns);
    assert_eq!(listed(base), ["absent", "covered", "f", "p", "real"]);
    let at = |path: &str| listed(&go(base, path).expect("walk").0);
    assert_eq!(at("real"), ["in"]);
    assert_eq!(at("p"), ["q"]);
    assert_eq!(at("p/q"), ["x"]);
    // One at a time it is the same, and each mount point is a directory.
    let mut open = open_directory(base, READ).and_then(Opened::at_once).expect("open");
    let all = list(&mut *open, 0, 99);
    let mut parts = Vec::new();
    while let [entry] = &list(&mut *open, parts.last().map_or(0, |e: &Listed| e.next), 1)[..] {
        parts.push(entry.clone());
    }
    assert_eq!(parts, all);
    let kind = |name: &str| all.iter().find(|entry| entry.name == name).map(|e| e.filetype);
    for dir in ["absent", "covered", "p", "real"] {
        assert_eq!(kind(dir), Some(Filetype::Directory as u8), "{dir}");
    }
    assert!(list(&mut *open, u64::MAX, 9).is_empty());
    refused!(open_directory(base, WRITE), Isdir);
}

/// What decides between a rename and EXDEV.
pub fn mounts_are_told_apart(root: &Root) {
    dir(root, "a");
    let x = tree("x");
    let ns = namespace(&[("/", root), ("/m", &x), ("/p/q", root)]);
    let at = |path: &str| go(base(&ns), path).expect("walk").0;
    assert!(at("a").same_mount(&at(".")));
    assert!(at("m/x").same_mount(&ns.preopens()[1].place));
    assert!(at("p").same_mount(&at("a")));
    assert!(!at("m").same_mount(&at("a")));
    assert!(!at("p/q").same_mount(&at(".")), "one tree, but two mounts");
}

pub fn links_cross_into_mounts(root: &Root) {
    root.symlink(name("l"), "m/x").expect("symlink");
    root.symlink(name("d"), "m").expect("symlink");
    let x = tree("x");
    let ns = namespace(&[("/", root), ("/m", &x)]);
    assert_eq!(cat(base(&ns), "l").as_deref(), Ok(&b"x"[..]));
    assert_eq!(cat(base(&ns), "d/x").as_deref(), Ok(&b"x"[..]));
}

/// A socket, say: no preopen, but a name in the directory around it.
pub fn what_is_no_directory_is_mounted_too(root: &Root) {
    put(root, "f", b"mounted");
    let f = child(root, "f");
    let ns = namespace(&[("/sock/f", &f), ("/sock/g", &f)]);
    let names: Vec<&str> = ns.preopens().iter().map(|preopen| &*preopen.name).collect();
    assert_eq!(names, ["/sock"]);
    assert_eq!(listed(base(&ns)), ["f", "g"]);
    assert_eq!(cat(base(&ns), "g").as_deref(), Ok(&b"mounted"[..]));
    let ns = namespace(&[("/", root), ("/g", &f)]);
    assert_eq!((ns.preopens().len(), listed(base(&ns))), (1, vec!["f".into(), "g".into()]));
    assert_eq!(cat(base(&ns), "g").as_deref(), Ok(&b"mounted"[..]));
    refused!(go(base(&ns), "g/"), Notdir);
}

pub fn mount_paths_are_checked(root: &Root) {
    let builder = || Namespace::builder().mount("/a", root.clone()).expect("mount");
    for bad in ["/a/../b", "..", "a\0b", &"x".repeat(256)] {
        let error = builder().mount(bad, root.clone()).err();
        assert_eq!(error, Some(MountError::BadPath(bad.into())));
    }
    for taken in ["a", "/a/", "./a", "//a//."] {
        let error = builder().mount(taken, root.clone()).err();
        assert_eq!(error, Some(MountError::Taken(taken.into())));
    }
    builder().mount("/", root.clone()).and_then(|b| b.mount("a/b", root.clone())).expect("mount");
}
