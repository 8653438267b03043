//! Requests of HTTP/1.1, each served by a guest that starts from an image.

use std::io::Write;
use std::sync::Arc;

use tinyhost::serve::Outcome;
use tinyhost::vfs::Namespace;
use tinyhost::vfs::dev::Dev;
use tinyhost::{Program, WarmUp, Warmth, WasiCtx};

use crate::http::{CHUNKED, cgi_after_body_module, http, module, reply};
use crate::support::Running;

fn with_dev() -> Namespace {
    Namespace::builder().reusable().mount("/dev", Arc::new(Dev::new())).unwrap().build()
}

fn warm(wasm: &[u8]) -> Program {
    let context = || WasiCtx::builder().namespace(with_dev());
    let program = Program::warm(&WarmUp::default(), wasm, &context).unwrap();
    assert!(matches!(program.warmth(), Some(Warmth::Warm(_))), "{:?}", program.warmth());
    program
}

fn serve(program: Program) -> Running {
    http(program, |config| config.namespace = Arc::new(with_dev))
}

/// Reads the body to 0x30000, and then replies with its environment, as a file has it, how many
/// requests it has served, and the body. Then it does `after`, and all that again.
fn request_after_request(after: &str) -> Vec<u8> {
    let begin = format!(
        r#"(local $len i32) (local $served i32) (local $variables i32)
        (loop $request
          (local.set $len (i32.const 0))
          (loop $more
            (i32.store (i32.const 0) (i32.add (i32.const 0x30000) (local.get $len)))
            (i32.store (i32.const 4) (i32.const 0x4000))
            (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (local.set $len (i32.add (local.get $len) (i32.load (i32.const 8))))
            (br_if $more (i32.load (i32.const 8))))
          (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 90) (i32.const 14)
              (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 24))
            (then (call $exit (i32.const 44))))
          (i32.store (i32.const 0) (i32.const 0x20000))
          (i32.store (i32.const 4) (i32.const 0x8000))
          (drop (call $fd_read (i32.load (i32.const 24)) (i32.const 0) (i32.const 1) (i32.const 8)))
          (local.set $variables (i32.load (i32.const 8)))
          (call $say (i32.const 64) (i32.const 26))
          (call $say (i32.const 0x20000) (local.get $variables))
          (i32.store8 (i32.const 32) (i32.add (i32.const 48) (local.get $served)))
          (call $say (i32.const 32) (i32.const 1))
          (call $say (i32.const 0x30000) (local.get $len))
          (local.set $served (i32.add (local.get $served) (i32.const 1)))
          {after}
          (br $request))"#
    );
    module(&begin, "Content-Type: text/plain\\n\\nclient/environ")
}

/// The same with what differs left out: variables of the client's port, and how the body was sent,
/// which is in chunks if the guest has not ended with its slice.
fn without_ports(bytes: &[u8]) -> String {
    let mut text = String::from_utf8_lossy(bytes).into_owned();
    if text.contains(CHUNKED)
        && text.split_once("\r\n\r\n").is_some_and(|(_, body)| !body.is_empty())
    {
        let mut rest = bytes;
        let (head, body) = reply(&mut rest);
        assert!(rest.is_empty(), "{text}");
        text = head + &String::from_utf8_lossy(&body);
    }
    let differs = |part: &&str| {
        !["REMOTE_PORT=", "TCPREMOTEPORT=", "TCPLOCALPORT=", "SERVER_PORT="]
            .iter()
            .any(|name| part.starts_with(name))
    };
    text.split('\0')
        .filter(differs)
        .flat_map(|part| part.split("\r\n").filter(|line| !line.starts_with("Date: ")))
        .filter(|line| !line.starts_with("Content-Length: ") && *line != CHUNKED.trim())
        .collect::<Vec<_>>()
        .join("\n")
}

const REQUESTS: [&str; 5] = [
    "GET /a%20b?c=d HTTP/1.1\r\nHost: example\r\nX-One: 1\r\nConnection: close\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: example\r\nConnection: close\r\n\r\n",
    "POST /p HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello",
    "POST /p HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
     3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n",
    "GET / HTTP/1.0\r\n\r\n",
];

#[test]
fn a_warm_program_finds_its_request_like_a_cold_one() {
    // One asks for its variables, the other reads the file.
    for wasm in [cgi_after_body_module(), request_after_request("")] {
        let warm = serve(warm(&wasm));
        let cold = serve(Program::new(&wasm).unwrap());
        for request in REQUESTS {
            // In two parts, so that the body comes while the guest runs.
            let reply = |server: &Running| {
                let mut client = server.connect();
                let (first, rest) = request.as_bytes().split_at(request.len() - 2);
                client.write_all(first).unwrap();
                client.write_all(rest).unwrap();
                without_ports(&server.rest(&mut client))
            };
            let answered = reply(&warm);
            assert!(answered.contains("200 OK"), "{answered}");
            if !request.starts_with("HEAD") {
                assert!(answered.contains("\nREQUEST_METHOD="), "{answered}");
                assert!(answered.contains("\nREMOTE_ADDR=127.0.0.1\n"), "{answered}");
            }
            if wasm == cgi_after_body_module() {
                assert_eq!(answered, reply(&cold), "{request}");
            }
        }
        let metrics = warm.handle.metrics();
        assert_eq!(metrics.warm_lines, REQUESTS.len() as u64);
    }
}

#[test]
fn a_loop_over_requests_has_one_each() {
    // Waits for its standard input before it reads on.
    let polls =
        "(i64.store (i32.const 128) (i64.const 7)) (i32.store8 (i32.const 136) (i32.const 1))
        (i32.store (i32.const 144) (i32.const 0))
        (drop (call $poll (i32.const 128) (i32.const 256) (i32.const 1) (i32.const 8)))";
    for after in ["", polls] {
        let wasm = request_after_request(after);
        for program in [warm(&wasm), cold(&wasm)] {
            let server = serve(program);
            let mut client = server.connect();
            let count = 50;
            for number in 0..count {
                let request = match number % 2 {
                    0 => format!("GET /{number} HTTP/1.1\r\nHost: a\r\n\r\n"),
                    _ => format!(
                        "POST /{number} HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
                    ),
                };
                client.write_all(request.as_bytes()).unwrap();
            }
            client
                .write_all(b"GET /last HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
                .unwrap();
            let replies = String::from_utf8(server.rest(&mut client)).unwrap();
            for number in 0..count {
                let path = format!("\0PATH_INFO=/{number}\0");
                assert_eq!(replies.matches(&path).count(), 1, "{path}: {replies}");
            }
            let served = |body: &str| replies.matches(&format!("\x000{body}HTTP/1.1 200")).count();
            assert_eq!(served("abc"), count / 2, "each is the first of its guest: {replies}");
            server.until("all", |metrics| metrics.outcome(Outcome::Ok) == count as u64 + 1);
        }
    }
}

/// A program that was to be warm and is not: its start had too little memory.
fn cold(wasm: &[u8]) -> Program {
    let context = || WasiCtx::builder().namespace(with_dev()).memory_max(1 << 16);
    let program = Program::warm(&WarmUp::default(), wasm, &context).unwrap();
    assert!(matches!(program.warmth(), Some(Warmth::Cold(_))), "{:?}", program.warmth());
    program
}

#[test]
fn the_end_of_a_body_is_found_after_a_part_of_the_reply() {
    // Replies to each part as it comes, and at the end of the body with one thing more.
    let begin = r#"(local $head i32) (local $len i32)
        (loop $more
          (i32.store (i32.const 0) (i32.const 0x30000))
          (i32.store (i32.const 4) (i32.const 0x4000))
          (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
          (if (local.tee $len (i32.load (i32.const 8))) (then
            (if (i32.eqz (local.get $head)) (then (call $say (i32.const 64) (i32.const 26))))
            (local.set $head (i32.const 1))
            (call $say (i32.const 0x30000) (local.get $len))
            (br $more))))
        (call $say (i32.const 90) (i32.const 3))"#;
    let server = serve(warm(&module(begin, "Content-Type: text/plain\\n\\nend")));
    let mut client = server.connect();
    client
        .write_all(
            b"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 6\r\n\r\none",
        )
        .unwrap();
    let begun = server.some(&mut client, 20);
    client.write_all(b"two").unwrap();
    let reply = [begun, server.rest(&mut client)].concat();
    let reply = String::from_utf8(reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    // What was written together is in one chunk.
    let letters = reply.split_once("\r\n\r\n").unwrap().1.replace(|c: char| !c.is_alphabetic(), "");
    assert_eq!(letters, "onetwoend", "{reply}");
}
