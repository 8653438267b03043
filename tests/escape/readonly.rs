//! A read-only mount, beside a writable one of the same directory.

use std::sync::Arc;

use tinyhost::vfs::{Node, ReadOnly};
use tinyhost::{Errno, WasiCtx};

use super::attempts::all;
use crate::calls::libc::*;
use crate::calls::trees::{Tree, dir, link, snapshot};
use crate::calls::{Calls, mounted};
use crate::{arena, outside};

on_each! { host slow mem: {
    nothing_of_a_read_only_mount_changes
    nothing_moves_out_of_a_read_only_mount
} }

const RO: u32 = 3;
const RW: u32 = 4;

fn both(tree: &Tree) -> Calls {
    let ro: Arc<dyn Node> = Arc::new(ReadOnly(tree.mount.clone()));
    let namespace = mounted(&[("/ro", &ro), ("/rw", &tree.mount)]);
    Calls::new(WasiCtx::builder().namespace(namespace).build())
}

fn nothing_of_a_read_only_mount_changes(tree: &Tree) {
    let around = arena(tree);
    dir(&tree.mount, "empty");
    link(&tree.mount, "link", "plain");
    let before = snapshot(&tree.mount);
    let mut calls = both(tree);
    for path in ["plain", "a/file", "link"] {
        for (what, oflags, rights) in [
            ("write", 0, ALL),
            ("allocate", 0, FD_READ | FD_ALLOCATE),
            ("set_size", 0, FD_READ | 1 << 22),
            ("TRUNC", TRUNC, ALL),
            ("TRUNC to read", TRUNC, READ),
            ("CREAT to write", CREAT, ALL),
        ] {
            let answer = calls.open(RO, path, oflags, rights);
            assert_eq!(answer, Err(Errno::Rofs), "{what} {path}");
        }
        // What there is may be opened by one who would otherwise have made it.
        let fd = calls.open(RO, path, CREAT, READ).expect("open");
        assert_eq!(calls.read(fd, 100).as_deref(), Ok(&b"inside"[..]));
        // It was not opened for writing.
        assert_eq!(calls.write(fd, b"x"), Err(Errno::Badf));
        assert_eq!(calls.call("fd_allocate", &[fd.into(), 0, 99]), Err(Errno::Badf));
        assert_eq!(calls.call("fd_filestat_set_size", &[fd.into(), 0]), Err(Errno::Inval));
        let times = [fd.into(), 1, 1, ATIM | MTIM];
        assert_eq!(calls.call("fd_filestat_set_times", &times), Err(Errno::Rofs));
        for lookup in [0, 1] {
            assert_eq!(calls.utimes(RO, path, lookup, (1, 1)), Err(Errno::Rofs));
        }
        assert_eq!(calls.unlink(RO, path), Err(Errno::Rofs));
        assert_eq!(calls.rename((RO, path), (RO, "made")), Err(Errno::Rofs));
        assert_eq!(calls.link((RO, path), 0, (RO, "made")), Err(Errno::Rofs));
    }
    assert_eq!(calls.open(RO, "new", CREAT, READ), Err(Errno::Rofs));
    assert_eq!(calls.mkdir(RO, "new"), Err(Errno::Rofs));
    assert_eq!(calls.rmdir(RO, "empty"), Err(Errno::Rofs));
    assert_eq!(calls.symlink("plain", RO, "new"), Err(Errno::Rofs));
    assert_eq!(calls.rename((RO, "empty"), (RO, "a")), Err(Errno::Rofs));
    let root = calls.open(RO, "a", DIRECTORY, READ).expect("open");
    let times = [root.into(), 1, 1, ATIM | MTIM];
    assert_eq!(calls.call("fd_filestat_set_times", &times), Err(Errno::Rofs));
    assert_eq!(snapshot(&tree.mount), before);
    assert_eq!(outside(tree), around);
}

fn nothing_moves_out_of_a_read_only_mount(tree: &Tree) {
    let around = arena(tree);
    dir(&tree.mount, "empty");
    let before = snapshot(&tree.mount);
    let mut calls = both(tree);
    for (from, to) in [(RO, RW), (RW, RO)] {
        for path in ["plain", "a/file"] {
            assert_eq!(calls.rename((from, path), (to, "made")), Err(Errno::Xdev), "{path}");
            assert_eq!(calls.rename((from, path), (to, path)), Err(Errno::Xdev), "{path}");
            for lookup in [0, 1] {
                let linked = calls.link((from, path), lookup, (to, "made"));
                assert_eq!(linked, Err(Errno::Xdev), "{path}");
            }
        }
        assert_eq!(calls.rename((from, "empty"), (to, "made")), Err(Errno::Xdev));
    }
    // Paths through one mount's descriptor do not lead into the other.
    for attempt in all() {
        let answer = (attempt.run)(&mut calls, RO, b"../rw/plain");
        assert_eq!(answer, Err(Errno::Notcapable), "{}", attempt.what);
    }
    assert_eq!(snapshot(&tree.mount), before);
    assert_eq!(outside(tree), around);
}
