//! Guests that start from an image behave like those that start at the beginning.

use std::io::IoSlice;
use std::time::Duration;

use crate::guest::Guest;
use crate::pool::Pool;
use crate::program::{Program, ProgramError, Warmth};
use crate::step::Step;
use crate::vfs::pipe::{Capture, pipe};
use crate::vfs::{Name, Namespace, Open};
use crate::warm::WarmUp;
use crate::wasi::{CtxBuilder, WasiCtx};

/// What the programs here import, and a memory in which the first 64 bytes are for calls.
const HEAD: &str = r#"
    (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))
    (import "wasi_snapshot_preview1" "path_open" (func $path_open
        (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_accept" (func $sock_accept (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_renumber" (func $fd_renumber (param i32 i32) (result i32)))
    ;; Reads at most 64 bytes to 1024; how many.
    (func $read (param $fd i32) (result i32)
        (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 64))
        (drop (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.load (i32.const 8)))
    ;; Writes bytes.
    (func $write (param $fd i32) (param $at i32) (param $len i32)
        (i32.store (i32.const 0) (local.get $at)) (i32.store (i32.const 4) (local.get $len))
        (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
    ;; Writes one byte to standard output.
    (func $put (param $byte i32)
        (i32.store8 (i32.const 32) (local.get $byte))
        (call $write (i32.const 1) (i32.const 32) (i32.const 1)))"#;

fn module(memory: &str, body: &str) -> Vec<u8> {
    let wat = format!("(module {HEAD} (memory (export \"memory\") {memory}) {body})");
    wat::parse_str(wat).unwrap()
}

fn warm_with(warm_up: &WarmUp, wasm: &[u8], context: &dyn Fn() -> CtxBuilder) -> Program {
    Program::warm(warm_up, wasm, context).unwrap()
}

/// The program, which must be warm.
fn warm(wasm: &[u8]) -> Program {
    let program = warm_with(&WarmUp::default(), wasm, &WasiCtx::builder);
    if let Some(Warmth::Cold(why)) = program.warmth() {
        panic!("{why}");
    }
    program
}

/// Why the program is not warm.
fn cold(wasm: &[u8]) -> String {
    let quick = WarmUp {
        cpu_max: Duration::from_millis(200),
        wait_max: Duration::from_millis(50),
        ..WarmUp::default()
    };
    let program = warm_with(&quick, wasm, &WasiCtx::builder);
    match program.warmth() {
        Some(Warmth::Cold(why)) => {
            assert!(!why.contains('\n'), "{why}");
            why.clone()
        }
        other => panic!("{other:?}"),
    }
}

/// A guest with this as its standard input, which then ends.
fn guest(pool: &mut Pool, cx: CtxBuilder, line: &[u8]) -> (Guest, Capture) {
    let (stdin, mut feed) = pipe(256);
    feed.write(line).unwrap();
    let stdout = Capture::new(1 << 20);
    (pool.spawn(cx.stdin(stdin).stdout(stdout.clone()).build()), stdout)
}

/// What a guest answers, and how it ends. It is recycled then.
fn answer(pool: &mut Pool, line: &[u8]) -> (Vec<u8>, Step) {
    let (mut guest, stdout) = guest(pool, WasiCtx::builder(), line);
    let step = guest.run().unwrap();
    pool.recycle(guest);
    (stdout.take(), step)
}

/// Counts its reads in memory and in a global, both from what its start left there, and writes
/// what it has read. It scribbles over all memory before it ends.
const COUNTER: &str = r#"
    (global $count (mut i32) (i32.const 40))
    (func (export "_start") (local $got i32)
        (global.set $count (i32.add (global.get $count) (i32.const 8)))
        (i32.store8 (i32.const 70000) (i32.const 97))
        (local.set $got (call $read (i32.const 0)))
        (call $put (global.get $count))
        (call $put (i32.load8_u (i32.const 70000)))
        (call $write (i32.const 1) (i32.const 1024) (local.get $got))
        (global.set $count (i32.const 0))
        (memory.fill (i32.const 0) (i32.const 255) (i32.mul (memory.size) (i32.const 65536))))"#;

#[test]
fn no_line_sees_what_another_has_done() {
    let program = warm(&module("40", COUNTER));
    let mut pool = Pool::new(&program);
    for round in 0..2000_u32 {
        let line = format!("line {round}\n");
        let (reply, step) = answer(&mut pool, line.as_bytes());
        assert_eq!(step, Step::Exited(0));
        assert_eq!(String::from_utf8(reply).unwrap(), format!("0a{line}"));
    }
    assert!(pool.idle() <= 1);
}

/// The start fills this many bytes with a pattern; a line sums them up and grows its memory.
fn pattern(bytes: u32) -> String {
    format!(
        r#"(func (export "_start") (local $at i32) (local $sum i32)
            (local.set $at (i32.const 4096))
            (loop $fill
                (i32.store (local.get $at) (local.get $at))
                (local.set $at (i32.add (local.get $at) (i32.const 4)))
                (br_if $fill (i32.lt_u (local.get $at) (i32.const {bytes}))))
            (drop (call $read (i32.const 0)))
            (drop (memory.grow (i32.const 3)))
            (i32.store (i32.sub (i32.mul (memory.size) (i32.const 65536)) (i32.const 4)) (i32.const 1))
            (local.set $at (i32.const 4096))
            (loop $add
                (local.set $sum (i32.add (local.get $sum) (i32.load (local.get $at))))
                (i32.store (local.get $at) (i32.const 7))
                (local.set $at (i32.add (local.get $at) (i32.const 4)))
                (br_if $add (i32.lt_u (local.get $at) (i32.const {bytes}))))
            (i32.store (i32.const 32) (local.get $sum))
            (call $write (i32.const 1) (i32.const 32) (i32.const 4)))"#
    )
}

#[test]
fn images_of_any_size_are_put_back_and_grow() {
    for (pages, bytes) in [("1 100", 8 << 10), ("4 100", 200 << 10), ("80 100", 5 << 20)] {
        let program = warm(&module(pages, &pattern(bytes)));
        let sum = (4096..bytes).step_by(4).fold(0_u32, u32::wrapping_add);
        let mut pool = Pool::new(&program);
        let mut parked = Vec::new();
        for _ in 0..20 {
            let (reply, step) = answer(&mut pool, b"x\n");
            assert_eq!((reply, step), (sum.to_le_bytes().to_vec(), Step::Exited(0)));
            // Others of the same image, in all states, dropped at the end.
            let (mut other, _) = guest(&mut pool, WasiCtx::builder(), b"x\n");
            let _ = other.step(3000);
            parked.push(other);
        }
        for other in parked {
            pool.recycle(other);
        }
        assert_eq!(answer(&mut pool, b"x\n").0, sum.to_le_bytes());
    }
}

#[test]
fn a_limit_below_the_image_fails_as_it_does_cold() {
    let wasm = module("4 100", &pattern(200 << 10));
    let program = warm(&wasm);
    let mut pool = Pool::new(&program);
    assert_eq!(answer(&mut pool, b"x\n").1, Step::Exited(0));
    let limited = || WasiCtx::builder().memory_max(3 << 16);
    let (mut one, _) = guest(&mut pool, limited(), b"x\n");
    let mut cold = Guest::new(&Program::new(&wasm).unwrap(), limited().build());
    let end = one.run().unwrap();
    assert_eq!(end, cold.run().unwrap());
    assert!(matches!(&end, Step::Trapped(trap) if trap.text.contains("memory limit")), "{end:?}");
    // One that fits, but may not grow.
    let (mut one, stdout) =
        guest(&mut pool, WasiCtx::builder().memory_max((4 << 16) + 1024), b"x\n");
    assert_eq!(one.run().unwrap(), Step::Exited(0));
    assert_eq!(stdout.len(), 4);
}

#[test]
fn a_reactor_is_initialized_once() {
    let body = r#"
        (global $base (mut i32) (i32.const 0)) (global $forks (mut i32) (i32.const 48))
        (func (export "_initialize") (global.set $base (i32.const 65)))
        (func (export "tinyhost_forked")
            (global.set $forks (i32.add (global.get $forks) (i32.const 1))))
        (func (export "__other"))
        (func (export "handle") (result i32)
            (drop (call $read (i32.const 0)))
            (call $put (global.get $base)) (call $put (global.get $forks))
            (global.set $base (i32.add (global.get $base) (i32.const 1)))
            (i32.sub (i32.load8_u (i32.const 1024)) (i32.const 48)))"#;
    let program = warm(&module("1", body));
    let mut pool = Pool::new(&program);
    for status in [0, 7, 0] {
        let line = format!("{status}\n");
        let answered = answer(&mut pool, line.as_bytes());
        assert_eq!(answered, (b"A1".to_vec(), Step::Exited(status)));
    }
}

#[test]
fn what_to_call_is_found_or_asked_for() {
    let wizer = r#"(global $n (mut i32) (i32.const 65))
        (func (export "_initialize") (global.set $n (i32.mul (global.get $n) (i32.const 2))))
        (func (export "wizer.initialize") (global.set $n (i32.sub (global.get $n) (i32.const 64))))
        (func (export "wizer.resume") (call $put (global.get $n)))
        (func (export "_start") (call $put (i32.const 63)))"#;
    let program = warm(&module("1", wizer));
    assert_eq!(answer(&mut Pool::new(&program), b"").0, b"B");
    let library = r#"(func (export "_initialize")) (func (export "one") (call $put (i32.const 49)))
        (func (export "two") (call $put (i32.const 50))) (func (export "three") (param i32))"#;
    let library = module("1", library);
    let ask = |call: Option<&str>| {
        let warm_up = WarmUp { call: call.map(str::to_owned), ..WarmUp::default() };
        Program::warm(&warm_up, &library, &WasiCtx::builder)
    };
    let said = |result: Result<Program, ProgramError>| result.unwrap_err().to_string();
    assert!(said(ask(None)).contains("(one, two): choose one with --call NAME"));
    assert!(said(ask(Some("four"))).contains("no function 'four'"));
    assert!(said(ask(Some("three"))).contains("takes or returns more"));
    assert_eq!(answer(&mut Pool::new(&ask(Some("two")).unwrap()), b"").0, b"2");
    let command = module("1", r#"(func (export "_start")) (func (export "f"))"#);
    let warm_up = WarmUp { call: Some("f".into()), ..WarmUp::default() };
    let refused = Program::warm(&warm_up, &command, &WasiCtx::builder);
    assert!(said(refused).contains("no function '_initialize'"));
    let nothing = module("1", r#"(func (export "f"))"#);
    let refused = Program::warm(&WarmUp::default(), nothing, &WasiCtx::builder);
    assert_eq!(refused.unwrap_err(), ProgramError::NoStart);
}

#[test]
fn what_can_not_be_warm_says_why_and_runs_cold() {
    const MAY_READ: &str =
        "(if (i32.gt_u (memory.size) (i32.const 5)) (then (drop (call $read (i32.const 0)))))";
    let start = |body: &str| module("1", &format!("(func (export \"_start\") {MAY_READ} {body})"));
    for (wasm, reason) in [
        (module("1", "(func (export \"_start\"))"), "it never reads standard input"),
        (start("(call $put (i32.const 65))"), "it ends before it reads"),
        (start("(call $proc_exit (i32.const 3))"), "it exits with status 3 before it reads"),
        (start("unreachable"), "it traps before it reads its standard input: unreachable"),
        (start("(loop $l (br $l))"), "it computes for more than 0.2 s"),
        (
            module(
                "1",
                "(table 1 funcref) (func (export \"_start\") (drop (call $read (i32.const 0)))
                (table.set (i32.const 0) (ref.null func)))",
            ),
            "instructions that change a table",
        ),
        (
            module("1", "(memory 1) (func (export \"_start\") (drop (call $read (i32.const 0))))"),
            "more than one memory",
        ),
        (
            module(
                "1",
                "(func (export \"_initialize\") (drop (call $read (i32.const 0))))
                (func (export \"handle\"))",
            ),
            "it reads its standard input while it is initialized",
        ),
    ] {
        let why = cold(&wasm);
        assert!(why.contains(reason), "{why}");
    }
    let program =
        warm_with(&WarmUp::default(), &start("(call $put (i32.const 65))"), &WasiCtx::builder);
    assert_eq!(answer(&mut Pool::new(&program), b""), (b"A".to_vec(), Step::Exited(0)));
}

#[test]
fn a_prompt_is_sent_before_each_reply() {
    let body = r#"(func (export "_start") (local $got i32)
        (call $put (i32.const 62))
        (local.set $got (call $read (i32.const 0)))
        (call $write (i32.const 1) (i32.const 1024) (local.get $got)))"#;
    let mut pool = Pool::new(&warm(&module("1", body)));
    for line in [&b"one\n"[..], b"two\n"] {
        assert_eq!(answer(&mut pool, line).0, [b">", line].concat());
    }
    let long = r#"(func (export "_start")
        (call $write (i32.const 1) (i32.const 0) (i32.const 5000)) (drop (call $read (i32.const 0))))"#;
    assert!(cold(&module("1", long)).contains("more than 4096 bytes"));
}

#[test]
fn files_are_opened_again_where_they_were() {
    // Opens /data/f (made by the first step), reads three bytes, moves standard input to 9.
    let body = r#"(data (i32.const 64) "f")
        (func (export "_start") (local $got i32)
            (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 1)
                    (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 48))
                (then (call $proc_exit (i32.const 9))))
            (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 3))
            (drop (call $fd_read (i32.load (i32.const 48)) (i32.const 0) (i32.const 1) (i32.const 8)))
            (local.set $got (call $read (i32.const 0)))
            (call $write (i32.const 1) (i32.const 1024) (local.get $got))
            (local.set $got (call $read (i32.load (i32.const 48))))
            (call $write (i32.const 1) (i32.const 1024) (local.get $got)))"#;
    let wasm = module("1", body);
    let root = crate::vfs::mem::tree(Some(1 << 20));
    let writable = Open { write: true, ..Open::default() };
    let mut file = root.create(Name::new("f").unwrap(), writable).unwrap();
    file.write(&[IoSlice::new(b"abcdef")], 0).unwrap();
    let namespace = Namespace::builder().mount("/data", root).unwrap().build();
    let context = || WasiCtx::builder().namespace(namespace.clone());
    let program = warm_with(&WarmUp::default(), &wasm, &context);
    assert!(matches!(program.warmth(), Some(Warmth::Warm(_))), "{:?}", program.warmth());
    let mut pool = Pool::new(&program);
    for _ in 0..3 {
        let (mut guest, stdout) = guest(&mut pool, context(), b"x\n");
        assert_eq!(guest.run().unwrap(), Step::Exited(0));
        assert_eq!(stdout.take(), b"x\ndef");
        pool.recycle(guest);
    }
    // Without the file a guest does not begin.
    let empty = crate::vfs::mem::tree(None);
    let namespace = Namespace::builder().mount("/data", empty).unwrap().build();
    let other = WasiCtx::builder().namespace(namespace);
    let (mut lost, _) = guest(&mut pool, other, b"x\n");
    let end = lost.run().unwrap();
    assert!(matches!(&end, Step::Trapped(trap) if trap.text.contains("/data/f")), "{end:?}");
}

#[test]
fn a_guest_that_waits_for_its_first_byte_takes_no_memory() {
    let wasm = module("40", COUNTER);
    let program = warm(&wasm);
    let (stdin, mut feed) = pipe(256);
    let stdout = Capture::new(256);
    let cx = WasiCtx::builder().stdin(stdin).stdout(stdout.clone()).build();
    let mut guest = Guest::asleep(&program, cx);
    for _ in 0..3 {
        assert_eq!(guest.step(10_000), Step::Parked);
    }
    assert_eq!(guest.context().memory_peak(), 0);
    let woken = std::sync::Arc::new(Woken::default());
    assert_eq!(guest.arm(&woken.clone().into(), &mut |_, _| {}), crate::vfs::Armed::Until(None));
    feed.write(b"x\n").unwrap();
    assert!(woken.0.load(std::sync::atomic::Ordering::SeqCst));
    assert_eq!(guest.run().unwrap(), Step::Exited(0));
    assert_eq!(stdout.take(), b"0ax\n");
    assert_eq!(guest.context().memory_peak(), 40 << 16);
    // One that has a limit below its image fails when it is woken, and one whose program does
    // something else first is not put off.
    let (stdin, mut feed) = pipe(256);
    feed.write(b"x\n").unwrap();
    let cx = WasiCtx::builder().stdin(stdin).memory_max(1 << 16).build();
    let end = Guest::asleep(&program, cx).run().unwrap();
    assert!(matches!(&end, Step::Trapped(trap) if trap.text.contains("memory limit")), "{end:?}");
    let told = format!("{COUNTER} (func (export \"tinyhost_forked\"))");
    let told = warm(&module("40", &told));
    assert!(!Guest::may_sleep(&told, &WasiCtx::builder().build()));
    assert!(Guest::may_sleep(&program, &WasiCtx::builder().build()));
}

/// Whether it was woken.
#[derive(Default)]
struct Woken(std::sync::atomic::AtomicBool);

impl std::task::Wake for Woken {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.store(true, std::sync::atomic::Ordering::SeqCst);
    }
}
