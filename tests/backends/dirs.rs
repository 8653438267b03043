//! Directories: making, removing, listing.

use std::collections::BTreeSet;

use tinyhost::vfs::{Errno, Filetype, Open, Opened, mem};

use super::support::*;
use crate::refused;

pub fn make_and_remove(root: &Root) {
    let d = dir(root, "d");
    assert_eq!(d.stat().expect("stat").filetype, Filetype::Directory);
    refused!(root.create_directory(name("d")), Exist);
    put(&d, "f", b"x");
    refused!(root.create_directory(name("d")), Exist);
    refused!(d.create_directory(name("f")), Exist);
    d.unlink(name("f")).expect("unlink");
    root.remove_directory(name("d")).expect("rmdir");
    absent(root, "d");
    assert!(names_in(root).is_empty());
}

pub fn remove_refuses(root: &Root) {
    let d = dir(root, "d");
    dir(&d, "e");
    put(root, "f", b"");
    root.symlink(name("l"), "d").expect("symlink");
    refused!(root.remove_directory(name("d")), Notempty);
    refused!(root.remove_directory(name("f")), Notdir);
    refused!(root.remove_directory(name("l")), Notdir);
    refused!(root.remove_directory(name("x")), Noent);
    assert_eq!(names_in(root), ["d", "f", "l"]);
}

pub fn unlink_refuses(root: &Root) {
    dir(root, "d");
    refused!(root.unlink(name("d")), Isdir);
    refused!(root.unlink(name("x")), Noent);
    root.symlink(name("l"), "d").expect("symlink");
    root.unlink(name("l")).expect("a link goes as itself");
    assert_eq!(names_in(root), ["d"]);
}

pub fn a_directory_opens_for_reading_only(root: &Root) {
    let d = dir(root, "d");
    refused!(d.open(WRITE), Isdir);
    refused!(d.open(BOTH), Isdir);
    refused!(d.open(Open { truncate: true, ..READ }), Isdir);
    d.open(READ).and_then(Opened::at_once).expect("open");
    d.open(Open::default()).expect("open for neither");
}

pub fn an_open_directory_is_no_file(root: &Root) {
    let d = dir(root, "d");
    let mut open = d.open(READ).and_then(Opened::at_once).expect("open");
    assert_eq!(open.stat().expect("stat").ino, d.stat().expect("stat").ino);
    assert!(matches!(read(&mut *open, 1, 0), Err(Errno::Isdir | Errno::Badf)));
    refused!(write(&mut *open, b"x", 0), Badf);
    assert!(open.set_len(0).is_err());
    assert!(open.allocate(0, 1).is_err());
    refused!(open.accept(), Notsock);
    open.sync(false).expect("a directory can be synced");
}

pub fn nothing_grows_in_a_removed_directory(root: &Root) {
    let d = dir(root, "d");
    put(root, "f", b"");
    let mut open = d.open(READ).and_then(Opened::at_once).expect("open");
    root.remove_directory(name("d")).expect("rmdir");
    let g = name("g");
    refused!(d.create(g, WRITE), Noent);
    refused!(d.create_directory(g), Noent);
    refused!(d.symlink(g, "x"), Noent);
    refused!(root.link(name("f"), &d, g), Noent);
    refused!(root.rename(name("f"), &d, g), Noent);
    refused!(d.lookup(g), Noent);
    assert_eq!(open.stat().expect("stat").filetype, Filetype::Directory);
    let _ = open.readdir(0, &mut |entry| {
        assert!(matches!(entry.name, b"." | b".."), "an entry in a removed directory");
        true
    });
}

pub fn listing_tells_names_kinds_and_inodes(root: &Root) {
    let d = dir(root, "d");
    let e = dir(&d, "e");
    put(&d, "f", b"");
    d.symlink(name("l"), "f").expect("symlink");
    let entries = list(&mut *d.open(READ).and_then(Opened::at_once).expect("open"), 0, 99);
    let of = |name: &str| {
        let mut found = entries.iter().filter(|entry| entry.name == name);
        let entry = found.next().expect("is listed");
        assert!(found.next().is_none(), "{name} is listed twice");
        (entry.ino, entry.filetype)
    };
    let real = |node: &Root| node.stat().map(|s| (s.ino, s.filetype as u8)).expect("stat");
    assert_eq!(entries.len(), 5);
    assert_eq!(of("e"), real(&e));
    assert_eq!(of("f"), real(&child(&d, "f")));
    assert_eq!(of("l"), real(&child(&d, "l")));
    assert_eq!(of("."), real(&d));
    assert_eq!(of("..").1, Filetype::Directory as u8);
}

pub fn listing_goes_on_where_it_stopped(root: &Root) {
    for n in 0..50 {
        put(root, &format!("f{n}"), b"");
    }
    let mut open = root.open(READ).and_then(Opened::at_once).expect("open");
    let all = list(&mut *open, 0, usize::MAX);
    assert_eq!(all.len(), 52);
    for step in [1, 7] {
        let mut parts = Vec::new();
        let mut cookie = 0;
        loop {
            let part = list(&mut *open, cookie, step);
            let Some(last) = part.last() else { break };
            cookie = last.next;
            parts.extend(part);
        }
        assert_eq!(parts, all);
    }
    // Back to the middle, and to the start, and from another open description.
    assert_eq!(list(&mut *open, all[20].next, 9), all[21..30]);
    assert_eq!(list(&mut *open, 0, 9), all[..9]);
    let mut other = root.open(READ).and_then(Opened::at_once).expect("open");
    assert_eq!(list(&mut *other, all[40].next, 99), all[41..]);
}

/// What is there from the beginning to the end of a listing is listed exactly once,
/// whatever is added and removed meanwhile.
pub fn cookies_survive_changes(root: &Root) {
    for n in 0..60 {
        put(root, &format!("f{n}"), b"");
    }
    let mut open = root.open(READ).and_then(Opened::at_once).expect("open");
    let mut seen: Vec<String> = Vec::new();
    let mut cookie = 0;
    for round in 0.. {
        let part = list(&mut *open, cookie, 8);
        let Some(last) = part.last() else { break };
        cookie = last.next;
        seen.extend(part.iter().map(|entry| entry.name.clone()));
        if let Some(gone) = part.iter().find(|entry| entry.name.starts_with('f')) {
            root.unlink(name(&gone.name)).expect("unlink");
        }
        if round < 5 {
            put(root, &format!("new{round}"), b"");
        }
    }
    let mut old: Vec<_> = seen.into_iter().filter(|name| name.starts_with('f')).collect();
    old.sort();
    let mut expected: Vec<_> = (0..60).map(|n| format!("f{n}")).collect();
    expected.sort();
    assert_eq!(old, expected);
}

pub fn a_large_directory_is_listed_once(root: &Root) {
    let names: BTreeSet<String> = (0..1000).map(|n| format!("a rather long name {n}")).collect();
    for name in &names {
        put(root, name, b"");
    }
    let listed = names_in(root);
    assert_eq!(listed.len(), 1000);
    assert_eq!(listed.into_iter().collect::<BTreeSet<_>>(), names);
}

pub fn names_are_any_utf8_up_to_255_bytes(root: &Root) {
    let long = "é".repeat(127) + "x";
    for odd in [" ", "...", "a:b", "\n", "-rf", "日本", "..a", &long] {
        put(root, odd, odd.as_bytes());
        assert_eq!(get(root, odd), odd.as_bytes());
    }
    assert_eq!(names_in(root).len(), 8);
}

/// `--mount /work=mem:SEED_DIR` copies a tree of any backend.
pub fn a_tree_seeds_memory(root: &Root) {
    let d = dir(root, "d");
    put(&dir(&d, "e"), "f", b"deep");
    put(root, "g", b"linked");
    root.link(name("g"), &d, name("h")).expect("link");
    root.symlink(name("l"), "d/e/f").expect("symlink");
    child(root, "g").set_times(to(1_000_000_000, 2_000_000_000)).expect("set_times");
    d.set_times(to(3_000_000_000, 4_000_000_000)).expect("set_times");
    let copy = mem::seeded(root, None).expect("seeded");
    assert_eq!(cat(&place(&copy), "l").as_deref(), Ok(&b"deep"[..]));
    let (g, h) = (stat(&copy, "g"), stat(&child(&copy, "d"), "h"));
    assert_eq!((g.ino, g.nlink, g.mtim), (h.ino, 2, 2_000_000_000));
    assert_eq!(stat(&copy, "d").mtim, 4_000_000_000);
    assert_eq!(names_in(&copy), ["d", "g", "l"]);
    refused!(mem::seeded(root, Some(1000)).map_err(|error| error.errno()), Nospc);
}
