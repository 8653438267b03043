//! A server whose process has no descriptors left. A process of its own, for the limit is
//! the process's.

#![cfg(all(unix, feature = "serve"))]

#[path = "util/busy.rs"]
mod busy;
#[path = "serve/support.rs"]
#[allow(dead_code)]
mod support;

use std::io::Write;
use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{program, serve};
use tinyhost::serve::Refusal;

#[test]
fn without_descriptors_accepting_rests_and_goes_on_later() {
    let server = serve(program("echo"), |config| {
        config.keep_open = true;
        config.metrics = Some("127.0.0.1:0".parse().unwrap());
    });
    let mut first = server.connect();
    first.write_all(b"in\n").unwrap();
    assert_eq!(server.some(&mut first, 3), b"in\n");
    let before = getrlimit(Resource::Nofile);
    // It has its own descriptor, but there will be none for the server's end of it.
    let [waiting, probe] = [(); 2].map(|()| {
        let stream = rustix::net::SocketType::STREAM;
        rustix::net::socket(rustix::net::AddressFamily::INET, stream, None).unwrap()
    });
    setrlimit(Resource::Nofile, Rlimit { current: Some(3), ..before }).unwrap();
    rustix::net::connect(&waiting, &server.addr).unwrap();
    rustix::net::connect(&probe, &server.metrics.unwrap()).unwrap();
    server.until("accepting to rest", |m| m.refused(Refusal::Accept) == 1);
    first.write_all(b"on\n").unwrap();
    assert_eq!(server.some(&mut first, 3), b"on\n", "those that are in are served");
    assert_eq!(server.handle.metrics().refused(Refusal::Accept), 1, "told once");
    setrlimit(Resource::Nofile, before).unwrap();
    server.until("the one that waited to be taken", |m| m.conns_open == 2);
    let mut late = TcpStream::from(waiting);
    late.write_all(b"late\n").unwrap();
    assert_eq!(server.some(&mut late, 5), b"late\n");
    // So is a probe that came in the meantime: nobody else has to come for it.
    let mut probe = TcpStream::from(probe);
    probe.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").unwrap();
    assert!(server.rest(&mut probe).starts_with(b"HTTP/1.0 200"));
}
