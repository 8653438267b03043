//! Renaming, as rename(2) has it.

use super::support::*;
use crate::refused;
use tinyhost::vfs::Opened;

pub fn a_name_moves(root: &Root) {
    let d = dir(root, "d");
    put(root, "f", b"bytes");
    let before = stat(root, "f").ino;
    root.rename(name("f"), root, name("g")).expect("rename");
    absent(root, "f");
    root.rename(name("g"), &d, name("h")).expect("rename");
    absent(root, "g");
    assert_eq!((stat(&d, "h").ino, get(&d, "h")), (before, b"bytes".to_vec()));
    assert_eq!((names_in(root), names_in(&d)), (vec!["d".to_owned()], vec!["h".to_owned()]));
}

pub fn a_file_replaces_a_file(root: &Root) {
    put(root, "f", b"new");
    put(root, "g", b"old");
    let mut old = child(root, "g").open(READ).and_then(Opened::at_once).expect("open");
    root.rename(name("f"), root, name("g")).expect("rename");
    assert_eq!(names_in(root), ["g"]);
    assert_eq!(get(root, "g"), b"new");
    assert_eq!(read_all(&mut *old), b"old");
    assert_eq!(old.stat().expect("stat").nlink, 0);
    // A link is replaced as itself, not what it leads to.
    root.symlink(name("l"), "g").expect("symlink");
    put(root, "f", b"newer");
    root.rename(name("f"), root, name("l")).expect("rename");
    assert_eq!((get(root, "g"), get(root, "l")), (b"new".to_vec(), b"newer".to_vec()));
}

pub fn a_directory_replaces_an_empty_one(root: &Root) {
    let d = dir(root, "d");
    put(&d, "f", b"");
    dir(root, "e");
    root.rename(name("d"), root, name("e")).expect("rename");
    assert_eq!(names_in(root), ["e"]);
    assert_eq!(names_in(&child(root, "e")), ["f"]);
    dir(root, "d");
    refused!(root.rename(name("d"), root, name("e")), Notempty);
    assert_eq!(names_in(root), ["d", "e"]);
}

pub fn kinds_are_not_mixed(root: &Root) {
    dir(root, "d");
    put(root, "f", b"");
    root.symlink(name("l"), "d").expect("symlink");
    refused!(root.rename(name("f"), root, name("d")), Isdir);
    refused!(root.rename(name("l"), root, name("d")), Isdir);
    refused!(root.rename(name("d"), root, name("f")), Notdir);
    refused!(root.rename(name("d"), root, name("l")), Notdir);
    assert_eq!(names_in(root), ["d", "f", "l"]);
}

pub fn a_directory_does_not_go_below_itself(root: &Root) {
    let a = dir(root, "a");
    let b = dir(&a, "b");
    let c = dir(&b, "c");
    refused!(root.rename(name("a"), &a, name("x")), Inval);
    refused!(root.rename(name("a"), &c, name("x")), Inval);
    refused!(a.rename(name("b"), &c, name("x")), Inval);
    // The other way round: what it would replace holds it.
    refused!(b.rename(name("c"), root, name("a")), Notempty);
    put(&b, "f", b"");
    refused!(b.rename(name("f"), root, name("a")), Notempty);
    refused!(b.rename(name("f"), &a, name("b")), Notempty);
    // Below a sister, and up, is fine.
    let d = dir(root, "d");
    a.rename(name("b"), &d, name("b")).expect("rename");
    b.rename(name("c"), root, name("c")).expect("rename");
    assert_eq!(names_in(root), ["a", "c", "d"]);
}

pub fn the_same_file_stays_as_it_is(root: &Root) {
    put(root, "f", b"x");
    root.link(name("f"), root, name("g")).expect("link");
    root.rename(name("f"), root, name("f")).expect("onto itself");
    root.rename(name("f"), root, name("g")).expect("onto its other name");
    assert_eq!(names_in(root), ["f", "g"]);
    assert_eq!(stat(root, "f").nlink, 2);
    dir(root, "d");
    root.rename(name("d"), root, name("d")).expect("a directory onto itself");
}

pub fn a_moved_directory_has_a_new_parent(root: &Root) {
    let (a, b) = (dir(root, "a"), dir(root, "b"));
    let c = dir(&a, "c");
    put(&c, "f", b"x");
    a.rename(name("c"), &b, name("d")).expect("rename");
    let entries = list(&mut *c.open(READ).and_then(Opened::at_once).expect("open"), 0, 9);
    let parent = entries.iter().find(|entry| entry.name == "..").expect("has a ..");
    // Or 0: a backend need not tell what is above.
    assert!(parent.ino == b.stat().expect("stat").ino || parent.ino == 0);
    assert_eq!(get(&child(&b, "d"), "f"), b"x");
    assert!(names_in(&a).is_empty());
}

pub fn rename_refuses(root: &Root) {
    put(root, "f", b"");
    let d = dir(root, "d");
    refused!(root.rename(name("x"), root, name("y")), Noent);
    refused!(root.rename(name("x"), &d, name("y")), Noent);
    refused!(root.rename(name("x"), root, name("f")), Noent);
    assert_eq!(names_in(root), ["d", "f"]);
}

pub fn a_link_moves_as_itself(root: &Root) {
    let d = dir(root, "d");
    root.symlink(name("l"), "nowhere").expect("symlink");
    root.rename(name("l"), &d, name("m")).expect("rename");
    assert_eq!(child(&d, "m").readlink().as_deref(), Ok("nowhere"));
}
