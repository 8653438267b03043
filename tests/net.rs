//! Network files, driven as a scheduler would: with poll(2) on the descriptor a file hands
//! out, or a waker that unparks. Everything stays on this machine.

#![cfg(all(unix, feature = "net"))]

#[path = "util/busy.rs"]
mod busy;
mod net_util;

use std::io::{Read, Write};
use std::net::{TcpListener, UdpSocket};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use net_util::*;
use tinyhost::Errno;
use tinyhost::vfs::net::{NetConfig, UnixSocket};
use tinyhost::vfs::{Filetype, Interest, Node, Open, Opened};

/// Answers each line of each client, in capitals, and ends with its client.
fn shouter() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut line = [0; 64];
            let got = stream.read(&mut line).unwrap();
            line.make_ascii_uppercase();
            stream.write_all(&line[..got]).unwrap();
        }
    });
    port
}

#[test]
fn a_stream_is_dialled_by_each_of_its_names() {
    let port = shouter();
    let rules = [format!("localhost:{port}"), format!("127.0.0.1:{port}")];
    let world = World::with(&[&rules[0], &rules[1]], &[]);
    for name in [
        format!("localhost:{port}"),
        format!("LocalHost.:{port}"),
        format!("127.0.0.1:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("tcp/localhost/{port}"),
        format!("tcp/127.0.0.1/{port}"),
        format!("tcp/::ffff:127.0.0.1/{port}"),
    ] {
        // As File::create opens it; it is read all the same.
        let how = Open { read: false, write: true, truncate: true, nonblock: false };
        let mut file = world.open(&name, how).and_then(opened).unwrap();
        assert_eq!(file.stat().unwrap().filetype, Filetype::SocketStream);
        write_all(&mut *file, b"hello");
        assert_eq!(read_to_end(&mut *file), b"HELLO", "{name}");
    }
    assert!(world.denials().is_empty());
}

#[test]
fn what_is_no_network_name_never_dials() {
    let world = World::with(&["*:*", "0.0.0.0/0:*"], &["*:*"]);
    let long = "x".repeat(250);
    let cases = [
        ("nothing", Errno::Noent),
        ("localhost", Errno::Noent),
        ("localhost:", Errno::Inval),
        ("localhost:0", Errno::Inval),
        ("localhost:65536", Errno::Inval),
        ("localhost:+80", Errno::Inval),
        ("localhost:080", Errno::Inval),
        ("localhost:http", Errno::Inval),
        (":80", Errno::Inval),
        ("a:b:80", Errno::Inval),
        ("::1:80", Errno::Inval),
        ("[::1:80", Errno::Inval),
        ("[127.0.0.1]:80", Errno::Inval),
        ("a b:80", Errno::Inval),
        ("*:80", Errno::Inval),
        ("é.org:80", Errno::Inval),
        ("2130706433:80", Errno::Inval),
        (&format!("{long}:80"), Errno::Inval),
        (&format!("{long}{long}:80"), Errno::Nametoolong),
        ("tcp/localhost", Errno::Noent),
        ("tcp/localhost/0", Errno::Inval),
        ("tcp/localhost/70000", Errno::Inval),
        ("tcp/localhost/80/x", Errno::Noent),
        ("tcp/a:b/80", Errno::Inval),
        ("tcp//80", Errno::Inval),
        ("udp/localhost", Errno::Noent),
        ("udp/localhost/-1", Errno::Inval),
        ("accept/8080", Errno::Noent),
        ("accept/example.org:8080", Errno::Inval),
        ("accept/127.0.0.1:70000", Errno::Inval),
        ("accept/127.0.0.1:80,port", Errno::Inval),
        ("localhost:80/x", Errno::Noent),
        ("accept/127.0.0.1:80/x", Errno::Noent),
    ];
    for (path, errno) in cases {
        let opened = world.node(path).and_then(|node| node.open(READ_WRITE));
        assert_eq!(opened.err(), Some(errno), "{path}");
    }
    assert!(world.resolver.asked().is_empty());
    assert!(world.net.bound().is_empty());
}

#[test]
fn stat_tells_the_kind_and_does_nothing() {
    let world = World::with(&[], &[]);
    for (path, filetype) in [
        ("example.org:80", Filetype::SocketStream),
        ("tcp/example.org/80", Filetype::SocketStream),
        ("udp/example.org/80", Filetype::SocketDgram),
        ("accept/127.0.0.1:80", Filetype::SocketStream),
        ("accept/127.0.0.1:80,addr", Filetype::RegularFile),
        ("tcp", Filetype::Directory),
        ("udp", Filetype::Directory),
        ("accept", Filetype::Directory),
        ("tcp/example.org", Filetype::Directory),
    ] {
        assert_eq!(world.node(path).unwrap().stat().unwrap().filetype, filetype, "{path}");
    }
    let read_only = Open { read: true, ..Open::default() };
    let mut tcp = world.open("tcp", read_only).and_then(opened).unwrap();
    tcp.readdir(0, &mut |_| panic!("network names are not listed")).unwrap();
    assert_eq!(world.open("tcp", READ_WRITE).err(), Some(Errno::Noent));
    assert!(world.resolver.asked().is_empty() && world.denials().is_empty());
    assert!(world.net.bound().is_empty());
}

#[test]
fn the_calls_of_a_stream() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let world = World::with(&[&at.to_string()], &[]);
    let mut file = world.dial(&at.to_string()).unwrap();
    let mut peer = listener.accept().unwrap().0;

    assert_eq!(file.ready(Interest::READ), Err(Errno::Again));
    assert!(file.ready(Interest::WRITE).is_ok());
    let mut byte = [0];
    assert_eq!(read(&mut *file, &mut byte), Err(Errno::Again));
    assert_eq!(file.peek(&mut [std::io::IoSliceMut::new(&mut byte)]), Err(Errno::Again));
    assert_eq!(file.accept().err(), Some(Errno::Notsock));

    peer.write_all(b"abcd").unwrap();
    let ready = drive(&mut *file, Interest::READ, |file| file.ready(Interest::READ)).unwrap();
    assert_eq!((ready.nbytes, ready.hangup), (4, false));
    let (mut one, mut two) = ([0; 1], [0; 9]);
    let mut bufs = [std::io::IoSliceMut::new(&mut one), std::io::IoSliceMut::new(&mut two)];
    assert_eq!(file.peek(&mut bufs), Ok(4));
    assert_eq!(file.read(&mut bufs, 99), Ok(4));
    assert_eq!((&one[..], &two[..3]), (&b"a"[..], &b"bcd"[..]));

    let bufs = [std::io::IoSlice::new(b"x"), std::io::IoSlice::new(b"yz")];
    assert_eq!(file.write(&bufs, 0), Ok(3));
    file.shutdown(Interest::WRITE).unwrap();
    assert_eq!(file.shutdown(Interest { read: false, write: false }), Err(Errno::Inval));
    let mut got = String::new();
    peer.read_to_string(&mut got).unwrap();
    assert_eq!(got, "xyz");
    assert_eq!(file.write(&bufs, 0), Err(Errno::Pipe));
    drop(peer);
    assert_eq!(read_to_end(&mut *file), b"");
    assert!(file.ready(Interest::READ).unwrap().hangup);
}

#[test]
fn a_dropped_file_closes_its_socket() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let world = World::with(&[&at.to_string()], &[]);
    // Never asked whether it is open: half-open as far as its guest knows.
    let file = world.open(&at.to_string(), READ_WRITE).unwrap();
    let mut peer = listener.accept().unwrap().0;
    drop(file);
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    assert_eq!(peer.read(&mut [0]).unwrap(), 0);
}

#[test]
fn one_read_is_one_datagram() {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    peer.set_read_timeout(Some(LIMIT)).unwrap();
    let port = peer.local_addr().unwrap().port();
    let world = World::with(&[&format!("localhost:{port}")], &[]);
    let mut file = world.dial(&format!("udp/localhost/{port}")).unwrap();
    assert_eq!(file.stat().unwrap().filetype, Filetype::SocketDgram);
    assert_eq!(read(&mut *file, &mut [0; 9]), Err(Errno::Again));

    let bufs = [std::io::IoSlice::new(b"he"), std::io::IoSlice::new(b"llo")];
    assert_eq!(file.write(&bufs, 0), Ok(5));
    let mut got = [0; 9];
    let (length, from) = peer.recv_from(&mut got).unwrap();
    assert_eq!(&got[..length], b"hello");

    // A stranger's datagram is never seen; of a long one the rest is cut.
    let stranger = UdpSocket::bind("127.0.0.1:0").unwrap();
    stranger.send_to(b"stranger", from).unwrap();
    peer.send_to(b"one datagram", from).unwrap();
    peer.send_to(b"two", from).unwrap();
    let mut got = [0; 3];
    drive(&mut *file, Interest::READ, |file| read(file, &mut got)).unwrap();
    assert_eq!(&got, b"one");
    drive(&mut *file, Interest::READ, |file| read(file, &mut got)).unwrap();
    assert_eq!(&got, b"two");
    assert_eq!(read(&mut *file, &mut got), Err(Errno::Again));

    let too_long = vec![0; 100_000];
    let bufs = [std::io::IoSlice::new(&too_long)];
    assert_eq!(file.write(&bufs, 0), Err(Errno::Msgsize));
    let bufs = [std::io::IoSlice::new(b"x"); 1025];
    assert_eq!(file.write(&bufs, 0), Err(Errno::Msgsize), "never in two");
}

#[test]
fn a_unix_socket_of_the_host_is_dialled() {
    let world = World::with(&[], &[]);
    let dir = std::env::temp_dir().join(format!("tinyhost-net-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let path = dir.join("a.sock");
    let node = UnixSocket::new(&path, &world.net).unwrap();
    assert_eq!(node.stat().unwrap().filetype, Filetype::SocketStream);
    assert_eq!(node.open(READ_WRITE).err(), Some(Errno::Noent));

    let listener = UnixListener::bind(&path).unwrap();
    let mut file = node.open(READ_WRITE).and_then(opened).unwrap();
    let mut peer = listener.accept().unwrap().0;
    write_all(&mut *file, b"query");
    let mut got = [0; 5];
    peer.read_exact(&mut got).unwrap();
    assert_eq!(&got, b"query");
    drop(file);
    assert_eq!(peer.read(&mut got).unwrap(), 0);

    // A full backlog has no event that tells of its end.
    rustix::net::listen(&listener, 0).unwrap();
    let waiting: Vec<_> = (0..2).map(|_| node.open(READ_WRITE).unwrap()).collect();
    if let Opened::Pending(last) = node.open(READ_WRITE).unwrap() {
        assert!(last.deadline().is_some());
        let acceptor = thread::spawn(move || (0..3).for_each(|_| drop(listener.accept().unwrap())));
        finish(last).unwrap();
        drop(waiting);
        drop(acceptor);
    }
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(UnixSocket::new("x".repeat(200).as_ref(), &world.net).is_err());
}

#[test]
fn a_guest_has_so_many_sockets_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap().to_string();
    let world = World::new(NetConfig { sockets_max: 2, ..config(&[&at], &["127.0.0.1:0"]) });
    let one = world.dial(&at).unwrap();
    let two = world.open("accept/127.0.0.1:0", READ_WRITE).unwrap();
    assert_eq!(world.dial(&at).err(), Some(Errno::Nfile));
    assert_eq!(world.dial("accept/127.0.0.1:0").err(), Some(Errno::Nfile));
    assert!(world.for_guest().dial(&at).is_ok(), "another guest has its own");
    drop(two);
    let two = world.dial(&at).unwrap();
    drop((one, two));
    assert!(world.dial(&at).is_ok());
}

#[test]
fn a_silent_address_times_out() {
    let (_listener, _full, at) = full_backlog();
    let config =
        NetConfig { connect_timeout: Duration::from_secs(2), ..config(&[&at.to_string()], &[]) };
    let world = World::new(config);
    let mut dial = world.pending(&at.to_string());
    assert_eq!(dial.proceed().err(), Some(Errno::Again), "not yet, and no error");
    assert_eq!(finish(dial).err(), Some(Errno::Timedout));
}

#[cfg(target_os = "linux")]
#[test]
fn a_dropped_dial_closes_its_half_open_socket() {
    let (_listener, _full, at) = full_backlog();
    let world = World::with(&[&at.to_string()], &[]);
    let mut dial = world.pending(&at.to_string());
    assert_eq!(dial.proceed().err(), Some(Errno::Again));
    // Rows of /proc/net/tcp: "n: local remote state"; SYN_SENT is 02.
    let syn_sent = || {
        let remote = format!(":{:04X} 02 ", at.port());
        std::fs::read_to_string("/proc/net/tcp").unwrap().contains(&remote)
    };
    assert!(syn_sent());
    drop(dial);
    assert!(!syn_sent());
}
