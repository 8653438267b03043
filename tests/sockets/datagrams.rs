//! Datagrams.

use std::net::{SocketAddr, UdpSocket};

use tinyhost::wasi::SOCKETS;
use tinyhost::{Errno, WasiCtx};

use super::guest::{
    ADDR, DATA, DGRAM, DIALECTS, Dialect, FLAGS, Guest, INET4, IOVS, OUT, STREAM, World,
};
use crate::busy::LIMIT;

fn peer() -> (UdpSocket, SocketAddr) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(LIMIT)).expect("a timeout");
    let address = socket.local_addr().expect("an address");
    (socket, address)
}

#[test]
fn datagrams_go_and_come_with_their_addresses() {
    let (socket, to) = peer();
    for dialect in DIALECTS {
        let world = World::new(&[&to.to_string()], &["127.0.0.1:0"]);
        let mut guest = world.guest(dialect);
        let fd = guest.open(INET4, DGRAM).expect("open");
        assert_eq!(guest.bind(fd, "127.0.0.1:0".parse().unwrap()), Ok(()));
        assert_eq!(guest.send_to(fd, b"question", to), Ok(8));
        let mut buffer = [0; 64];
        let (count, from) = socket.recv_from(&mut buffer).expect("a datagram");
        assert_eq!(&buffer[..count], b"question");
        assert_eq!(guest.local(fd), Ok(from));
        socket.send_to(b"answer", from).expect("sent");
        assert_eq!(guest.receive_from(fd, 1024, 1), Ok((b"answer".to_vec(), to)), "peeked at");
        assert_eq!(guest.receive_from(fd, 3, 0), Ok((b"ans".to_vec(), to)));
        assert_eq!(guest.bytes(FLAGS, 2), [1, 0], "it was cut");
        // Bound by a rule, it hears everyone.
        let (other, from_other) = peer();
        other.send_to(b"", from).expect("sent");
        assert_eq!(guest.receive_from(fd, 64, 0), Ok((Vec::new(), from_other)), "an empty one");
        guest.nonblock(fd);
        assert_eq!(guest.receive_from(fd, 64, 0), Err(Errno::Again));
    }
}

#[test]
fn each_datagram_is_judged() {
    let (socket, to) = peer();
    let (_other, forbidden) = peer();
    let world = World::new(&[&to.to_string()], &[]);
    let mut guest = world.guest(Dialect::Go);
    let fd = guest.open(INET4, DGRAM).expect("open");
    assert_eq!(guest.send_to(fd, b"1", to), Ok(1));
    assert_eq!(guest.send_to(fd, b"2", forbidden), Err(Errno::Acces));
    assert_eq!(guest.send_to(fd, b"3", to), Ok(1));
    assert_eq!(guest.send_to(fd, b"4", "127.0.0.1:0".parse().unwrap()), Err(Errno::Inval));
    let line = format!("denied: dial {forbidden} (allow with --net {forbidden})");
    assert_eq!(world.denials(), [line]);
    let mut buffer = [0; 8];
    for expected in [b"1", b"3"] {
        assert_eq!(socket.recv(&mut buffer).expect("a datagram"), 1);
        assert_eq!(&buffer[..1], expected);
    }
    let fd = guest.open(INET4, STREAM).expect("open");
    assert_eq!(guest.send_to(fd, b"5", to), Err(Errno::Notconn), "not by a stream");
}

#[test]
fn a_socket_that_is_not_bound_by_a_rule_hears_only_whom_it_may_send_to() {
    let (socket, to) = peer();
    let (stranger, _) = peer();
    let world = World::new(&[&to.to_string()], &[]);
    let mut guest = world.guest(Dialect::Go);
    let fd = guest.open(INET4, DGRAM).expect("open");
    assert_eq!(guest.send_to(fd, b"hello", to), Ok(5));
    let (_, own) = socket.recv_from(&mut [0; 8]).expect("a datagram");
    stranger.send_to(b"secret of a stranger", own).expect("sent");
    socket.send_to(b"welcome", own).expect("sent");
    assert_eq!(guest.receive_from(fd, 64, 0), Ok((b"welcome".to_vec(), to)));
    stranger.send_to(b"secret of a stranger", own).expect("sent");
    socket.send_to(b"again", own).expect("sent");
    assert_eq!(guest.receive(fd), Ok(b"again".to_vec()), "however it is read");
    let all = guest.memory().to_vec();
    assert!(!all.windows(6).any(|bytes| bytes == b"secret"), "nor is it in its memory");
}

#[test]
fn the_form_without_a_port_is_there_too() {
    let (socket, to) = peer();
    let world = World::new(&[&to.to_string()], &[]);
    let mut rows = Dialect::WasmEdge.rows();
    rows.retain(|row| row.name != "sock_recv_from");
    let short = SOCKETS.iter().find(|row| row.name == "sock_recv_from" && row.params.len() == 7);
    rows.push(short.expect("it is there"));
    let cx = WasiCtx::builder().namespace(world.namespace()).build();
    let mut guest = Guest::of(Dialect::WasmEdge, &rows, cx);
    let fd = guest.open(INET4, DGRAM).expect("open");
    assert_eq!(guest.send_to(fd, b"hello", to), Ok(5));
    let (_, own) = socket.recv_from(&mut [0; 8]).expect("a datagram");
    socket.send_to(b"answer", own).expect("sent");
    let addr = guest.room();
    guest.put_u32(IOVS, DATA);
    guest.put_u32(IOVS + 4, 64);
    assert_eq!(guest.call("sock_recv_from", &[fd, IOVS, 1, addr, 0, OUT, FLAGS]), Ok(()));
    assert_eq!(guest.u32_at(OUT), 6);
    let at = guest.u32_at(ADDR);
    assert_eq!(guest.bytes(at, 4), [127, 0, 0, 1]);
}

/// Two guests, one with a socket that is connected and one with a socket that is not.
#[test]
fn a_connected_socket_and_one_that_is_not_talk_in_each_dialect() {
    let world = World::new(&["127.0.0.1:*"], &["127.0.0.1:0"]);
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    for one in DIALECTS {
        for other in DIALECTS {
            let (mut client, mut server) = (world.guest(one), world.guest(other));
            let open = server.open(INET4, DGRAM).expect("open");
            assert_eq!(server.bind(open, any), Ok(()));
            let at = server.local(open).expect("it is bound");
            assert_eq!(server.peer(open), Err(Errno::Notconn));
            assert_eq!(server.send(open, b"to whom?"), Err(Errno::Destaddrreq));

            let fd = client.open(INET4, DGRAM).expect("open");
            assert_eq!(client.connect(fd, at), Ok(()));
            assert_eq!(client.peer(fd), Ok(at));
            assert_eq!(client.send(fd, b"question"), Ok(8));
            let (question, from) = server.receive_from(open, 64, 0).expect("a datagram");
            assert_eq!((&*question, Ok(from)), (&b"question"[..], client.local(fd)));
            assert_eq!(server.send_to(open, b"answer", from), Ok(6));
            assert_eq!(client.receive(fd), Ok(b"answer".to_vec()));
            assert_eq!(server.send_to(open, b"", from), Ok(0));
            assert_eq!(client.receive_from(fd, 64, 0), Ok((Vec::new(), at)), "an empty one");

            // It hears its peer only, and can be given another one.
            let (stranger, theirs) = peer();
            stranger.send_to(b"stranger", from).expect("sent");
            assert_eq!(server.send_to(open, b"peer", from), Ok(4));
            assert_eq!(client.receive(fd), Ok(b"peer".to_vec()));
            assert_eq!(client.connect(fd, theirs), Ok(()));
            assert_eq!((client.peer(fd), client.send(fd, b"hello")), (Ok(theirs), Ok(5)));
            let mut buffer = [0; 8];
            assert_eq!(stranger.recv_from(&mut buffer).map(|(count, _)| count).ok(), Some(5));
        }
    }
    assert!(world.denials().is_empty());
}

#[test]
fn a_connected_socket_learns_that_nobody_listens() {
    let world = World::new(&["127.0.0.1:*"], &[]);
    for dialect in DIALECTS {
        let mut guest = world.guest(dialect);
        let (closed, at) = peer();
        drop(closed);
        let fd = guest.open(INET4, DGRAM).expect("open");
        assert_eq!(guest.connect(fd, at), Ok(()));
        assert_eq!(guest.send(fd, b"hello"), Ok(5));
        assert_eq!(guest.receive(fd), Err(Errno::Connrefused));
    }
}
