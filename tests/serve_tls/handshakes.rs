//! Handshakes that are slow or fail, and certificates that are renewed or wrong.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rustix::process::Signal;

use super::support::{Server, ask};
use crate::tls_util::Authority;
use crate::util::{Process, TempDir, tinyhost};

#[test]
fn a_client_that_does_not_speak_tls_is_hung_up_on() {
    let server = Server::start(&[]);
    for text in ["hello\n", "GET / HTTP/1.1\r\n\r\n", "\0\0\0\0\0\0"] {
        let mut plain = TcpStream::connect(server.at).unwrap();
        plain.write_all(text.as_bytes()).unwrap();
        let mut answer = Vec::new();
        let _ = plain.read_to_end(&mut answer);
        assert!(!answer.ends_with(b"hello\n"));
    }
    server.process.wait_for_line("handshake failed");
    assert_eq!(server.metric("tinyhost_tls_handshakes_failed_total "), 3);
    assert_eq!(ask(&mut server.connect(), "x\n").unwrap(), "x\n");
}

#[test]
fn a_slow_handshake_has_the_time_of_a_request_however_slowly_it_comes() {
    let server = Server::start(&["--timeout", "500ms", "--idle", "1h"]);
    let mut silent = TcpStream::connect(server.at).unwrap();
    let mut slow = TcpStream::connect(server.at).unwrap();
    slow.set_nonblocking(true).unwrap();
    // The beginning of a hello, and then a byte now and then.
    slow.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).unwrap();
    loop {
        if slow.write_all(&[0]).is_err() {
            break;
        }
        match slow.read(&mut [0; 64]) {
            Ok(0) => break,
            Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => break,
            _ => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    let _ = silent.read_to_end(&mut Vec::new());
    server.process.wait_for_line("no handshake in time");
    assert_eq!(server.metric("tinyhost_tls_handshakes_failed_total "), 2);
}

#[test]
fn a_handshake_under_way_holds_a_place() {
    let server = Server::start(&["--max-conns", "2"]);
    let held: Vec<_> = (0..2).map(|_| TcpStream::connect(server.at).unwrap()).collect();
    // Their places are taken once they are accepted.
    while server.metric("tinyhost_connections_open ") < 2 {
        std::thread::yield_now();
    }
    assert!(ask(&mut server.connect(), "x\n").is_err());
    assert_eq!(server.metric("tinyhost_refused_total{limit=\"conns\"} "), 1);
    drop(held);
    while server.metric("tinyhost_connections_open ") > 0 {
        std::thread::yield_now();
    }
    assert_eq!(ask(&mut server.connect(), "x\n").unwrap(), "x\n");
}

#[test]
fn a_signal_loads_the_certificate_again_and_a_bad_one_is_not_taken() {
    let mut server = Server::start(&[]);
    let renewed = Authority::new("renewed");
    let identity = renewed.server();
    server.folder.file("cert.pem", identity.pem.0.as_bytes());
    server.process.signal(Signal::HUP);
    server.process.wait_for_line("certificate not reloaded, the old one stays");
    assert_eq!(ask(&mut server.connect(), "old\n").unwrap(), "old\n");
    server.folder.file("key.pem", identity.pem.1.as_bytes());
    server.process.signal(Signal::HUP);
    server.process.wait_for_line("certificate reloaded");
    assert!(ask(&mut server.connect(), "x\n").is_err(), "the old authority does not know it");
    server.authority = renewed;
    assert_eq!(ask(&mut server.connect(), "new\n").unwrap(), "new\n");
}

#[test]
fn mistakes_are_found_at_the_start() {
    let (authority, folder) = (Authority::new("test"), TempDir::new());
    let (one, other) = (authority.server(), authority.server());
    let cert = folder.file("cert.pem", one.pem.0.as_bytes());
    let key = folder.file("key.pem", one.pem.1.as_bytes());
    let other = folder.file("other.pem", other.pem.1.as_bytes());
    let empty = folder.file("empty.pem", b"");
    for (options, line) in [
        (vec!["--tls-cert", &cert], "--tls-key is missing: give the key of --tls-cert".to_owned()),
        (
            vec!["--tls-key", &key],
            "--tls-cert is missing: give the server's certificate".to_owned(),
        ),
        (
            vec!["--tls-client-ca", &cert],
            "--tls-cert is missing: give the server's certificate".to_owned(),
        ),
        (
            vec!["--tls-cert", &cert, "--tls-key", &other],
            format!("--tls-cert {cert}: the key is not that of the certificate"),
        ),
        (
            vec!["--tls-cert", &empty, "--tls-key", &key],
            format!("--tls-cert {empty}: the certificate: there is none in it: give PEM text"),
        ),
        (
            vec!["--tls-cert", &cert, "--tls-key", &empty],
            format!("--tls-cert {cert}: the key: there is no private key in it: give PEM text"),
        ),
        (
            vec!["--tls-cert", &cert, "--tls-key", "/no/such"],
            "--tls-key /no/such: can't read the file: no such file or directory: check the path"
                .to_owned(),
        ),
        (
            vec!["--tls-cert", &cert, "--tls-key", &key, "--env", "SSL_CLIENT_S_DN=x"],
            "--env SSL_CLIENT_S_DN: serve sets this variable for each client: leave it out"
                .to_owned(),
        ),
    ] {
        let words = [&["serve", "--bind", "127.0.0.1:0"], &options[..]].concat();
        let ended = Process::start(tinyhost(words)).input(b"").end();
        assert_eq!(ended.status, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(&line), "{line}: {}", ended.stderr);
    }
}

/// A proxy speaks before the client that it passes on.
#[test]
fn the_header_of_a_proxy_precedes_the_handshake() {
    let server = Server::start(&["--proxy-protocol=required", "--log-level=debug"]);
    let mut client = server.connect();
    client.sock.write_all(b"PROXY TCP4 192.0.2.1 192.0.2.2 5 6\r\n").unwrap();
    assert_eq!(ask(&mut client, "x\n").unwrap(), "x\n");
    server.process.wait_for_line("guest ended client=192.0.2.1:5");
    // With the beginning of the handshake in the same packet, and with a byte in each.
    let header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x02\xc0\0\x02\x09\0\x07\0\x08";
    let mut client = server.connect();
    client.sock.set_nodelay(true).unwrap();
    let mut hello = header.to_vec();
    client.conn.write_tls(&mut hello).unwrap();
    for byte in hello {
        client.sock.write_all(&[byte]).unwrap();
    }
    assert_eq!(ask(&mut client, "y\n").unwrap(), "y\n");
    server.process.wait_for_line("guest ended client=192.0.2.2:7");
    // Without one there is no handshake.
    assert!(ask(&mut server.connect(), "z\n").is_err());
    server.process.wait_for_line("PROXY header refused");
    assert_eq!(server.metric("tinyhost_tls_handshakes_total "), 2);
    assert_eq!(server.metric("tinyhost_tls_handshakes_failed_total "), 0);
    assert_eq!(server.metric("tinyhost_proxy_headers_failed_total "), 1);
}
