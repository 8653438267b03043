//! A fresh guest for each line.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::busy::given_time;
use tinyhost::Program;
use tinyhost::serve::Outcome;
use tinyhost::vfs::Namespace;
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::net::{Net, NetConfig};

use crate::support::{assembled, program, serve};

#[test]
fn the_first_line_is_answered_and_the_connection_closed() {
    let server = serve(program("echo"), |_| {});
    assert_eq!(server.ask(b"hello\n"), b"hello\n", "with its newline");
    assert_eq!(server.ask(b"one\ntwo\n"), b"one\n", "and no second one");
    assert_eq!(server.ask(b"\n"), b"\n", "an empty line is a line");
    assert_eq!(server.ask(b"caf\xe9\0\r\n"), b"caf\xe9\0\r\n", "byte for byte");
    let metrics = server.until("all to be closed", |m| m.conns_open == 0);
    assert_eq!((metrics.outcome(Outcome::Ok), metrics.conns), (4, 4));
    assert_eq!((metrics.bytes_in, metrics.bytes_out), (6 + 4 + 1 + 7, 6 + 4 + 1 + 7));
    let record = server.until_record("bytes_in=7");
    for fact in ["DEBUG", "client=127.0.0.1:", "outcome=ok", "us=", "fuel=", "memory_peak=65536"] {
        assert!(record.contains(fact), "{fact} is not in {record}");
    }
}

#[test]
fn a_last_line_needs_no_newline_and_nothing_runs_nothing() {
    let server = serve(program("promptreply"), |_| {});
    assert_eq!(server.ask_and_shut(b"last"), b"last\n");
    assert_eq!(server.ask_and_shut(b""), b"");
    let metrics = server.until("both to be closed", |m| m.conns == 2 && m.conns_open == 0);
    assert_eq!(metrics.outcome(Outcome::Ok), 1, "no guest for an empty connection");
    let server = serve(program("promptreply"), |config| config.keep_open = true);
    assert_eq!(server.ask_and_shut(b" a \n b \nc"), b"a\nb\nc\n", "half-closed, all answered");
}

#[test]
fn a_reply_is_not_lost_if_the_client_sends_on() {
    let server = serve(program("echo"), |_| {});
    let mut client = server.connect();
    let text = [&[b'x'; 60_000][..], b"\n", &[b'y'; 1 << 20]].concat();
    // Closing a socket with something unread resets it, and what was on its way is gone.
    let mut writer = client.try_clone().unwrap();
    let sender = std::thread::spawn(move || writer.write_all(&text));
    assert_eq!(server.rest(&mut client).len(), 60_001);
    sender.join().unwrap().unwrap();
}

#[test]
fn two_hundred_clients_are_answered_beside_slow_and_silent_ones() {
    for workers in [1, 2] {
        let server = serve(program("promptreply"), |config| config.workers = workers);
        let done = AtomicBool::new(false);
        let mut silent = server.connect();
        silent.write_all(&[&[b'z'; 60_000][..], b"\n"].concat()).unwrap();
        std::thread::scope(|scope| {
            let slow = scope.spawn(|| {
                let mut client = server.connect();
                for byte in b"  s l o w" {
                    client.write_all(&[*byte]).unwrap();
                    std::thread::sleep(Duration::from_millis(20));
                }
                client.write_all(b"!").unwrap();
                while !done.load(Ordering::Relaxed) {
                    client.write_all(b"!").unwrap();
                    std::thread::sleep(Duration::from_millis(20));
                }
                client.write_all(b"\n").unwrap();
                server.rest(&mut client)
            });
            let clients: Vec<_> = (0..200)
                .map(|number| {
                    let server = &server;
                    scope.spawn(move || {
                        let text = format!("client {number} {}", "ab".repeat(number + 1));
                        let reply = server.ask(format!("  {text}\t\n").as_bytes());
                        assert_eq!(reply, format!("{text}\n").as_bytes());
                    })
                })
                .collect();
            clients.into_iter().for_each(|client| client.join().unwrap());
            done.store(true, Ordering::Relaxed);
            let reply = slow.join().unwrap();
            assert!(reply.starts_with(b"s l o w!") && reply.ends_with(b"!\n"));
        });
        drop(silent);
    }
}

#[test]
fn lines_sent_ahead_are_answered_in_order() {
    const LINES: usize = 5_000;
    let server = serve(program("linefilter"), |config| config.keep_open = true);
    let mut client = server.connect();
    let mut writer = client.try_clone().unwrap();
    let text: String = (0..LINES).map(|number| format!("line {number}\n")).collect();
    let sent = text.clone();
    let sender = std::thread::spawn(move || {
        writer.write_all(sent.as_bytes()).unwrap();
        writer.shutdown(Shutdown::Write).unwrap();
    });
    let reply = server.rest(&mut client);
    assert!(reply == text.as_bytes(), "{} bytes of {}", reply.len(), text.len());
    sender.join().unwrap();
    let metrics = server.until("the end", |m| m.conns_open == 0);
    assert_eq!(metrics.outcome(Outcome::Ok), LINES as u64);
}

#[test]
fn a_kept_connection_answers_line_by_line() {
    let server = serve(program("markdown"), |config| config.keep_open = true);
    let mut client = server.connect();
    for word in ["one", "two", "three"] {
        client.write_all(format!("*{word}*\n").as_bytes()).unwrap();
        let expected = format!("<p><em>{word}</em></p>\n");
        assert_eq!(server.some(&mut client, expected.len()), expected.as_bytes());
    }
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(server.rest(&mut client), b"");
}

#[test]
fn a_guest_is_told_of_its_connection() {
    let server = serve(program("envdump"), |config| {
        config.env = vec![("GREETING".into(), "hello".into())];
        config.args = vec!["an argument".into()];
    });
    let mut client = server.connect();
    let port = client.local_addr().unwrap().port();
    client.write_all(b"\n").unwrap();
    let reply = String::from_utf8(server.rest(&mut client)).unwrap();
    let expected = format!(
        "arg[0]={}\narg[1]=an argument\nGREETING=hello\nPROTO=TCP\nTCPLOCALIP=127.0.0.1\n\
         TCPLOCALPORT={}\nTCPREMOTEIP=127.0.0.1\nTCPREMOTEPORT={port}\n",
        server.name,
        server.addr.port()
    );
    assert_eq!(reply, expected);
}

#[test]
fn stderr_goes_to_the_log_line_by_line() {
    let server = serve(program("stderr"), |_| {});
    let mut client = server.connect();
    let from = format!("client={} program={}", client.local_addr().unwrap(), server.name);
    client.write_all(b"the line\n").unwrap();
    assert_eq!(server.rest(&mut client), b"the line\n", "and only stdout to the client");
    let first = server.until_record("\"stderr: first\"");
    assert!(first.contains("INFO") && first.contains(&from), "{first}");
    server.until_record("\"stderr: second\"");
}

#[test]
fn an_unfinished_line_of_stderr_is_logged_too_and_a_long_one_cut() {
    let server = serve(assembled("half", "(call $write (i32.const 2))"), |_| {});
    assert_eq!(server.ask(b"\n"), b"");
    server.until_record("text=half");
    let page = "#".repeat(1000);
    let many = "(loop $again (call $write (i32.const 2))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $i) (i32.const 5))))";
    let server = serve(assembled(&page, many), |_| {});
    server.ask(b"\n");
    server.until_record("guest ended");
    let lengths: Vec<usize> =
        server.records("stderr").iter().map(|line| line.matches('#').count()).collect();
    assert_eq!(lengths, [tinyhost::serve::LOG_LINE_MAX, 5000 - tinyhost::serve::LOG_LINE_MAX]);
}

#[test]
fn what_a_guest_wrote_before_it_failed_is_sent_and_the_connection_closed() {
    let server = serve(program("trap"), |config| config.keep_open = true);
    assert_eq!(server.ask(b"a\nb\n"), b"before the trap\n", "no second line is run");
    let record = server.until_record("outcome=trap");
    assert!(record.contains("WARN") && record.contains("unreachable executed"), "{record}");
    let server = serve(program("exit"), |config| {
        config.keep_open = true;
        config.args = vec!["7".into()];
    });
    assert_eq!(server.ask(b"a\nb\n"), b"");
    server.until_record("why=\"exit status 7\"");
    let metrics = server.handle.metrics();
    assert_eq!((metrics.outcome(Outcome::Exit), metrics.outcome(Outcome::Ok)), (1, 0));
}

#[test]
fn a_reply_is_sent_as_it_is_written_and_a_reset_ends_the_guest() {
    let start = "(call $write (i32.const 1)) (call $sleep_ms (i64.const 3600000))";
    let server = serve(assembled("now\\n", start), |_| {});
    let mut client = server.connect();
    client.write_all(b"go\n").unwrap();
    assert_eq!(server.some(&mut client, 3), b"now");
    server.until("the guest to sleep", |m| (m.guests, m.guests_parked) == (1, 1));
    // With a byte unread this resets the connection.
    drop(client);
    server.until_outcome(Outcome::ClientGone);
    server.until("all to be gone", |m| m.guests == 0 && m.conns_open == 0);
}

#[test]
fn a_client_that_shut_its_direction_is_not_gone() {
    let start = "(call $sleep_ms (i64.const 50)) (call $write (i32.const 1))";
    let server = serve(assembled("late\\n", start), |_| {});
    assert_eq!(server.ask_and_shut(b"go\n"), b"late\n");
}

#[test]
fn a_guest_without_end_is_parked_while_its_client_does_not_read() {
    let server = serve(program("flood"), |config| config.limits.max_reply = usize::MAX);
    let mut client = server.connect();
    client.write_all(b"go\n").unwrap();
    server.until("the guest to be parked", |m| (m.guests, m.guests_parked) == (1, 1));
    let mut page = vec![0; 1 << 20];
    for _ in 0..16 {
        server.waits_for("more of the flood");
        client.read_exact(&mut page).unwrap();
    }
    assert!(page.windows(15).any(|part| part == b"quick brown fox"));
    server.until("the guest to be parked again", |m| m.guests_parked == 1);
    drop(client);
    server.until_outcome(Outcome::ClientGone);
}

#[test]
fn a_stream_of_lines_that_never_pauses_is_not_idle() {
    given_time(Duration::from_millis(300), never_pauses);
}

/// Whether lines that follow one another without a pause, for three times as long as a connection
/// may be idle, were all answered.
fn never_pauses(idle: Duration) -> bool {
    let server = serve(program("echo"), |config| {
        config.keep_open = true;
        config.limits.idle = idle;
    });
    let mut client = server.connect();
    let mut writer = client.try_clone().unwrap();
    let until = Instant::now() + idle * 3;
    let sender = std::thread::spawn(move || {
        let mut sent = 0;
        while Instant::now() < until {
            // It is closed if this thread was kept from writing for too long.
            writer.write_all(&b"line\n".repeat(5000)).ok()?;
            sent += 5 * 5000;
        }
        writer.shutdown(Shutdown::Write).ok()?;
        Some(sent)
    });
    let mut reply = Vec::new();
    let read = client.read_to_end(&mut reply);
    let sent = sender.join().unwrap();
    assert_eq!(server.handle.metrics().outcome(Outcome::Timeout), 0);
    read.is_ok() && sent == Some(reply.len())
}

/// Opens a name in /dev, and replies.
fn opens(name: &str) -> Program {
    let text = format!(
        r#"(module
          (import "wasi_snapshot_preview1" "path_open" (func $path_open
              (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1)
          (data (i32.const 0) "\20\00\00\00\02\00\00\00")
          (data (i32.const 32) "x\n{name}")
          (func (export "_start")
            (drop (call $path_open (i32.const 3) (i32.const 0) (i32.const 34) (i32.const {len})
              (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 24)))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 24)))))"#,
        len = name.len()
    );
    Program::new(wat::parse_str(text).unwrap()).unwrap()
}

#[test]
fn a_namespace_is_made_again_where_its_network_was_used() {
    let net = Net::new(NetConfig::default());
    for (name, reusable, again) in [
        ("null", true, false),
        ("null", false, true),
        ("localhost:1", true, true),
        ("tcp", true, true),
    ] {
        let made = Arc::new(AtomicUsize::new(0));
        let server = serve(opens(name), |config| {
            let (made, net) = (made.clone(), net.clone());
            config.keep_open = true;
            config.namespace = Arc::new(move || {
                made.fetch_add(1, Ordering::Relaxed);
                let namespace = Namespace::builder();
                let namespace = if reusable { namespace.reusable() } else { namespace };
                namespace.mount("/dev", Arc::new(Dev::with_net(net.for_guest()))).unwrap().build()
            });
        });
        let replies = server.ask_and_shut("line\n".repeat(50).as_bytes());
        assert_eq!(replies, "x\n".repeat(50).as_bytes());
        let made = made.load(Ordering::Relaxed);
        assert_eq!(made >= 50, again, "{name}, reusable: {reusable}: made {made} times");
    }
}
