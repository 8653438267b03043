//! Connections that come by a proxy (the PROXY protocol).

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use tinyhost::serve::{Bind, Outcome, ProxyProtocol, Refusal, ServeConfig, TrustedProxy, Unit};

use crate::ahead::tells;
use crate::support::{Running, program, serve};
use crate::temp::TempDir;

const TEXT: &[u8] = b"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n";

/// 192.0.2.1:56324 to 198.51.100.7:443, and a name.
const BINARY: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x12\
                        \xc0\0\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb\x02\0\x03a.b";

/// A proxy asks whether the server is well.
const LOCAL: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0";

fn from(required: bool, proxies: &[&str]) -> Option<ProxyProtocol> {
    let from = proxies.iter().map(|text| text.parse().unwrap()).collect();
    Some(ProxyProtocol { required, from })
}

/// A server that trusts this machine's proxies.
fn behind(program: tinyhost::Program, adjust: impl FnOnce(&mut ServeConfig)) -> Running {
    serve(program, |config| {
        config.proxy_protocol =
            Some(ProxyProtocol { required: true, from: TrustedProxy::of_this_machine() });
        adjust(config);
    })
}

fn variables(told: &[u8]) -> Vec<String> {
    let told = std::str::from_utf8(told).unwrap().trim_end_matches('\0');
    told.split('\0').map(str::to_owned).collect()
}

/// The end of a connection that was refused, whose bytes may have been thrown away.
fn is_closed(client: &mut TcpStream) {
    let mut rest = Vec::new();
    match client.read_to_end(&mut rest) {
        Ok(_) => assert_eq!(rest, b"", "nothing is answered"),
        Err(error) => assert_eq!(error.kind(), ErrorKind::ConnectionReset),
    }
}

#[test]
fn the_client_is_the_one_the_proxy_says() {
    let server = behind(tells(true), |_| {});
    let expected = [
        "PROTO=TCP",
        "TCPREMOTEIP=192.0.2.1",
        "TCPREMOTEPORT=56324",
        "TCPLOCALIP=198.51.100.7",
        "TCPLOCALPORT=443",
    ];
    for header in [TEXT, BINARY] {
        let whole = [header, b"x\n"].concat();
        assert_eq!(variables(&server.ask(&whole)), expected);
        // A byte in each packet.
        let mut client = server.connect();
        client.set_nodelay(true).unwrap();
        for byte in &whole {
            client.write_all(&[*byte]).unwrap();
            std::thread::yield_now();
        }
        assert_eq!(variables(&server.rest(&mut client)), expected);
    }
    let record = server.until_record("guest ended");
    assert!(record.contains("client=192.0.2.1:56324"), "{record}");
    let six = b"PROXY TCP6 2001:db8::1 2001:db8::2 1 2\r\nx\n";
    assert_eq!(variables(&server.ask(six))[1], "TCPREMOTEIP=2001:db8::1");
}

#[test]
fn a_proxy_that_says_nothing_of_a_client_is_the_client() {
    let server = behind(tells(true), |_| {});
    for header in [b"PROXY UNKNOWN\r\n", LOCAL, b"PROXY UNKNOWN 192.0.2.1 what ever\r\n"] {
        let mut client = server.connect();
        let own = format!("TCPREMOTEPORT={}", client.local_addr().unwrap().port());
        client.write_all(&[header, b"x\n".as_slice()].concat()).unwrap();
        let told = variables(&server.rest(&mut client));
        assert_eq!(told[1..3], ["TCPREMOTEIP=127.0.0.1".to_owned(), own]);
    }
}

#[test]
fn all_that_follows_the_header_is_served() {
    let lines: Vec<String> = (0..5000).map(|number| format!("line {number}\n")).collect();
    let lines = lines.concat().into_bytes();
    let server = behind(program("promptreply"), |config| config.keep_open = true);
    let sent = [BINARY, &lines].concat();
    assert!(server.ask_and_shut(&sent) == lines);
    // A guest that reads the connection itself.
    let server = behind(program("echo"), |config| config.unit = Unit::Connection);
    let sent = [TEXT, &lines].concat();
    assert!(server.ask_and_shut(&sent) == lines);
    let server = behind(crate::http::cgi(), |config| config.unit = Unit::Http);
    let request =
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
    let reply = server.ask(&[TEXT, request].concat());
    let reply = String::from_utf8(reply).unwrap();
    for variable in ["REMOTE_ADDR=192.0.2.1\0", "REMOTE_PORT=56324\0", "SERVER_PORT=443\0"] {
        assert_eq!(reply.matches(variable).count(), 2, "{variable} in {reply}");
    }
}

#[test]
fn clients_are_counted_by_the_address_the_proxy_says() {
    let server = behind(program("echo"), |config| config.limits.max_conns_per_addr = 2);
    let connect = |client: u8| {
        let mut stream = server.connect();
        let header = format!("PROXY TCP4 192.0.2.{client} 198.51.100.7 1 2\r\n");
        stream.write_all(header.as_bytes()).unwrap();
        stream
    };
    let mut kept: Vec<_> = (1..4).flat_map(|client| [connect(client), connect(client)]).collect();
    is_closed(&mut connect(2));
    server.until("one refusal", |metrics| metrics.refused(Refusal::ConnsPerAddr) == 1);
    for client in &mut kept {
        client.write_all(b"x\n").unwrap();
        assert_eq!(server.rest(client), b"x\n");
    }
    // Their places are free again.
    drop(kept);
    server.until("all to be closed", |metrics| metrics.conns_open == 0);
    let mut again = connect(2);
    again.write_all(b"x\n").unwrap();
    assert_eq!(server.rest(&mut again), b"x\n");
}

#[test]
fn a_header_that_is_not_from_a_trusted_proxy_is_nothing() {
    let text = [TEXT, b"x\n"].concat();
    // It is what its client sends.
    let server = serve(program("echo"), |config| {
        config.proxy_protocol = from(false, &["10.0.0.0/8", "unix"]);
    });
    assert_eq!(server.ask(&text), TEXT);
    let record = server.until_record("guest ended");
    assert!(record.contains("client=127.0.0.1:"), "{record}");
    let server = serve(program("echo"), |config| {
        config.proxy_protocol = from(true, &["10.0.0.0/8", "::1", "unix"]);
    });
    let mut client = server.connect();
    let _ = client.write_all(&text);
    is_closed(&mut client);
    let metrics = server.until("a refusal", |metrics| metrics.refused(Refusal::Untrusted) == 1);
    assert_eq!(metrics.conns, 0);
    let record = "connection refused client=127.0.0.1:";
    server.waits_for("the record of it");
    while !crate::support::logged(record) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_connection_without_a_header_is_the_proxys_own_or_refused() {
    let server = behind(tells(true), |config| {
        config.proxy_protocol = from(false, &["127.0.0.1"]);
    });
    let mut client = server.connect();
    let own = format!("TCPREMOTEPORT={}", client.local_addr().unwrap().port());
    client.write_all(b"P\n").unwrap();
    assert_eq!(variables(&server.rest(&mut client))[2], own);
    // Something like a header that ends early, and nothing at all.
    assert!(!server.ask_and_shut(b"PROX").is_empty());
    assert_eq!(server.ask_and_shut(b""), b"");
    let server = behind(program("echo"), |_| {});
    for (sent, why) in [
        (&b"x\n"[..], "the connection does not begin with one"),
        (b"GET / HTTP/1.1\r\n\r\n", "the connection does not begin with one"),
        (b"PROXY TCP5 \r\nx\n", "its protocol is none of TCP4, TCP6 and UNKNOWN"),
        (b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c", "its version is 3, not 2"),
    ] {
        let before = server.handle.metrics().proxy_headers_failed;
        let mut client = server.connect();
        let _ = client.write_all(sent);
        is_closed(&mut client);
        server.until("it to be counted", |m| m.proxy_headers_failed == before + 1);
        let record = format!("why=\"{why}\"");
        assert!(crate::support::logged(&record), "{record}");
    }
    assert_eq!(server.handle.metrics().outcome(Outcome::Ok), 0, "no guest has run");
}

#[test]
fn a_header_that_is_cut_slow_or_followed_by_nothing_ends_in_time() {
    let server = behind(program("echo"), |config| {
        config.limits.timeout = Duration::from_millis(300);
        config.limits.idle = Duration::from_millis(300);
    });
    for header in [TEXT, BINARY] {
        for len in 1..header.len() {
            let mut client = server.connect();
            client.write_all(&header[..len]).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            is_closed(&mut client);
        }
    }
    let cut = (TEXT.len() + BINARY.len() - 2) as u64;
    server.until("all to be counted", |metrics| metrics.proxy_headers_failed == cut);
    // One asks only whether somebody listens.
    let mut silent = server.connect();
    silent.shutdown(Shutdown::Write).unwrap();
    is_closed(&mut silent);
    let mut stalled = server.connect();
    stalled.write_all(&TEXT[..20]).unwrap();
    is_closed(&mut stalled);
    server.until("it to be counted", |metrics| metrics.proxy_headers_failed == cut + 2);
    assert!(crate::support::logged("why=\"no PROXY header in time\""));
    let mut followed_by_nothing = server.connect();
    followed_by_nothing.write_all(TEXT).unwrap();
    is_closed(&mut followed_by_nothing);
    let metrics = server.until("all to be closed", |metrics| metrics.conns_open == 0);
    assert_eq!(metrics.proxy_headers_failed, cut + 2, "its header was right");
    assert_eq!(metrics.conns_idle, 2, "the one that stalled, and the last");
}

#[test]
fn a_proxy_may_connect_by_a_unix_socket() {
    let dir = TempDir::new();
    let path = dir.path().join("p.sock");
    let server = behind(tells(true), |config| {
        config.binds.push(Bind::Unix { path: path.clone(), mode: None });
    });
    let mut client = UnixStream::connect(&path).unwrap();
    client.write_all(&[BINARY, b"x\n"].concat()).unwrap();
    let mut told = Vec::new();
    server.waits_for("a reply");
    client.read_to_end(&mut told).unwrap();
    assert_eq!(variables(&told)[1], "TCPREMOTEIP=192.0.2.1");
    // And pass on the connection of a Unix socket of its own.
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x31\0\xd8".to_vec();
    header.resize(16 + 108, 0);
    header.extend(b"/run/front.sock");
    header.resize(16 + 216, 0);
    header.extend(b"x\n");
    assert_eq!(variables(&server.ask(&header)), ["PROTO=UNIX", "UNIXLOCALPATH=/run/front.sock"]);
}

#[test]
fn what_names_no_proxy_is_refused() {
    let parse = |text: &str| text.parse::<TrustedProxy>().map_err(|why| why.to_string());
    for text in ["10.0.0.7", "10.0.0.0/8", "0.0.0.0/0", "::/0", "fd00::/8", "::1", "unix"] {
        assert!(parse(text).is_ok(), "{text}");
    }
    let form = "write an address or a range, such as 10.0.0.0/8, or unix";
    for (text, why) in [
        ("", form),
        ("localhost", form),
        ("10.0.0.0:80", form),
        ("[::1]", form),
        ("10.0.0.1/8", "the address has bits beyond its mask: write 10.0.0.0/8"),
        ("fd00::1/8", "the address has bits beyond its mask: write fd00::/8"),
        ("10.0.0.0/33", "write a mask from 0 to 32"),
        ("10.0.0.0/+8", "write a mask from 0 to 32"),
        ("::/129", "write a mask from 0 to 128"),
    ] {
        assert_eq!(parse(text), Err(why.to_owned()), "{text}");
    }
}
