//! Options.

use tinyhost::Errno;

use super::guest::{DGRAM, DIALECTS, Dialect, INET4, KIND, MEMORY, OUT, STREAM, World};

#[test]
fn options_are_set_and_got() {
    let world = World::new(&[], &[]);
    for dialect in DIALECTS {
        let mut guest = world.guest(dialect);
        let stream = guest.open(INET4, STREAM).expect("open");
        let datagram = guest.open(INET4, DGRAM).expect("open");
        assert_eq!((guest.option(stream, 1), guest.option(datagram, 1)), (Ok(2), Ok(1)));
        assert_eq!((guest.option(stream, 2), guest.option(stream, 13)), (Ok(0), Ok(0)));
        for (fd, option) in [(stream, 0), (stream, 7), (datagram, 4)] {
            assert_eq!(guest.option(fd, option), Ok(0));
            assert_eq!(guest.set_option(fd, option, 1), Ok(()));
            assert_eq!(guest.option(fd, option), Ok(1));
        }
        for option in [5, 6] {
            assert_eq!(guest.set_option(stream, option, 10_000), Ok(()));
            assert!(guest.option(stream, option).is_ok_and(|size| size >= 10_000));
            assert_eq!(guest.set_option(stream, option, u32::MAX), Ok(()));
            assert!(guest.option(stream, option).is_ok_and(|size| size <= 2 << 20), "bounded");
        }
        assert_eq!(
            guest.set_option(datagram, 0, 1),
            Err(Errno::Noprotoopt),
            "a port is not shared"
        );
        for option in [15, u32::MAX] {
            assert_eq!(guest.option(stream, option), Err(Errno::Noprotoopt), "{option}");
            assert_eq!(guest.set_option(stream, option, 1), Err(Errno::Noprotoopt), "{option}");
        }
        // OOBINLINE is the system's; of the others there is only what they are at first.
        assert_eq!(guest.set_option(stream, 8, 1), Ok(()));
        assert_eq!(guest.option(stream, 8), Ok(1));
        for (option, at_first, other) in [(3, 0, 1), (10, 1, 2)] {
            assert_eq!(guest.option(stream, option), Ok(at_first), "{option}");
            assert_eq!(guest.set_option(stream, option, at_first), Ok(()), "{option}");
            assert_eq!(guest.set_option(stream, option, other), Err(Errno::Noprotoopt));
        }
        for option in [1, 2, 13] {
            assert_eq!(guest.set_option(stream, option, 1), Err(Errno::Noprotoopt), "{option}");
        }
        assert_eq!(guest.call("sock_getsockopt", &[stream, 6, 1, OUT, 4]), Err(Errno::Noprotoopt));
        assert_eq!(guest.call("sock_setsockopt", &[stream, 0, 7, OUT, 3]), Err(Errno::Inval));
    }
}

#[test]
fn a_close_that_would_wait_can_not_be_asked_for() {
    let world = World::new(&[], &[]);
    let mut guest = world.guest(Dialect::WasmEdge);
    let fd = guest.open(INET4, STREAM).expect("open");
    let mut linger = |on: u32, seconds: u32| {
        guest.put_u32(OUT, on);
        guest.put_u32(OUT + 4, seconds);
        guest.call("sock_setsockopt", &[fd, 0, 9, OUT, 8])
    };
    assert_eq!(linger(1, 0), Ok(()));
    assert_eq!(linger(1, 10), Err(Errno::Noprotoopt));
    guest.put_u32(KIND, 8);
    assert_eq!(guest.call("sock_getsockopt", &[fd, 0, 9, OUT, KIND]), Ok(()));
    assert_eq!((guest.u32_at(OUT), guest.u32_at(OUT + 4), guest.u32_at(KIND)), (1, 0, 8));
    guest.put_u32(KIND, 7);
    let short = guest.call("sock_getsockopt", &[fd, 0, 9, OUT, KIND]);
    assert_eq!(short, Err(Errno::Inval));
}

#[test]
fn a_socket_has_no_device_and_gets_none() {
    let world = World::new(&["127.0.0.1:*"], &[]);
    let mut guest = world.guest(Dialect::WasmEdge);
    let fd = guest.open(INET4, STREAM).expect("open");
    guest.put_u32(KIND, 16);
    assert_eq!(guest.call("sock_getsockopt", &[fd, 0, 14, OUT, KIND]), Ok(()));
    assert_eq!(guest.u32_at(KIND), 0, "as long as no name");
    assert_eq!(guest.call("sock_setsockopt", &[fd, 0, 14, 0, 0]), Ok(()));
    guest.put(OUT, b"\0o");
    assert_eq!(guest.call("sock_setsockopt", &[fd, 0, 14, OUT, 2]), Ok(()));
    guest.put(OUT, b"lo\0");
    assert_eq!(guest.call("sock_setsockopt", &[fd, 0, 14, OUT, 3]), Err(Errno::Noprotoopt));
    let at = MEMORY - 1;
    assert_eq!(guest.call("sock_setsockopt", &[fd, 0, 14, at, 2]), Err(Errno::Fault));
}
