//! `/dev/https`: what a server gets of a request, and which requests are refused.

use std::io::{IoSlice, Read, Write};

use tinyhost::Errno;
use tinyhost::vfs::net::{NetConfig, Secret, Tls};
use tinyhost::vfs::{File, Interest};

use super::support::LOCAL;
use crate::net_util::{World, config, drive, read, read_to_end};
use crate::tls_util::{self, Authority, BOTH, finish, serve_one};

const VALUE: &str = "Bearer s3cr3t-t0k3n";

/// What a server got, byte for byte, of what a guest wrote in pieces of that size; and the errno
/// of the write, the read that follows, and what was reported.
struct Sent {
    got: String,
    port: u16,
    error: Option<Errno>,
    answer: Result<Vec<u8>, Errno>,
    denials: Vec<String>,
}

fn send(request: &str, piece: usize) -> Sent {
    send_with(&[("Authorization", VALUE)], request, piece)
}

fn send_with(secrets: &[(&str, &str)], request: &str, piece: usize) -> Sent {
    let authority = Authority::new("test");
    let config = tls_util::config(&authority.server(), BOTH);
    let marked = request.contains("END");
    let (at, server) = serve_one(config, move |mut session| {
        let mut got = Vec::new();
        let mut some = [0; 4096];
        // The head, or up to a marker in its body.
        loop {
            match session.read(&mut some) {
                Ok(0) | Err(_) => break,
                Ok(count) => got.extend_from_slice(&some[..count]),
            }
            let whole = if marked { contains(&got, b"END") } else { got.ends_with(b"\r\n\r\n") };
            if whole {
                let _ = session.write_all(b"HTTP/1.1 200 OK\r\n\r\nfine");
                finish(session);
                break;
            }
        }
        String::from_utf8_lossy(&got).into_owned()
    });
    let port = at.port();
    let world = world(&authority, port, secrets);
    let mut file = world.dial(&format!("https/localhost:{port}")).unwrap();
    let request = request.replace("PORT", &port.to_string());
    let error = request.as_bytes().chunks(piece).find_map(|part| write(&mut *file, part).err());
    let answer = match error {
        None => Ok(read_to_end(&mut *file)),
        Some(_) => {
            drive(&mut *file, Interest::READ, |file| read(file, &mut [0; 64])).map(|_| vec![])
        }
    };
    drop(file);
    Sent { got: server.join().unwrap(), port, error, answer, denials: world.denials() }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn world(authority: &Authority, port: u16, secrets: &[(&str, &str)]) -> World {
    let mut tls = Tls::default().trust("test", authority.pem().as_bytes()).unwrap();
    for (name, value) in secrets {
        let peer = format!("localhost:{port}");
        tls = tls.secret(Secret::new(&peer, name, value.as_bytes()).unwrap());
    }
    // No rule: the secret is one.
    World::new(NetConfig { tls, ..config(&[], &[]) })
}

fn write(file: &mut dyn File, mut bytes: &[u8]) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let write = |file: &mut dyn File| file.write(&[IoSlice::new(bytes)], 0);
        bytes = &bytes[drive(file, Interest::WRITE, write)?..];
    }
    Ok(())
}

#[test]
fn the_host_sets_its_headers_and_leaves_the_others() {
    let request = "POST /a?b=c%20d HTTP/1.1\r\nX-One:  1 \r\nHost: localhost:PORT\r\n\
                   Content-Length: 7\r\nauthorization: Bearer mine\r\nConnection: Authorization, x\r\n\
                   AUTHORIZATION: again\r\nCookie: a=\u{e9}\r\n\r\nbodyEND";
    for piece in [1, 7, 1 << 20] {
        let sent = send(request, piece);
        let expected = format!(
            "POST /a?b=c%20d HTTP/1.1\r\nHost: localhost:{}\r\nX-One: 1\r\nContent-Length: 7\r\n\
             Cookie: a=\u{e9}\r\nAuthorization: {VALUE}\r\nConnection: close\r\n\r\nbodyEND",
            sent.port
        );
        assert_eq!((sent.error, sent.got), (None, expected), "{:?}", sent.denials);
        assert_eq!(sent.answer.unwrap(), b"HTTP/1.1 200 OK\r\n\r\nfine");
    }
}

#[test]
fn ordinary_requests_pass() {
    for request in [
        "GET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.0\r\nHost: localhost\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: LOCALHOST.:PORT\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\n\r\n",
        "DELETE /a//b/../c;d HTTP/1.1\r\nX_Other: 1\r\nEmpty:\r\n\r\n",
        "PUT / HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n3\r\nEND\r\n0\r\n\r\n",
        "PUT / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        "PUT / HTTP/1.1\r\nContent-Length: 0003\r\n\r\nEND",
    ] {
        let sent = send(request, 5);
        assert_eq!((sent.error, &sent.denials[..]), (None, &[][..]), "{request:?}");
        assert_eq!(sent.got.matches(VALUE).count(), 1, "{}", sent.got);
        assert!(sent.got.contains(&format!("\r\nHost: localhost:{}\r\n", sent.port)));
    }
}

/// Requests that some server reads in another way, or that are none; and why.
const REFUSED: &[(&str, &str)] = &[
    ("GET http://localhost:PORT/ HTTP/1.1\r\n\r\n", "its target is no path"),
    ("GET https://evil.test/ HTTP/1.1\r\nHost: localhost:PORT\r\n\r\n", "its target is no path"),
    ("GET evil.test HTTP/1.1\r\n\r\n", "its target is no path"),
    ("GET * HTTP/1.1\r\n\r\n", "its target is no path"),
    ("GET /a#b HTTP/1.1\r\n\r\n", "its first line is not"),
    ("GET  / HTTP/1.1\r\n\r\n", "not HTTP/1.1"),
    ("GET / HTTP/1.1 \r\n\r\n", "not HTTP/1.1"),
    ("GET / x HTTP/1.1\r\n\r\n", "not HTTP/1.1"),
    ("GET /\r\n\r\n", "not HTTP/1.1"),
    ("GET / HTTP/2.0\r\n\r\n", "not HTTP/1.1"),
    ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "not HTTP/1.1"),
    ("\r\nGET / HTTP/1.1\r\n\r\n", "begins with an empty line"),
    ("TRACE / HTTP/1.1\r\n\r\n", "send the request back"),
    ("trace / HTTP/1.1\r\n\r\n", "send the request back"),
    ("CONNECT evil.test:443 HTTP/1.1\r\n\r\n", "a tunnel"),
    ("GET / HTTP/1.1\r\nHost: evil.test\r\n\r\n", "its Host is not"),
    ("GET / HTTP/1.1\r\nHost: localhost:1\r\n\r\n", "its Host is not"),
    ("GET / HTTP/1.1\r\nHost: localhost@evil.test\r\n\r\n", "its Host is not"),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "its Host is not"),
    ("GET / HTTP/1.1\r\nHost: localhost\r\nhost: localhost\r\n\r\n", "two Host"),
    ("GET / HTTP/1.1\r\nA: b\r\n c: d\r\n\r\n", "a header is folded"),
    ("GET / HTTP/1.1\r\n A: b\r\n\r\n", "a header is folded"),
    ("GET / HTTP/1.1\r\nA: b\r\n\t\r\n\r\n", "a header is folded"),
    ("GET / HTTP/1.1\r\nA: b\0c\r\n\r\n", "a NUL"),
    ("GET / HTTP/1.1\r\nA: b\rc\r\n\r\n", "a CR without LF"),
    ("GET / HTTP/1.1\r\nA: b\r\r\n\r\n", "a CR without LF"),
    ("GET / HTTP/1.1\nA: b\n\n", "a line ends without CR"),
    ("GET / HTTP/1.1\r\nA: b\n\r\n\r\n", "a line ends without CR"),
    ("GET / HTTP/1.1\r\nA: b\u{7f}\r\n\r\n", "a control character"),
    ("GET / HTTP/1.1\r\nA: \x1b[2J\r\n\r\n", "a control character"),
    ("GET / HTTP/1.1\r\nA : b\r\n\r\n", "not HTTP/1.1"),
    ("GET / HTTP/1.1\r\nAuthorization : b\r\n\r\n", "not HTTP/1.1"),
    ("GET / HTTP/1.1\r\nno colon\r\n\r\n", "not HTTP/1.1"),
    ("GET / HTTP/1.1\r\n: b\r\n\r\n", "not HTTP/1.1"),
    ("GET / HTTP/1.1\r\nA(: b\r\n\r\n", "not HTTP/1.1"),
    ("GET / HTTP/1.1\r\nContent_Length: 3\r\n\r\n", "underscore"),
    ("GET / HTTP/1.1\r\nTransfer_Encoding: chunked\r\n\r\n", "underscore"),
    ("PUT / HTTP/1.1\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nEND", "two Content-Length"),
    ("PUT / HTTP/1.1\r\nContent-Length: 3, 3\r\n\r\nEND", "is no number"),
    ("PUT / HTTP/1.1\r\nContent-Length: +3\r\n\r\nEND", "is no number"),
    ("PUT / HTTP/1.1\r\nContent-Length: -3\r\n\r\nEND", "is no number"),
    ("PUT / HTTP/1.1\r\nContent-Length: 0x3\r\n\r\nEND", "is no number"),
    ("PUT / HTTP/1.1\r\nContent-Length:\r\n\r\nEND", "is no number"),
    ("PUT / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n", "is no number"),
    (
        "PUT / HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length and Transfer-Encoding",
    ),
    ("PUT / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "not 'chunked' alone"),
    ("PUT / HTTP/1.1\r\nTransfer-Encoding: xchunked\r\n\r\n", "not 'chunked' alone"),
    ("PUT / HTTP/1.1\r\nTransfer-Encoding: identity\r\n\r\n", "not 'chunked' alone"),
    (
        "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "not 'chunked' alone",
    ),
    ("PUT / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "HTTP/1.0 has no"),
    ("GET / HTTP/1.1\r\n\r\nGET /two HTTP/1.1\r\n\r\n", "something follows the request"),
    ("PUT / HTTP/1.1\r\nContent-Length: 2\r\n\r\nabGET /two HTTP/1.1\r\n\r\n", "longer than its"),
    (
        "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /two HTTP/1.1\r\n\r\n",
        "something follows the request",
    ),
    ("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\n\r\n", "an extension"),
    ("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nA: b\r\n\r\n", "has trailers"),
    ("PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1\nab\n0\n\n", "the size of a chunk"),
];

#[test]
fn what_can_be_read_in_two_ways_is_refused_and_nothing_of_it_is_sent() {
    for (request, why) in REFUSED {
        let sent = send(request, 1 << 20);
        assert_eq!(sent.error, Some(Errno::Inval), "{request:?}");
        assert_eq!(sent.answer, Err(Errno::Inval), "{request:?}");
        assert_eq!(sent.got, "", "{request:?}");
        let line = format!("denied: https:localhost:{}: the request is refused: ", sent.port);
        let [denial] = &sent.denials[..] else { panic!("{request:?}: {:?}", sent.denials) };
        assert!(denial.starts_with(&line) && denial.contains(why), "{request:?}: {denial}");
    }
}

#[test]
fn the_same_in_pieces_never_sends_what_is_refused() {
    for (request, _) in REFUSED {
        let sent = send(request, 1);
        assert_eq!(sent.error, Some(Errno::Inval), "{request:?}");
        assert!(!sent.got.contains("/two") && !sent.got.contains("evil"), "{}", sent.got);
        assert_eq!(sent.denials.len(), 1, "{request:?}");
    }
}

#[test]
fn a_name_that_is_another_but_for_case_or_underscore_can_not_stand_beside_the_secret() {
    let secrets = [("X-Api-Key", "value one"), ("Authorization", VALUE)];
    let sent = send_with(&secrets, "GET / HTTP/1.1\r\nx-api-KEY: mine\r\n\r\n", 1 << 20);
    assert_eq!(sent.error, None);
    assert_eq!(sent.got.to_ascii_lowercase().matches("x-api-key").count(), 1, "{}", sent.got);
    assert!(sent.got.contains("X-Api-Key: value one\r\n") && sent.got.contains(VALUE));
    for name in ["X_Api_Key", "x_api-key", "X-API_KEY"] {
        let request = format!("GET / HTTP/1.1\r\n{name}: mine\r\n\r\n");
        let sent = send_with(&secrets, &request, 1 << 20);
        assert_eq!((sent.error, &*sent.got), (Some(Errno::Inval), ""), "{name}");
    }
}

#[test]
fn a_head_has_64_kib_and_no_more() {
    let fill = |length: usize| {
        let line = "GET / HTTP/1.1\r\nA: ";
        format!("{line}{}\r\n\r\n", "b".repeat(length - line.len() - 4))
    };
    let sent = send(&fill(64 << 10), 10_000);
    assert_eq!(sent.error, None, "{:?}", sent.denials);
    let sent = send(&fill((64 << 10) + 1), 10_000);
    assert_eq!((sent.error, &*sent.got), (Some(Errno::Inval), ""));
    assert!(sent.denials[0].ends_with("its head is longer than 64 KiB"), "{:?}", sent.denials);
    let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(129));
    let sent = send(&many, 10_000);
    assert_eq!(sent.error, Some(Errno::Inval));
    assert!(sent.denials[0].ends_with("too many headers"), "{:?}", sent.denials);
}

#[test]
fn a_large_body_passes_unchanged() {
    let body: String = (0..300_000).map(|number| format!("{number},")).collect();
    for framing in ["length", "chunked"] {
        let request = if framing == "length" {
            format!("PUT / HTTP/1.1\r\nContent-Length: {}\r\n\r\n{body}END", body.len() + 3)
        } else {
            let chunks: String = body
                .as_bytes()
                .chunks(70_000)
                .map(|part| format!("{:x}\r\n{}\r\n", part.len(), str::from_utf8(part).unwrap()))
                .collect();
            format!(
                "PUT / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}3\r\nEND\r\n0\r\n\r\n"
            )
        };
        let sent = send(&request, 100_000);
        assert_eq!(sent.error, None, "{:?}", sent.denials);
        let (_, tail) = request.split_once("\r\n\r\n").unwrap();
        let (_, got) = sent.got.split_once("\r\n\r\n").unwrap();
        // The server ends at the marker, before what follows it of a chunk.
        assert!(tail.starts_with(got) && got.len() > body.len(), "{framing}");
    }
}

#[test]
fn only_requests_to_the_peer_of_the_secret_are_allowed_by_it() {
    let authority = Authority::new("test");
    let (at, _) = serve_one(tls_util::config(&authority.server(), BOTH), drop);
    let port = at.port();
    let world = world(&authority, port, &[("Authorization", VALUE)]);
    for path in [
        format!("tls/localhost/{port}"),
        format!("localhost:{port}"),
        format!("https/127.0.0.1:{port}"),
        format!("https/localhost:{}", port ^ 1),
    ] {
        let opened = world.open(&path, crate::net_util::READ_WRITE);
        assert_eq!(opened.err(), Some(Errno::Acces), "{path}");
    }
    let rule = format!("(allow with --net https:127.0.0.1:{port})");
    assert!(world.denials().iter().any(|denial| denial.ends_with(&rule)), "{:?}", world.denials());
    // Another peer's requests go without it.
    let got = {
        let config = tls_util::config(&authority.server(), BOTH);
        let (at, server) = serve_one(config, |mut session| {
            let head = tls_util::read_head(&mut session);
            finish(session);
            head
        });
        let tls = Tls::default().trust("test", authority.pem().as_bytes()).unwrap();
        let peer = format!("localhost:{}", at.port() ^ 1);
        let tls = tls.secret(Secret::new(&peer, "Authorization", VALUE.as_bytes()).unwrap());
        let other = World::new(NetConfig { tls, ..config_local() });
        let mut file = other.dial(&format!("https/localhost:{}", at.port())).unwrap();
        write(&mut *file, b"GET / HTTP/1.1\r\nAuthorization: mine\r\n\r\n").unwrap();
        let _ = read_to_end(&mut *file);
        drop(file);
        server.join().unwrap()
    };
    assert!(got.contains("\r\nAuthorization: mine\r\n") && !got.contains(VALUE), "{got}");
}

fn config_local() -> NetConfig {
    config(LOCAL, &[])
}

#[test]
fn names_that_can_be_none_are_not_dialled() {
    let world = World::new(config(&["*:*"], &[]));
    for (path, errno) in [
        ("https", Errno::Noent),
        ("https/a.test/443", Errno::Noent),
        ("https/a.test:0", Errno::Inval),
        ("https/a.test:x", Errno::Inval),
        ("https/::1", Errno::Inval),
        ("https/a b", Errno::Inval),
    ] {
        assert_eq!(world.open(path, crate::net_util::READ_WRITE).err(), Some(errno), "{path}");
    }
    assert_eq!(world.resolver.asked(), [""; 0]);
}
