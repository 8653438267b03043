//! What clients and guests have of it.

use std::io::{BufRead, BufReader, Read, Write};

use super::support::{Server, ask, client};
use crate::tls_util::Authority;
use crate::util::TempDir;
use rcgen::{DnType, ExtendedKeyUsagePurpose};

#[test]
fn a_line_is_answered_and_the_end_is_announced() {
    let server = Server::start(&[]);
    assert_eq!(ask(&mut server.connect(), "hello\n").unwrap(), "hello\n");
    assert_eq!(server.metric("tinyhost_tls_handshakes_total "), 1);
    assert_eq!(server.metric("tinyhost_tls_handshakes_failed_total "), 0);
}

#[test]
fn many_lines_of_a_connection_are_answered() {
    let server = Server::start(&["--keep-open"]);
    let mut client = BufReader::new(server.connect());
    for number in 0..200 {
        let line = format!("line {number}\n");
        client.get_mut().write_all(line.as_bytes()).unwrap();
        let mut reply = String::new();
        client.read_line(&mut reply).unwrap();
        assert_eq!(reply, line);
    }
    // All at once, so that many records wait to be read.
    let lines: String = (0..2000).map(|number| format!("{number}\n")).collect();
    client.get_mut().write_all(lines.as_bytes()).unwrap();
    let mut replies = vec![0; lines.len()];
    client.read_exact(&mut replies).unwrap();
    assert!(replies == lines.as_bytes());
}

#[test]
fn a_reply_larger_than_all_buffers_reaches_a_slow_client() {
    let server = Server::start(&["--max-line", "6M", "--timeout", "60s"]);
    let line = format!("{}\n", "x".repeat(6_000_000));
    let mut client = server.connect();
    client.write_all(line.as_bytes()).unwrap();
    // The server has filled what there is of room before anything is read.
    std::thread::sleep(std::time::Duration::from_millis(300));
    let mut reply = String::new();
    client.read_to_string(&mut reply).unwrap();
    assert!(reply == line, "{} of {}", reply.len(), line.len());
}

#[test]
fn a_guest_of_a_whole_connection_reads_and_writes_it() {
    let server = Server::start(&["--per", "connection", "fixtures/linefilter.wasm"]);
    let mut client = BufReader::new(server.connect());
    for line in ["one\n", "two\n"] {
        client.get_mut().write_all(line.as_bytes()).unwrap();
        let mut reply = String::new();
        client.read_line(&mut reply).unwrap();
        assert!(reply.to_lowercase().contains(line.trim()), "{reply}");
    }
    client.get_mut().conn.send_close_notify();
    client.get_mut().flush().unwrap();
    assert_eq!(client.read(&mut [0; 8]).unwrap(), 0, "it ends when its client does");
}

#[test]
fn the_certificate_of_a_client_is_checked_and_its_subject_told() {
    let (authority, clients) = (Authority::new("server"), Authority::new("clients"));
    let folder = TempDir::new();
    let server = authority.server();
    folder.file("cert.pem", server.pem.0.as_bytes());
    folder.file("key.pem", server.pem.1.as_bytes());
    folder.file("clients.pem", clients.pem().as_bytes());
    let options = ["--tls-client-ca", "DIR/clients.pem", "fixtures/envdump.wasm"];
    let server = Server::start_in(folder, authority, &options);
    let certificate = |authority: &Authority, name: &str| {
        authority.signs(&[], |params| {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.distinguished_name.push(DnType::CommonName, name);
            params.distinguished_name.push(DnType::OrganizationName, "Acme, Inc.");
        })
    };
    let own = certificate(&clients, "alice");
    let said = ask(&mut client(server.at, &server.authority, Some(&own)), "\n").unwrap();
    let line = "SSL_CLIENT_S_DN=O=Acme\\, Inc.,CN=alice";
    assert!(said.contains(line) && said.contains("SSL_PROTOCOL=TLSv1.3"), "{said}");
    // None, or one of another authority.
    let stranger = certificate(&Authority::new("strangers"), "alice");
    for own in [None, Some(&stranger)] {
        let answer = ask(&mut client(server.at, &server.authority, own), "\n");
        assert!(answer.is_err(), "{answer:?}");
    }
    // A client may know it before the server has counted it.
    while server.metric("tinyhost_tls_handshakes_failed_total ") < 2 {
        std::thread::yield_now();
    }
    assert_eq!(server.metric("tinyhost_tls_handshakes_total "), 1);
    assert_eq!(server.metric("tinyhost_lines_total{outcome=\"ok\"} "), 1, "no guest was run");
}
