//! Servers that misbehave.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use tinyhost::Errno;
use tinyhost::vfs::Interest;
use tinyhost::vfs::net::NetConfig;

use super::support::{name, trusting, world};
use crate::net_util::{World, drive, read, read_to_end, write_all};
use crate::tls_util::{self, Authority, BOTH, finish, serve_one, serve_raw};

/// Reads a ClientHello's record.
fn hello(stream: &mut TcpStream) {
    let mut head = [0; 5];
    stream.read_exact(&mut head).unwrap();
    let mut body = vec![0; usize::from(u16::from_be_bytes([head[3], head[4]]))];
    stream.read_exact(&mut body).unwrap();
}

/// Sends this in place of an answer to the client's hello, and reads until the client is gone.
fn answering(bytes: Vec<u8>) -> (Option<Errno>, String) {
    let (at, server) = serve_raw(move |mut stream| {
        hello(&mut stream);
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let world = world(&Authority::new("test"));
    let errno = world.dial(&name(at)).err();
    server.join().unwrap();
    (errno, world.denials().concat())
}

/// A record of this type and version.
fn record(kind: u8, version: [u8; 2], body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).unwrap().to_be_bytes();
    [&[kind], &version[..], &length, body].concat()
}

#[test]
fn a_server_of_an_older_version_is_refused() {
    // A ServerHello of TLS 1.1: version, random, no session, a cipher suite, no compression.
    let mut body = vec![3, 2];
    body.extend([7; 32]);
    body.extend([0, 0xc0, 0x13, 0]);
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[2], &length[1..], &body].concat();
    let (errno, why) = answering(record(22, [3, 2], &message));
    assert_eq!(errno, Some(Errno::Io));
    assert!(why.contains("neither TLS 1.2 nor 1.3"), "{why}");
    // One that says so itself.
    let (errno, why) = answering(record(21, [3, 2], &[2, 70]));
    assert_eq!(errno, Some(Errno::Io));
    assert!(why.contains("neither TLS 1.2 nor 1.3"), "{why}");
}

#[test]
fn a_server_of_something_else_is_refused() {
    for text in ["HTTP/1.1 400 Bad Request\r\n\r\n", "220 mail ESMTP\r\n", "\0\0\0\0\0\0\0\0"] {
        let (errno, why) = answering(text.into());
        assert_eq!(errno, Some(Errno::Io), "{text}");
        assert!(why.contains("the server does not speak TLS"), "{why}");
    }
}

#[test]
fn an_early_end_is_one_wherever_it_comes() {
    let (errno, why) = answering(Vec::new());
    assert_eq!(errno, Some(Errno::Io));
    assert!(why.ends_with("the server hung up during the handshake"), "{why}");
    // What a whole handshake of the server is, cut off everywhere.
    let authority = Authority::new("test");
    let config = tls_util::config(&authority.server(), BOTH);
    let (at, server) = serve_one(config, |mut session| {
        let mut sent = Vec::new();
        session.conn.read_tls(&mut session.sock).unwrap();
        session.conn.process_new_packets().unwrap();
        while session.conn.wants_write() {
            session.conn.write_tls(&mut sent).unwrap();
        }
        sent.len()
    });
    assert!(world(&authority).dial(&name(at)).is_err());
    let whole = server.join().unwrap();
    for length in (1..whole).step_by(97) {
        let config = tls_util::config(&authority.server(), BOTH);
        let (at, _) = serve_one(config, move |mut session| {
            let mut sent = Vec::new();
            session.conn.read_tls(&mut session.sock).unwrap();
            session.conn.process_new_packets().unwrap();
            while session.conn.wants_write() {
                session.conn.write_tls(&mut sent).unwrap();
            }
            let _ = session.sock.write_all(&sent[..length.min(sent.len())]);
            let _ = session.sock.shutdown(Shutdown::Write);
            let _ = std::io::copy(&mut session.sock, &mut std::io::sink());
        });
        assert_eq!(world(&authority).dial(&name(at)).err(), Some(Errno::Io), "{length}");
    }
}

#[test]
fn an_end_without_close_notify_is_an_error_after_what_came() {
    let authority = Authority::new("test");
    let config = tls_util::config(&authority.server(), BOTH);
    let (at, _) = serve_one(config, |mut session| {
        session.write_all(b"half a rep").unwrap();
        session.flush().unwrap();
        let _ = session.sock.shutdown(Shutdown::Write);
        let _ = std::io::copy(&mut session.sock, &mut std::io::sink());
    });
    let world = world(&authority);
    let mut file = world.dial(&name(at)).unwrap();
    let mut buf = [0; 64];
    let mut came = Vec::new();
    let error = loop {
        match drive(&mut *file, Interest::READ, |file| read(file, &mut buf)) {
            Ok(0) => panic!("it looks like a whole reply"),
            Ok(count) => came.extend_from_slice(&buf[..count]),
            Err(error) => break error,
        }
    };
    assert_eq!((&came[..], error), (&b"half a rep"[..], Errno::Io));
    assert_eq!(read(&mut *file, &mut buf), Err(Errno::Io), "and stays one");
    assert!(file.ready(Interest::READ).is_ok(), "which a poll finds");
    assert!(world.denials()[0].contains("hung up without the end of the stream"));
}

#[test]
fn records_and_packets_of_one_byte_are_read() {
    struct Drop1<'a>(&'a mut TcpStream);
    impl Write for Drop1<'_> {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.write(&bytes[..bytes.len().min(1)])
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let authority = Authority::new("test");
    let config = tls_util::config(&authority.server(), BOTH);
    let (at, _) = serve_one(config, |mut session| {
        while session.conn.is_handshaking() {
            while session.conn.wants_write() {
                session.conn.write_tls(&mut Drop1(&mut session.sock)).unwrap();
            }
            if session.conn.wants_read() {
                session.conn.read_tls(&mut session.sock).unwrap();
                session.conn.process_new_packets().unwrap();
            }
        }
        for byte in b"one by one" {
            session.conn.writer().write_all(&[*byte]).unwrap();
            while session.conn.wants_write() {
                session.conn.write_tls(&mut Drop1(&mut session.sock)).unwrap();
            }
        }
        finish(session);
    });
    let mut file = world(&authority).dial(&name(at)).unwrap();
    assert_eq!(read_to_end(&mut *file), b"one by one");
}

#[test]
fn a_server_that_never_answers_is_timed_out() {
    let connect_timeout = Duration::from_millis(300);
    let (at, server) = serve_raw(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let world = World::new(NetConfig { connect_timeout, ..trusting(&Authority::new("test")) });
    assert_eq!(world.dial(&name(at)).err(), Some(Errno::Timedout));
    assert!(world.denials()[0].ends_with("the server did not finish the handshake"));
    server.join().unwrap();
    // One byte at a time does not give it more.
    let (at, server) = serve_raw(|mut stream| {
        let _ = stream.write_all(&[22, 3, 3, 0x40, 0]);
        while stream.write_all(&[11]).is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
    });
    assert_eq!(world.dial(&name(at)).err(), Some(Errno::Timedout));
    server.join().unwrap();
}

#[test]
fn nobody_there_is_refused_as_without_tls() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let world = world(&Authority::new("test"));
    assert_eq!(world.dial(&format!("tls/127.0.0.1/{}", at.port())).err(), Some(Errno::Connrefused));
}

#[test]
fn a_megabyte_of_handshake_is_refused_before_it_is_kept() {
    // A Certificate message that says it has 1 MiB, in records as large as they may be.
    let mut message = vec![11, 0x10, 0, 0];
    message.resize(4 + (1 << 20), 0);
    let mut bytes = Vec::new();
    let mut server_hello = vec![3, 3];
    server_hello.extend([7; 32]);
    server_hello.extend([0, 0xc0, 0x2b, 0]);
    let length = u32::try_from(server_hello.len()).unwrap().to_be_bytes();
    bytes.extend(record(22, [3, 3], &[&[2], &length[1..], &server_hello].concat()));
    message.chunks(16 << 10).for_each(|part| bytes.extend(record(22, [3, 3], part)));
    let (errno, why) = answering(bytes);
    assert_eq!(errno, Some(Errno::Io));
    assert!(why.contains("failed: dial"), "{why}");
    // And as one without an end: empty hello after empty hello.
    let (errno, _) = answering(record(22, [3, 3], &[0, 0, 0, 0].repeat(4096)).repeat(64));
    assert_eq!(errno, Some(Errno::Io));
}

#[test]
fn keys_are_changed_as_often_as_is_reasonable() {
    let authority = Authority::new("test");
    let config = tls_util::config(&authority.server(), BOTH);
    let (at, _) = serve_one(config, |mut session| {
        session.write_all(b"a").unwrap();
        session.conn.refresh_traffic_keys().unwrap();
        session.write_all(b"b").unwrap();
        let mut there = [0; 1];
        session.read_exact(&mut there).unwrap();
        finish(session);
    });
    let mut file = world(&authority).dial(&name(at)).unwrap();
    let mut buf = [0; 1];
    drive(&mut *file, Interest::READ, |file| read(file, &mut buf)).unwrap();
    write_all(&mut *file, b"x");
    assert_eq!(read_to_end(&mut *file), b"b");
    // One who does nothing else is stopped.
    let config = tls_util::config(&authority.server(), BOTH);
    let (at, _) = serve_one(config, |mut session| {
        session.write_all(b"a").unwrap();
        for _ in 0..1000 {
            session.conn.refresh_traffic_keys().unwrap();
            if session.flush().is_err() {
                break;
            }
        }
        let _ = std::io::copy(&mut session.sock, &mut std::io::sink());
    });
    let mut file = world(&authority).dial(&name(at)).unwrap();
    drive(&mut *file, Interest::READ, |file| read(file, &mut buf)).unwrap();
    let end = drive(&mut *file, Interest::READ, |file| read(file, &mut buf));
    assert_eq!(end, Err(Errno::Io));
}
