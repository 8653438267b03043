//! Standard streams that are sockets, as socat, inetd and systemd hand to a program.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::thread;
use std::time::Duration;

use tinyhost::vfs::stdio::Stream;
use tinyhost::{Errno, WasiCtx};

use crate::calls::libc::NONBLOCK;
use crate::calls::{Calls, DATA, IOVS, OUT};
use crate::util::TempDir;

const DGRAM: u8 = 5;
const STREAM: u8 = 6;

/// The socket is the guest's standard input and output, as inetd has it.
fn calls(socket: impl AsFd) -> Calls {
    let stream = || Stream::new(socket.as_fd()).unwrap();
    Calls::new(WasiCtx::builder().stdin(stream()).stdout(stream()).build())
}

fn filetype(calls: &mut Calls, fd: u32) -> u8 {
    calls.call("fd_fdstat_get", &[fd.into(), OUT.into()]).unwrap();
    calls.bytes(OUT, 1)[0]
}

fn receive(calls: &mut Calls, fd: u32, len: u32, flags: u64) -> Result<(Vec<u8>, u8), Errno> {
    calls.put(IOVS, &[DATA, len].map(u32::to_le_bytes).concat());
    let out = [OUT.into(), (OUT + 8).into()];
    calls.call("sock_recv", &[fd.into(), IOVS.into(), 1, flags, out[0], out[1]])?;
    let len = calls.u32_at(OUT);
    Ok((calls.bytes(DATA, len), calls.bytes(OUT + 8, 1)[0]))
}

fn tcp() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

fn a_conversation(mut calls: Calls, mut peer: impl Read + Write) {
    assert_eq!((filetype(&mut calls, 0), filetype(&mut calls, 1)), (STREAM, STREAM));
    peer.write_all(b"hello").unwrap();
    assert_eq!(receive(&mut calls, 0, 4, 1), Ok((b"hell".to_vec(), 0)), "a look at it");
    assert_eq!(receive(&mut calls, 1, 9, 0), Ok((b"hello".to_vec(), 0)));
    calls.call("fd_fdstat_set_flags", &[0, NONBLOCK]).unwrap();
    assert_eq!(calls.read(0, 9), Err(Errno::Again));
    assert_eq!(calls.write(1, b"answer"), Ok(6));
    let accept = calls.call("sock_accept", &[0, 0, OUT.into()]);
    assert!(accept.is_err(), "it has a peer already");
    calls.call("sock_shutdown", &[1, 2]).unwrap();
    let mut answer = String::new();
    peer.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "answer");
    assert_eq!(calls.write(0, b"x"), Err(Errno::Pipe), "both numbers are one socket");
}

#[test]
fn a_connection_is_one() {
    let (near, far) = tcp();
    a_conversation(calls(&near), far);
    let (near, far) = UnixStream::pair().unwrap();
    a_conversation(calls(&near), far);
}

#[test]
fn its_description_is_left_as_it_was() {
    let (near, mut far) = UnixStream::pair().unwrap();
    let mut calls = calls(&near);
    far.write_all(b"x").unwrap();
    assert_eq!(calls.read(0, 9).as_deref(), Ok(&b"x"[..]));
    calls.call("fd_fdstat_set_flags", &[0, NONBLOCK]).unwrap();
    assert_eq!(calls.read(0, 9), Err(Errno::Again));
    let flags = rustix::fs::fcntl_getfl(&near).unwrap();
    assert!(!flags.contains(rustix::fs::OFlags::NONBLOCK));
}

fn clients_come(mut calls: Calls, connect: impl Fn() -> Box<dyn ReadWrite> + Send + 'static) {
    assert_eq!(filetype(&mut calls, 0), STREAM);
    calls.call("fd_fdstat_set_flags", &[0, NONBLOCK]).unwrap();
    assert_eq!(calls.call("sock_accept", &[0, 0, OUT.into()]), Err(Errno::Again));
    calls.call("fd_fdstat_set_flags", &[0, 0]).unwrap();
    assert_eq!(calls.read(0, 1), Err(Errno::Notconn));
    let client = thread::spawn(move || {
        thread::sleep(Duration::from_millis(20));
        let mut client = connect();
        client.write_all(b"hello").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    });
    calls.call("sock_accept", &[0, 0, OUT.into()]).unwrap();
    let stream = calls.u32_at(OUT);
    assert_eq!(filetype(&mut calls, stream), STREAM);
    assert_eq!(receive(&mut calls, stream, 9, 1), Ok((b"hello".to_vec(), 0)));
    assert_eq!(calls.read(stream, 9).as_deref(), Ok(&b"hello"[..]));
    assert_eq!(calls.write(stream, b"answer"), Ok(6));
    calls.call("sock_shutdown", &[stream.into(), 2]).unwrap();
    assert_eq!(client.join().unwrap(), "answer");
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

#[test]
fn a_listener_accepts() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    clients_come(calls(&listener), move || Box::new(TcpStream::connect(addr).unwrap()));
    let dir = TempDir::new();
    let path = dir.path().join("socket");
    let listener = UnixListener::bind(&path).unwrap();
    clients_come(calls(&listener), move || Box::new(UnixStream::connect(&path).unwrap()));
}

#[test]
fn a_datagram_is_a_message() {
    let (near, far) = UnixDatagram::pair().unwrap();
    let (own, peer) =
        (UdpSocket::bind("127.0.0.1:0").unwrap(), UdpSocket::bind("127.0.0.1:0").unwrap());
    own.connect(peer.local_addr().unwrap()).unwrap();
    peer.connect(own.local_addr().unwrap()).unwrap();
    let send_far = |bytes: &[u8]| far.send(bytes).unwrap();
    let send_peer = |bytes: &[u8]| peer.send(bytes).unwrap();
    let receive_far = |bytes: &mut [u8]| far.recv(bytes).unwrap();
    let receive_peer = |bytes: &mut [u8]| peer.recv(bytes).unwrap();
    type Send<'a> = &'a dyn Fn(&[u8]) -> usize;
    type Receive<'a> = &'a dyn Fn(&mut [u8]) -> usize;
    let both: [(Calls, Send<'_>, Receive<'_>); 2] =
        [(calls(&near), &send_far, &receive_far), (calls(&own), &send_peer, &receive_peer)];
    for (mut calls, send, received) in both {
        assert_eq!(filetype(&mut calls, 0), DGRAM);
        send(b"0123456789");
        assert_eq!(receive(&mut calls, 0, 4, 0), Ok((b"0123".to_vec(), 1)), "cut, and said so");
        send(b"abc");
        assert_eq!(receive(&mut calls, 0, 9, 0), Ok((b"abc".to_vec(), 0)));
        // More than a pipe takes at once is one message here.
        assert_eq!(calls.write(1, &[7; 9000]), Ok(9000));
        assert_eq!(received(&mut [0; 20_000]), 9000);
    }
}
