//! Guests that ask a DNS server: the host's resolver answers at 127.0.0.1:53.

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};

use tinyhost::Errno;
use tinyhost::vfs::net::NetConfig;

use super::guest::{DATA, DGRAM, DIALECTS, Dialect, FLAGS, INET4, INET6, OUT, STREAM, World};
use crate::busy::LIMIT;

const A: u8 = 1;
const AAAA: u8 = 28;

fn server() -> SocketAddr {
    "127.0.0.1:53".parse().unwrap()
}

/// A question as a resolver sends it, with EDNS.
fn question(id: u8, name: &str, kind: u8) -> Vec<u8> {
    let mut datagram = vec![0, id, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.split('.') {
        datagram.push(label.len() as u8);
        datagram.extend(label.as_bytes());
    }
    datagram.extend([0, 0, kind, 0, 1]);
    datagram.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
    datagram
}

/// Id, code, and the addresses of an answer.
fn read(answer: &[u8]) -> (u8, u8, Vec<IpAddr>) {
    assert_eq!(answer[2] & 0x80, 0x80, "it is an answer");
    let mut rest = &answer[12..];
    while rest[0] != 0 {
        rest = &rest[1 + usize::from(rest[0])..];
    }
    rest = &rest[5..];
    let mut addresses = Vec::new();
    for _ in 0..answer[7] {
        let len = usize::from(rest[11]);
        let bytes = &rest[12..12 + len];
        addresses.push(match len {
            4 => IpAddr::from(<[u8; 4]>::try_from(bytes).unwrap()),
            _ => IpAddr::from(<[u8; 16]>::try_from(bytes).unwrap()),
        });
        rest = &rest[12 + len..];
    }
    assert!(rest.is_empty());
    (answer[1], answer[3] & 15, addresses)
}

fn ips(list: &[&str]) -> Vec<IpAddr> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn a_connected_socket_gets_answers_in_each_dialect() {
    let world = World::new(&["host.example:443"], &[]);
    world.resolver.knows("host.example", &["192.0.2.1", "2001:db8::1", "192.0.2.2"]);
    for dialect in DIALECTS {
        let mut guest = world.guest(dialect);
        for (family, at) in [(INET4, "127.0.0.1:53"), (INET6, "[::1]:53")] {
            let at: SocketAddr = at.parse().unwrap();
            let fd = guest.open(family, DGRAM).expect("open");
            assert_eq!((guest.connect(fd, at), guest.peer(fd)), (Ok(()), Ok(at)));
            assert!(guest.local(fd).is_ok());
            for (id, kind, found) in
                [(1, A, &["192.0.2.1", "192.0.2.2"][..]), (2, AAAA, &["2001:db8::1"])]
            {
                let asked = question(id, "HOST.example", kind);
                assert_eq!(guest.send(fd, &asked), Ok(asked.len() as u32));
                // It waits, if it has to.
                let answer = guest.receive(fd).expect("an answer");
                assert_eq!(read(&answer), (id, 0, ips(found)));
            }
            assert_eq!(guest.option(fd, 2), Ok(0), "SO_ERROR");
        }
    }
    assert!(world.denials().is_empty());
}

#[test]
fn a_socket_that_does_not_block_polls_for_the_answer() {
    let world = World::new(&["host.example:443"], &[]);
    world.resolver.knows("host.example", &["192.0.2.1"]);
    let mut guest = world.guest(Dialect::Go);
    let fd = guest.open(INET4, DGRAM).expect("open");
    guest.nonblock(fd);
    assert_eq!(guest.connect(fd, server()), Ok(()));
    assert_eq!(guest.receive(fd), Err(Errno::Again));
    guest.wait_writable(fd);
    for _ in 0..20 {
        guest.send(fd, &question(1, "host.example", A)).expect("sent");
        // poll_oneoff for reading.
        let mut subscription = [0; 48];
        subscription[8] = 1;
        subscription[16..20].copy_from_slice(&fd.to_le_bytes());
        guest.put(DATA, &subscription);
        guest.call("poll_oneoff", &[DATA, DATA + 64, 1, OUT]).expect("a descriptor");
        assert_eq!(read(&guest.receive(fd).expect("an answer")).1, 0);
    }
}

#[test]
fn a_socket_that_is_not_connected_has_other_peers_too() {
    let other = UdpSocket::bind("127.0.0.1:0").expect("a port");
    other.set_read_timeout(Some(LIMIT)).expect("a timeout");
    let to = other.local_addr().expect("an address");
    let world = World::new(&["host.example:443", &to.to_string()], &[]);
    world.resolver.knows("host.example", &["192.0.2.1"]);
    for dialect in DIALECTS {
        let mut guest = world.guest(dialect);
        let fd = guest.open(INET4, DGRAM).expect("open");
        let asked = question(7, "host.example", A);
        assert_eq!(guest.send_to(fd, &asked, server()), Ok(asked.len() as u32));
        let (answer, from) = guest.receive_from(fd, 512, 1).expect("peeked at");
        assert_eq!((read(&answer), from), ((7, 0, ips(&["192.0.2.1"])), server()));
        assert_eq!(guest.receive_from(fd, 20, 0), Ok((answer[..20].to_vec(), server())));
        assert_eq!(guest.bytes(FLAGS, 2), [1, 0], "it was cut");
        assert_eq!(guest.send_to(fd, b"hello", to), Ok(5));
        let (_, own) = other.recv_from(&mut [0; 8]).expect("a datagram");
        // Both come, in either order, while the guest waits for them.
        assert_eq!(guest.send_to(fd, &asked, server()), Ok(asked.len() as u32));
        other.send_to(b"welcome", own).expect("sent");
        let mut from = [0; 2].map(|_| guest.receive_from(fd, 512, 0).expect("a datagram").1);
        from.sort();
        let mut both = [server(), to];
        both.sort();
        assert_eq!(from, both);
        assert_eq!(guest.connect(fd, to), Ok(()));
        assert_eq!(guest.peer(fd), Ok(to), "and it can be connected elsewhere");
    }
}

#[test]
fn a_name_needs_a_rule_and_is_remembered() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = listener.local_addr().expect("an address");
    let world = World::new(&["localhost:*", "gone.example:80"], &[]);
    world.resolver.knows("localhost", &["127.0.0.1"]);
    let mut guest = world.guest(Dialect::Go);
    let dns = guest.open(INET4, DGRAM).expect("open");
    let stream = guest.open(INET4, STREAM).expect("open");
    assert_eq!(guest.connect(stream, to), Err(Errno::Acces));
    let mut ask = |name: &str| {
        guest.send_to(dns, &question(1, name, A), server()).expect("sent");
        read(&guest.receive_from(dns, 512, 0).expect("an answer").0)
    };
    assert_eq!(ask("secret.of.a.guest.example"), (1, 5, vec![]), "REFUSED");
    assert_eq!(ask("gone.example"), (1, 3, vec![]), "NXDOMAIN");
    assert_eq!(ask("a b"), (1, 3, vec![]), "no host has this name");
    assert_eq!(ask("127.0.0.1"), (1, 3, vec![]));
    assert_eq!(ask("localhost"), (1, 0, ips(&["127.0.0.1"])));
    let stream = guest.open(INET4, STREAM).expect("open");
    assert_eq!(guest.connect(stream, to), Ok(()), "as the name that was looked up");
    let name = "secret.of.a.guest.example";
    let line = format!("denied: look up {name} (allow with --net {name}:PORT)");
    assert_eq!(world.denials().last(), Some(&line));
    assert_eq!(world.denials().len(), 2);
}

#[test]
fn only_datagrams_to_the_port_of_dns_are_for_the_resolver() {
    let world = World::new(&["host.example:443"], &[]);
    let mut guest = world.guest(Dialect::WasmEdge);
    for (socktype, at) in
        [(STREAM, "127.0.0.1:53"), (DGRAM, "127.0.0.1:54"), (DGRAM, "127.0.0.2:53")]
    {
        let fd = guest.open(INET4, socktype).expect("open");
        assert_eq!(guest.connect(fd, at.parse().unwrap()), Err(Errno::Acces), "{at}");
    }
    // A rule for the address and the port means a server that the operator has.
    for rule in ["127.0.0.1:*", "127.0.0.0/8:1-100", "localhost:53", "*:53", "[::1]:53"] {
        let world = World::new(&[rule], &[]);
        let mut guest = world.guest(Dialect::WasmEdge);
        let fd = guest.open(INET4, DGRAM).expect("open");
        assert_eq!(guest.connect(fd, server()), Ok(()), "{rule}");
        assert_eq!(guest.local(fd).expect("an address").port(), 0, "{rule}: by the resolver");
    }
    let world = World::new(&["127.0.0.1:53", "host.example:443"], &[]);
    let mut guest = world.guest(Dialect::WasmEdge);
    let fd = guest.open(INET4, DGRAM).expect("open");
    assert_eq!(guest.connect(fd, server()), Ok(()));
    assert_ne!(guest.local(fd).expect("an address").port(), 0, "it is connected for real");
}

#[test]
fn questions_without_sense_and_without_end_cost_little() {
    let config = NetConfig { dials_max: 4, ..NetConfig::default() };
    let world = World::with(&["host.example:443"], &[], config);
    world.resolver.knows("host.example", &["192.0.2.1"]);
    let mut guest = world.guest(Dialect::WasmEdge);
    let fd = guest.open(INET4, DGRAM).expect("open");
    guest.nonblock(fd);
    assert_eq!(guest.connect(fd, server()), Ok(()));
    let long = [0; 2000];
    for datagram in [&b""[..], b"short", &long, &[0xff; 600]] {
        assert_eq!(guest.send(fd, datagram), Ok(datagram.len() as u32));
        assert_eq!(guest.receive(fd), Err(Errno::Again));
    }
    // What was not received is bounded, as is what is looked up.
    for id in 0..100 {
        assert!(guest.send(fd, &question(id, "host.example", A)).is_ok());
    }
    let mut codes = Vec::new();
    while codes.len() < 16 {
        if let Ok(answer) = guest.receive(fd) {
            codes.push(read(&answer).1);
        }
    }
    assert!(codes.contains(&0) && codes.iter().all(|code| [0, 2].contains(code)), "{codes:?}");
    assert_eq!(guest.receive(fd), Err(Errno::Again), "the others are lost");
    // A guest that ends leaves nothing.
    guest.send(fd, &question(1, "host.example", A)).expect("sent");
    assert_eq!(guest.call("fd_close", &[fd]), Ok(()));
    let again = guest.open(INET4, DGRAM).expect("open");
    assert_eq!(guest.connect(again, server()), Ok(()));
    assert!(guest.send(again, &question(9, "host.example", A)).is_ok());
    let answer = guest.receive(again).expect("an answer");
    assert_eq!(read(&answer), (9, 0, ips(&["192.0.2.1"])));
}
