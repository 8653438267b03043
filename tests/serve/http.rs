//! Requests of HTTP/1.1, each served by a guest as in CGI.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use tinyhost::Program;
use tinyhost::serve::{Outcome, ServeConfig, Unit};

use crate::busy::LIMIT;
use crate::support::{Running, serve};

/// A program of CGI: `$begin`, and then `$pass`, which writes what comes on standard input.
fn program(begin: &str, data: &str) -> Program {
    Program::new(module(begin, data)).unwrap()
}

pub fn module(begin: &str, data: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (import "wasi_snapshot_preview1" "path_open" (func $path_open
              (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 4)
          (data (i32.const 64) "{data}")
          (func $say (param $at i32) (param $len i32)
            (i32.store (i32.const 0) (local.get $at))
            (i32.store (i32.const 4) (local.get $len))
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
          (func $environment
            (drop (call $sizes (i32.const 16) (i32.const 20)))
            (drop (call $environ_get (i32.const 0x10000) (i32.const 0x20000)))
            (call $say (i32.const 0x20000) (i32.load (i32.const 20))))
          (func $pass
            (loop $more
              (i32.store (i32.const 0) (i32.const 0x10000))
              (i32.store (i32.const 4) (i32.const 0x8000))
              (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
              (if (i32.load (i32.const 8)) (then
                (call $say (i32.const 0x10000) (i32.load (i32.const 8)))
                (br $more)))))
          (func (export "_start") {begin}))"#
    );
    wat::parse_str(text).unwrap()
}

/// Replies with its environment, a newline, and the body of the request.
pub fn cgi() -> Program {
    let head = "Content-Type: text/plain\\n\\n\\n";
    let begin = "(call $say (i32.const 64) (i32.const 26)) (call $environment)
                 (call $say (i32.const 89) (i32.const 1)) (call $pass)";
    program(begin, head)
}

/// The same, once it has read the whole body.
pub fn cgi_after_body() -> Program {
    Program::new(cgi_after_body_module()).unwrap()
}

pub fn cgi_after_body_module() -> Vec<u8> {
    let head = "Content-Type: text/plain\\n\\n\\n";
    let begin = "(local $len i32)
        (loop $more
          (i32.store (i32.const 0) (i32.add (i32.const 0x30000) (local.get $len)))
          (i32.store (i32.const 4) (i32.const 0x4000))
          (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
          (local.set $len (i32.add (local.get $len) (i32.load (i32.const 8))))
          (br_if $more (i32.load (i32.const 8))))
        (call $say (i32.const 64) (i32.const 26)) (call $environment)
        (call $say (i32.const 89) (i32.const 1))
        (call $say (i32.const 0x30000) (local.get $len))";
    module(begin, head)
}

/// Replies with this, whatever is asked.
fn fixed(reply: &str) -> Program {
    let begin = format!("(call $say (i32.const 64) (i32.const {}))", reply.len());
    program(&begin, &reply.replace('\n', "\\n").replace('\r', "\\0d"))
}

pub fn http(program: Program, adjust: impl FnOnce(&mut ServeConfig)) -> Running {
    serve(program, |config| {
        config.unit = Unit::Http;
        adjust(config);
    })
}

/// The field of a reply that is sent as it comes.
pub const CHUNKED: &str = "\r\nTransfer-Encoding: chunked\r\n";

const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// The next reply of a connection: its head, and its body as far as a length or chunks say.
pub fn reply(client: &mut impl BufRead) -> (String, Vec<u8>) {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(client.read_line(&mut head).unwrap() > 0, "the head ends early: {head:?}");
    }
    let field = |name: &str| {
        head.lines().find_map(|line| line.strip_prefix(name).map(|value| value.trim().to_owned()))
    };
    let mut body = Vec::new();
    if let Some(length) = field("Content-Length:") {
        body.resize(length.parse().unwrap(), 0);
        client.read_exact(&mut body).unwrap();
    } else if field("Transfer-Encoding:").as_deref() == Some("chunked") {
        loop {
            let mut line = String::new();
            client.read_line(&mut line).unwrap();
            let length = usize::from_str_radix(line.trim_end(), 16).unwrap();
            let start = body.len();
            body.resize(start + length + 2, 0);
            client.read_exact(&mut body[start..]).unwrap();
            assert!(body.ends_with(b"\r\n"));
            body.truncate(start + length);
            if length == 0 {
                break;
            }
        }
    } else if !head.contains(" 204 ") && !head.contains(" 304 ") {
        client.read_to_end(&mut body).unwrap();
    }
    (head, body)
}

/// All that a server sends for this, until it closes.
fn all(server: &Running, request: &[u8]) -> String {
    let mut client = server.connect();
    client.write_all(request).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    answer
}

fn without_date(answer: &str) -> String {
    answer.split_inclusive("\r\n").filter(|line| !line.starts_with("Date: ")).collect()
}

#[test]
fn requests_of_a_connection_are_answered_in_order() {
    let server = http(cgi(), |_| {});
    let mut client = server.connect();
    let request = |i: usize| match i % 3 {
        0 => format!("GET /{i} HTTP/1.1\r\nHost: a\r\n\r\n"),
        1 => format!("POST /{i} HTTP/1.1\r\nHost: a\r\nContent-Length: 4\r\n\r\nbody"),
        _ => format!(
            "PUT /{i} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbo\r\n2\r\ndy\r\n0\r\n\r\n"
        ),
    };
    let pipelined: String = (0..200).map(request).collect();
    client.write_all(pipelined.as_bytes()).unwrap();
    let mut client = BufReader::new(client);
    for i in 0..200 {
        let (head, body) = reply(&mut client);
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n") && !head.contains("close"), "{head}");
        let body = String::from_utf8(body).unwrap();
        assert!(body.contains(&format!("\0PATH_INFO=/{i}\0")), "{i}: {body:?}");
        assert!(body.ends_with(if i % 3 == 0 { "\0\n" } else { "\0\nbody" }), "{i}: {body:?}");
    }
    let metrics = server.handle.metrics();
    assert_eq!((metrics.outcome(Outcome::Ok), metrics.conns), (200, 1));
}

#[test]
fn the_environment_has_the_client() {
    let server = http(cgi(), |_| {});
    let client = server.connect();
    let addr = client.local_addr().unwrap();
    (&client).write_all(GET).unwrap();
    let (_, body) = reply(&mut BufReader::new(client));
    let env = String::from_utf8(body).unwrap();
    for wanted in [
        "GATEWAY_INTERFACE=CGI/1.1".to_owned(),
        format!("REMOTE_ADDR={}", addr.ip()),
        format!("REMOTE_PORT={}", addr.port()),
        format!("SERVER_PORT={}", server.addr.port()),
        format!("SERVER_SOFTWARE=tinyhost/{}", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(env.split('\0').any(|line| line == wanted), "{wanted}: {env:?}");
    }
}

#[test]
fn a_guest_says_status_and_fields() {
    for (reply, expected) in [
        (
            "Status: 404 Not Here\nX-A: b\n\nno\n",
            "HTTP/1.1 404 Not Here\r\nX-A: b\r\nContent-Length: 3\r\n\r\nno\n",
        ),
        ("Status: 201\r\n\r\n", "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"),
        ("Location: /x\n\n", "HTTP/1.1 302 Found\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n"),
        ("Status: 204 No Content\nContent-Length: 4\n\nbody", "HTTP/1.1 204 No Content\r\n\r\n"),
        (
            "Status: 304\nETag: \\22a\\22\n\nbody",
            "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
        ),
        ("Content-Length: 2\n\nok", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
        ("\nbare", "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nbare"),
        // What is the server's to say is not the guest's.
        (
            "Connection: close\nTransfer-Encoding: chunked\nDate: never\n\nx",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx",
        ),
        // Cut off where it said that it ends; the next reply must not begin there.
        (
            "Content-Length: 2\n\nokHTTP/1.1 200 forged",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        ),
    ] {
        let program = match reply.contains("\\22") {
            true => {
                let len = reply.replace("\\22", "\"").len();
                program(
                    &format!("(call $say (i32.const 64) (i32.const {len}))"),
                    &reply.replace('\n', "\\n"),
                )
            }
            false => fixed(reply),
        };
        let server = http(program, |_| {});
        assert_eq!(without_date(&all(&server, GET)), expected, "{reply:?}");
    }
}

#[test]
fn a_reply_without_a_valid_head_is_an_error() {
    let long = format!("X: {}\n", "y".repeat(17 << 10));
    for reply in [
        "",
        "no head at all",
        "Content-Type: text/plain\n",
        "no colon\n\nx",
        "X y: z\n\nx",
        ": z\n\nx",
        "Status: 99\n\nx",
        "Status: 101 Switching\n\nx",
        "Status: abc\n\nx",
        "Status: 200\nStatus: 404\n\nx",
        "Content-Length: 1\nContent-Length: 2\n\nx",
        "Content-Length: one\n\nx",
        "X: a\rSet-Cookie: b\n\nx",
        "HTTP/1.1 200 OK\n\nx",
        &long,
    ] {
        let server = http(fixed(reply), |_| {});
        let answer = all(&server, GET);
        assert!(answer.starts_with("HTTP/1.1 500 "), "{reply:?}: {answer}");
        assert!(answer.contains("\r\nConnection: close\r\n"), "{answer}");
    }
}

#[test]
fn a_guest_that_fails_is_an_error_unless_its_head_was_sent() {
    let head = "Content-Type: text/plain\n\n";
    let say = format!("(call $say (i32.const 64) (i32.const {}))", head.len());
    for (ends, status) in
        [("(unreachable)", 500), ("(call $exit (i32.const 3))", 500), ("(loop $l (br $l))", 504)]
    {
        let guest = program(&format!("{say} {ends}"), &head.replace('\n', "\\n"));
        let server = http(guest, |config| config.limits.timeout = Duration::from_millis(300));
        let answer = all(&server, GET);
        if status == 504 {
            // It was a slice of time or more ahead: its head went out, and the end is missing.
            assert!(
                answer.ends_with("\r\n\r\n") && !answer.ends_with("0\r\n\r\n")
                    || answer.contains(" 504 "),
                "{answer}"
            );
        } else {
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        }
    }
}

#[test]
fn only_a_head_is_sent_for_head() {
    let server = http(cgi(), |_| {});
    let mut client = server.connect();
    client.write_all(b"HEAD /x HTTP/1.1\r\nHost: a\r\n\r\nGET /y HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
    // A guest that has not ended with its slice has no length yet.
    let framed = head.contains("Content-Length: ") || head.contains("Transfer-Encoding: chunked");
    assert!(framed && rest.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert!(rest.contains("PATH_INFO=/y") && rest.contains("Connection: close\r\n"), "{answer}");
}

/// A guest that passes the body on, in both directions at the same time.
#[test]
fn bodies_stream_both_ways() {
    let server = http(cgi(), |_| {});
    let client = server.connect();
    let mut sender = client.try_clone().unwrap();
    sender.write_all(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
    let mut client = BufReader::new(client);
    let mut line = String::new();
    client.read_line(&mut line).unwrap();
    client.read_line(&mut line).unwrap();
    assert_eq!(line, "HTTP/1.1 100 Continue\r\n\r\n");
    sender.write_all(b"5\r\nfirst\r\n").unwrap();
    // The reply begins while the request has not ended.
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        client.read_line(&mut head).unwrap();
    }
    assert!(head.contains("Transfer-Encoding: chunked\r\n"), "{head}");
    let mut seen = Vec::new();
    while !seen.windows(5).any(|part| part == b"first") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    sender.write_all(b"4\r\nlast\r\n0\r\n\r\n").unwrap();
    while !seen.ends_with(b"0\r\n\r\n") {
        let mut byte = [0];
        client.read_exact(&mut byte).unwrap();
        seen.push(byte[0]);
    }
    assert!(seen.windows(4).any(|part| part == b"last"));
    // And the connection goes on.
    sender.write_all(GET).unwrap();
    assert!(reply(&mut client).0.starts_with("HTTP/1.1 200 OK"));
}

#[test]
fn a_large_body_goes_through_whole() {
    const SIZE: usize = 3 << 20;
    let server = http(cgi(), |_| {});
    let client = server.connect();
    let mut sender = client.try_clone().unwrap();
    let body: Vec<u8> = (0..SIZE).map(|i| (i % 251) as u8).collect();
    let sent = body.clone();
    let feeder = std::thread::spawn(move || {
        sender
            .write_all(
                format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {SIZE}\r\n\r\n").as_bytes(),
            )
            .unwrap();
        sender.write_all(&sent).unwrap();
    });
    let (head, answer) = reply(&mut BufReader::new(client));
    feeder.join().unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert!(answer.ends_with(&body), "{} bytes", answer.len());
}

/// What a guest leaves of a body is not taken for the next request.
#[test]
fn an_unread_body_is_skipped_or_the_connection_closes() {
    let server = http(fixed("\nok"), |_| {});
    let mut client = server.connect();
    let body = "GET /evil HTTP/1.1\r\nHost: a\r\n\r\n".repeat(100);
    let request = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", body.len());
    client.write_all(format!("{request}{body}").as_bytes()).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    // More than is worth it.
    let client = server.connect();
    let mut sender = client.try_clone().unwrap();
    let large = vec![b'x'; 2 << 20];
    let feeder = std::thread::spawn(move || {
        let head = format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n", large.len());
        let _ = sender.write_all(head.as_bytes()).and_then(|()| sender.write_all(&large));
    });
    let mut client = BufReader::new(client);
    assert!(reply(&mut client).0.starts_with("HTTP/1.1 200 OK"));
    let mut rest = Vec::new();
    let _ = client.read_to_end(&mut rest);
    assert_eq!(rest, b"", "nothing more is answered");
    feeder.join().unwrap();
}

#[test]
fn heads_and_bodies_have_limits() {
    let server = http(cgi(), |config| {
        config.limits.max_head = 1000;
        config.limits.max_body = 10;
    });
    let head = |extra: &str| format!("GET / HTTP/1.1\r\nHost: a\r\n{extra}\r\n");
    let long = format!("X: {}\r\n", "y".repeat(1000));
    let many = "X:1\r\n".repeat(101);
    let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n6\r\n123456\r\n6\r\n123456\r\n0\r\n\r\n";
    for (request, status) in [
        (head(&long), 431),
        (head(&many), 431),
        (head("Content-Length: 11\r\n") + "12345678901", 413),
        (chunked.to_owned(), 413),
        (head("Content-Length: 10\r\n") + "1234567890", 200),
    ] {
        let answer = all(&server, request.as_bytes());
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{status}: {answer}");
    }
    assert_eq!(server.handle.metrics().outcome(Outcome::BadRequest), 4);
}

/// A head or body that comes too slowly ends with the time of the request.
#[test]
fn slow_heads_and_bodies_are_cut_off() {
    let server = http(cgi(), |config| config.limits.timeout = Duration::from_millis(200));
    for request in [
        &b"GET / HTTP/1.1\r\nHost: a\r\n"[..],
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nsome",
    ] {
        let mut client = server.connect();
        client.set_read_timeout(Some(LIMIT)).unwrap();
        client.write_all(request).unwrap();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer);
        assert!(!answer.ends_with("0\r\n\r\n"), "no whole answer: {answer}");
    }
    assert_eq!(server.handle.metrics().outcome(Outcome::Timeout), 2);
}

#[test]
fn http_1_0_closes_unless_it_asks_not_to() {
    let server = http(cgi(), |_| {});
    let mut client = server.connect();
    client.write_all(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\nGET / HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert_eq!(answer.matches("HTTP/1.1 200 OK").count(), 2, "{answer}");
    assert_eq!(answer.matches("Connection: keep-alive\r\n").count(), 1, "{answer}");
}
