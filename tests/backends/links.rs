//! Symbolic and hard links.

use tinyhost::vfs::Opened;
use tinyhost::vfs::{Filetype, mem};

use super::support::*;
use crate::refused;

pub fn a_symbolic_link_keeps_its_text(root: &Root) {
    for (link, text) in [("a", "x"), ("b", "/etc/passwd"), ("c", "../../é//."), ("d", "a/")] {
        root.symlink(name(link), text).expect("symlink");
        let node = child(root, link);
        assert_eq!(node.readlink().as_deref(), Ok(text));
        let stat = node.stat().expect("stat");
        assert_eq!((stat.filetype, stat.size), (Filetype::SymbolicLink, text.len() as u64));
    }
    let node = child(root, "a");
    node.set_times(to(1_000_000_000, 2_000_000_000)).expect("a link's own times");
    assert_eq!(stat(root, "a").mtim, 2_000_000_000);
}

pub fn symlink_refuses(root: &Root) {
    put(root, "f", b"");
    refused!(root.symlink(name("f"), "x"), Exist);
    refused!(root.symlink(name("l"), ""), Noent);
    refused!(root.symlink(name("l"), &"x".repeat(4096)), Nametoolong);
    refused!(root.symlink(name("l"), "a\0b"), Inval);
    absent(root, "l");
}

pub fn a_link_is_not_opened_nor_followed(root: &Root) {
    let d = dir(root, "d");
    put(&d, "f", b"");
    root.symlink(name("l"), "d").expect("symlink");
    let link = child(root, "l");
    refused!(link.open(READ), Loop);
    refused!(link.open(WRITE), Loop);
    refused!(link.lookup(name("f")), Notdir);
    refused!(link.create(name("g"), WRITE), Notdir);
    refused!(d.readlink(), Inval);
    assert!(root.descend("l").is_none());
}

pub fn a_hard_link_is_the_same_file(root: &Root) {
    let d = dir(root, "d");
    put(root, "f", b"one");
    root.link(name("f"), &d, name("g")).expect("link");
    let (f, g) = (stat(root, "f"), stat(&d, "g"));
    assert_eq!((f.ino, f.nlink, g.nlink), (g.ino, 2, 2));
    let mut file = child(&d, "g").open(BOTH).and_then(Opened::at_once).expect("open");
    write(&mut *file, b"two", 0).expect("write");
    assert_eq!(get(root, "f"), b"two");
    root.unlink(name("f")).expect("unlink");
    assert_eq!(stat(&d, "g").nlink, 1);
    assert_eq!(get(&d, "g"), b"two");
}

pub fn a_hard_link_to_a_link_is_a_link(root: &Root) {
    put(root, "f", b"");
    root.symlink(name("l"), "f").expect("symlink");
    root.link(name("l"), root, name("m")).expect("link");
    assert_eq!(child(root, "m").readlink().as_deref(), Ok("f"));
    assert_eq!(stat(root, "f").nlink, 1);
    assert_eq!(stat(root, "m").ino, stat(root, "l").ino);
}

pub fn link_refuses(root: &Root) {
    dir(root, "d");
    put(root, "f", b"");
    refused!(root.link(name("x"), root, name("y")), Noent);
    refused!(root.link(name("f"), root, name("f")), Exist);
    refused!(root.link(name("f"), root, name("d")), Exist);
    refused!(root.link(name("d"), root, name("e")), Perm);
    assert_eq!(names_in(root), ["d", "f"]);
}

/// The namespace asks for nothing else; a backend still looks whom it is handed.
pub fn link_and_rename_stay_in_their_tree(root: &Root) {
    put(root, "f", b"");
    let foreign = mem::tree(None);
    refused!(root.link(name("f"), &foreign, name("g")), Xdev);
    refused!(root.rename(name("f"), &foreign, name("g")), Xdev);
    assert_eq!(names_in(root), ["f"]);
    assert!(names_in(&foreign).is_empty());
}
