//! Raw requests, and the answer that each must get.

use std::io::{Read, Write};
use std::net::Shutdown;

use crate::http::{CHUNKED, cgi_after_body, http, reply};

/// What must come of a request: the status, and what of a reply.
struct Case(&'static str, u16, &'static [&'static str]);

const HOST: &str = "Host: a\r\n";

/// `~` stands for a Host field. What is expected of 200 is lines of the guest's environment, or
/// `body=` with the body it has read.
const CASES: &[Case] = &[
    // Well-formed.
    Case(
        "GET / HTTP/1.1\r\n~\r\n",
        200,
        &["REQUEST_METHOD=GET", "PATH_INFO=/", "QUERY_STRING=", "body="],
    ),
    Case(
        "GET /a/b?c=d&e HTTP/1.1\r\n~\r\n",
        200,
        &["PATH_INFO=/a/b", "QUERY_STRING=c=d&e", "REQUEST_URI=/a/b?c=d&e", "SCRIPT_NAME="],
    ),
    Case("GET /a%20b%2Fc HTTP/1.1\r\n~\r\n", 200, &["PATH_INFO=/a b/c"]),
    Case("GET /?a?b HTTP/1.1\r\n~\r\n", 200, &["QUERY_STRING=a?b"]),
    Case("GET / HTTP/1.0\r\n\r\n", 200, &["SERVER_PROTOCOL=HTTP/1.0", "SERVER_NAME=localhost"]),
    Case("\r\nGET / HTTP/1.1\r\n~\r\n", 200, &["PATH_INFO=/"]),
    Case(
        "GET / HTTP/1.1\r\nhost: example.org:8080\r\n\r\n",
        200,
        &["SERVER_NAME=example.org", "HTTP_HOST=example.org:8080"],
    ),
    Case("GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200, &["SERVER_NAME=[::1]"]),
    Case("GET / HTTP/1.1\r\nHost:\r\n\r\n", 200, &["SERVER_NAME=localhost"]),
    Case("DELETE /x HTTP/1.1\r\n~\r\n", 200, &["REQUEST_METHOD=DELETE"]),
    Case("M-SEARCH /x HTTP/1.1\r\n~\r\n", 200, &["REQUEST_METHOD=M-SEARCH"]),
    Case("OPTIONS * HTTP/1.1\r\n~\r\n", 200, &["REQUEST_METHOD=OPTIONS", "PATH_INFO="]),
    Case(
        "GET http://b.org/x?y HTTP/1.1\r\n~\r\n",
        200,
        &["SERVER_NAME=b.org", "PATH_INFO=/x", "QUERY_STRING=y", "HTTP_HOST=a"],
    ),
    Case("GET HTTP://b.org HTTP/1.1\r\n~\r\n", 200, &["SERVER_NAME=b.org", "PATH_INFO=/"]),
    Case("GET / HTTP/1.1\r\n~\rX-A: 1\r\nx-a:2\r\n\r\n", 400, &[]),
    Case("GET / HTTP/1.1\r\n~X-A: 1\r\nx-a:2\r\n\r\n", 200, &["HTTP_X_A=1, 2"]),
    Case("GET / HTTP/1.1\r\n~Cookie: a=1\r\nCookie: b=2\r\n\r\n", 200, &["HTTP_COOKIE=a=1; b=2"]),
    Case("GET / HTTP/1.1\r\n~X-A:   spaced out \t\r\n\r\n", 200, &["HTTP_X_A=spaced out"]),
    Case("GET / HTTP/1.1\r\n~X-E:\r\n\r\n", 200, &["HTTP_X_E="]),
    Case("GET / HTTP/1.1\r\n~Proxy: evil:80\r\n\r\n", 200, &["!HTTP_PROXY"]),
    Case(
        "GET / HTTP/1.1\r\n~X_A: 1\r\nConnection: close\r\nTE: trailers\r\n\r\n",
        200,
        &["!HTTP_X_A", "!HTTP_CONNECTION", "!HTTP_TE"],
    ),
    // Bodies.
    Case(
        "POST / HTTP/1.1\r\n~Content-Length: 5\r\nContent-Type: text/x\r\n\r\nhello",
        200,
        &["CONTENT_LENGTH=5", "CONTENT_TYPE=text/x", "!HTTP_CONTENT_LENGTH", "body=hello"],
    ),
    Case("POST / HTTP/1.1\r\n~Content-Length: 0\r\n\r\n", 200, &["CONTENT_LENGTH=0", "body="]),
    Case("POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi", 200, &["body=hi"]),
    Case(
        "POST / HTTP/1.1\r\n~Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nA\r\n, chunked!\r\n0\r\n\r\n",
        200,
        &["body=hello, chunked!", "!CONTENT_LENGTH"],
    ),
    Case(
        "POST / HTTP/1.1\r\n~Transfer-Encoding: Chunked\r\n\r\n1;a=b;c\r\nx\r\n000\r\nT: 1\r\nU: 2\r\n\r\n",
        200,
        &["body=x"],
    ),
    Case("POST / HTTP/1.1\r\n~Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 200, &["body="]),
    Case("GET / HTTP/1.1\r\n~Content-Length: 3\r\n\r\nabc", 200, &["body=abc"]),
    // Two lengths, two codings.
    Case("POST / HTTP/1.1\r\n~Content-Length: 1\r\nContent-Length: 1\r\n\r\nx", 400, &[]),
    Case("POST / HTTP/1.1\r\n~Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400, &[]),
    Case("POST / HTTP/1.1\r\n~Content-Length: 1, 1\r\n\r\nx", 400, &[]),
    Case(
        "POST / HTTP/1.1\r\n~Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
        &[],
    ),
    Case(
        "POST / HTTP/1.1\r\n~Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        501,
        &[],
    ),
    Case("POST / HTTP/1.1\r\n~Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n", 501, &[]),
    Case("POST / HTTP/1.1\r\n~Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501, &[]),
    Case("POST / HTTP/1.1\r\n~Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 501, &[]),
    Case("POST / HTTP/1.1\r\n~Transfer-Encoding:\r\n\r\n", 501, &[]),
    Case("POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, &[]),
    Case("POST / HTTP/1.1\r\n~Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", 400, &[]),
    // Lengths that are none.
    Case("POST / HTTP/1.1\r\n~Content-Length: -1\r\n\r\n", 400, &[]),
    Case("POST / HTTP/1.1\r\n~Content-Length: +1\r\n\r\nx", 400, &[]),
    Case("POST / HTTP/1.1\r\n~Content-Length: 0x1\r\n\r\nx", 400, &[]),
    Case("POST / HTTP/1.1\r\n~Content-Length:\r\n\r\n", 400, &[]),
    Case("POST / HTTP/1.1\r\n~Content-Length: 99999999999999999999\r\n\r\n", 413, &[]),
    Case("POST / HTTP/1.1\r\n~Content-Length: 8388609\r\n\r\n", 413, &[]),
    // Chunks that are none.
    Case("POST / HTTP/1.1\r\n~Transfer-Encoding: chunked\r\n\r\nx\r\n", 400, &[]),
    Case("POST / HTTP/1.1\r\n~Transfer-Encoding: chunked\r\n\r\n-1\r\n", 400, &[]),
    Case("POST / HTTP/1.1\r\n~Transfer-Encoding: chunked\r\n\r\n0x1\r\n", 400, &[]),
    Case("POST / HTTP/1.1\r\n~Transfer-Encoding: chunked\r\n\r\n 1\r\nx\r\n0\r\n\r\n", 400, &[]),
    Case("POST / HTTP/1.1\r\n~Transfer-Encoding: chunked\r\n\r\n1\nx\r\n0\r\n\r\n", 400, &[]),
    Case("POST / HTTP/1.1\r\n~Transfer-Encoding: chunked\r\n\r\n1\r\nxy\r\n0\r\n\r\n", 400, &[]),
    Case(
        "POST / HTTP/1.1\r\n~Transfer-Encoding: chunked\r\n\r\n1;a\rb\r\nx\r\n0\r\n\r\n",
        400,
        &[],
    ),
    Case("POST / HTTP/1.1\r\n~Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n", 400, &[]),
    Case("POST / HTTP/1.1\r\n~Transfer-Encoding: chunked\r\n\r\nffffffff\r\n", 413, &[]),
    Case("POST / HTTP/1.1\r\n~Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", 400, &[]),
    Case("POST / HTTP/1.1\r\n~Content-Length: 9\r\n\r\nshort", 400, &[]),
    // Lines.
    Case("GET / HTTP/1.1\nHost: a\n\n\r\n\r\n", 400, &[]),
    Case("GET / HTTP/1.1\r\n~X: a\r\n b\r\n\r\n", 400, &[]),
    Case("GET / HTTP/1.1\r\n X: a\r\n~\r\n", 400, &[]),
    Case("GET / HTTP/1.1\r\n~X: a\rb\r\n\r\n", 400, &[]),
    Case("GET / HTTP/1.1\r\n~X: a\0b\r\n\r\n", 400, &[]),
    Case("GET / HTTP/1.1\r\n~X\r\n\r\n", 400, &[]),
    Case("GET / HTTP/1.1\r\n~: nothing\r\n\r\n", 400, &[]),
    Case("GET / HTTP/1.1\r\n~X y: a\r\n\r\n", 400, &[]),
    Case("GET  / HTTP/1.1\r\n~\r\n", 400, &[]),
    Case("GET / HTTP/1.1 x\r\n~\r\n", 400, &[]),
    Case("GET /\r\n\r\n", 400, &[]),
    Case("G\u{e9}T / HTTP/1.1\r\n~\r\n", 400, &[]),
    Case("\u{16}\u{3}\u{1}\0", 400, &[]),
    // Targets and hosts.
    Case("GET / HTTP/1.1\r\n\r\n", 400, &[]),
    Case("GET / HTTP/1.1\r\n~Host: b\r\n\r\n", 400, &[]),
    Case("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, &[]),
    Case("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, &[]),
    Case("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", 400, &[]),
    Case("GET x HTTP/1.1\r\n~\r\n", 400, &[]),
    Case("GET * HTTP/1.1\r\n~\r\n", 400, &[]),
    Case("GET http:///x HTTP/1.1\r\n~\r\n", 400, &[]),
    Case("GET ftp://b/x HTTP/1.1\r\n~\r\n", 400, &[]),
    Case("GET http://u@b/x HTTP/1.1\r\n~\r\n", 400, &[]),
    Case("GET /a%0 HTTP/1.1\r\n~\r\n", 400, &[]),
    Case("GET /a%zz HTTP/1.1\r\n~\r\n", 400, &[]),
    Case("GET /a%00b HTTP/1.1\r\n~\r\n", 400, &[]),
    Case("GET /a#b HTTP/1.1\r\n~\r\n", 400, &[]),
    Case("CONNECT a:80 HTTP/1.1\r\n~\r\n", 501, &[]),
    // Versions and expectations.
    Case("GET / HTTP/2.0\r\n~\r\n", 505, &[]),
    Case("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, &[]),
    Case("GET / HTTP/9.1\r\n~\r\n", 505, &[]),
    Case("GET / http/1.1\r\n~\r\n", 505, &[]),
    Case("GET / HTTP/1.1\r\n~Expect: a-miracle\r\n\r\n", 417, &[]),
];

/// Sends a request and closes that direction, and answers all that comes.
fn raw(addr: std::net::SocketAddr, request: &[u8], piece: usize) -> String {
    let mut client = std::net::TcpStream::connect(addr).unwrap();
    client.set_nodelay(true).unwrap();
    client.set_read_timeout(Some(crate::busy::LIMIT)).unwrap();
    for bytes in request.chunks(piece) {
        // It may have been answered and closed by now.
        if client.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = client.shutdown(Shutdown::Write);
    let mut answer = Vec::new();
    let _ = client.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

fn check(case: &Case, answer: &str) {
    let Case(request, status, expected) = case;
    let context = || format!("{request:?}\nwas answered with\n{answer}");
    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "not {status}: {}", context());
    // A reply whose guest has not ended with its slice is sent as it comes.
    let framed = answer.contains("\r\nContent-Length: ") || answer.contains(CHUNKED);
    assert!(framed, "no length: {}", context());
    let mut rest = answer.as_bytes();
    let (head, body) = reply(&mut rest);
    let body = String::from_utf8(body).expect("text");
    assert!(rest.is_empty(), "one answer and no more: {}", context());
    assert!(head.lines().any(|line| line.starts_with("Date: ")), "{}", context());
    if *status != 200 {
        assert!(head.lines().any(|line| line == "Connection: close"), "{}", context());
        return;
    }
    let (env, read) = body.split_once("\0\n").unwrap_or_else(|| panic!("{}", context()));
    for wanted in *expected {
        if let Some(text) = wanted.strip_prefix("body=") {
            assert_eq!(read, text, "{}", context());
        } else if let Some(name) = wanted.strip_prefix('!') {
            let there = env.split('\0').any(|line| line.split('=').next() == Some(name));
            assert!(!there, "{name} is there: {}", context());
        } else {
            assert!(
                env.split('\0').any(|line| line == *wanted),
                "{wanted} is missing: {}",
                context()
            );
        }
    }
}

/// However the bytes come: at once, and one by one.
#[test]
fn each_request_has_its_right_answer() {
    assert!(CASES.len() >= 60);
    let server = http(cgi_after_body(), |_| {});
    for case in CASES {
        let request = case.0.replacen('~', HOST, 1);
        for piece in [usize::MAX, 1] {
            check(case, &raw(server.addr, request.as_bytes(), piece));
        }
    }
}
