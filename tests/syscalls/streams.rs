//! Streams, sockets, devices, and what is none of them.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;

use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::net::{Listener, Net, NetConfig, Policy, UnixSocket};
use tinyhost::vfs::stdio::Stream;
use tinyhost::vfs::{Node, mem, pipe};
use tinyhost::{Errno, WasiCtx};

use crate::calls::libc::*;
use crate::calls::{Calls, DATA, IOVS, OUT, mounted};

fn sock_recv(calls: &mut Calls, fd: u32, len: u32, flags: u64) -> Result<Vec<u8>> {
    calls.put(IOVS, &[DATA, len].map(u32::to_le_bytes).concat());
    let out = [OUT.into(), (OUT + 8).into()];
    calls.call("sock_recv", &[fd.into(), IOVS.into(), 1, flags, out[0], out[1]])?;
    let len = calls.u32_at(OUT);
    Ok(calls.bytes(DATA, len))
}

fn sock_send(calls: &mut Calls, fd: u32, bytes: &[u8]) -> Result<u32> {
    calls.put(DATA, bytes);
    calls.put(IOVS, &[DATA, bytes.len() as u32].map(u32::to_le_bytes).concat());
    calls.call("sock_send", &[fd.into(), IOVS.into(), 1, 0, OUT.into()])?;
    Ok(calls.u32_at(OUT))
}

#[test]
fn only_sockets_are_sockets() {
    let (root, dev): (_, Arc<dyn Node>) = (mem::tree(None), Arc::new(Dev::new()));
    let namespace = mounted(&[("/", &root), ("/dev", &dev)]);
    let mut calls = Calls::new(WasiCtx::builder().namespace(namespace).build());
    let file = calls.open(3, "file", CREAT, ALL).expect("open");
    let dir = calls.open(3, ".", DIRECTORY, READ).expect("open");
    let null = calls.open(4, "null", 0, ALL).expect("open");
    let out = u64::from(OUT);
    for (fd, errno) in [
        (0, Errno::Notsock),
        (1, Errno::Notsock),
        (file, Errno::Notsock),
        (dir, Errno::Notsock),
        (null, Errno::Notsock),
        (99, Errno::Badf),
        // A program that was given no directory takes 3 for closed.
        (3, Errno::Badf),
    ] {
        assert_eq!(calls.call("sock_accept", &[fd.into(), 0, out]), Err(errno), "{fd}");
        assert_eq!(sock_recv(&mut calls, fd, 1, 0), Err(errno), "{fd}");
        assert_eq!(sock_send(&mut calls, fd, b"x"), Err(errno), "{fd}");
        assert_eq!(calls.call("sock_shutdown", &[fd.into(), 3]), Err(errno), "{fd}");
    }
}

#[test]
fn a_socket_accepts_receives_sends_and_shuts_down() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    let listener = Listener::new(listener, &Net::new(NetConfig::default())).expect("a listener");
    let mut calls = Calls::new(WasiCtx::builder().socket("s", Box::new(listener)).build());
    calls.call("fd_fdstat_set_flags", &[3, NONBLOCK]).expect("flags");
    let none = calls.call("sock_accept", &[3, 0, OUT.into()]);
    assert_eq!(none, Err(Errno::Again), "NONBLOCK does not wait");
    calls.call("fd_fdstat_set_flags", &[3, 0]).expect("flags");
    let mut client = TcpStream::connect(address).expect("connect");
    calls.call("sock_accept", &[3, NONBLOCK, OUT.into()]).expect("a client");
    let stream = calls.u32_at(OUT);
    assert_eq!(stream, 4);
    assert_eq!(sock_recv(&mut calls, stream, 9, 0), Err(Errno::Again), "as it was accepted");
    calls.call("fd_fdstat_set_flags", &[stream.into(), 0]).expect("flags");
    client.write_all(b"hello").expect("write");
    for _ in 0..2 {
        assert_eq!(sock_recv(&mut calls, stream, 4, 1).as_deref(), Ok(&b"hell"[..]), "peek");
    }
    assert_eq!(sock_recv(&mut calls, stream, 4, 0).as_deref(), Ok(&b"hell"[..]));
    assert_eq!(calls.read(stream, 9).as_deref(), Ok(&b"o"[..]), "a stream is a stream");
    assert_eq!(sock_send(&mut calls, stream, b"one"), Ok(3));
    assert_eq!(calls.write(stream, b"two"), Ok(3));
    calls.call("fd_fdstat_set_flags", &[stream.into(), SYNC | DSYNC]).expect("flags");
    assert_eq!(calls.write(stream, b"three"), Ok(5), "syncing means nothing here");
    assert_eq!(calls.fstat(stream).map(|stat| stat.filetype), Ok(6));
    calls.call("sock_shutdown", &[stream.into(), 2]).expect("shutdown");
    assert_eq!(sock_send(&mut calls, stream, b"x"), Err(Errno::Pipe));
    let mut told = String::new();
    client.read_to_string(&mut told).expect("read");
    assert_eq!(told, "onetwothree");
    drop(client);
    assert_eq!(sock_recv(&mut calls, stream, 9, 0).as_deref(), Ok(&b""[..]));
    // A socket has no position and no entries.
    assert_eq!(calls.seek(stream, 0, 0), Err(Errno::Spipe));
    assert_eq!(calls.pread(stream, 1, 0), Err(Errno::Spipe));
    assert_eq!(calls.readdir(stream, 99, 0).err(), Some(Errno::Notdir));
    assert_eq!(calls.call("fd_allocate", &[stream.into(), 0, 1]), Err(Errno::Spipe));
}

#[test]
fn streams_have_no_position() {
    let (stdin, mut writer) = pipe::pipe(100);
    let output = pipe::Capture::new(1000);
    let cx = WasiCtx::builder().stdin(stdin).stdout(output.clone());
    let mut calls = Calls::new(cx.build());
    writer.write(b"abc").expect("room");
    for fd in [0, 1] {
        assert_eq!(calls.seek(fd, 0, 0), Err(Errno::Spipe));
        assert_eq!(calls.tell(fd), Err(Errno::Spipe));
        assert_eq!(calls.pread(fd, 1, 0), Err(Errno::Spipe));
        assert_eq!(calls.pwrite(fd, b"x", 0), Err(Errno::Spipe));
        assert_eq!(calls.call("fd_advise", &[fd.into(), 0, 0, 0]), Err(Errno::Spipe));
        assert_eq!(calls.call("fd_allocate", &[fd.into(), 0, 1]), Err(Errno::Spipe));
        let size = calls.call("fd_filestat_set_size", &[fd.into(), 0]);
        // That direction of the first is not there; the second has no length.
        assert_eq!(size, Err([Errno::Badf, Errno::Notcapable][fd as usize]));
    }
    assert_eq!(calls.read(0, 2).as_deref(), Ok(&b"ab"[..]));
    calls.call("fd_fdstat_set_flags", &[0, NONBLOCK]).expect("flags");
    assert_eq!(calls.read(0, 2).as_deref(), Ok(&b"c"[..]));
    assert_eq!(calls.read(0, 2), Err(Errno::Again));
    drop(writer);
    assert_eq!(calls.read(0, 2).as_deref(), Ok(&b""[..]));
    assert_eq!(calls.write(0, b"x"), Err(Errno::Badf));
    assert_eq!(calls.read(1, 1), Err(Errno::Badf));
    // Bytes that were taken are told as taken, whatever the flags.
    for flags in [0, APPEND, SYNC, DSYNC, APPEND | SYNC] {
        calls.call("fd_fdstat_set_flags", &[1, flags]).expect("flags");
        assert_eq!(calls.write(1, b"out"), Ok(3), "{flags}");
    }
    assert_eq!(output.take(), b"outoutoutoutout");
}

#[test]
fn devices_are_files_of_their_own_kind() {
    let dev: Arc<dyn Node> = Arc::new(Dev::new());
    let (stdin, mut writer) = pipe::pipe(100);
    let cx = WasiCtx::builder().stdin(stdin).namespace(mounted(&[("/dev", &dev)]));
    let mut calls = Calls::new(cx.build());
    let mut open = |name: &str| calls.open(3, name, 0, ALL).expect(name);
    let [null, zero, full, random] = ["null", "zero", "full", "random"].map(&mut open);
    assert_eq!(calls.read(null, 9).as_deref(), Ok(&b""[..]));
    assert_eq!(calls.read(zero, 3).as_deref(), Ok(&[0; 3][..]));
    assert_eq!(calls.read(random, 100).map(|bytes| bytes.len()), Ok(100));
    assert_eq!(calls.write(null, b"gone"), Ok(4));
    assert_eq!(calls.write(full, b"x"), Err(Errno::Nospc));
    for fd in [null, zero, full, random] {
        assert_eq!(calls.fstat(fd).map(|stat| stat.filetype), Ok(2));
        assert_eq!(calls.seek(fd, 5, 0), Ok(5));
        assert_eq!(calls.call("fd_allocate", &[fd.into(), 0, 1]), Err(Errno::Nodev));
        assert_eq!(calls.call("fd_filestat_set_size", &[fd.into(), 0]), Err(Errno::Inval));
    }
    // Standard input by its name is a second number for the same thing.
    writer.write(b"ab").expect("room");
    let (stdin, by_number) =
        (calls.open(3, "stdin", 0, READ).expect("open"), calls.open(3, "fd/0", 0, READ));
    assert_eq!(calls.read(stdin, 1).as_deref(), Ok(&b"a"[..]));
    calls.close(0).expect("close");
    assert_eq!(calls.read(by_number.expect("open"), 1).as_deref(), Ok(&b"b"[..]));
    assert_eq!(calls.open(3, "fd/99", 0, READ), Err(Errno::Badf));
    // Nothing is made or removed there (EPERM: the filesystem has no such thing).
    assert_eq!(calls.open(3, "new", CREAT, ALL), Err(Errno::Perm));
    assert_eq!(calls.mkdir(3, "new"), Err(Errno::Perm));
    assert_eq!(calls.symlink("null", 3, "new"), Err(Errno::Perm));
    assert_eq!(calls.unlink(3, "null"), Err(Errno::Perm));
    assert_eq!(calls.rmdir(3, "fd"), Err(Errno::Perm));
    assert_eq!(calls.rename((3, "null"), (3, "new")), Err(Errno::Perm));
    assert_eq!(calls.link((3, "null"), 0, (3, "new")), Err(Errno::Perm));
}

fn with_network() -> (Calls, Net) {
    let policy = Policy::from_rules(["127.0.0.1:*"], []).unwrap();
    let net = Net::new(NetConfig { policy, ..NetConfig::default() });
    let dev: Arc<dyn Node> = Arc::new(Dev::with_net(net.clone()));
    (Calls::new(WasiCtx::builder().namespace(mounted(&[("/dev", &dev)])).build()), net)
}

#[test]
fn a_datagram_that_was_cut_says_so() {
    let peer = UdpSocket::bind("127.0.0.1:0").unwrap();
    let (mut calls, _) = with_network();
    let name = format!("udp/127.0.0.1/{}", peer.local_addr().unwrap().port());
    let fd = calls.open(3, &name, 0, ALL).expect("open");
    assert_eq!(sock_send(&mut calls, fd, b"hello"), Ok(5));
    let (_, from) = peer.recv_from(&mut [0; 9]).unwrap();
    for (sent, received, flags) in [("0123456789", "0123", [1, 0]), ("abcd", "abcd", [0, 0])] {
        peer.send_to(sent.as_bytes(), from).unwrap();
        assert_eq!(sock_recv(&mut calls, fd, 4, 0), Ok(received.into()));
        assert_eq!(calls.bytes(OUT + 8, 2), flags, "{sent}");
    }
}

#[test]
fn a_socket_has_no_rights_that_its_directory_does_not_hand_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (mut calls, _) = with_network();
    calls.call("fd_fdstat_get", &[3, OUT.into()]).unwrap();
    let base = calls.u64_at(OUT + 8);
    calls.call("fd_fdstat_set_rights", &[3, base, READ]).unwrap();
    let fd = calls.open(3, &listener.local_addr().unwrap().to_string(), 0, ALL).expect("open");
    assert_eq!(sock_send(&mut calls, fd, b"x"), Err(Errno::Notcapable));
}

#[test]
fn a_name_with_nothing_behind_it_is_not_there_however_it_is_opened() {
    let (_, net) = with_network();
    let socket: Arc<dyn Node> = Arc::new(UnixSocket::new("/no/such.sock".as_ref(), &net).unwrap());
    let root: Arc<dyn Node> = mem::tree(None);
    let namespace = mounted(&[("/", &root), ("/run/db", &socket)]);
    let mut calls = Calls::new(WasiCtx::builder().namespace(namespace).build());
    for flags in [0, CREAT] {
        assert_eq!(calls.open(3, "run/db", flags, ALL), Err(Errno::Noent), "{flags}");
    }
}

/// The position of a file that is a standard stream is shared with other processes, and moves
/// with each read: it can't be read anywhere, as a file can.
#[test]
fn a_standard_stream_is_a_stream_even_if_it_is_a_file() {
    let file = std::fs::File::open("fixtures/tree/hello.txt").unwrap();
    let stdin = Stream::new(&file).unwrap();
    let mut calls = Calls::new(WasiCtx::builder().stdin(stdin).build());
    calls.put(IOVS, &[DATA, 5].map(u32::to_le_bytes).concat());
    calls.call("fd_read", &[0, IOVS.into(), 1, OUT.into()]).unwrap();
    assert_eq!(calls.bytes(DATA, 5), b"hello");
    let out = u64::from(OUT);
    let (seek, tell) = (calls.call("fd_seek", &[0, 0, 0, out]), calls.call("fd_tell", &[0, out]));
    let pread = calls.call("fd_pread", &[0, IOVS.into(), 1, 0, out]);
    assert_eq!([seek, tell, pread], [Err(Errno::Spipe); 3]);
}
