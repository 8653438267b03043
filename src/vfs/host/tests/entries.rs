//! Reading a directory's entries.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::vfs::Filetype;

/// At most `count` entries from `cookie` on, and the cookie behind them.
fn entries(file: &mut dyn File, mut cookie: u64, count: usize) -> (Vec<String>, u64) {
    let mut names = Vec::new();
    let from = cookie;
    file.readdir(from, &mut |entry| {
        if names.len() == count {
            return false;
        }
        cookie = entry.next;
        names.push(String::from_utf8(entry.name.to_owned()).unwrap());
        true
    })
    .unwrap();
    (names, cookie)
}

#[test]
fn entries_tell_their_kind_and_inode() {
    let scratch = Scratch::with(&["dir/sub", "dir/file=x", "dir/link->file"]);
    let dir = scratch.node().lookup(name("dir")).unwrap();
    let mut seen = BTreeMap::new();
    dir.open(READ)
        .unwrap()
        .at_once()
        .unwrap()
        .readdir(0, &mut |entry| {
            let name = String::from_utf8(entry.name.to_owned()).unwrap();
            assert!(entry.next < 1 << 63, "the highest bit is the namespace's");
            seen.insert(name, (entry.filetype, entry.ino)).is_none()
        })
        .unwrap();
    let ino = |child| dir.lookup(name(child)).unwrap().stat().unwrap().ino;
    let expected = [
        (".", Filetype::Directory, dir.stat().unwrap().ino),
        ("..", Filetype::Directory, 0),
        ("file", Filetype::RegularFile, ino("file")),
        ("link", Filetype::SymbolicLink, ino("link")),
        ("sub", Filetype::Directory, ino("sub")),
    ];
    let expected = expected.map(|(name, filetype, ino)| (name.to_owned(), (filetype, ino)));
    assert_eq!(seen, BTreeMap::from(expected));
}

#[cfg(target_os = "linux")]
#[test]
fn names_are_bytes() {
    use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
    let scratch = Scratch::new();
    fs::write(scratch.path(OsStr::from_bytes(b"a\xffb")), "").unwrap();
    let mut found = false;
    let mut file = scratch.node().open(READ).unwrap().at_once().unwrap();
    file.readdir(0, &mut |entry| {
        found |= entry.name == b"a\xffb";
        true
    })
    .unwrap();
    assert!(found);
}

#[test]
fn any_size_of_portion_gives_the_same_entries() {
    let scratch = Scratch::new();
    for number in 0..300 {
        fs::write(scratch.path(number.to_string()), "").unwrap();
    }
    let mut file = scratch.node().open(READ).unwrap().at_once().unwrap();
    let (all, end) = entries(&mut *file, 0, usize::MAX);
    assert_eq!(all.len(), 302);
    assert_eq!(entries(&mut *file, end, 9), (vec![], end));
    for portion in [1, 2, 7, 301] {
        let (mut cookie, mut seen) = (0, Vec::new());
        loop {
            let (names, next) = entries(&mut *file, cookie, portion);
            if names.is_empty() {
                break;
            }
            // One that was refused comes again, as often as it is asked for.
            assert_eq!(entries(&mut *file, next, 0), (vec![], next));
            seen.extend(names);
            cookie = next;
        }
        assert_eq!(seen, all);
    }
    // Going back forgets the one that was refused.
    assert_eq!(entries(&mut *file, 0, 5).0, all[..5]);
    assert_eq!(entries(&mut *file, 0, usize::MAX).0, all);
}

#[test]
fn each_of_many_is_seen_once_while_all_are_removed() {
    let scratch = Scratch::new();
    for number in 0..10_000 {
        fs::write(scratch.path(number.to_string()), "").unwrap();
    }
    let dir = scratch.node();
    let mut file = dir.open(READ).unwrap().at_once().unwrap();
    let mut random = Random(7);
    let (mut cookie, mut seen) = (0, BTreeSet::new());
    loop {
        let (names, next) = entries(&mut *file, cookie, 1 + random.below(100));
        if names.is_empty() {
            break;
        }
        cookie = next;
        for entry in names.into_iter().filter(|entry| entry != "." && entry != "..") {
            dir.unlink(name(&entry)).unwrap();
            assert!(seen.insert(entry), "an entry came twice");
        }
    }
    assert_eq!(seen.len(), 10_000);
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 0);
}

#[cfg(all(target_os = "linux", target_pointer_width = "64"))]
#[test]
fn cookies_hold_while_entries_are_removed() {
    let scratch = Scratch::new();
    for number in 0..500 {
        fs::write(scratch.path(number.to_string()), "").unwrap();
    }
    let mut file = scratch.node().open(READ).unwrap().at_once().unwrap();
    let mut all = Vec::new();
    let mut cookie = 0;
    loop {
        let (names, next) = entries(&mut *file, cookie, 1);
        let Some(name) = names.into_iter().next() else { break };
        all.push((name, next));
        cookie = next;
    }
    for (entry, _) in all.iter().step_by(3).filter(|(entry, _)| !entry.starts_with('.')) {
        fs::remove_file(scratch.path(entry)).unwrap();
    }
    let left = |(entry, _): &&(String, u64)| scratch.path(entry).exists();
    for from in [400, 3, 100, 250, 499] {
        let expected: Vec<String> =
            all[from + 1..].iter().filter(left).map(|(entry, _)| entry.clone()).collect();
        // A stream begun anew finds the place too, not only the one that gave the cookie.
        assert_eq!(entries(&mut *file, all[from].1, usize::MAX).0, expected);
        let mut other = scratch.node().open(READ).unwrap().at_once().unwrap();
        assert_eq!(entries(&mut *other, all[from].1, usize::MAX).0, expected);
    }
}

#[test]
fn invented_cookies_do_no_harm() {
    let scratch = Scratch::with(&["file=x"]);
    let mut file = scratch.node().open(READ).unwrap().at_once().unwrap();
    for cookie in [1, 12345, i64::MAX as u64, 1 << 63, u64::MAX] {
        let mut count = 0;
        let _ = file.readdir(cookie, &mut |_| {
            count += 1;
            true
        });
        assert!(count <= 3);
        assert_eq!(entries(&mut *file, 0, usize::MAX).0.len(), 3, "after {cookie}");
    }
}
