//! Paths that are none, and guests that were given nothing.

use std::process::{Command, Stdio};

use tinyhost::{Errno, WasiCtx};

use super::attempts::all;
use crate::calls::Calls;
use crate::calls::libc::*;
use crate::calls::trees::{Tree, dir};
use crate::{arena, outside};

on_each! { host slow mem: {
    odd_paths_have_their_errno
    a_walk_is_at_most_256_directories_deep
} }

fn odd_paths_have_their_errno(tree: &Tree) {
    let before = arena(tree);
    let mut calls = Calls::at(&tree.mount);
    let long = "x".repeat(5000);
    let deep = "a/../".repeat(1000);
    let name = "x".repeat(256);
    let middle = format!("{name}/file");
    let odd: [(&[u8], Errno); 11] = [
        (b"", Errno::Noent),
        (b"\0", Errno::Inval),
        (b"a/file\0", Errno::Inval),
        (b"plain\0/../../outside", Errno::Inval),
        (b"\xff", Errno::Ilseq),
        (b"a/\xc3\x28", Errno::Ilseq),
        (b"\xed\xa0\x80/..", Errno::Ilseq),
        (long.as_bytes(), Errno::Nametoolong),
        (deep.as_bytes(), Errno::Nametoolong),
        (name.as_bytes(), Errno::Nametoolong),
        (middle.as_bytes(), Errno::Nametoolong),
    ];
    for (path, errno) in odd {
        for attempt in all() {
            let text = String::from_utf8_lossy(&path[..path.len().min(20)]);
            let answer = (attempt.run)(&mut calls, 3, path);
            assert_eq!(answer, Err(errno), "{} {text}", attempt.what);
        }
    }
    // The text of a link is no path yet, but must be able to become one.
    for (text, errno) in odd.into_iter().filter(|(text, _)| text.len() != 256 && text.len() != 261)
    {
        assert_eq!(calls.symlink(text, 3, "link"), Err(errno));
    }
    assert_eq!(calls.names(3, "."), Ok(vec!["a".into(), "plain".into()]));
    assert_eq!(outside(tree), before);
}

/// On the host each directory of a walk is a descriptor: a guest that could go as deep as
/// it liked in one path would use up the host's.
fn a_walk_is_at_most_256_directories_deep(tree: &Tree) {
    let mut calls = Calls::at(&tree.mount);
    // 2,000 levels, made in steps short enough for one path.
    let mut at = 3;
    for _ in 0..20 {
        for depth in 1..=100 {
            calls.mkdir(at, "d/".repeat(depth)).expect("mkdir");
        }
        let next = calls.open(at, &"d/".repeat(100), DIRECTORY, READ).expect("open");
        if at != 3 {
            calls.close(at).expect("close");
        }
        at = next;
    }
    calls.make(at, "file", b"deep down");
    let path = |directories: usize, last: &str| format!("{}{last}", "d/".repeat(directories));
    assert!(calls.stat(3, path(256, "d")).is_ok(), "256 directories on the way");
    assert!(calls.stat(3, path(256, "d/")).is_ok(), "256 directories on the way");
    for deeper in [path(257, "d"), path(257, "d/"), path(257, "none"), path(1999, "d")] {
        assert_eq!(calls.stat(3, &deeper).err(), Some(Errno::Nametoolong));
    }
    // Nor with links, one on the way to another.
    calls.symlink(path(199, "d"), 3, "deep").expect("symlink");
    assert!(calls.stat(3, path(0, "deep/d/d")).is_ok());
    assert_eq!(calls.stat(3, path(0, "deep/") + &path(100, "d")).err(), Some(Errno::Nametoolong));
    // It is the depth that counts, not the length of the path.
    assert!(calls.stat(3, "d/../".repeat(800)).is_ok());
    // And from a descriptor half-way down it can be reached all the same.
    assert_eq!(calls.cat(at, "file").as_deref(), Ok(&b"deep down"[..]));
    let tall = calls.open(3, &path(200, ""), DIRECTORY, READ).expect("open");
    assert!(calls.stat(tall, path(200, "d")).is_ok());
    drop(calls);
    shorten(tree);
}

/// Removing 2,000 levels by one path is beyond what the tests' own clean-up can do.
fn shorten(tree: &Tree) {
    let mut calls = Calls::at(&tree.mount);
    let depth = "d/".repeat(250);
    for level in 0..7 {
        let to = format!("cut{level}");
        calls.rename((3, &depth), (3, &to)).expect("rename");
        calls.rename((3, "d"), (3, format!("kept{level}"))).expect("rename");
        calls.rename((3, to), (3, "d")).expect("rename");
    }
}

#[test]
fn without_a_mount_nothing_is_visible() {
    let mut calls = Calls::new(WasiCtx::builder().build());
    for fd in 0..10 {
        let out = u64::from(crate::calls::OUT);
        assert_eq!(calls.call("fd_prestat_get", &[fd, out]), Err(Errno::Badf));
        let errno = if fd < 3 { Errno::Notdir } else { Errno::Badf };
        for path in [".", "Cargo.toml", "/", "/etc/passwd", "..", "tests", "/dev/null"] {
            for attempt in all() {
                let answer = (attempt.run)(&mut calls, fd as u32, path.as_bytes());
                assert_eq!(answer, Err(errno), "{} {fd} {path}", attempt.what);
            }
        }
    }
}

/// The same through the program, in a directory with something to see.
#[test]
fn the_working_directory_is_not_visible() {
    for path in ["Cargo.toml", "./Cargo.toml", "/etc/passwd", "src/lib.rs"] {
        let output = Command::new(env!("CARGO_BIN_EXE_tinyhost"))
            .args(["run", "fixtures/cat.wasm", path])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .stdin(Stdio::null())
            .output()
            .expect("it runs");
        assert!(output.stdout.is_empty(), "{path}");
        assert!(!output.status.success(), "{path}");
    }
}

/// What is mounted is all there is, and `..` of it is nowhere.
#[test]
fn a_mount_shows_nothing_of_its_parents() {
    let tree = crate::calls::trees::mem();
    arena(&tree);
    let mut calls = Calls::at(&dir(&tree.mount, "a"));
    assert_eq!(calls.names(3, "."), Ok(vec!["file".into()]));
    assert_eq!(calls.stat(3, "../plain").err(), Some(Errno::Notcapable));
}
