//! Names in `/dev`.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use tinyhost::Errno;
use tinyhost::vfs::Interest;

use super::own_network::in_own_network;
use crate::net_util::{LIMIT, World, drive, read, read_to_end, write_all};

/// Answers each client in capitals.
fn shouter() -> u16 {
    let listener = TcpListener::bind("[fe80::1%1]:0").expect("the link is there");
    let port = listener.local_addr().expect("an address").port();
    thread::spawn(move || {
        for mut client in listener.incoming().flatten() {
            let mut buffer = [0; 64];
            let count = client.read(&mut buffer).expect("read");
            client.write_all(&buffer[..count].to_ascii_uppercase()).expect("write");
        }
    });
    port
}

#[test]
fn a_stream_is_dialled_by_each_name_of_its_interface() {
    in_own_network("net_zones::names::a_stream_is_dialled_by_each_name_of_its_interface", || {
        let port = shouter();
        for rule in ["[fe80::1%lo]:*", "[fe80::1%1]:*", "[fe80::%lo]/10:*", "[fe80::1]:*"] {
            let world = World::with(&[rule], &[]);
            for name in ["[fe80::1%lo]:", "[fe80::1%1]:", "tcp/fe80::1%lo/", "tcp/[fe80::1%lo]/"] {
                let mut stream = world.dial(&format!("{name}{port}")).expect(name);
                write_all(&mut *stream, b"hello");
                assert_eq!(read_to_end(&mut *stream), b"HELLO", "{rule} {name}");
            }
            assert!(world.denials().is_empty(), "{rule}");
        }
    });
}

#[test]
fn another_interface_is_denied_and_one_that_is_not_there_is_enodev() {
    let name = "another_interface_is_denied_and_one_that_is_not_there_is_enodev";
    in_own_network(&format!("net_zones::names::{name}"), || {
        let port = shouter();
        let world = World::with(&["[fe80::1%lo]:*"], &[]);
        for zone in ["%eth7", "%2", ""] {
            let name = format!("[fe80::1{zone}]:{port}");
            assert_eq!(world.dial(&name).err(), Some(Errno::Acces), "{name}");
            let line = format!("denied: dial {name} (allow with --net {name})");
            assert_eq!(world.denials().pop(), Some(line));
        }
        // The rule is for every interface, so it is no secret which ones there are.
        let world = World::with(&["[fe80::1]:*"], &["[fe80::1]:*"]);
        for name in [&*format!("[fe80::1%eth7]:{port}"), "udp/fe80::1%eth7/53"] {
            assert_eq!(world.dial(name).err(), Some(Errno::Nodev), "{name}");
        }
        assert_eq!(world.dial("accept/[fe80::1%eth7]:0").err(), Some(Errno::Nodev));
        for name in ["[::1%lo]:80", "[fe80::1%]:80", "udp/::1%lo/53", "accept/[::1%lo]:0"] {
            assert_eq!(world.dial(name).err(), Some(Errno::Inval), "{name}");
        }
        // A slash ends a name, wherever it is.
        assert_eq!(world.dial("[fe80::1%l/o]:80").err(), Some(Errno::Inval));
        assert!(world.denials().is_empty());
    });
}

#[test]
fn datagrams_go_to_the_interface() {
    in_own_network("net_zones::names::datagrams_go_to_the_interface", || {
        let peer = UdpSocket::bind("[fe80::1%1]:0").expect("the link is there");
        peer.set_read_timeout(Some(LIMIT)).expect("a timeout");
        let port = peer.local_addr().expect("an address").port();
        let world = World::with(&["[fe80::1%lo]:*"], &[]);
        let mut socket = world.dial(&format!("udp/fe80::1%lo/{port}")).expect("a socket");
        write_all(&mut *socket, b"question");
        let mut buffer = [0; 16];
        let (count, from) = peer.recv_from(&mut buffer).expect("a datagram");
        assert_eq!(&buffer[..count], b"question");
        peer.send_to(b"answer", from).expect("sent");
        let mut answer = [0; 16];
        let got = drive(&mut *socket, Interest::READ, |file| read(file, &mut answer));
        assert_eq!((got, &answer[..6]), (Ok(6), &b"answer"[..]));
    });
}

#[test]
fn an_accept_name_listens_on_its_interface() {
    in_own_network("net_zones::names::an_accept_name_listens_on_its_interface", || {
        let world = World::with(&[], &["[fe80::1%lo]:0"]);
        let waiting = world.pending("accept/[fe80::1%lo]:0");
        let at = world.bound_address("accept/[fe80::1%lo]:0,addr");
        assert!(matches!(at, SocketAddr::V6(at) if at.scope_id() == 1), "{at}");
        let client = TcpStream::connect(at).expect("it listens");
        let accepted = crate::net_util::finish(waiting);
        assert!(accepted.is_ok());
        drop(client);
        for (name, shown) in [
            ("accept/[fe80::1%eth7]:0", "[fe80::1%eth7]:0"),
            ("accept/[fe80::2%lo]:0", "[fe80::2%lo]:0"),
            ("accept/[fe80::1]:0", "[fe80::1]:0"),
        ] {
            assert_eq!(world.dial(name).err(), Some(Errno::Acces), "{name}");
            let line = format!("denied: listen on {shown} (allow with --net-listen {shown})");
            assert_eq!(world.denials().pop(), Some(line));
        }
    });
}
