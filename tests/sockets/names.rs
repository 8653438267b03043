//! `sock_getaddrinfo`, and connects that are judged by name.

use std::net::{SocketAddr, TcpListener};

use tinyhost::Errno;

use super::guest::{Dialect, Guest, INET4, OUT, PORT, STREAM, World};

const HINTS: u32 = 0x800;
const LIST: u32 = 0x2000;
const NODE: u32 = 0x3000;
const SERVICE: u32 = 0x3100;

/// A list of `count` records with an address and its data each, as the Rust crate makes them.
fn lay_out(guest: &mut Guest, count: u32, said: u32) {
    for index in 0..count {
        let record = LIST + index * 28;
        let address = LIST + 0x400 + index * 12;
        let data = LIST + 0x800 + index * 26;
        guest.put(record, &[0; 28]);
        guest.put_u32(record + 12, address);
        guest.put_u32(record + 24, if index + 1 < count { record + 28 } else { 0 });
        guest.put_u32(address, 0);
        guest.put_u32(address + 4, said);
        guest.put_u32(address + 8, data);
    }
    guest.put_u32(PORT, LIST);
}

fn look_up(
    guest: &mut Guest,
    (node, service): (&str, &str),
    (flags, family, socktype): (u16, u8, u8),
    max: u32,
) -> Result<Vec<SocketAddr>, Errno> {
    lay_out(guest, 4, 14);
    guest.put(HINTS, &[0; 28]);
    guest.put(HINTS, &flags.to_le_bytes());
    guest.put(HINTS + 2, &[family, socktype]);
    guest.put(NODE, node.as_bytes());
    guest.put(SERVICE, service.as_bytes());
    let lengths = (node.len() as u32, service.len() as u32);
    let args = [NODE, lengths.0, SERVICE, lengths.1, HINTS, PORT, max, OUT];
    guest.call("sock_getaddrinfo", &args)?;
    let count = guest.u32_at(OUT);
    let mut found = Vec::new();
    for index in 0..count {
        let record = guest.bytes(LIST + index * 28, 28);
        assert_eq!(record[8..12], [16, 0, 0, 0], "addrlen");
        assert_eq!(record[3], if socktype == 0 { 2 } else { socktype });
        let address = guest.bytes(LIST + 0x400 + index * 12, 4);
        assert_eq!(address[0], record[2], "the family is in both");
        let data = guest.bytes(LIST + 0x800 + index * 26, 18);
        let port = u16::from_be_bytes([data[0], data[1]]);
        found.push(match record[2] {
            1 => (<[u8; 4]>::try_from(&data[2..6]).unwrap(), port).into(),
            _ => (<[u8; 16]>::try_from(&data[2..]).unwrap(), port).into(),
        });
    }
    Ok(found)
}

fn addresses(list: &[&str]) -> Vec<SocketAddr> {
    list.iter().map(|text| text.parse().unwrap()).collect()
}

#[test]
fn names_become_addresses_with_a_port() {
    let world = World::new(&["host.example:443", "slow.example:1"], &[]);
    world.resolver.knows("host.example", &["192.0.2.1", "2001:db8::1", "192.0.2.2"]);
    let mut guest = world.guest(Dialect::WasmEdge);
    let all = ["192.0.2.1:443", "[2001:db8::1]:443", "192.0.2.2:443"];
    let mut look = |node, service, hints, max| look_up(&mut guest, (node, service), hints, max);
    assert_eq!(look("host.example\0", "https\0", (0, 0, 0), 4), Ok(addresses(&all)));
    assert_eq!(look("HOST.example.", "443", (0, 0, 1), 4), Ok(addresses(&all)));
    let v4 = addresses(&["192.0.2.1:53", "192.0.2.2:53"]);
    assert_eq!(look("host.example", "domain", (0, 1, 2), 4), Ok(v4));
    assert_eq!(look("host.example", "443", (0, 2, 0), 4), Ok(addresses(&all[1..2])));
    assert_eq!(look("host.example", "443", (0, 0, 0), 1), Ok(addresses(&all[..1])));
    assert_eq!(look("host.example", "443", (0, 0, 0), 0), Ok(vec![]));
    // Addresses are looked up by nobody.
    assert_eq!(look("10.1.2.3", "80", (4, 0, 0), 4), Ok(addresses(&["10.1.2.3:80"])));
    assert_eq!(look("::1", "", (0, 0, 0), 4), Ok(addresses(&["[::1]:0"])));
    assert_eq!(look("", "80", (1, 1, 0), 4), Ok(addresses(&["0.0.0.0:80"])));
    assert_eq!(look("", "80", (0, 1, 0), 4), Ok(addresses(&["127.0.0.1:80"])));
    assert_eq!(look("host.example", "80", (4, 0, 0), 4), Err(Errno::Hostunreach), "NUMERICHOST");
    assert_eq!(look("host.example", "http", (8, 0, 0), 4), Err(Errno::Noent), "NUMERICSERV");
    assert_eq!(look("host.example", "nothing", (0, 0, 0), 4), Err(Errno::Noent));
    assert_eq!(look("host.example", "65536", (0, 0, 0), 4), Err(Errno::Inval));
    assert_eq!(look("slow.example", "1", (0, 0, 0), 4), Err(Errno::Hostunreach), "not known");
    assert_eq!(look("a b", "1", (0, 0, 0), 4), Err(Errno::Inval));
    assert_eq!(look("host.example", "1", (0, 3, 0), 4), Err(Errno::Afnosupport));
    assert_eq!(look("host.example", "1", (0, 0, 9), 4), Err(Errno::Prototype));
}

#[test]
fn a_name_that_no_rule_has_is_not_looked_up() {
    let world = World::new(&["host.example:443", "10.0.0.0/8:*"], &[]);
    world.resolver.knows("other.example", &["192.0.2.1"]);
    let mut guest = world.guest(Dialect::Go);
    let found = look_up(&mut guest, ("other.example", "443"), (0, 0, 0), 4);
    assert_eq!(found, Err(Errno::Acces));
    let line = "denied: look up other.example (allow with --net other.example:PORT)";
    assert_eq!(world.denials(), [line]);
}

#[test]
fn a_list_that_is_too_small_is_refused_whole() {
    let world = World::new(&["host.example:*"], &[]);
    world.resolver.knows("host.example", &["192.0.2.1", "2001:db8::1"]);
    let mut guest = world.guest(Dialect::Go);
    guest.put(NODE, b"host.example");
    lay_out(&mut guest, 2, 13);
    let before = guest.bytes(LIST, 0x1000);
    let args = [NODE, 12, SERVICE, 0, 0, PORT, 4, OUT];
    assert_eq!(guest.call("sock_getaddrinfo", &args), Err(Errno::Inval), "13 bytes for IPv6");
    assert_eq!(guest.bytes(LIST, 0x1000), before);
    lay_out(&mut guest, 2, 18);
    guest.put_u32(LIST + 0x400 + 12 + 8, 0x10000 - 17);
    let before = guest.bytes(LIST, 0x1000);
    assert_eq!(guest.call("sock_getaddrinfo", &args), Err(Errno::Fault), "the second is outside");
    assert_eq!(guest.bytes(LIST, 0x1000), before, "and the first is not written");
}

#[test]
fn a_connect_is_judged_by_the_name_that_was_looked_up() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = listener.local_addr().expect("an address");
    let port = to.port();
    // The system has no public address to listen on: `localhost` stands for a name.
    let world = World::new(&["localhost:*", "inner.example:*", "wrong.example:1"], &[]);
    world.resolver.knows("localhost", &["127.0.0.1"]);
    let mut guest = world.guest(Dialect::Go);
    let fd = guest.open(INET4, STREAM).expect("open");
    assert_eq!(guest.connect(fd, to), Err(Errno::Acces), "a bare address needs an address rule");
    let found = look_up(&mut guest, ("localhost", &port.to_string()), (0, 0, 0), 4);
    assert_eq!(found, Ok(vec![to]));
    assert_eq!(guest.connect(fd, to), Ok(()));

    // What one guest has looked up allows nothing to another.
    let mut other = world.for_guest().guest(Dialect::Go);
    let fd = other.open(INET4, STREAM).expect("open");
    assert_eq!(other.connect(fd, to), Err(Errno::Acces));
}

#[test]
fn a_name_can_not_point_into_the_operators_network() {
    let world = World::new(&["inner.example:*", "wrong.example:1"], &[]);
    world.resolver.knows("inner.example", &["127.0.0.1"]);
    world.resolver.knows("wrong.example", &["127.0.0.2"]);
    let mut guest = world.guest(Dialect::Go);
    let fd = guest.open(INET4, STREAM).expect("open");
    assert!(look_up(&mut guest, ("inner.example", "80"), (0, 0, 0), 4).is_ok());
    assert_eq!(guest.connect(fd, "127.0.0.1:80".parse().unwrap()), Err(Errno::Acces));
    assert!(look_up(&mut guest, ("wrong.example", "80"), (0, 0, 0), 4).is_ok());
    assert_eq!(guest.connect(fd, "127.0.0.2:80".parse().unwrap()), Err(Errno::Acces));
    let expected = [
        "denied: dial inner.example:80: it resolved to 127.0.0.1, a loopback address (allow with \
         --net 127.0.0.1:80)",
        "denied: dial wrong.example:80 (allow with --net wrong.example:80)",
    ];
    assert_eq!(world.denials(), expected);
}

#[test]
fn of_many_addresses_the_first_count() {
    let many: Vec<String> = (1..=20).map(|n| format!("192.0.2.{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let world = World::new(&["many.example:443"], &[]);
    world.resolver.knows("many.example", &many);
    let mut guest = world.guest(Dialect::Go);
    lay_out(&mut guest, 20, 14);
    guest.put(NODE, b"many.example");
    let args = [NODE, 12, SERVICE, 0, 0, PORT, 20, OUT];
    assert_eq!(guest.call("sock_getaddrinfo", &args), Ok(()));
    assert_eq!(guest.u32_at(OUT), 16);
}
