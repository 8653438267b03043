//! Rights: what has to be asked for, what is had anyway, and what was given up.

use std::sync::{Arc, Mutex};

use crate::busy::lock;
use tinyhost::trace::Hints;
use tinyhost::{Errno, WasiCtx};

use crate::calls::libc::*;
use crate::calls::trees::{Tree, dir, file};
use crate::calls::{Calls, OUT, mounted};

on_each! { host mem: {
    a_file_has_the_direction_it_was_opened_for
    a_directory_opened_without_rights_is_a_directory
    what_a_directory_gave_up_nothing_opened_through_it_has
    a_missing_right_is_not_explained_as_a_way_out
} }

const PATH_CREATE_FILE: u64 = 1 << 10;
const PATH_FILESTAT_SET_SIZE: u64 = 1 << 19;
const FD_FILESTAT_GET: u64 = 1 << 21;
const FD_FILESTAT_SET_SIZE: u64 = 1 << 22;

/// What it is, its rights, and those it hands on.
fn fdstat(calls: &mut Calls, fd: u32) -> (u8, u64, u64) {
    calls.call("fd_fdstat_get", &[fd.into(), OUT.into()]).expect("fdstat");
    (calls.bytes(OUT, 1)[0], calls.u64_at(OUT + 8), calls.u64_at(OUT + 16))
}

fn a_file_has_the_direction_it_was_opened_for(tree: &Tree) {
    file(&tree.mount, "file", b"0123456789");
    let calls = &mut Calls::at(&tree.mount);
    let changes = FD_WRITE | FD_ALLOCATE | FD_FILESTAT_SET_SIZE;
    for (asked, direction) in [
        (0, 0),
        (FD_READ, FD_READ),
        (FD_WRITE, changes),
        (FD_READ | FD_WRITE, FD_READ | changes),
        (FD_ALLOCATE, changes & !FD_WRITE),
        (u64::MAX, FD_READ | changes),
    ] {
        let fd = calls.open(3, "file", 0, asked).expect("open");
        let (kind, had, handed_on) = fdstat(calls, fd);
        assert_eq!((kind, had & (FD_READ | changes)), (FILE, direction), "{asked:#x}");
        assert_eq!((had & (1 << 13 | 1 << 14 | 1 << 28), handed_on), (0, 0), "no paths");
        // The rest protects nothing, and is there without being asked for.
        assert_eq!(calls.fstat(fd).map(|stat| stat.size), Ok(10));
        assert_eq!(calls.seek(fd, 1, 0), Ok(1));
        assert_eq!(calls.read(fd, 1).is_ok(), had & FD_READ != 0, "{asked:#x}");
        assert_eq!(calls.write(fd, b"1").is_ok(), had & FD_WRITE != 0, "{asked:#x}");
        let size = calls.call("fd_filestat_set_size", &[fd.into(), 10]);
        assert_eq!(size.is_ok(), had & FD_FILESTAT_SET_SIZE != 0, "{asked:#x}");
    }
    let opened = calls.open(3, ".", DIRECTORY, READ).expect("open");
    let (kind, had, _) = fdstat(calls, opened);
    assert_eq!((kind, had & (FD_READ | FD_SEEK | FD_WRITE)), (DIR, 0));
    assert!(calls.read(opened, 1).is_err());
    assert_eq!(calls.seek(opened, 0, 0), Err(Errno::Badf));
}

/// wasmtime's own programs ask for none, Go's os.Root for some.
fn a_directory_opened_without_rights_is_a_directory(tree: &Tree) {
    dir(&tree.mount, "d");
    let calls = &mut Calls::at(&tree.mount);
    let whole = fdstat(calls, 3);
    for asked in [0, FD_READ, 1 << 13, READ & !PATH_FILESTAT_SET_SIZE & !FD_FILESTAT_GET] {
        let fd = calls.openat(3, "d", 1, DIRECTORY, asked, 0).expect("open");
        assert_eq!(fdstat(calls, fd), whole, "{asked:#x}");
        let made = calls.open(fd, "f", CREAT | TRUNC, FD_READ | FD_WRITE).expect("create");
        assert_eq!(calls.write(made, b"x"), Ok(1));
        let cut = calls.open(fd, "f", TRUNC, 0).expect("cut");
        assert_eq!(calls.fstat(cut).map(|stat| stat.size), Ok(0));
        assert_eq!(calls.mkdir(fd, "sub"), Ok(()));
        assert_eq!(calls.symlink("f", fd, "l"), Ok(()));
        assert_eq!(calls.readlink(fd, "l", 9).as_deref(), Ok(&b"f"[..]));
        assert_eq!(calls.link((fd, "f"), 0, (fd, "g")), Ok(()));
        assert_eq!(calls.rename((fd, "g"), (fd, "h")), Ok(()));
        assert_eq!(calls.utimes(fd, "h", 1, (1, 2)), Ok(()));
        let mut names = calls.names(fd, ".").expect("a listing");
        names.retain(|name| !name.starts_with('.'));
        names.sort();
        assert_eq!(names, ["f", "h", "l", "sub"]);
        for name in ["f", "h", "l"] {
            assert_eq!(calls.unlink(fd, name), Ok(()));
        }
        assert_eq!(calls.rmdir(fd, "sub"), Ok(()));
        calls.close(fd).expect("close");
    }
}

fn what_a_directory_gave_up_nothing_opened_through_it_has(tree: &Tree) {
    dir(&tree.mount, "d/e");
    file(&tree.mount, "d/e/f", b"0123456789");
    let calls = &mut Calls::at(&tree.mount);
    let fd = calls.open(3, "d", DIRECTORY, 0).expect("open");
    let (_, base, handed_on) = fdstat(calls, fd);
    let set = |calls: &mut Calls, fd: u32, base: u64, inheriting: u64| {
        calls.call("fd_fdstat_set_rights", &[fd.into(), base, inheriting])
    };
    let less = handed_on & !FD_WRITE & !FD_FILESTAT_SET_SIZE & !FD_ALLOCATE & !PATH_CREATE_FILE;
    set(calls, fd, base & !PATH_FILESTAT_SET_SIZE, less).expect("fewer");
    assert_eq!(set(calls, fd, base, less), Err(Errno::Notcapable));
    assert_eq!(set(calls, fd, 0, handed_on), Err(Errno::Notcapable));
    assert_eq!(calls.open(fd, "e/f", TRUNC, FD_READ), Err(Errno::Notcapable));
    // However deep, and whatever is asked for there.
    let below = calls.open(fd, "e", DIRECTORY, READ).expect("open");
    assert_eq!(fdstat(calls, below).2, less);
    assert_eq!(calls.open(below, "new", CREAT, FD_READ), Err(Errno::Notcapable));
    let f = calls.open(below, "f", 0, ALL).expect("open");
    assert_eq!(fdstat(calls, f).1 & (FD_READ | FD_WRITE), FD_READ);
    assert!(calls.write(f, b"x").is_err());
    assert_eq!(calls.cat(3, "d/e/f").as_deref(), Ok(&b"0123456789"[..]));
}

fn a_missing_right_is_not_explained_as_a_way_out(tree: &Tree) {
    file(&tree.mount, "f", b"");
    let told = Arc::new(Mutex::new(Vec::new()));
    let report = {
        let told = told.clone();
        Arc::new(move |line: &str| lock(&told).push(line.to_owned()))
    };
    let cx = WasiCtx::builder()
        .namespace(mounted(&[("/", &tree.mount)]))
        .on_error(Hints::new(Arc::new([]), report));
    let calls = &mut Calls::new(cx.build());
    let poor = calls.open(3, ".", DIRECTORY, 0).expect("open");
    calls.limit(poor, 1 << 13);
    assert_eq!(calls.open(poor, "f", TRUNC, FD_READ), Err(Errno::Notcapable));
    assert_eq!(calls.mkdir(poor, "d"), Err(Errno::Notcapable));
    assert_eq!(calls.rename((3, "f"), (poor, "g")), Err(Errno::Notcapable));
    assert_eq!(*lock(&told), [""; 0]);
    assert_eq!(calls.open(3, "../f", 0, FD_READ), Err(Errno::Notcapable));
    assert!(lock(&told)[0].contains("the path leaves"));
}
