//! `sock_send`, `sock_recv` and `sock_shutdown`, from wasi-libc.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::program::start;
use crate::net_util::LIMIT;

const TOLD: &str = "\
send: 5
peek: 3 abc
peek again: 2 ab
send: 4
all of 8: 8 abcdefgh
shutdown: 0
send: Broken pipe
all of 8: 2 kl
at the end: 0
peek at the end: 0
accept on a stream: Not a socket
recv on a device: Not a socket
send on a device: Not a socket
shutdown of a device: Not a socket
";

const WOULD_WAIT: &str = "open: Resource temporarily unavailable\n";

/// The other side of what `sockcalls` does.
fn peer(mut stream: TcpStream) {
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    let mut word = [0; 5];
    stream.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"hello");
    stream.write_all(b"abc").unwrap();
    stream.read_exact(&mut word[..4]).unwrap();
    assert_eq!(&word[..4], b"more");
    stream.write_all(b"de").unwrap();

    // It waits for all of 8, so it has not shut down yet.
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let early = stream.read(&mut word).unwrap_err();
    assert!(matches!(early.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{early}");
    stream.set_read_timeout(Some(LIMIT)).unwrap();
    stream.write_all(b"fgh").unwrap();

    // It has shut down its side only: what is said now still arrives.
    assert_eq!(stream.read(&mut word).unwrap(), 0);
    stream.write_all(b"kl").unwrap();
}

#[test]
fn on_a_dialled_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("localhost:{}", listener.local_addr().unwrap().port());
    let peer = thread::spawn(move || peer(listener.accept().unwrap().0));
    // A name is looked up by another thread, so this open is never done at once.
    let guest = start(&["--net", &at, "sockcalls.wasm", &format!("/dev/{at}")]);
    assert_eq!(guest.end().well(), TOLD);
    peer.join().unwrap();
}

#[test]
fn on_an_accepted_stream() {
    let name = "/dev/accept/127.0.0.1:0";
    let guest = start(&["--net-listen", "127.0.0.1:0", "sockcalls.wasm", name]);
    peer(TcpStream::connect(guest.listening()).unwrap());
    let told = guest.end().well();
    // We may have been there before the first open asked.
    assert_eq!(told.strip_prefix(WOULD_WAIT).unwrap_or(&told), TOLD);
}

#[test]
fn an_accept_that_would_wait_is_eagain_with_nonblock() {
    let name = "/dev/accept/127.0.0.1:0";
    let time = ["--timeout", "5s", "--net-listen", "127.0.0.1:0"];
    let ended = start(&[&time[..], &["sockcalls.wasm", name]].concat()).end();
    assert_eq!((ended.status, &*ended.stdout), (Some(124), WOULD_WAIT));
}

#[test]
fn on_a_stream_of_a_preopened_listener() {
    let guest = start(&["--listen", "127.0.0.1:0", "sockcalls.wasm", "-"]);
    peer(TcpStream::connect(guest.listening()).unwrap());
    assert_eq!(guest.end().well(), format!("recv on a listener: Socket not connected\n{TOLD}"));
}
