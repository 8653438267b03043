//! Directories and preopens.

use tinyhost::{Errno, WasiCtx};

use crate::calls::libc::*;
use crate::calls::trees::{Tree, dir, file, link};
use crate::calls::{Calls, DATA, OUT, mounted};

on_each! { host mem: {
    listings_go_on_in_buffers_of_any_size
    a_cut_entry_comes_again
    preopens_tell_their_names
    entries_have_their_kinds
    cookies_that_were_never_given_are_harmless
} }

const NAMES: [&str; 5] = ["a", "file", "link", "longer-name-than-the-others", "ü"];

fn plant(tree: &Tree) -> (Calls, u32) {
    dir(&tree.mount, NAMES[0]);
    file(&tree.mount, NAMES[1], b"");
    link(&tree.mount, NAMES[2], "file");
    file(&tree.mount, NAMES[3], b"x");
    file(&tree.mount, NAMES[4], b"x");
    let mut calls = Calls::at(&tree.mount);
    let fd = calls.open(3, ".", DIRECTORY, READ).expect("open");
    (calls, fd)
}

/// The whole listing, by a buffer of this size. `None` if not even one entry has room.
fn listing(calls: &mut Calls, fd: u32, room: u32) -> Option<Vec<Entry>> {
    let (mut all, mut cookie) = (Vec::new(), 0);
    for _ in 0..100 {
        calls.memory()[DATA as usize..][..2000].fill(b'?');
        let (entries, used) = calls.readdir(fd, room, cookie).expect("readdir");
        assert!(used <= room);
        assert!(calls.bytes(DATA + used, 500).iter().all(|byte| *byte == b'?'), "and no more");
        let last = entries.last().map(|entry| entry.next);
        all.extend(entries);
        if used < room {
            return Some(all);
        }
        cookie = last?;
    }
    panic!("no end with {room} bytes");
}

fn listings_go_on_in_buffers_of_any_size(tree: &Tree) {
    let (mut calls, fd) = plant(tree);
    let whole = listing(&mut calls, fd, 2000).expect("room for all");
    let mut names: Vec<_> = whole.iter().map(|entry| entry.name.clone()).collect();
    names.retain(|name| name != b"." && name != b"..");
    names.sort();
    assert_eq!(names, NAMES.map(|name| name.as_bytes().to_vec()));
    let longest = whole.iter().map(|entry| 24 + entry.name.len() as u32).max().expect("entries");
    let (_, used) = calls.readdir(fd, 2000, 0).expect("readdir");
    for room in 0..=used + 1 {
        let listed = listing(&mut calls, fd, room);
        match listed {
            Some(listed) => assert_eq!(listed, whole, "{room}"),
            None => assert!(room < longest, "{room}"),
        }
    }
}

fn a_cut_entry_comes_again(tree: &Tree) {
    let (mut calls, fd) = plant(tree);
    let whole = listing(&mut calls, fd, 2000).expect("room for all");
    let first = 24 + whole[0].name.len() as u32;
    for more in [0, 1, 23, 24] {
        let (entries, used) = calls.readdir(fd, first + more, 0).expect("readdir");
        assert_eq!((entries.as_slice(), used), (&whole[..1], first + more), "full: come again");
    }
    // From each cookie it is the rest that comes, in any order.
    for at in (0..whole.len()).rev() {
        let (rest, _) = calls.readdir(fd, 2000, whole[at].next).expect("readdir");
        assert_eq!(rest, &whole[at + 1..]);
    }
    let (end, used) = calls.readdir(fd, 2000, whole.last().expect("entries").next).expect("end");
    assert!(end.is_empty() && used == 0);
}

fn cookies_that_were_never_given_are_harmless(tree: &Tree) {
    let (mut calls, fd) = plant(tree);
    let whole = listing(&mut calls, fd, 2000).expect("room for all");
    for cookie in [3, 99, 1 << 31, 1 << 62, i64::MAX.cast_unsigned(), 1 << 63, u64::MAX] {
        let (entries, _) = calls.readdir(fd, 2000, cookie).expect("a listing");
        assert!(entries.iter().all(|entry| whole.contains(entry)));
        assert!(cookie < 1 << 63 || entries.is_empty(), "past the last there is nothing");
        assert_eq!(listing(&mut calls, fd, 2000).as_ref(), Some(&whole), "after {cookie:#x}");
    }
}

fn entries_have_their_kinds(tree: &Tree) {
    let (mut calls, fd) = plant(tree);
    for entry in listing(&mut calls, fd, 2000).expect("room for all") {
        let expected = match &*entry.name {
            b"." | b".." | b"a" => DIR,
            b"link" => LINK,
            _ => FILE,
        };
        assert_eq!(entry.filetype, expected, "{:?}", entry.name);
    }
    assert_eq!(calls.readdir(0, 100, 0).err(), Some(Errno::Notdir));
    let poor = calls.open(3, ".", DIRECTORY, 1 << 13).expect("open");
    calls.limit(poor, 1 << 13);
    assert_eq!(calls.readdir(poor, 100, 0).err(), Some(Errno::Notcapable));
}

fn preopens_tell_their_names(tree: &Tree) {
    let namespace = mounted(&[("/", &tree.mount), ("data/ü", &tree.mount), (".x", &tree.mount)]);
    let mut calls = Calls::new(WasiCtx::builder().namespace(namespace).build());
    for (fd, name) in [(3_u32, "/"), (4, "data/ü"), (5, ".x")] {
        calls.call("fd_prestat_get", &[fd.into(), OUT.into()]).expect("a preopen");
        assert_eq!(calls.bytes(OUT, 4), [0; 4], "a directory, padded with zeros");
        let len = calls.u32_at(OUT + 4);
        assert_eq!(len as usize, name.len());
        let room = |len: u32| [fd.into(), DATA.into(), len.into()];
        let short = calls.call("fd_prestat_dir_name", &room(len - 1));
        assert_eq!(short, Err(Errno::Nametoolong));
        for len in [len, len + 5] {
            calls.memory()[DATA as usize..][..20].fill(b'?');
            calls.call("fd_prestat_dir_name", &room(len)).expect("its name");
            assert_eq!(calls.bytes(DATA, name.len() as u32), name.as_bytes());
            assert_eq!(calls.bytes(DATA + name.len() as u32, 1), b"?");
        }
    }
    // The streams are none, nor what is opened, nor what comes after the last.
    let opened = calls.open(3, ".", DIRECTORY, READ).expect("open");
    for fd in [0, 1, 2, opened, 99] {
        assert_eq!(calls.call("fd_prestat_get", &[fd.into(), OUT.into()]), Err(Errno::Badf));
        let name = calls.call("fd_prestat_dir_name", &[fd.into(), DATA.into(), 9]);
        assert_eq!(name, Err(Errno::Badf));
    }
}
