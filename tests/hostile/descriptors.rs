//! Full tables and numbers that are changed a million times.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::busy::cpu_time;
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::{Node, host};
use tinyhost::{Errno, WasiCtx};

use crate::calls::libc::*;
use crate::calls::trees::Scratch;
use crate::calls::{Calls, mounted};

/// Descriptors a guest can have here.
const CAP: u32 = 300;

/// Open descriptors of this process that lead below `path`.
fn held(path: &Path) -> usize {
    let fds = fs::read_dir("/proc/self/fd").expect("/proc");
    let links = fds.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok());
    links.filter(|link| link.starts_with(path)).count()
}

/// Bytes of memory this process has resident.
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").expect("/proc");
    let pages = statm.split(' ').nth(1).expect("a number").parse::<usize>().expect("a number");
    pages * 4096
}

fn guest(scratch: &Scratch) -> Calls {
    fs::write(scratch.0.join("file"), "text").expect("write");
    fs::create_dir_all(scratch.0.join("a/b/c")).expect("mkdir");
    let root = host::open(&scratch.0).expect("a directory");
    let dev: Arc<dyn Node> = Arc::new(Dev::new());
    let namespace = mounted(&[("/", &root), ("/dev", &dev)]);
    Calls::new(WasiCtx::builder().namespace(namespace).fds_max(CAP as usize).build())
}

#[test]
fn a_full_table_holds_no_more_of_the_host() {
    let scratch = Scratch::new();
    let mut calls = guest(&scratch);
    let before = held(&scratch.0);
    for number in 5..CAP {
        assert_eq!(calls.open(3, "file", 0, ALL), Ok(number));
    }
    assert_eq!(held(&scratch.0), before + CAP as usize - 5);
    let (begin, memory) = (cpu_time(), resident());
    for _ in 0..100_000 / 5 {
        for (path, oflags) in
            [("file", 0), ("new", CREAT), ("a/b/c", DIRECTORY), ("dev/fd/0", 0), ("dev/null", 0)]
        {
            assert_eq!(calls.open(3, path, oflags, READ), Err(Errno::Mfile), "{path}");
        }
    }
    assert!(cpu_time() - begin < Duration::from_secs(20), "{:?}", cpu_time() - begin);
    let grown = resident().saturating_sub(memory);
    assert!(grown < 256 << 20, "{grown} bytes more");
    assert_eq!(held(&scratch.0), before + CAP as usize - 5);
    assert!(!scratch.0.join("new").exists(), "room is asked for before anything is made");
    // One that is closed is one that can be opened.
    calls.close(100).expect("close");
    assert_eq!(calls.open(3, "new", CREAT, ALL), Ok(100));
    drop(calls);
    assert_eq!(held(&scratch.0), 0);
}

#[test]
fn opening_and_closing_keeps_nothing() {
    let scratch = Scratch::new();
    let mut calls = guest(&scratch);
    let before = held(&scratch.0);
    for _ in 0..20_000 {
        for path in ["a/b/c", "file", "dev/stdin"] {
            let fd = calls.open(3, path, 0, READ).expect("open");
            assert_eq!(fd, 5);
            calls.close(fd).expect("close");
            assert_eq!(calls.close(fd), Err(Errno::Badf));
        }
    }
    assert_eq!(held(&scratch.0), before);
}

#[test]
fn renumbering_a_million_times_keeps_nothing() {
    let scratch = Scratch::new();
    let mut calls = guest(&scratch);
    let fd = calls.open(3, "file", 0, ALL).expect("open");
    let before = held(&scratch.0);
    let begin = cpu_time();
    for _ in 0..250_000 {
        assert_eq!(calls.renumber(fd, fd), Ok(()));
        assert_eq!(calls.renumber(fd, 99), Err(Errno::Badf));
        assert_eq!(calls.renumber(99, fd), Err(Errno::Badf));
        assert_eq!(calls.renumber(u32::MAX, u32::MAX), Err(Errno::Badf));
    }
    for _ in 0..10_000 {
        let other = calls.open(3, "file", 0, ALL).expect("open");
        calls.renumber(other, fd).expect("renumber");
        assert_eq!(calls.close(other), Err(Errno::Badf));
    }
    assert!(cpu_time() - begin < Duration::from_secs(20), "{:?}", cpu_time() - begin);
    assert_eq!(held(&scratch.0), before);
    assert_eq!(calls.read(fd, 10).as_deref(), Ok(&b"text"[..]));
    // Onto a preopen: it is a preopen no more, and what it led to is gone.
    calls.renumber(fd, 3).expect("renumber");
    let out = u64::from(crate::calls::OUT);
    assert_eq!(calls.call("fd_prestat_get", &[3, out]), Err(Errno::Badf));
    assert_eq!(calls.stat(3, "file").err(), Some(Errno::Notdir));
    assert_eq!(calls.read(3, 10).as_deref(), Ok(&b""[..]), "the offset went along");
    // The other way round, the directory keeps its name.
    calls.renumber(4, 0).expect("renumber");
    assert_eq!(calls.call("fd_prestat_get", &[0, out]), Ok(()));
    assert!(calls.stat(0, "null").is_ok());
}
