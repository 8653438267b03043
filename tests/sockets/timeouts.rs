//! `SO_RCVTIMEO` and `SO_SNDTIMEO`: a call waits as long as the guest has said, and then it is EAGAIN.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use tinyhost::Errno;

use super::guest::{
    DATA, DGRAM, DIALECTS, Dialect, FLAGS, Guest, INET4, IOVS, KIND, OUT, STREAM, World,
};
use crate::net_util::full_backlog;

const RCVTIMEO: u32 = 11;
const SNDTIMEO: u32 = 12;

const TIME: Duration = Duration::from_millis(30);

fn set(guest: &mut Guest, fd: u32, option: u32, seconds: i64, micros: i64) -> Result<(), Errno> {
    guest.put(OUT, &seconds.to_le_bytes());
    guest.put(OUT + 8, &micros.to_le_bytes());
    guest.call("sock_setsockopt", &[fd, 0, option, OUT, 16])
}

fn set_time(guest: &mut Guest, fd: u32, option: u32) {
    assert_eq!(set(guest, fd, option, 0, TIME.as_micros() as i64), Ok(()));
}

fn get(guest: &mut Guest, fd: u32, option: u32) -> Result<(u64, u64), Errno> {
    guest.put_u32(KIND, 16);
    guest.put(OUT, &[0xff; 16]);
    guest.call("sock_getsockopt", &[fd, 0, option, OUT, KIND])?;
    assert_eq!(guest.u32_at(KIND), 16);
    let mut number = |at| u64::from_le_bytes(guest.bytes(at, 8).try_into().unwrap());
    Ok((number(OUT), number(OUT + 8)))
}

/// Makes a call that is EAGAIN after the time, and not before.
#[track_caller]
fn is_over<T: std::fmt::Debug + PartialEq>(call: impl FnOnce() -> Result<T, Errno>) {
    let start = Instant::now();
    assert_eq!(call(), Err(Errno::Again));
    assert!(start.elapsed() >= TIME, "{:?}", start.elapsed());
}

fn any() -> SocketAddr {
    "127.0.0.1:0".parse().expect("an address")
}

/// A guest's stream, and its other end.
fn stream(guest: &mut Guest) -> (u32, TcpStream) {
    let listener = TcpListener::bind(any()).expect("a port");
    let fd = guest.open(INET4, STREAM).expect("open");
    let at = listener.local_addr().expect("an address");
    assert_eq!(guest.connect(fd, at), Ok(()));
    (fd, listener.accept().expect("a client").0)
}

#[test]
fn a_time_is_kept_for_each_direction() {
    let world = World::new(&[], &[]);
    for dialect in DIALECTS {
        let mut guest = world.guest(dialect);
        for socktype in [STREAM, DGRAM] {
            let fd = guest.open(INET4, socktype).expect("open");
            assert_eq!(get(&mut guest, fd, RCVTIMEO), Ok((0, 0)), "for ever");
            assert_eq!(set(&mut guest, fd, RCVTIMEO, 2, 500_000), Ok(()));
            assert_eq!(set(&mut guest, fd, SNDTIMEO, i64::MAX, 999_999), Ok(()));
            assert_eq!(get(&mut guest, fd, RCVTIMEO), Ok((2, 500_000)));
            assert_eq!(get(&mut guest, fd, SNDTIMEO), Ok((i64::MAX as u64, 999_999)));
            assert_eq!(set(&mut guest, fd, RCVTIMEO, 0, 0), Ok(()));
            assert_eq!(get(&mut guest, fd, RCVTIMEO), Ok((0, 0)));
            for (seconds, micros) in [(0, 1_000_000), (0, -1), (-1, 0), (i64::MIN, i64::MIN)] {
                let answer = set(&mut guest, fd, SNDTIMEO, seconds, micros);
                assert_eq!(answer, Err(Errno::Dom), "{seconds} {micros}");
            }
            let short = guest.call("sock_setsockopt", &[fd, 0, RCVTIMEO, OUT, 15]);
            assert_eq!(short, Err(Errno::Inval));
            guest.put_u32(KIND, 15);
            let short = guest.call("sock_getsockopt", &[fd, 0, RCVTIMEO, OUT, KIND]);
            assert_eq!(short, Err(Errno::Inval));
            let short = guest.call("sock_getsockopt", &[fd, 0, RCVTIMEO, OUT, 4]);
            assert_eq!(short, Err(Errno::Inval), "wasi-go has no room for it");
        }
    }
}

#[test]
fn a_call_that_reads_waits_that_long() {
    let world = World::new(&["127.0.0.1:*"], &["127.0.0.1:0"]);
    for dialect in DIALECTS {
        let mut guest = world.guest(dialect);
        let (fd, mut peer) = stream(&mut guest);
        set_time(&mut guest, fd, RCVTIMEO);
        is_over(|| guest.receive(fd));
        is_over(|| {
            guest.put_u32(IOVS + 4, 8);
            guest.call("fd_read", &[fd, IOVS, 1, OUT])
        });
        is_over(|| guest.call("sock_recv", &[fd, IOVS, 1, 1, OUT, FLAGS]));
        // What has come by then is not lost.
        peer.write_all(b"half").expect("write");
        let start = Instant::now();
        assert_eq!(guest.call("sock_recv", &[fd, IOVS, 1, 2, OUT, FLAGS]), Ok(()), "WAITALL");
        assert!(start.elapsed() >= TIME);
        assert_eq!(guest.u32_at(OUT), 4);
        assert_eq!(guest.bytes(DATA, 4), b"half");
        peer.write_all(b"more").expect("write");
        assert_eq!(guest.receive(fd), Ok(b"more".to_vec()), "and it is as good as before");
        assert_eq!(guest.send(fd, b"a write has its own"), Ok(19));

        let fd = guest.open(INET4, DGRAM).expect("open");
        assert_eq!(guest.bind(fd, any()), Ok(()));
        set_time(&mut guest, fd, RCVTIMEO);
        is_over(|| guest.receive_from(fd, 64, 0));
        let socket = UdpSocket::bind(any()).expect("a port");
        socket.send_to(b"late", guest.local(fd).expect("it is bound")).expect("sent");
        assert_eq!(guest.receive_from(fd, 64, 0).map(|(data, _)| data), Ok(b"late".to_vec()));
    }
}

#[test]
fn a_listener_waits_that_long_and_its_clients_do() {
    let world = World::new(&[], &["127.0.0.1:0"]);
    for dialect in DIALECTS {
        let mut guest = world.guest(dialect);
        let fd = guest.open(INET4, STREAM).expect("open");
        assert_eq!(guest.bind(fd, any()), Ok(()));
        assert_eq!(guest.call("sock_listen", &[fd, 5]), Ok(()));
        set_time(&mut guest, fd, RCVTIMEO);
        is_over(|| guest.accept(fd));
        let _client = TcpStream::connect(guest.local(fd).expect("it is bound")).expect("connect");
        let client = guest.accept(fd).expect("there is one");
        assert_eq!(get(&mut guest, client, RCVTIMEO), Ok((0, TIME.as_micros() as u64)));
        is_over(|| guest.receive(client));
    }
}

#[test]
fn a_write_answers_how_much_it_could_write() {
    let world = World::new(&["127.0.0.1:*"], &[]);
    let mut guest = world.guest(Dialect::WasmEdge);
    let (fd, mut peer) = stream(&mut guest);
    assert_eq!(guest.set_option(fd, 5, 4096), Ok(()));
    set_time(&mut guest, fd, SNDTIMEO);
    // The same bytes thousands of times are more than any buffer takes.
    let vectors = 1000;
    for index in 0..vectors {
        guest.put_u32(DATA + index * 8, 0);
        guest.put_u32(DATA + index * 8 + 4, 0x10000);
    }
    let start = Instant::now();
    assert_eq!(guest.call("sock_send", &[fd, DATA, vectors, 0, OUT]), Ok(()));
    assert!(start.elapsed() >= TIME);
    let mut taken = guest.u32_at(OUT);
    assert!(0 < taken && taken < vectors * 0x10000, "{taken}");
    // The system moves it to the other end in its own time.
    let start = loop {
        let start = Instant::now();
        match guest.call("sock_send", &[fd, DATA, vectors, 0, OUT]) {
            Ok(()) => taken += guest.u32_at(OUT),
            Err(errno) => {
                assert_eq!(errno, Errno::Again);
                break start;
            }
        }
    };
    assert!(start.elapsed() >= TIME);
    let mut buffer = vec![0; taken as usize];
    peer.read_exact(&mut buffer).expect("what it says it has written");
}

#[test]
fn a_connect_goes_on_after_its_time() {
    let (_listener, _clients, at) = full_backlog();
    let world = World::new(&["127.0.0.1:*"], &[]);
    for dialect in DIALECTS {
        let mut guest = world.guest(dialect);
        let fd = guest.open(INET4, STREAM).expect("open");
        set_time(&mut guest, fd, SNDTIMEO);
        let start = Instant::now();
        assert_eq!(guest.connect(fd, at), Err(Errno::Inprogress));
        assert!(start.elapsed() >= TIME);
        assert_eq!(guest.connect(fd, at), Err(Errno::Already));
    }
}

#[test]
fn a_listener_of_the_operator_has_no_time() {
    let (listener, net) = (TcpListener::bind(any()).expect("a port"), World::new(&[], &[]));
    let listener = tinyhost::vfs::net::Listener::new(listener, &net.net).expect("it listens");
    let cx = tinyhost::WasiCtx::builder().socket("listener", Box::new(listener)).build();
    let mut guest = Guest::new(Dialect::WasmEdge, cx);
    assert_eq!(set(&mut guest, 3, RCVTIMEO, 1, 0), Err(Errno::Noprotoopt));
    assert_eq!(get(&mut guest, 3, RCVTIMEO), Ok((0, 0)));
}
