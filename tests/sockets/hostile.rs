//! Arguments that make no sense.

use std::net::TcpListener;

use tinyhost::vfs::net::NetConfig;
use tinyhost::wasi::{Kind, Row, SOCKETS};
use tinyhost::{Errno, WasiCtx};

use super::guest::{
    ADDR, DATA, DGRAM, DIALECTS, Dialect, FLAGS, Guest, INET4, INET6, IOVS, KIND, MEMORY, OUT,
    PORT, STREAM, World,
};

/// Sockets of the guest: a stream, datagrams, a listener and a connection. None of them blocks.
fn sockets(guest: &mut Guest, to: std::net::SocketAddr) -> Vec<u32> {
    let any = "127.0.0.1:0".parse().expect("an address");
    let stream = guest.open(INET4, STREAM).expect("open");
    let datagram = guest.open(INET4, DGRAM).expect("open");
    let listener = guest.open(INET4, STREAM).expect("open");
    let connected = guest.open(INET4, STREAM).expect("open");
    guest.bind(listener, any).expect("bind");
    guest.call("sock_listen", &[listener, 1]).expect("listen");
    guest.connect(connected, to).expect("connect");
    let all = vec![stream, datagram, listener, connected];
    all.iter().for_each(|fd| guest.nonblock(*fd));
    all
}

fn world() -> World {
    let config = NetConfig { sockets_max: 4, ..NetConfig::default() };
    World::with(&["127.0.0.1:*", "a:1"], &["127.0.0.1:0"], config)
}

/// A guest in the dialect, with this row in place of the one it has of that name.
fn guest(world: &World, row: &'static Row) -> Guest {
    let dialect = Dialect::Go;
    let mut rows = dialect.rows();
    if !matches!(row.name, "sock_open" | "sock_bind" | "sock_listen" | "sock_connect") {
        rows.retain(|there| there.name != row.name);
        rows.push(row);
    }
    if row.name.ends_with("_v2") {
        rows = Dialect::V2.rows();
    }
    Guest::of(dialect, &rows, WasiCtx::builder().namespace(world.namespace()).build())
}

struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number of the kinds that break things.
    fn number(&mut self, fds: &[u32]) -> u32 {
        const EDGES: [u32; 14] = [
            0,
            1,
            2,
            4,
            16,
            128,
            1 << 16,
            MEMORY - 1,
            MEMORY - 4,
            MEMORY - 8,
            MEMORY - 128,
            MEMORY,
            u32::MAX - 1,
            u32::MAX,
        ];
        match self.next() % 4 {
            0 => EDGES[self.next() as usize % EDGES.len()],
            1 => fds[self.next() as usize % fds.len()],
            2 => self.next() as u32 % MEMORY,
            _ => self.next() as u32,
        }
    }
}

#[test]
fn random_arguments_break_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = listener.local_addr().expect("an address");
    let mut random = Random(0x5eed_cafe_f00d_1234);
    let mut errnos = std::collections::HashSet::new();
    for row in SOCKETS {
        let world = world();
        let mut guest = guest(&world, row);
        let fds = sockets(&mut guest, to);
        for _ in 0..400 {
            let args: Vec<u32> = (0..row.params.len())
                .map(|index| match row.params[index].kind {
                    Kind::Fd if !random.next().is_multiple_of(8) => {
                        fds[random.next() as usize % fds.len()]
                    }
                    _ => random.number(&fds),
                })
                .collect();
            // Addresses and lists to find at most of the places that are tried.
            let bytes: Vec<u8> = (0..64).map(|_| random.next() as u8 & 0x0f).collect();
            guest.put(ADDR, &bytes);
            if let Err(errno) = guest.call(row.name, &args) {
                errnos.insert(errno.code());
            }
        }
    }
    assert!(errnos.len() > 8, "many kinds of refusal, not one: {errnos:?}");
}

#[test]
fn results_fit_at_the_end_of_memory_and_not_past_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let to = listener.local_addr().expect("an address");
    for dialect in DIALECTS {
        let world = world();
        let cx = WasiCtx::builder().namespace(world.namespace()).build();
        let mut guest = Guest::new(dialect, cx);
        let fd = sockets(&mut guest, to)[3];
        for (last, expected) in [(MEMORY - 4, Ok(())), (MEMORY - 3, Err(Errno::Fault))] {
            let room = guest.room();
            let before = guest.bytes(room + 0x200, 16);
            let answer = match dialect {
                Dialect::WasmEdge => guest.call("sock_getpeeraddr", &[fd, room, KIND, last]),
                _ => guest.call("sock_getpeeraddr", &[fd, room, last]),
            };
            assert_eq!(answer, expected, "{dialect:?}");
            if answer.is_err() {
                assert_eq!(guest.bytes(room + 0x200, 16), before, "nothing was written");
            }
        }
        assert_eq!(guest.call("sock_open", &[INET4, STREAM, MEMORY - 3]), Err(Errno::Fault));
        assert_eq!(guest.open(INET4, STREAM), Err(Errno::Nfile), "and none was opened");
    }
}

#[test]
fn an_address_has_one_of_three_lengths() {
    let world = world();
    let mut guest = world.guest(Dialect::Go);
    let fd = guest.open(INET4, DGRAM).expect("open");
    for len in [0, 1, 3, 5, 8, 15, 17, 127, 129, 1 << 31, u32::MAX] {
        guest.room();
        guest.put_u32(ADDR + 4, len);
        assert_eq!(guest.call("sock_connect", &[fd, ADDR, 80]), Err(Errno::Inval), "{len}");
        let answer = guest.call("sock_getlocaladdr", &[fd, ADDR, PORT]);
        assert_eq!(answer, Err(Errno::Inval), "{len}");
    }
    for family in [0, 3, 4, 0xff] {
        guest.room();
        guest.put(super::guest::BYTES, &[family, 0]);
        assert_eq!(guest.call("sock_connect", &[fd, ADDR, 80]), Err(Errno::Afnosupport));
    }
    let addr = guest.address("127.0.0.1".parse().expect("an address"));
    for port in [65_536, u32::MAX] {
        assert_eq!(guest.call("sock_connect", &[fd, addr, port]), Err(Errno::Inval));
    }
    for (family, socktype, errno) in [
        (0, STREAM, Errno::Afnosupport),
        (3, STREAM, Errno::Afnosupport),
        (4, STREAM, Errno::Afnosupport),
        (u32::MAX, STREAM, Errno::Afnosupport),
        (INET4, 0, Errno::Prototype),
        (INET4, 3, Errno::Prototype),
        (INET4, u32::MAX, Errno::Prototype),
    ] {
        assert_eq!(guest.call("sock_open", &[family, socktype, OUT]), Err(errno));
    }
    assert_eq!(guest.call("sock_connect", &[0, addr, 80]), Err(Errno::Notsock));
    assert_eq!(guest.call("sock_connect", &[99, addr, 80]), Err(Errno::Badf));
}

#[test]
fn a_datagram_whose_address_has_no_room_is_not_lost() {
    let world = World::new(&["127.0.0.1:*"], &["127.0.0.1:0"]);
    let mut guest = world.guest(Dialect::WasmEdge);
    let fd = guest.open(INET4, DGRAM).expect("open");
    assert_eq!(guest.bind(fd, "127.0.0.1:0".parse().unwrap()), Ok(()));
    let socket = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.send_to(b"once", guest.local(fd).expect("it is bound")).expect("sent");
    guest.put_u32(IOVS, DATA);
    guest.put_u32(IOVS + 4, 64);
    for (buf, len) in [(MEMORY - 15, 16), (MEMORY - 3, 4), (MEMORY - 127, 128), (u32::MAX, 16)] {
        guest.put_u32(ADDR, buf);
        guest.put_u32(ADDR + 4, len);
        let answer = guest.call("sock_recv_from", &[fd, IOVS, 1, ADDR, 0, PORT, OUT, FLAGS]);
        assert_eq!(answer, Err(Errno::Fault), "{buf} {len}");
    }
    assert_eq!(guest.receive_from(fd, 64, 0).map(|(data, _)| data), Ok(b"once".to_vec()));
}

#[test]
fn flags_and_rooms_that_can_not_be_are_refused() {
    let world = World::new(&["[::1]:*"], &[]);
    let mut guest = world.guest(Dialect::WasmEdge);
    let to = "[::1]:9".parse().expect("an address");
    let fd = guest.open(INET6, DGRAM).expect("open");
    if guest.connect(fd, to) == Err(Errno::Addrnotavail) {
        return; // a machine without IPv6
    }
    guest.put_u32(ADDR, DATA);
    guest.put_u32(ADDR + 4, 4);
    let answer = guest.call("sock_getpeeraddr", &[fd, ADDR, KIND, PORT]);
    assert_eq!(answer, Err(Errno::Inval), "four bytes for an address of sixteen");
    assert_eq!(guest.peer(fd), Ok(to));
    let addr = guest.address(to.ip());
    guest.put_u32(IOVS, DATA);
    guest.put_u32(IOVS + 4, 4);
    let answer = guest.call("sock_send_to", &[fd, IOVS, 1, addr, 9, 1, OUT]);
    assert_eq!(answer, Err(Errno::Inval), "no flag is known");
}
