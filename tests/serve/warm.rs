//! Guests that start from an image.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tinyhost::serve::{Outcome, ServeConfig, Unit};
use tinyhost::vfs::Namespace;
use tinyhost::vfs::dev::Dev;
use tinyhost::wasi::CtxBuilder;
use tinyhost::{Program, WarmUp, Warmth, WasiCtx};

use crate::support::{Running, serve};

/// A program whose `_start` is this; `$read` reads to 4096, `$write` writes from there.
fn wasm(parts: &str, start: &str) -> Vec<u8> {
    let text = format!(
        r#"(module
      (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (import "wasi_snapshot_preview1" "environ_sizes_get" (func $sizes (param i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "path_open" (func $path_open
          (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (memory (export "memory") 40)
      (func $read_fd (param $fd i32) (result i32)
        (i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (i32.const 4096))
        (drop (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.load (i32.const 8)))
      (func $read (result i32) (call $read_fd (i32.const 0)))
      (func $write (param $count i32)
        (i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (local.get $count))
        (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))))
      {parts}
      (func (export "_start") (local $got i32) (local $n i32) {start}))"#
    );
    wat::parse_str(text).unwrap()
}

fn warm_in(wasm: &[u8], context: &dyn Fn() -> CtxBuilder) -> Program {
    Program::warm(&WarmUp::default(), wasm, context).unwrap()
}

fn warm(wasm: &[u8]) -> Program {
    let program = warm_in(wasm, &WasiCtx::builder);
    assert!(matches!(program.warmth(), Some(Warmth::Warm(_))), "{:?}", program.warmth());
    program
}

/// Line after line is answered with itself and how many came before. At the end of its input it
/// exits with 9.
const FILTER: &str = r#"
    (loop $next
        (local.set $got (call $read))
        (if (i32.eqz (local.get $got)) (then (call $exit (i32.const 9))))
        (i32.store8 (i32.const 4096) (i32.add (i32.const 48) (local.get $n)))
        (call $write (local.get $got))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (memory.fill (i32.const 8192) (i32.const 255) (i32.const 100000))
        (br $next))"#;

#[test]
fn a_loop_over_lines_is_a_filter() {
    let server = serve(warm(&wasm("", FILTER)), |config| config.keep_open = true);
    let mut client = server.connect();
    let lines: Vec<String> = (0..1000).map(|n| format!(" line {n}\n")).collect();
    client.write_all(lines.concat().as_bytes()).unwrap();
    let replies = server.some(&mut client, lines.concat().len());
    let expected: String = lines.iter().map(|line| format!("0{}", &line[1..])).collect();
    assert_eq!(String::from_utf8(replies).unwrap(), expected);
    let metrics = server.until("all lines", |metrics| metrics.outcome(Outcome::Ok) == 1000);
    assert_eq!((metrics.warm_lines, metrics.cold_because), (1000, None));
    assert!(metrics.image_bytes > 0 && metrics.pages_restored > 0);
    assert_eq!(server.ask_and_shut(b"_no newline"), b"0no newline");
    server.until_record("source=capture");
}

#[test]
fn waiting_for_a_second_line_ends_a_line_too() {
    // Subscribes to standard input and to a clock a minute later.
    let polls = r#"
        (drop (call $read)) (i32.store8 (i32.const 4096) (i32.const 65)) (call $write (i32.const 1))
        (i32.store8 (i32.const 1032) (i32.const 1)) (i32.store (i32.const 1040) (i32.const 0))
        (i32.store8 (i32.const 1080) (i32.const 0)) (i32.store (i32.const 1088) (i32.const 1))
        (i64.store (i32.const 1096) (i64.const 60000000000))
        (drop (call $poll_oneoff (i32.const 1024) (i32.const 2048) (i32.const 2) (i32.const 8)))
        (call $write (i32.const 1))"#;
    let server = serve(warm(&wasm("", polls)), |_| {});
    assert_eq!(server.ask(b"x\n"), b"A");
    // In its second slice, after the scheduler has taken it.
    let late = format!(
        "(loop $spin (br_if $spin (i32.lt_u (local.tee $n (i32.add (local.get $n)
        (i32.const 1))) (i32.const 300000)))) (local.set $n (i32.const 0)) {FILTER}"
    );
    let slow = FILTER.replace(
        "(br $next)",
        "(loop $spin (br_if $spin (i32.lt_u (local.tee $n
        (i32.add (local.get $n) (i32.const 1))) (i32.const 300000)))) (br $next)",
    );
    for start in [late, slow] {
        let server = serve(warm(&wasm("", &start)), |_| {});
        assert_eq!(server.ask(b"_x\n"), b"0x\n");
        server.until_outcome(Outcome::Ok);
    }
}

#[test]
fn a_program_that_replies_at_its_end_is_given_the_end() {
    // Keeps what it reads, and writes it when its input is over.
    let sponge = r#"
        (loop $next
            (local.set $got (call $read))
            (if (local.get $got) (then (local.set $n (local.get $got)) (br $next))))
        (call $write (local.get $n))"#;
    let server = serve(warm(&wasm("", sponge)), |config| config.keep_open = true);
    let mut client = server.connect();
    client.write_all(b"one\ntwo\nthree\n").unwrap();
    assert_eq!(server.some(&mut client, 14), b"one\ntwo\nthree\n");
    server.until_record("replies are sent only when the guests exit");
}

#[test]
fn a_connection_starts_from_the_image_and_goes_on() {
    let server = serve(warm(&wasm("", FILTER)), |config| config.unit = Unit::Connection);
    let mut client = server.connect();
    for (sent, answer) in [(b"_a\n", b"0a\n"), (b"_b\n", b"1b\n"), (b"_c\n", b"2c\n")] {
        client.write_all(sent).unwrap();
        assert_eq!(server.some(&mut client, 3), answer);
    }
    // It takes memory from its first byte on only.
    let mut second = server.connect();
    let parked = |live| server.until("parked guests", move |m| m.guests_parked == live);
    parked(2);
    second.write_all(b"_d\n").unwrap();
    assert_eq!(server.some(&mut second, 3), b"0d\n");
    parked(2);
    drop(second);
    server.until("its end", |m| m.outcome(Outcome::Exit) == 1);
    drop(client);
    // It has found its input at the end.
    server.until("its end", |m| m.outcome(Outcome::Exit) == 2);
}

/// Prints how many variables it has, and what a file of `/dev/client` holds, after its read.
fn asks(file: &str) -> Vec<u8> {
    let data = format!("(data (i32.const 64) \"client/{file}\")");
    let start = format!(
        r#"(drop (call $read))
        (drop (call $sizes (i32.const 16) (i32.const 20)))
        (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const {len})
                (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 24))
            (then (call $exit (i32.const 44))))
        (local.set $got (call $read_fd (i32.load (i32.const 24))))
        (call $write (local.get $got))
        (i32.store8 (i32.const 4096) (i32.add (i32.const 48) (i32.load (i32.const 16))))
        (call $write (i32.const 1))"#,
        len = "client/".len() + file.len(),
    );
    wasm(&data, &start)
}

fn with_dev() -> Namespace {
    Namespace::builder().mount("/dev", Arc::new(Dev::new())).unwrap().build()
}

#[test]
fn the_client_is_known_by_files() {
    for file in ["addr", "port", "local-addr", "local-port"] {
        let wasm = asks(file);
        let context = || WasiCtx::builder().namespace(with_dev()).env("A", "b").unwrap();
        let warm = warm_in(&wasm, &context);
        assert!(matches!(warm.warmth(), Some(Warmth::Warm(_))), "{:?}", warm.warmth());
        for (program, variables) in [(warm, 1), (Program::new(&wasm).unwrap(), 6)] {
            let server = serve(program, |config: &mut ServeConfig| {
                config.namespace = Arc::new(with_dev);
                config.env = vec![("A".into(), "b".into())];
            });
            for _ in 0..3 {
                let mut client = server.connect();
                client.write_all(b"x\n").unwrap();
                let reply = String::from_utf8(server.rest(&mut client)).unwrap();
                let own = client.local_addr().unwrap();
                let fact = match file {
                    "addr" | "local-addr" => own.ip().to_string(),
                    "port" => own.port().to_string(),
                    _ => server.addr.port().to_string(),
                };
                assert_eq!(reply, format!("{fact}\n{variables}"));
            }
        }
    }
    // No guest of a server, no client.
    let mut guest = tinyhost::Guest::new(
        &Program::new(asks("addr")).unwrap(),
        WasiCtx::builder().namespace(with_dev()).build(),
    );
    assert_eq!(guest.run().unwrap(), tinyhost::Step::Exited(44));
}

#[test]
fn what_stays_cold_is_served_and_reported() {
    let never = wasm(
        "",
        "(i32.store8 (i32.const 4096) (i32.const 65)) (call $write (i32.const 1))
        (if (local.get $n) (then (drop (call $read))))",
    );
    let program = warm_in(&never, &WasiCtx::builder);
    let server = serve(program, |config| config.metrics = Some("127.0.0.1:0".parse().unwrap()));
    assert_eq!(server.ask(b"x\n"), b"A");
    let record = server.until_record("program stays cold");
    assert!(record.contains("it ends before it reads its standard input"), "{record}");
    let metrics = server.handle.metrics();
    assert_eq!(metrics.warm_lines, 0);
    let gauge = "tinyhost_program_cold{why=\"it ends before it reads its standard input\"} 1";
    assert!(metrics.prometheus().contains(gauge));
}

fn reloads(server: &Running, what: &str) {
    server.handle.reload();
    server.until_record(what);
}

#[test]
fn a_reload_makes_a_new_image_or_keeps_the_old_one() {
    let broken = Arc::new(AtomicBool::new(false));
    let breaks = broken.clone();
    let greets = |letter: char| {
        let start = format!(
            "(i32.store8 (i32.const 9000) (i32.const {})) (drop (call $read))
            (i32.store8 (i32.const 4096) (i32.load8_u (i32.const 9000))) (call $write (i32.const 1))",
            letter as u32
        );
        wasm("", &start)
    };
    let server = serve(warm(&greets('a')), |config| {
        config.keep_open = true;
        config.reload = Some(Arc::new(move || {
            if breaks.load(Ordering::SeqCst) {
                return Err("it is broken".to_owned());
            }
            Ok(warm(&greets('b')))
        }));
    });
    let mut client = server.connect();
    client.write_all(b"x\n").unwrap();
    assert_eq!(server.some(&mut client, 1), b"a");
    reloads(&server, "program reloaded");
    server.until("the new program", |_| {
        client.write_all(b"x\n").unwrap();
        server.some(&mut client, 1) == b"b"
    });
    assert_eq!(server.records("program is warm").len(), 2);
    broken.store(true, Ordering::SeqCst);
    reloads(&server, "program not reloaded");
    client.write_all(b"x\n").unwrap();
    assert_eq!(server.some(&mut client, 1), b"b");
}
