//! Servers.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use tinyhost::Errno;

use super::guest::{DGRAM, DIALECTS, Dialect, INET4, STREAM, World};

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

#[test]
fn a_server_serves_in_each_dialect() {
    let world = World::new(&[], &["127.0.0.1:0"]);
    for dialect in DIALECTS {
        let mut guest = world.guest(dialect);
        let fd = guest.open(INET4, STREAM).expect("open");
        assert_eq!(guest.set_option(fd, 0, 1), Ok(()), "SO_REUSEADDR");
        assert_eq!(guest.accept(fd), Err(Errno::Inval), "it does not listen");
        assert_eq!(guest.bind(fd, any()), Ok(()));
        assert_eq!(guest.bind(fd, any()), Err(Errno::Inval), "it is bound");
        assert_eq!(guest.option(fd, 13), Ok(0), "SO_ACCEPTCONN");
        assert_eq!(guest.call("sock_listen", &[fd, 128]), Ok(()));
        assert_eq!(guest.option(fd, 13), Ok(1));
        let at = guest.local(fd).expect("an address");
        assert_ne!(at.port(), 0);
        let mut client = TcpStream::connect(at).expect("connect");
        client.write_all(b"ping").expect("write");
        let connection = guest.accept(fd).expect("a client");
        assert_eq!(guest.peer(connection), Ok(client.local_addr().expect("an address")));
        assert_eq!(guest.local(connection), Ok(at));
        assert_eq!(guest.receive(connection), Ok(b"ping".to_vec()));
        assert_eq!(guest.send(connection, b"pong"), Ok(4));
        assert_eq!(guest.call("fd_close", &[connection]), Ok(()));
        let mut answer = String::new();
        client.read_to_string(&mut answer).expect("read");
        assert_eq!(answer, "pong");
        guest.nonblock(fd);
        assert_eq!(guest.accept(fd), Err(Errno::Again));
    }
}

#[test]
fn listening_needs_a_rule() {
    let world = World::new(&["*:*"], &["127.0.0.1:8000-9000"]);
    let mut guest = world.guest(Dialect::WasmEdge);
    for socktype in [STREAM, DGRAM] {
        let fd = guest.open(INET4, socktype).expect("open");
        assert_eq!(guest.bind(fd, any()), Err(Errno::Acces));
    }
    let line = "denied: listen on 127.0.0.1:0 (allow with --net-listen 127.0.0.1:0)";
    assert_eq!(world.denials(), [line]);
    // Without an address the system would give it one.
    let fd = guest.open(INET4, STREAM).expect("open");
    assert_eq!(guest.call("sock_listen", &[fd, 1]), Err(Errno::Acces));
    let line = "denied: listen on 0.0.0.0:0 (allow with --net-listen 0.0.0.0:0)";
    assert_eq!(world.denials().last().map(String::as_str), Some(line));
    let fd = guest.open(INET4, DGRAM).expect("open");
    assert_eq!(guest.call("sock_listen", &[fd, 1]), Err(Errno::Notsup));
}
