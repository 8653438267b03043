//! A direction that was not opened does not exist.

use std::os::unix::net::UnixStream;
use std::sync::Arc;

use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::pipe::{Capture, Input, pipe};
use tinyhost::vfs::stdio::{Closed, Stream};
use tinyhost::vfs::{Access, File, Name, Node, Open, ReadOnly, host, mem};
use tinyhost::{Errno, WasiCtx};

use super::kinds;
use crate::calls::libc::*;
use crate::calls::{Calls, DATA, OUT, mounted};
use crate::util::TempDir;

/// What `poll_oneoff` says of one direction at once: the errno of its event, or `None` if it has
/// to wait.
fn polled(calls: &mut Calls, fd: u32, kind: u8) -> Option<u16> {
    let mut records = [0; 96];
    records[8] = kind;
    records[16..20].copy_from_slice(&fd.to_le_bytes());
    // And a clock whose time has come, so that nothing waits.
    records[48] = 1;
    records[64] = 1;
    calls.put(DATA, &records);
    let room = DATA + 0x1000;
    calls.call("poll_oneoff", &[DATA.into(), room.into(), 2, OUT.into()]).expect("poll");
    let events = calls.u32_at(OUT);
    let event = (0..events).map(|n| calls.bytes(room + 32 * n, 32)).find(|event| event[0] == 0)?;
    Some(u16::from_le_bytes([event[8], event[9]]))
}

/// Tries both directions of a descriptor. None of the calls waits for a direction that is not
/// there; those that are there may have to, and are not made.
#[track_caller]
fn check(calls: &mut Calls, fd: u32, access: Access, what: &str) {
    calls.call("fd_fdstat_get", &[fd.into(), OUT.into()]).expect("fdstat");
    let base = calls.u64_at(OUT + 8);
    assert_eq!(base & FD_READ != 0, access.read, "{what}: the right to read");
    assert_eq!(base & FD_WRITE != 0, access.write, "{what}: the right to write");
    let badf = Some(Errno::Badf as u16);
    if !access.read {
        assert_eq!(calls.read(fd, 1), Err(Errno::Badf), "{what}: a read");
        assert_eq!(polled(calls, fd, 1), badf, "{what}: a poll for reading");
    } else {
        assert_ne!(polled(calls, fd, 1), badf, "{what}: a poll for reading");
    }
    if !access.write {
        assert_eq!(calls.write(fd, b"x"), Err(Errno::Badf), "{what}: a write");
        assert_eq!(polled(calls, fd, 2), badf, "{what}: a poll for writing");
        let allocate = calls.call("fd_allocate", &[fd.into(), 0, 1]);
        assert!(matches!(allocate, Err(Errno::Badf | Errno::Spipe | Errno::Isdir)), "{what}");
    } else {
        assert_ne!(polled(calls, fd, 2), badf, "{what}: a poll for writing");
    }
    // What is given up is refused for another reason.
    calls
        .call("fd_fdstat_set_rights", &[fd.into(), base & !FD_READ & !FD_WRITE, 0])
        .expect("fewer");
    let given_up = |there| if there { Errno::Notcapable } else { Errno::Badf };
    assert_eq!(calls.read(fd, 1), Err(given_up(access.read)), "{what}");
    assert_eq!(calls.write(fd, b"x"), Err(given_up(access.write)), "{what}");
    assert_eq!(polled(calls, fd, 1), Some(given_up(access.read) as u16), "{what}");
    assert_eq!(polled(calls, fd, 2), Some(given_up(access.write) as u16), "{what}");
}

#[test]
fn of_a_stream() {
    let (reader, writer) = pipe(10);
    let (inherited_reader, inherited_writer) = std::io::pipe().unwrap();
    let (near, _far) = UnixStream::pair().unwrap();
    let null = |read: bool, write: bool| {
        let file = std::fs::OpenOptions::new().read(read).write(write).open("/dev/null").unwrap();
        Box::new(Stream::new(&file).unwrap())
    };
    let dir = TempDir::new();
    let path = dir.file("file", b"text");
    let file = std::fs::File::open(&path).unwrap();
    let log = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
    let stream = |fd: &dyn std::os::fd::AsFd| Box::new(Stream::new(fd.as_fd()).unwrap());
    let kinds: Vec<(&str, Box<dyn File>, Access)> = vec![
        ("the reader of a pipe", Box::new(reader), Access::READ),
        ("the writer of a pipe", Box::new(writer), Access::WRITE),
        ("an input", Box::new(Input::new("text")), Access::READ),
        ("a capture", Box::new(Capture::new(100)), Access::WRITE),
        ("an inherited reader", stream(&inherited_reader), Access::READ),
        ("an inherited writer", stream(&inherited_writer), Access::WRITE),
        ("/dev/null <", null(true, false), Access::READ),
        ("/dev/null >", null(false, true), Access::WRITE),
        ("/dev/null <>", null(true, true), Access::BOTH),
        ("a file <", stream(&file), Access::READ),
        ("a file >>", stream(&log), Access::WRITE),
        ("an inherited pair", stream(&near), Access::BOTH),
    ];
    for (what, file, access) in kinds {
        let mut calls = Calls::new(WasiCtx::builder().socket("<tried>", file).build());
        check(&mut calls, 3, access, what);
    }
}

#[test]
fn of_streams_that_were_not_given() {
    let dev: Arc<dyn Node> = Arc::new(Dev::new());
    for (fd, access) in [(0, Access::READ), (1, Access::WRITE), (2, Access::WRITE)] {
        let mut calls = Calls::new(WasiCtx::builder().build());
        check(&mut calls, fd, access, "an empty stream");
        // Under its other names it is the same stream.
        let names = ["stdin", "stdout", "stderr"];
        for name in [names[fd as usize], &format!("fd/{fd}")] {
            let cx = WasiCtx::builder().namespace(mounted(&[("/dev", &dev)]));
            let mut calls = Calls::new(cx.build());
            let alias = calls.open(3, name, 0, ALL).expect("another number");
            check(&mut calls, alias, access, name);
        }
    }
    let mut calls = Calls::new(WasiCtx::builder().stdout(Closed).build());
    check(&mut calls, 1, Access::NONE, "a closed stream");
}

#[test]
fn of_what_is_opened_by_name() {
    let dir = TempDir::new();
    dir.file("file", b"text");
    kinds::fifo(dir.path());
    let on_host = host::open(dir.path()).unwrap();
    let in_memory: Arc<dyn Node> = mem::tree(None);
    let how = Open { write: true, ..Open::default() };
    in_memory.create(Name::new("file").unwrap(), how).unwrap();
    let dev: Arc<dyn Node> = Arc::new(Dev::new());
    let read_only: Arc<dyn Node> = Arc::new(ReadOnly(on_host.clone()));
    let each = [
        (&on_host, "file", true),
        (&in_memory, "file", true),
        (&dev, "null", true),
        (&on_host, "fifo", true),
        (&read_only, "file", false),
    ];
    for (root, name, writable) in each {
        for (asked, access) in [
            (0, Access::NONE),
            (FD_READ, Access::READ),
            (FD_WRITE, Access::WRITE),
            (FD_READ | FD_WRITE, Access::BOTH),
        ] {
            // A FIFO with one direction waits for its other end, or is at its end.
            let waits = name == "fifo" && access != Access::BOTH;
            if access.write && !writable || waits {
                continue;
            }
            let mut calls = Calls::at(root);
            let fd = calls.open(3, name, 0, asked).expect("open");
            check(&mut calls, fd, access, &format!("{name} opened for {access:?}"));
        }
    }
    for root in [&on_host, &in_memory, &dev] {
        let mut calls = Calls::at(root);
        let fd = calls.open(3, ".", DIRECTORY, ALL & !FD_WRITE).expect("open");
        check(&mut calls, fd, Access::NONE, "a directory");
        check(&mut calls, 3, Access::NONE, "a preopened directory");
    }
}

/// What the directory does not hand on was asked for and is refused.
#[test]
fn of_what_a_directory_does_not_hand_on() {
    let root: Arc<dyn Node> = mem::tree(None);
    let mut calls = Calls::at(&root);
    calls.make(3, "file", b"text");
    calls.call("fd_fdstat_get", &[3, OUT.into()]).unwrap();
    let base = calls.u64_at(OUT + 8);
    calls.call("fd_fdstat_set_rights", &[3, base, FD_READ]).unwrap();
    let fd = calls.open(3, "file", 0, FD_READ | FD_WRITE).expect("open");
    assert_eq!(calls.write(fd, b"x"), Err(Errno::Notcapable));
    let reader = calls.open(3, "file", 0, FD_READ).expect("open");
    assert_eq!(calls.write(reader, b"x"), Err(Errno::Badf));
}
