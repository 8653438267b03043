//! The end of a server behind a balancer: it says that it ends before it refuses anything.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use tinyhost::serve::{Outcome, ServeConfig, Unit};

use crate::busy::LIMIT;
use crate::support::{Running, program, serve};

/// A server that drains for ever.
fn drains(program: tinyhost::Program, adjust: impl FnOnce(&mut ServeConfig)) -> Running {
    serve(program, |config| {
        config.metrics = Some("127.0.0.1:0".parse().unwrap());
        config.drain = LIMIT;
        adjust(config);
    })
}

fn health(server: &Running) -> String {
    let mut client = TcpStream::connect(server.metrics.unwrap()).unwrap();
    client.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_server_that_drains_accepts_and_says_that_it_ends() {
    let mut server = drains(program("echo"), |_| {});
    assert!(health(&server).starts_with("HTTP/1.0 200 OK\r\n"));
    assert!(!server.handle.shutdown(), "it goes on");
    let answer = health(&server);
    assert!(answer.starts_with("HTTP/1.0 503 Service Unavailable\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\ndraining\n"), "{answer}");
    for _ in 0..20 {
        assert_eq!(server.ask(b"late\n"), b"late\n");
    }
    assert!(server.handle.shutdown(), "asked again, it stops");
    server.join();
    assert!(TcpStream::connect(server.addr).is_err());
}

#[test]
fn a_drain_ends_by_itself() {
    let mut server = drains(program("echo"), |config| config.drain = Duration::from_millis(50));
    let mut idle = server.connect();
    server.until("it to be accepted", |metrics| metrics.conns_open == 1);
    server.handle.shutdown();
    assert_eq!(server.rest(&mut idle), b"");
    server.join();
}

/// Its client then knows that nothing it sent was lost.
#[test]
fn a_connection_that_is_kept_open_closes_after_a_reply() {
    let server = drains(program("promptreply"), |config| config.keep_open = true);
    let (mut before, mut ahead) = (server.connect(), server.connect());
    before.write_all(b"1\n").unwrap();
    assert_eq!(server.some(&mut before, 2), b"1\n");
    // Half a line that is there when the drain begins.
    ahead.write_all(b"1\n2\n3").unwrap();
    assert_eq!(server.some(&mut ahead, 4), b"1\n2\n");
    server.handle.shutdown();
    while !health(&server).ends_with("draining\n") {
        std::thread::yield_now();
    }
    before.write_all(b"2\n").unwrap();
    assert_eq!(server.rest(&mut before), b"2\n");
    ahead.write_all(b"\n").unwrap();
    assert_eq!(server.rest(&mut ahead), b"3\n");
    // All that is sent ahead is answered.
    let mut after = server.connect();
    after.write_all(b"1\n2\n3\n4\n").unwrap();
    assert_eq!(server.rest(&mut after), b"1\n2\n3\n4\n");
    server.until("all lines to be counted", |metrics| metrics.outcome(Outcome::Ok) == 9);
}

#[test]
fn replies_of_http_say_that_no_other_follows() {
    let server = drains(crate::http::cgi(), |config| config.unit = Unit::Http);
    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    let mut kept = server.connect();
    kept.write_all(REQUEST).unwrap();
    let mut head = vec![0; 16];
    kept.read_exact(&mut head).unwrap();
    assert!(head.starts_with(b"HTTP/1.1 200 OK\r"), "{head:?}");
    server.until("its end", |metrics| metrics.outcome(Outcome::Ok) == 1);
    server.handle.shutdown();
    while !health(&server).ends_with("draining\n") {
        std::thread::yield_now();
    }
    kept.write_all(REQUEST).unwrap();
    let rest = String::from_utf8(server.rest(&mut kept)).unwrap();
    assert_eq!(rest.matches("\r\nConnection: close\r\n").count(), 1, "{rest}");
    let reply = String::from_utf8(server.ask(REQUEST)).unwrap();
    assert!(reply.contains("\r\nConnection: close\r\n"), "{reply}");
}
