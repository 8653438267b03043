//! The socket calls of other hosts, whose addresses have no zone: it is that with which the guest has
//! looked the address up.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};

use tinyhost::Errno;

use super::own_network::in_own_network;
use crate::busy::LIMIT;
use crate::guest::{DATA, DGRAM, DIALECTS, Dialect, Guest, INET6, OUT, PORT, STREAM, World};

/// `sock_getaddrinfo`, without room for an answer: what was looked up is known all the same.
fn look_up(guest: &mut Guest, node: &str) -> Result<(), Errno> {
    guest.put(DATA, node.as_bytes());
    guest.put_u32(PORT, 0);
    let args = [DATA, node.len() as u32, DATA, 0, 0, PORT, 0, OUT];
    guest.call("sock_getaddrinfo", &args)
}

fn without_zone(ip: &str, port: u16) -> SocketAddr {
    SocketAddr::new(ip.parse().expect("an address"), port)
}

#[test]
fn a_connect_is_in_the_zone_that_was_looked_up() {
    let name = "net_zones::sockets::a_connect_is_in_the_zone_that_was_looked_up";
    in_own_network(name, || {
        let listener = TcpListener::bind("[fe80::1%1]:0").expect("the link is there");
        let port = listener.local_addr().expect("an address").port();
        let to = without_zone("fe80::1", port);
        for dialect in DIALECTS {
            let world = World::new(&["[fe80::1%lo]:*"], &[]);
            let mut guest = world.guest(dialect);
            let fd = guest.open(INET6, STREAM).expect("open");
            assert_eq!(guest.connect(fd, to), Err(Errno::Acces), "of which interface?");
            assert_eq!(look_up(&mut guest, "fe80::1%eth7"), Ok(()), "asks nobody");
            assert_eq!(guest.connect(fd, to), Err(Errno::Acces));
            let lines = ["", "%eth7"].map(|zone| {
                let at = format!("[fe80::1{zone}]:{port}");
                format!("denied: dial {at} (allow with --net {at})")
            });
            assert_eq!(world.denials(), lines);
            assert_eq!(look_up(&mut guest, "fe80::1%lo\0"), Ok(()));
            assert_eq!(guest.connect(fd, to), Ok(()));
            assert_eq!(guest.peer(fd), Ok(to));
            let mut client = listener.accept().expect("a client").0;
            assert_eq!(guest.send(fd, b"hello"), Ok(5));
            let mut buffer = [0; 5];
            client.read_exact(&mut buffer).expect("it comes");
            assert_eq!(&buffer, b"hello");
        }
        let world = World::new(&["[fe80::1]:*"], &[]);
        let mut guest = world.guest(Dialect::Go);
        let fd = guest.open(INET6, STREAM).expect("open");
        assert_eq!(look_up(&mut guest, "fe80::1%eth7"), Ok(()));
        assert_eq!(guest.connect(fd, to), Err(Errno::Nodev));
    });
}

#[test]
fn datagrams_and_listeners_are_in_the_zone() {
    in_own_network("net_zones::sockets::datagrams_and_listeners_are_in_the_zone", || {
        let peer = UdpSocket::bind("[fe80::2%1]:0").expect("the link is there");
        peer.set_read_timeout(Some(LIMIT)).expect("a timeout");
        let to = without_zone("fe80::2", peer.local_addr().expect("an address").port());
        let world = World::new(&["[fe80::2%lo]:*"], &["[fe80::1%lo]:0"]);
        let mut guest = world.guest(Dialect::WasmEdge);
        let fd = guest.open(INET6, DGRAM).expect("open");
        assert_eq!(guest.bind(fd, without_zone("fe80::1", 0)), Err(Errno::Acces));
        let line = "denied: listen on [fe80::1]:0 (allow with --net-listen [fe80::1]:0)";
        assert_eq!(world.denials(), [line]);
        for node in ["fe80::1%lo", "fe80::2%1"] {
            assert_eq!(look_up(&mut guest, node), Ok(()));
        }
        // One that is not bound hears those of its interface that it may send to.
        assert_eq!(guest.send_to(fd, b"question", to), Ok(8));
        let mut buffer = [0; 16];
        let (count, from) = peer.recv_from(&mut buffer).expect("a datagram");
        assert_eq!(&buffer[..count], b"question");
        peer.send_to(b"answer", from).expect("sent");
        assert_eq!(guest.receive_from(fd, 64, 0), Ok((b"answer".to_vec(), to)));

        let fd = guest.open(INET6, STREAM).expect("open");
        assert_eq!(guest.bind(fd, without_zone("fe80::1", 0)), Ok(()));
        assert_eq!(guest.call("sock_listen", &[fd, 5]), Ok(()));
        let port = guest.local(fd).expect("it is bound").port();
        let at: SocketAddr = format!("[fe80::1%1]:{port}").parse().expect("an address");
        let mut client = TcpStream::connect(at).expect("it listens");
        let accepted = guest.accept(fd).expect("a client");
        client.write_all(b"hello").expect("write");
        assert_eq!(guest.receive(accepted), Ok(b"hello".to_vec()));
    });
}
