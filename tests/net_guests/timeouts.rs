//! A guest that waits for the network ends when its time is up, and hangs up.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::program::{Running, start, start_reading};
use crate::net_util::{LIMIT, full_backlog};
use crate::util::TempDir;

/// Enough to get where it waits, also on a machine with much else to do.
const TIME: [&str; 2] = ["--timeout", "5s"];

fn guest(words: &[&str]) -> Running {
    start(&[&TIME[..], words].concat())
}

#[track_caller]
fn timed_out(guest: Running) {
    let ended = guest.end();
    assert_eq!(ended.status, Some(124), "{}", ended.stderr);
    let why = "timed out after 5 s (raise the limit with --timeout)";
    assert!(ended.stderr.ends_with(&format!("{why}\n")), "{}", ended.stderr);
}

/// What the peer has sent until it hung up.
fn until_hangup(mut stream: TcpStream) -> usize {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut all = Vec::new();
    // Unread data of the other side makes its end a reset, which is an end as well.
    let _ = stream.read_to_end(&mut all).map_err(|error| {
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "no hangup: {error}");
    });
    all.len()
}

#[test]
fn in_connect() {
    let (_listener, _fill, at) = full_backlog();
    let at = at.to_string();
    timed_out(guest(&["--net", &at, "dial.wasm", &format!("/dev/{at}"), "x"]));
}

#[test]
fn in_accept() {
    for words in [
        &["--net-listen", "127.0.0.1:0", "acceptecho.wasm", "/dev/accept/127.0.0.1:0", "1"][..],
        &["--listen", "127.0.0.1:0", "clistenecho.wasm", "1"],
    ] {
        let guest = guest(words);
        let at = guest.listening();
        timed_out(guest);
        assert!(TcpStream::connect(at).is_err(), "{words:?}: somebody still listens");
    }
}

#[test]
fn in_read() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let guest = guest(&["--net", &at, "dial.wasm", &format!("/dev/{at}"), "hello"]);
    let stream = listener.accept().unwrap().0;
    timed_out(guest);
    assert_eq!(until_hangup(stream), 5);
}

#[test]
fn in_write() {
    const SIZE: usize = 32 << 20;
    let folder = TempDir::new();
    let much = File::open(folder.file("much", &vec![b'x'; SIZE])).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let name = format!("/dev/{at}");
    let words = ["--timeout", "5s", "--net", &at, "dial.wasm", &name];
    let guest = start_reading(&words, much);
    let stream = listener.accept().unwrap().0;
    timed_out(guest);
    let sent = until_hangup(stream);
    assert!(sent > 0 && sent < SIZE, "{sent} bytes went out though nobody read");
}

#[test]
fn in_poll() {
    for words in [
        ["--net-listen", "127.0.0.1:0", "pollserver.wasm", "/dev/accept/127.0.0.1:0", "2"],
        ["--listen", "127.0.0.1:0", "pollserver.wasm", "-", "2"],
    ] {
        let guest = guest(&words);
        let mut stream = TcpStream::connect(guest.listening()).unwrap();
        stream.write_all(b"hello").unwrap();
        assert_eq!(until_hangup(stream), 5, "the echo, then the end");
        timed_out(guest);
    }
}
