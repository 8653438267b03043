//! Regular files.

use std::io::{IoSlice, IoSliceMut};

use tinyhost::vfs::{Errno, File, Filetype, Interest, Open, Opened, SetTime, Times};

use super::support::*;
use crate::refused;

pub fn create_write_read(root: &Root) {
    let mut file = root.create(name("f"), BOTH).expect("create");
    let hello = [IoSlice::new(b"hel"), IoSlice::new(b""), IoSlice::new(b"lo")];
    assert_eq!(file.write(&hello, 0), Ok(5));
    let (mut a, mut b) = ([0; 2], [0; 9]);
    let n = file.read(&mut [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)], 1);
    assert_eq!((n, &a, &b[..3]), (Ok(4), b"el", &b"lo\0"[..]));
    assert_eq!(read(&mut *file, 9, 5).expect("read"), b"");
    assert_eq!(read(&mut *file, 9, 500).expect("read"), b"");
    assert_eq!(write(&mut *file, b"LL", 2), Ok(2));
    assert_eq!(get(root, "f"), b"heLLo");
}

pub fn create_refuses_what_exists(root: &Root) {
    put(root, "f", b"kept");
    dir(root, "d");
    root.symlink(name("l"), "nowhere").expect("symlink");
    for there in ["f", "d", "l"] {
        refused!(root.create(name(there), WRITE), Exist);
    }
    assert_eq!(get(root, "f"), b"kept");
    absent(root, "nowhere");
}

pub fn read_and_write_only_as_opened(root: &Root) {
    put(root, "f", b"kept");
    let node = child(root, "f");
    let mut file = node.open(READ).and_then(Opened::at_once).expect("open");
    refused!(write(&mut *file, b"x", 0), Badf);
    refused!(file.append(&[IoSlice::new(b"x")]), Badf);
    refused!(file.set_len(0), Inval);
    assert!(file.allocate(0, 10).is_err());
    assert_eq!(read_all(&mut *file), b"kept");
    let mut file = node.open(WRITE).and_then(Opened::at_once).expect("open");
    refused!(read(&mut *file, 1, 0), Badf);
    assert_eq!(get(root, "f"), b"kept");
}

pub fn truncate_cuts_and_open_does_not(root: &Root) {
    put(root, "f", b"some bytes");
    let node = child(root, "f");
    node.open(BOTH).and_then(Opened::at_once).expect("open");
    assert_eq!(get(root, "f"), b"some bytes");
    let mut file =
        node.open(Open { truncate: true, ..BOTH }).and_then(Opened::at_once).expect("open");
    assert_eq!(file.stat().expect("stat").size, 0);
    assert_eq!(get(root, "f"), b"");
}

pub fn a_gap_reads_as_zeros(root: &Root) {
    let mut file = root.create(name("f"), BOTH).expect("create");
    assert_eq!(write(&mut *file, b"end", 100_000), Ok(3));
    let bytes = read_all(&mut *file);
    assert_eq!(bytes.len(), 100_003);
    assert!(bytes[..100_000].iter().all(|byte| *byte == 0));
    assert_eq!(&bytes[100_000..], b"end");
}

pub fn an_empty_write_changes_nothing(root: &Root) {
    put(root, "f", b"kept");
    let mut file = child(root, "f").open(BOTH).and_then(Opened::at_once).expect("open");
    assert_eq!(write(&mut *file, b"", 1000), Ok(0));
    assert_eq!(file.write(&[], 1000), Ok(0));
    assert_eq!(read(&mut *file, 0, 0).expect("read"), b"");
    assert_eq!(read_all(&mut *file), b"kept");
}

pub fn append_goes_to_the_end(root: &Root) {
    put(root, "f", b"one");
    let node = child(root, "f");
    let (mut a, mut b) = (
        node.open(WRITE).and_then(Opened::at_once).expect("open"),
        node.open(WRITE).and_then(Opened::at_once).expect("open"),
    );
    assert_eq!(a.append(&[IoSlice::new(b"t"), IoSlice::new(b"wo")]), Ok((3, 6)));
    assert_eq!(b.append(&[IoSlice::new(b"three")]), Ok((5, 11)));
    assert_eq!(a.append(&[IoSlice::new(b"!")]), Ok((1, 12)));
    assert_eq!(get(root, "f"), b"onetwothree!");
}

pub fn set_len_cuts_and_extends(root: &Root) {
    put(root, "f", b"0123456789");
    let mut file = child(root, "f").open(BOTH).and_then(Opened::at_once).expect("open");
    file.set_len(4).expect("cut");
    assert_eq!(read_all(&mut *file), b"0123");
    file.set_len(6).expect("extend");
    assert_eq!(read_all(&mut *file), b"0123\0\0");
    assert_eq!(stat(root, "f").size, 6);
}

/// Not every disk can; then ENOTSUP says so.
pub fn allocate_extends_and_never_cuts(root: &Root) {
    put(root, "f", b"0123456789");
    let mut file = child(root, "f").open(BOTH).and_then(Opened::at_once).expect("open");
    match file.allocate(8, 4) {
        Err(Errno::Notsup) => return,
        done => done.expect("allocate"),
    }
    assert_eq!(read_all(&mut *file), b"0123456789\0\0");
    file.allocate(0, 3).expect("allocate");
    assert_eq!(stat(root, "f").size, 12);
    refused!(file.allocate(0, 0), Inval);
    let too_far = file.allocate(u64::MAX - 1, 10).expect_err("beyond all offsets");
    assert!(matches!(too_far, Errno::Fbig | Errno::Inval), "{too_far}");
    assert_eq!(stat(root, "f").size, 12);
}

/// A node may answer `stat` with what its lookup saw, so each look is a new lookup.
fn seen(root: &Root, text: &str) -> (u64, u64) {
    let stat = stat(root, text);
    (stat.atim, stat.mtim)
}

pub fn times_are_set_one_by_one(root: &Root) {
    put(root, "f", b"");
    dir(root, "d");
    for text in ["f", "d"] {
        let set = |times| child(root, text).set_times(times).expect("set_times");
        set(to(1_000_000_005, 2_000_000_007));
        assert_eq!(seen(root, text), (1_000_000_005, 2_000_000_007));
        set(Times { mtim: Some(SetTime::To(3_000_000_000)), ..Times::default() });
        assert_eq!(seen(root, text), (1_000_000_005, 3_000_000_000));
        set(Times::default());
        assert_eq!(seen(root, text), (1_000_000_005, 3_000_000_000));
        set(Times { atim: Some(SetTime::Now), ..Times::default() });
        assert!(seen(root, text).0 > 1_000_000_005);
        assert_eq!(seen(root, text).1, 3_000_000_000);
    }
    for (text, how) in [("f", READ), ("f", WRITE), ("d", READ)] {
        let mut file = child(root, text).open(how).and_then(Opened::at_once).expect("open");
        file.set_times(to(7_000_000_000, 8_000_000_000)).expect("set_times");
        assert_eq!(seen(root, text), (7_000_000_000, 8_000_000_000));
        let stat = file.stat().expect("stat");
        assert_eq!((stat.atim, stat.mtim), (7_000_000_000, 8_000_000_000));
    }
}

pub fn changes_move_the_times(root: &Root) {
    put(root, "f", b"12");
    let mut file = child(root, "f").open(BOTH).and_then(Opened::at_once).expect("open");
    let old = |file: &mut Box<dyn File>| file.set_times(to(5, 5)).expect("set_times");
    old(&mut file);
    write(&mut *file, b"x", 0).expect("write");
    assert!(seen(root, "f").1 > 5, "write");
    old(&mut file);
    file.set_len(1).expect("set_len");
    assert!(seen(root, "f").1 > 5, "set_len");
    old(&mut file);
    child(root, "f")
        .open(Open { truncate: true, ..WRITE })
        .and_then(Opened::at_once)
        .expect("open");
    assert!(seen(root, "f").1 > 5, "truncate");
    type Change = (&'static str, fn(&Root));
    let changes: [Change; 7] = [
        ("create", |d| put(d, "g", b"")),
        ("link", |d| d.link(name("g"), d, name("h")).expect("link")),
        ("rename", |d| d.rename(name("h"), d, name("i")).expect("rename")),
        ("unlink", |d| d.unlink(name("i")).expect("unlink")),
        ("mkdir", |d| d.create_directory(name("e")).expect("mkdir")),
        ("rmdir", |d| d.remove_directory(name("e")).expect("rmdir")),
        ("symlink", |d| d.symlink(name("l"), "x").expect("symlink")),
    ];
    let d = dir(root, "d");
    for (change, make) in changes {
        d.set_times(to(5, 5)).expect("set_times");
        make(&d);
        assert!(seen(root, "d").1 > 5, "{change}");
    }
}

pub fn stat_tells_one_file_from_another(root: &Root) {
    put(root, "f", b"12345");
    put(root, "g", b"");
    let (f, g) = (stat(root, "f"), stat(root, "g"));
    assert_eq!((f.filetype, f.size, f.nlink), (Filetype::RegularFile, 5, 1));
    assert_eq!(g.size, 0);
    assert_eq!(f.dev, g.dev);
    assert_ne!(f.ino, g.ino);
    let opened =
        child(root, "f").open(READ).and_then(Opened::at_once).expect("open").stat().expect("stat");
    assert_eq!((opened.dev, opened.ino), (f.dev, f.ino));
    assert_eq!((opened.filetype, opened.size), (f.filetype, f.size));
}

pub fn a_file_is_no_socket_and_no_directory(root: &Root) {
    put(root, "f", b"12345");
    let mut file = child(root, "f").open(BOTH).and_then(Opened::at_once).expect("open");
    refused!(file.readdir(0, &mut |_| true), Notdir);
    refused!(file.accept(), Notsock);
    refused!(file.peek(&mut []), Notsock);
    refused!(file.shutdown(Interest::READ), Notsock);
    assert!(!file.is_terminal());
    file.ready(Interest::READ.or(Interest::WRITE)).expect("always ready");
    file.sync(false).expect("sync");
    file.sync(true).expect("sync");
}

pub fn a_file_has_no_children(root: &Root) {
    put(root, "f", b"");
    put(root, "g", b"");
    let f = child(root, "f");
    let g = name("g");
    refused!(f.lookup(g), Notdir);
    refused!(f.create(g, WRITE), Notdir);
    refused!(f.create_directory(g), Notdir);
    refused!(f.symlink(g, "x"), Notdir);
    refused!(f.link(g, root, name("h")), Notdir);
    refused!(f.rename(g, root, name("h")), Notdir);
    refused!(f.unlink(g), Notdir);
    refused!(f.remove_directory(g), Notdir);
    refused!(root.link(g, &f, g), Notdir);
    refused!(root.rename(g, &f, g), Notdir);
    refused!(f.readlink(), Inval);
    assert!(f.descend("g").is_none());
}

pub fn an_unlinked_file_lives_on(root: &Root) {
    put(root, "f", b"still");
    let mut file = child(root, "f").open(BOTH).and_then(Opened::at_once).expect("open");
    root.unlink(name("f")).expect("unlink");
    absent(root, "f");
    put(root, "f", b"another");
    assert_eq!(write(&mut *file, b" here", 5), Ok(5));
    assert_eq!(read_all(&mut *file), b"still here");
    assert_eq!(file.stat().expect("stat").nlink, 0);
    assert_eq!(get(root, "f"), b"another");
}

/// Which errno it is, systems do not agree on.
pub fn huge_numbers_are_refused(root: &Root) {
    put(root, "f", b"kept");
    let mut file = child(root, "f").open(BOTH).and_then(Opened::at_once).expect("open");
    for far in [u64::MAX, u64::MAX - 1, 1 << 63] {
        let errno = write(&mut *file, b"xyz", far).expect_err("write");
        assert!(matches!(errno, Errno::Fbig | Errno::Inval | Errno::Nospc), "{errno}");
        let errno = file.set_len(far).expect_err("set_len");
        assert!(matches!(errno, Errno::Fbig | Errno::Inval | Errno::Nospc), "{errno}");
        match read(&mut *file, 3, far) {
            Ok(bytes) => assert!(bytes.is_empty()),
            Err(errno) => assert_eq!(errno, Errno::Inval),
        }
    }
    assert_eq!(get(root, "f"), b"kept");
}

pub fn several_chunks_come_back(root: &Root) {
    let bytes: Vec<u8> = (0..300_000u32).map(|n| (n * 7 / 3) as u8).collect();
    put(root, "f", &bytes);
    assert!(get(root, "f") == bytes);
    let mut file = child(root, "f").open(READ).and_then(Opened::at_once).expect("open");
    assert_eq!(read(&mut *file, 70_000, 65_530).expect("read"), bytes[65_530..135_530]);
}
