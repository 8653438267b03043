//! Regular files.

use tinyhost::Errno;

use crate::calls::libc::*;
use crate::calls::trees::Tree;
use crate::calls::{Calls, DATA, IOVS, OUT};

on_each! { host mem: {
    positions_are_the_descriptors
    seeking_has_its_limits
    reading_and_writing_at_an_offset_leaves_the_position
    append_goes_to_the_end_and_pwrite_does_not
    appending_can_be_switched
    vectors_are_filled_in_order
    allocating_extends_and_never_cuts
    sizes_are_set
    times_are_set_one_by_one
    advice_is_checked
    syncing_needs_a_right
    opening_has_its_errnos
    two_descriptors_are_two_positions
    renumbering_moves_a_descriptor
} }

/// A file `file` with `0123456789` in it, open for all.
fn ten(tree: &Tree) -> (Calls, u32) {
    let mut calls = Calls::at(&tree.mount);
    calls.make(3, "file", b"0123456789");
    let fd = calls.open(3, "file", 0, ALL).expect("open");
    (calls, fd)
}

fn positions_are_the_descriptors(tree: &Tree) {
    let (mut calls, fd) = ten(tree);
    assert_eq!(calls.tell(fd), Ok(0));
    assert_eq!(calls.read(fd, 4).as_deref(), Ok(&b"0123"[..]));
    assert_eq!(calls.tell(fd), Ok(4));
    assert_eq!(calls.write(fd, b"xy"), Ok(2));
    assert_eq!(calls.tell(fd), Ok(6));
    assert_eq!(calls.read(fd, 100).as_deref(), Ok(&b"6789"[..]));
    assert_eq!(calls.read(fd, 100).as_deref(), Ok(&b""[..]));
    assert_eq!(calls.seek(fd, -3, 1), Ok(7));
    assert_eq!(calls.seek(fd, -10, 2), Ok(0));
    assert_eq!(calls.seek(fd, 5, 2), Ok(15));
    assert_eq!(calls.read(fd, 100).as_deref(), Ok(&b""[..]), "behind the end is nothing");
    assert_eq!(calls.write(fd, b"z"), Ok(1));
    assert_eq!(calls.cat(3, "file").as_deref(), Ok(&b"0123xy6789\0\0\0\0\0z"[..]));
}

fn seeking_has_its_limits(tree: &Tree) {
    let (mut calls, fd) = ten(tree);
    assert_eq!(calls.seek(fd, 4, 0), Ok(4));
    for (offset, whence) in [
        (-1, 0),
        (-5, 1),
        (-11, 2),
        (i64::MIN, 0),
        (i64::MIN, 1),
        (i64::MIN, 2),
        (i64::MAX, 1),
        (i64::MAX, 2),
        (0, 3),
        (0, u64::from(u32::MAX)),
    ] {
        assert_eq!(calls.seek(fd, offset, whence), Err(Errno::Inval), "{offset} {whence}");
        assert_eq!(calls.tell(fd), Ok(4), "and does not move");
    }
    let largest = i64::MAX.cast_unsigned();
    assert_eq!(calls.seek(fd, i64::MAX, 0), Ok(largest));
    assert_eq!(calls.seek(fd, 1, 1), Err(Errno::Inval));
    assert_eq!(calls.seek(fd, 0, 1), Ok(largest));
    assert!(matches!(calls.write(fd, b"x"), Err(Errno::Fbig | Errno::Inval)));
    assert_eq!(calls.fstat(fd).map(|stat| stat.size), Ok(10));
    // Telling is possible with the right to tell alone; going elsewhere is not.
    let teller = calls.open(3, "file", 0, FD_READ).expect("open");
    calls.limit(teller, 1 << 5);
    assert_eq!(calls.tell(teller), Ok(0));
    assert_eq!(calls.seek(teller, 0, 1), Ok(0));
    assert_eq!(calls.seek(teller, 1, 0), Err(Errno::Notcapable));
}

fn reading_and_writing_at_an_offset_leaves_the_position(tree: &Tree) {
    let (mut calls, fd) = ten(tree);
    assert_eq!(calls.seek(fd, 3, 0), Ok(3));
    assert_eq!(calls.pread(fd, 3, 5).as_deref(), Ok(&b"567"[..]));
    assert_eq!(calls.pread(fd, 3, 9).as_deref(), Ok(&b"9"[..]));
    assert_eq!(calls.pread(fd, 3, 10).as_deref(), Ok(&b""[..]));
    assert_eq!(calls.pwrite(fd, b"ab", 9), Ok(2));
    assert_eq!(calls.tell(fd), Ok(3));
    assert_eq!(calls.cat(3, "file").as_deref(), Ok(&b"012345678ab"[..]));
    let still = calls.open(3, "file", 0, FD_READ | FD_WRITE).expect("open");
    calls.limit(still, FD_READ | FD_WRITE);
    assert_eq!(calls.pread(still, 1, 0), Err(Errno::Notcapable));
    assert_eq!(calls.pwrite(still, b"x", 0), Err(Errno::Notcapable));
}

fn append_goes_to_the_end_and_pwrite_does_not(tree: &Tree) {
    let (mut calls, _) = ten(tree);
    let fd = calls.openat(3, "file", 1, 0, ALL, APPEND).expect("open");
    assert_eq!(calls.pread(fd, 2, 4).as_deref(), Ok(&b"45"[..]));
    assert_eq!(calls.write(fd, b"ab"), Ok(2));
    assert_eq!(calls.tell(fd), Ok(12));
    assert_eq!(calls.seek(fd, 0, 0), Ok(0));
    assert_eq!(calls.write(fd, b"cd"), Ok(2));
    assert_eq!(calls.pwrite(fd, b"XY", 1), Ok(2), "where it says, whatever APPEND says");
    assert_eq!(calls.tell(fd), Ok(14));
    assert_eq!(calls.cat(3, "file").as_deref(), Ok(&b"0XY3456789abcd"[..]));
    // Another one wrote meanwhile.
    let other = calls.openat(3, "file", 1, 0, ALL, APPEND).expect("open");
    assert_eq!(calls.write(other, b"!"), Ok(1));
    assert_eq!(calls.write(fd, b"?"), Ok(1));
    assert_eq!(calls.cat(3, "file").as_deref(), Ok(&b"0XY3456789abcd!?"[..]));
}

fn appending_can_be_switched(tree: &Tree) {
    let (mut calls, fd) = ten(tree);
    let flags = |calls: &mut Calls| {
        calls.call("fd_fdstat_get", &[fd.into(), OUT.into()]).expect("fdstat");
        u64::from(calls.bytes(OUT + 2, 1)[0])
    };
    assert_eq!(flags(&mut calls), 0);
    for set in [APPEND, APPEND | NONBLOCK, DSYNC, SYNC, APPEND | DSYNC | NONBLOCK | 8 | SYNC, 0] {
        calls.call("fd_fdstat_set_flags", &[fd.into(), set]).expect("flags");
        assert_eq!(flags(&mut calls), set);
        assert_eq!(calls.seek(fd, 0, 0), Ok(0));
        assert_eq!(calls.write(fd, b"w"), Ok(1));
        let end = calls.fstat(fd).expect("stat").size;
        let at = if set & APPEND == 0 { 1 } else { end };
        assert_eq!(calls.tell(fd), Ok(at), "{set}");
    }
    assert_eq!(calls.cat(3, "file").as_deref(), Ok(&b"w123456789www"[..]));
    calls.call("fd_fdstat_set_rights", &[fd.into(), FD_READ, 0]).expect("fewer");
    let answer = calls.call("fd_fdstat_set_flags", &[fd.into(), APPEND]);
    assert_eq!(answer, Err(Errno::Notcapable));
}

fn vectors_are_filled_in_order(tree: &Tree) {
    let (mut calls, fd) = ten(tree);
    let parts = [(DATA + 50, 3_u32), (DATA, 0), (DATA + 10, 2), (DATA + 90, 100)];
    for (index, (at, len)) in (0_u32..).zip(parts) {
        calls.put(IOVS + 8 * index, &[at, len].map(u32::to_le_bytes).concat());
    }
    calls.call("fd_read", &[fd.into(), IOVS.into(), 4, OUT.into()]).expect("read");
    assert_eq!(calls.u32_at(OUT), 10);
    assert_eq!(calls.bytes(DATA + 50, 4), b"012?");
    assert_eq!(calls.bytes(DATA + 10, 3), b"34?");
    assert_eq!(calls.bytes(DATA + 90, 6), b"56789?");
    calls.call("fd_pwrite", &[fd.into(), IOVS.into(), 3, 2, OUT.into()]).expect("pwrite");
    assert_eq!(calls.cat(3, "file").as_deref(), Ok(&b"0101234789"[..]));
    for name in ["fd_read", "fd_write"] {
        calls.call(name, &[fd.into(), IOVS.into(), 0, OUT.into()]).expect("no vectors");
        assert_eq!(calls.u32_at(OUT), 0);
    }
}

fn allocating_extends_and_never_cuts(tree: &Tree) {
    let (mut calls, fd) = ten(tree);
    let mut allocate = |offset: u64, len: u64| {
        let answer = calls.call("fd_allocate", &[fd.into(), offset, len]);
        (answer, calls.fstat(fd).expect("stat").size)
    };
    assert_eq!(allocate(0, 5), (Ok(()), 10));
    assert_eq!(allocate(8, 4), (Ok(()), 12));
    assert_eq!(allocate(20, 1), (Ok(()), 21));
    assert_eq!(allocate(0, 0), (Err(Errno::Inval), 21));
    assert_eq!(allocate(u64::MAX, 1), (Err(Errno::Fbig), 21));
    assert_eq!(allocate(i64::MAX.cast_unsigned(), 1), (Err(Errno::Fbig), 21));
    assert_eq!(calls.cat(3, "file").as_deref(), Ok(&b"0123456789\0\0\0\0\0\0\0\0\0\0\0"[..]));
    assert_eq!(calls.call("fd_allocate", &[3, 0, 1]), Err(Errno::Isdir));
}

fn sizes_are_set(tree: &Tree) {
    let (mut calls, fd) = ten(tree);
    for size in [3, 6, 0, 2] {
        calls.call("fd_filestat_set_size", &[fd.into(), size]).expect("size");
        assert_eq!(calls.stat(3, "file").map(|stat| stat.size), Ok(size));
    }
    assert_eq!(calls.cat(3, "file").as_deref(), Ok(&b"\0\0"[..]));
    let answer = calls.call("fd_filestat_set_size", &[fd.into(), 1 << 63]);
    assert_eq!(answer, Err(Errno::Inval));
    assert_eq!(calls.call("fd_filestat_set_size", &[3, 0]), Err(Errno::Badf));
}

fn times_are_set_one_by_one(tree: &Tree) {
    let (mut calls, fd) = ten(tree);
    calls.symlink("file", 3, "link").expect("symlink");
    let times = |calls: &mut Calls, path: &str, lookup| {
        let stat = calls.statat(3, path, lookup).expect("stat");
        (stat.atim, stat.mtim)
    };
    let set = |calls: &mut Calls, atim: u64, mtim: u64, flags| {
        calls.call("fd_filestat_set_times", &[fd.into(), atim, mtim, flags])
    };
    set(&mut calls, 1_000, 2_000, ATIM | MTIM).expect("times");
    assert_eq!(times(&mut calls, "file", 0), (1_000, 2_000));
    set(&mut calls, 3_000, 4_000, ATIM).expect("times");
    assert_eq!(times(&mut calls, "file", 0), (3_000, 2_000));
    set(&mut calls, 5_000, 6_000, MTIM).expect("times");
    assert_eq!(times(&mut calls, "file", 0), (3_000, 6_000));
    set(&mut calls, 7, 8, 0).expect("none");
    assert_eq!(times(&mut calls, "file", 0), (3_000, 6_000));
    set(&mut calls, 0, 0, ATIM | MTIM_NOW).expect("times");
    let (atim, mtim) = times(&mut calls, "file", 0);
    assert!(atim == 0 && mtim > 1_600_000_000_000_000_000);
    set(&mut calls, 9, 9, ATIM_NOW).expect("times");
    assert!(times(&mut calls, "file", 0).0 > 1_600_000_000_000_000_000);
    // By name: what a link leads to, or the link.
    calls.utimes(3, "link", 1, (11, 12)).expect("times");
    assert_eq!(times(&mut calls, "file", 0), (11, 12));
    calls.utimes(3, "link", 0, (13, 14)).expect("times");
    assert_eq!(times(&mut calls, "link", 0), (13, 14));
    assert_eq!(times(&mut calls, "file", 0), (11, 12));
    assert_eq!(calls.utimes(3, "none", 1, (1, 1)), Err(Errno::Noent));
}

fn advice_is_checked(tree: &Tree) {
    let (mut calls, fd) = ten(tree);
    for advice in 0..6 {
        assert_eq!(calls.call("fd_advise", &[fd.into(), 0, 0, advice]), Ok(()));
        assert_eq!(calls.call("fd_advise", &[fd.into(), 5, 1 << 40, advice]), Ok(()));
    }
    assert_eq!(calls.call("fd_advise", &[fd.into(), 0, 0, 6]), Err(Errno::Inval));
    assert_eq!(calls.call("fd_advise", &[fd.into(), u64::MAX, 2, 0]), Err(Errno::Inval));
    assert_eq!(calls.call("fd_advise", &[0, 0, 0, 0]), Err(Errno::Spipe));
}

fn syncing_needs_a_right(tree: &Tree) {
    let (mut calls, fd) = ten(tree);
    for name in ["fd_sync", "fd_datasync"] {
        assert_eq!(calls.call(name, &[fd.into()]), Ok(()));
        assert_eq!(calls.call(name, &[3]), Ok(()), "a directory");
        assert_eq!(calls.call(name, &[0]), Err(Errno::Notcapable), "a stream");
    }
    let reader = calls.open(3, "file", 0, FD_READ).expect("open");
    assert_eq!(calls.call("fd_sync", &[reader.into()]), Ok(()), "as fsync(2)");
    calls.limit(reader, FD_READ);
    assert_eq!(calls.call("fd_sync", &[reader.into()]), Err(Errno::Notcapable));
}

fn opening_has_its_errnos(tree: &Tree) {
    let (mut calls, _) = ten(tree);
    calls.mkdir(3, "dir").expect("mkdir");
    calls.symlink("file", 3, "link").expect("symlink");
    for (path, lookup, oflags, rights, errno) in [
        ("none", 1, 0, ALL, Errno::Noent),
        ("none/", 1, CREAT, ALL, Errno::Isdir),
        ("none/x", 1, CREAT, ALL, Errno::Noent),
        ("file", 1, CREAT | EXCL, ALL, Errno::Exist),
        ("file", 1, DIRECTORY, READ, Errno::Notdir),
        ("file/", 1, 0, READ, Errno::Notdir),
        ("file/x", 1, CREAT, ALL, Errno::Notdir),
        ("link", 0, 0, READ, Errno::Loop),
        ("link", 0, DIRECTORY, READ, Errno::Loop),
        ("dir", 1, 0, ALL, Errno::Isdir),
        ("dir", 1, CREAT, READ, Errno::Isdir),
        ("dir", 1, TRUNC, READ, Errno::Isdir),
        ("dir", 1, CREAT | DIRECTORY, READ, Errno::Inval),
        ("file", 1, TRUNC | DIRECTORY, READ, Errno::Inval),
    ] {
        let answer = calls.openat(3, path, lookup, oflags, rights, 0);
        assert_eq!(answer, Err(errno), "{path} {lookup} {oflags} {rights:#x}");
    }
    // EXCL without CREAT says nothing; TRUNC cuts; CREAT opens what is there.
    assert!(calls.open(3, "file", EXCL, READ).is_ok());
    assert!(calls.open(3, "file", CREAT, READ).is_ok());
    assert_eq!(calls.stat(3, "file").map(|stat| stat.size), Ok(10));
    assert!(calls.open(3, "link", TRUNC, ALL).is_ok());
    assert_eq!(calls.stat(3, "file").map(|stat| stat.size), Ok(0));
}

fn two_descriptors_are_two_positions(tree: &Tree) {
    let (mut calls, one) = ten(tree);
    let two = calls.open(3, "file", 0, ALL).expect("open");
    assert_eq!(calls.read(one, 5).as_deref(), Ok(&b"01234"[..]));
    assert_eq!(calls.read(two, 2).as_deref(), Ok(&b"01"[..]));
    assert_eq!((calls.tell(one), calls.tell(two)), (Ok(5), Ok(2)));
    // It lives on without its name.
    calls.unlink(3, "file").expect("unlink");
    assert_eq!(calls.write(one, b"X"), Ok(1));
    assert_eq!(calls.pread(two, 100, 4).as_deref(), Ok(&b"4X6789"[..]));
    assert_eq!(calls.fstat(two).map(|stat| stat.nlink), Ok(0));
}

fn renumbering_moves_a_descriptor(tree: &Tree) {
    let (mut calls, one) = ten(tree);
    calls.make(3, "other", b"abc");
    let two = calls.open(3, "other", 0, ALL).expect("open");
    assert_eq!(calls.read(two, 1).as_deref(), Ok(&b"a"[..]));
    assert_eq!(calls.renumber(two, one), Ok(()));
    assert_eq!(calls.read(one, 5).as_deref(), Ok(&b"bc"[..]), "with its position");
    assert_eq!(calls.close(two), Err(Errno::Badf));
    assert_eq!(calls.renumber(one, two), Err(Errno::Badf), "only onto what is open");
    assert_eq!(calls.renumber(one, one), Ok(()));
    assert_eq!(calls.open(3, "file", 0, READ), Ok(two), "the lowest number that is free");
}
