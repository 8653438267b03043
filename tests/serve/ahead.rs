//! Guests run up to their first read before their line comes.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use crate::busy::given_time;
use tinyhost::Program;
use tinyhost::serve::Outcome;

use crate::support::{Running, assembled, program, serve};

/// Waits until so many wait, after so many were taken.
fn until_ahead(server: &Running, count: u64, taken: u64) {
    server.until("guests to be run ahead", |m| (m.guests_ahead, m.ahead_taken) == (count, taken));
}

/// Reads its line and its environment, in either order, and prints the latter.
pub fn tells(environment_first: bool) -> Program {
    let (read, look) = ("(call $get_line)", "(call $get_environment)");
    let body = if environment_first { [look, read] } else { [read, look] }.concat();
    let text = format!(
        r#"(module
      (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "environ_get" (func $environ (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
      (memory (export "memory") 1)
      (func $get_line
        (i32.store (i32.const 0) (i32.const 60000)) (i32.store (i32.const 4) (i32.const 100))
        (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8))))
      (func $get_environment
        (drop (call $sizes (i32.const 16) (i32.const 20)))
        (drop (call $environ (i32.const 1024) (i32.const 4096))))
      (func (export "_start") {body}
        (i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (i32.load (i32.const 20)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
    );
    Program::new(wat::parse_str(text).unwrap()).unwrap()
}

/// The variables it told, and the one that is the client's own.
fn ask(server: &Running) -> (Vec<String>, String) {
    let mut client = server.connect();
    client.write_all(b"\n").unwrap();
    let reply = String::from_utf8(server.rest(&mut client)).unwrap();
    let told = reply.split_terminator('\0').map(str::to_owned).collect();
    (told, format!("TCPREMOTEPORT={}", client.local_addr().unwrap().port()))
}

#[test]
fn they_wait_and_each_serves_one_line() {
    let server = serve(program("promptreply"), |config| {
        config.keep_open = true;
        config.workers = 2;
        config.ahead = 3;
    });
    until_ahead(&server, 6, 0);
    let metrics = server.handle.metrics();
    assert_eq!((metrics.guests, metrics.guests_parked), (6, 6), "they are alive, and wait");
    let mut client = server.connect();
    for (line, taken) in [(&b"one\n"[..], 1), (b"two\n", 2), (b"three\n", 3), (b"four\n", 4)] {
        client.write_all(line).unwrap();
        assert_eq!(server.some(&mut client, line.len()), line);
        until_ahead(&server, 6, taken);
    }
    // Many at once get the same, whoever has waited for them.
    let lines: Vec<String> = (0..300).map(|number| format!("{number}\n")).collect();
    assert_eq!(server.ask_and_shut(lines.concat().as_bytes()), lines.concat().as_bytes());
}

#[test]
fn one_is_told_of_the_client_it_got() {
    let server = serve(tells(false), |config| {
        config.ahead = 1;
        config.prepare = Some(Arc::new(|client, cx| {
            cx.env("CLIENT", if client.is_some() { "known" } else { "none yet" }).unwrap()
        }));
    });
    until_ahead(&server, 1, 0);
    let (told, own) = ask(&server);
    assert!(told.contains(&own), "{told:?}");
    assert_eq!(told.last().unwrap(), "CLIENT=none yet");
    assert_eq!(server.handle.metrics().ahead_taken, 1);
}

#[test]
fn one_that_looks_at_its_environment_first_is_not_used() {
    let server = serve(tells(true), |config| config.ahead = 4);
    let record = server.until_record("not run ahead");
    assert!(record.contains("why=\"it calls environ_sizes_get before it reads"), "{record}");
    for _ in 0..3 {
        let (told, own) = ask(&server);
        assert!(told.contains(&own), "{told:?}");
    }
    let metrics = server.until("the ends", |m| m.outcome(Outcome::Ok) == 3);
    assert_eq!((metrics.guests_ahead, metrics.ahead_taken), (0, 0));
    assert_eq!(server.records("not run ahead").len(), 1, "told once");
}

#[test]
fn a_reload_drops_them() {
    let reads = "(drop (call $read)) (call $write (i32.const 1))";
    let (old, new) = (assembled("old\\n", reads), assembled("new\\n", reads));
    let server = serve(old, |config| {
        config.ahead = 2;
        config.reload = Some(Arc::new(move || Ok(new.clone())));
    });
    until_ahead(&server, 2, 0);
    assert_eq!(server.ask(b"go\n"), b"old\n");
    until_ahead(&server, 2, 1);
    server.handle.reload();
    server.until_record("program reloaded");
    assert_eq!(server.ask(b"go\n"), b"new\n");
    server.until("others in their place", |m| m.guests_ahead == 2);
    assert_eq!(server.ask(b"go\n"), b"new\n");
}

#[test]
fn they_do_not_wait_for_ever() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let server = serve(program("promptreply"), |config| {
        config.ahead = 2;
        config.ahead_ttl = Duration::from_millis(10);
        config.prepare = Some(Arc::new(move |_, cx| {
            count.fetch_add(1, Ordering::Relaxed);
            cx
        }));
    });
    server.until("others in their place", |m| {
        assert!(m.guests_ahead <= 2);
        made.load(Ordering::Relaxed) >= 10
    });
    assert_eq!(server.ask(b"line\n"), b"line\n");
}

#[test]
fn their_limits_begin_with_the_line() {
    // Reads a line; of "s" it never comes to an end.
    let body = "(drop (call $read)) (if (i32.eq (i32.load8_u (i32.const 4096)) (i32.const 115))
                  (then (loop $ever (br $ever)))) (call $write (i32.const 1))";
    given_time(Duration::from_millis(100), |limit| {
        let server = serve(assembled("reply\\n", body), |config| {
            config.ahead = 1;
            config.limits.timeout = limit;
            config.limits.idle = limit;
        });
        until_ahead(&server, 1, 0);
        // Older than any line may be.
        thread::sleep(limit * 2);
        if server.ask(b"go\n") != b"reply\n" {
            return false;
        }
        until_ahead(&server, 1, 1);
        assert_eq!(server.ask(b"spin\n"), b"");
        server.until_outcome(Outcome::Timeout);
        let metrics = server.handle.metrics();
        assert_eq!((metrics.ahead_taken, metrics.outcome(Outcome::Ok)), (2, 1));
        true
    });
}

#[test]
fn one_that_takes_long_to_prepare_holds_up_nobody() {
    // Some three slices, and for ever.
    let prepares = |count: u32| {
        let text = format!(
            "(loop $more (local.set $i (i32.add (local.get $i) (i32.const 1)))
               (br_if $more (i32.ne (local.get $i) (i32.const {count}))))
             (drop (call $read)) (call $write (i32.const 1))"
        );
        assembled("ready\\n", &text)
    };
    let server = serve(prepares(100_000), |config| config.ahead = 2);
    until_ahead(&server, 2, 0);
    assert_eq!(server.ask(b"go\n"), b"ready\n");
    let ever = serve(prepares(0), |config| {
        config.ahead = 2;
        config.limits.timeout = Duration::from_millis(200);
    });
    let mut client = ever.connect();
    ever.until("the client to be taken meanwhile", |m| m.conns_open == 1);
    let record = ever.until_record("not run ahead");
    assert!(record.contains("computes for long"), "{record}");
    client.write_all(b"go\n").unwrap();
    ever.until_outcome(Outcome::Timeout);
}

#[test]
fn their_fuel_is_that_of_all_they_do() {
    let body = "(drop (call $read)) (loop $ever (br $ever))";
    let server = serve(assembled("", body), |config| {
        config.ahead = 1;
        config.limits.fuel = Some(50_000);
    });
    until_ahead(&server, 1, 0);
    assert_eq!(server.ask(b"go\n"), b"");
    server.until_outcome(Outcome::Fuel);
    assert_eq!(server.handle.metrics().ahead_taken, 1);
}
