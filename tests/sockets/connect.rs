//! Clients.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use tinyhost::Errno;
use tinyhost::vfs::net::NetConfig;

use crate::net_util::full_backlog;

use super::guest::{DGRAM, DIALECTS, Dialect, Guest, INET4, INET6, STREAM, World};

/// A server that answers each client with what it says, in upper case, once.
fn server(at: &str) -> Option<SocketAddr> {
    let listener = TcpListener::bind(at).ok()?;
    let address = listener.local_addr().expect("an address");
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut buffer = [0; 64];
            let count = client.read(&mut buffer).unwrap_or(0);
            let _ = client.write_all(&buffer[..count].to_ascii_uppercase());
        }
    });
    Some(address)
}

fn talks(guest: &mut Guest, family: u32, to: SocketAddr) {
    let fd = guest.open(family, STREAM).expect("open");
    assert_eq!(guest.peer(fd), Err(Errno::Notconn));
    assert_eq!(guest.connect(fd, to), Ok(()));
    assert_eq!(guest.peer(fd), Ok(to));
    assert_eq!(guest.local(fd).map(|own| own.ip()), Ok(to.ip()));
    assert_eq!(guest.send(fd, b"hello"), Ok(5));
    assert_eq!(guest.receive(fd), Ok(b"HELLO".to_vec()));
    assert_eq!(guest.receive(fd), Ok(Vec::new()), "the end");
    assert_eq!(guest.connect(fd, to), Err(Errno::Isconn));
    assert_eq!(guest.call("sock_shutdown", &[fd, 3]), Ok(()));
    assert_eq!(guest.call("fd_close", &[fd]), Ok(()));
}

#[test]
fn a_client_talks_to_a_server_in_each_dialect() {
    let to = server("127.0.0.1:0").expect("a port");
    let to6 = server("[::1]:0");
    let world = World::new(&["127.0.0.1:*", "[::1]:*"], &[]);
    for dialect in DIALECTS {
        let mut guest = world.guest(dialect);
        talks(&mut guest, INET4, to);
        if let Some(to6) = to6 {
            talks(&mut guest, INET6, to6);
        }
    }
    assert!(world.denials().is_empty());
}

#[test]
fn a_connect_that_no_rule_allows_is_denied_by_name() {
    let to = server("127.0.0.1:0").expect("a port");
    let world = World::new(&["localhost:*", "127.0.0.2:*"], &[]);
    let mut guest = world.guest(Dialect::Go);
    for socktype in [STREAM, DGRAM] {
        let fd = guest.open(INET4, socktype).expect("open");
        assert_eq!(guest.connect(fd, to), Err(Errno::Acces));
    }
    // An address of IPv4 as one of IPv6 is the same address.
    let fd = guest.open(INET6, STREAM).expect("open");
    let mapped = SocketAddr::from(([0, 0, 0, 0, 0, 0xffff, 0x7f00, 1], to.port()));
    assert_eq!(guest.connect(fd, mapped), Err(Errno::Acces));
    let port = to.port();
    let line = format!("denied: dial 127.0.0.1:{port} (allow with --net 127.0.0.1:{port})");
    assert_eq!(world.denials(), [line]);
}

#[test]
fn a_connect_that_does_not_block_ends_in_its_error() {
    let to = server("127.0.0.1:0").expect("a port");
    let refused = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.local_addr().expect("an address")
    };
    let world = World::new(&["127.0.0.1:*"], &[]);
    for dialect in DIALECTS {
        let mut guest = world.guest(dialect);
        let fd = guest.open(INET4, STREAM).expect("open");
        guest.nonblock(fd);
        // A connection of this machine may be there at once.
        assert!(matches!(guest.connect(fd, to), Ok(()) | Err(Errno::Inprogress)));
        guest.wait_writable(fd);
        assert_eq!(guest.option(fd, 2), Ok(0));
        assert_eq!(guest.peer(fd), Ok(to));
        assert_eq!(guest.receive(fd), Err(Errno::Again));

        let fd = guest.open(INET4, STREAM).expect("open");
        guest.nonblock(fd);
        match guest.connect(fd, refused) {
            Err(Errno::Inprogress) => {
                guest.wait_writable(fd);
                assert_eq!(guest.option(fd, 2), Ok(Errno::Connrefused as u32));
            }
            other => assert_eq!(other, Err(Errno::Connrefused)),
        }
        assert_eq!(guest.option(fd, 2), Ok(0), "it is asked for once");
        assert_eq!(guest.peer(fd), Err(Errno::Notconn));

        let fd = guest.open(INET4, STREAM).expect("open");
        assert_eq!(guest.connect(fd, refused), Err(Errno::Connrefused), "one that blocks");
    }
}

#[test]
fn sockets_are_counted() {
    let config = NetConfig { sockets_max: 3, ..NetConfig::default() };
    let world = World::with(&[], &[], config);
    let mut guest = world.guest(Dialect::WasmEdge);
    let fds: Vec<u32> = (0..3).map(|_| guest.open(INET4, DGRAM).expect("open")).collect();
    assert_eq!(guest.open(INET4, DGRAM), Err(Errno::Nfile));
    assert_eq!(guest.call("fd_close", &[fds[1]]), Ok(()));
    assert_eq!(guest.open(INET4, STREAM), Ok(fds[1]));
}

#[test]
fn without_a_network_there_are_no_sockets() {
    let mut guest = Guest::new(Dialect::Go, tinyhost::WasiCtx::builder().build());
    assert_eq!(guest.open(INET4, STREAM), Err(Errno::Acces));
}

#[test]
fn a_connect_without_an_answer_ends_when_its_time_is_over() {
    let (_listener, _clients, at) = full_backlog();
    let connect_timeout = Duration::from_millis(30);
    let world =
        World::with(&["127.0.0.1:*"], &[], NetConfig { connect_timeout, ..NetConfig::default() });
    let mut guest = world.guest(Dialect::Go);
    let fd = guest.open(INET4, STREAM).expect("open");
    assert_eq!(guest.connect(fd, at), Err(Errno::Timedout));
    let fd = guest.open(INET4, STREAM).expect("open");
    guest.nonblock(fd);
    assert_eq!(guest.connect(fd, at), Err(Errno::Inprogress));
    thread::sleep(connect_timeout);
    assert_eq!(guest.option(fd, 2), Ok(Errno::Timedout as u32), "SO_ERROR");
}

#[test]
fn connects_under_way_are_counted() {
    let (_listener, _clients, at) = full_backlog();
    let config = NetConfig { dials_max: 1, ..NetConfig::default() };
    let world = World::with(&["127.0.0.1:*"], &[], config);
    let mut guest = world.guest(Dialect::Go);
    let fds = [0; 2].map(|_| guest.open(INET4, STREAM).expect("open"));
    fds.iter().for_each(|fd| guest.nonblock(*fd));
    assert_eq!(guest.connect(fds[0], at), Err(Errno::Inprogress));
    assert_eq!(guest.connect(fds[1], at), Err(Errno::Nfile));
    assert_eq!(guest.call("fd_close", &[fds[0]]), Ok(()));
    assert_eq!(guest.connect(fds[1], at), Err(Errno::Inprogress));
}

#[test]
fn clients_that_are_accepted_are_counted() {
    let config = NetConfig { sockets_max: 2, ..NetConfig::default() };
    let world = World::with(&[], &["127.0.0.1:0"], config);
    let mut guest = world.guest(Dialect::WasmEdge);
    let fd = guest.open(INET4, STREAM).expect("open");
    assert_eq!(guest.bind(fd, "127.0.0.1:0".parse().unwrap()), Ok(()));
    assert_eq!(guest.call("sock_listen", &[fd, 5]), Ok(()));
    let at = guest.local(fd).expect("it is bound");
    let _clients = [0; 2].map(|_| std::net::TcpStream::connect(at).expect("it listens"));
    let first = guest.accept(fd).expect("a client");
    assert_eq!(guest.accept(fd), Err(Errno::Nfile));
    assert_eq!(guest.call("fd_close", &[first]), Ok(()));
    assert!(guest.accept(fd).is_ok(), "it has waited");
}
