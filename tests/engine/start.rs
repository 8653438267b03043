//! A start section is a part of the program: it waits, gives way, and ends like the rest.

use std::time::{Duration, Instant};

use tinyhost::vfs::pipe::{Capture, pipe};
use tinyhost::{Cause, End, Guest, Pool, Program, Step, WasiCtx};

use super::{module, programs, says};

fn program(text: &str) -> Program {
    Program::new(wat::parse_str(text).expect("it is a module")).expect("it is a program")
}

#[test]
fn it_runs_before_the_program_and_once() {
    says(
        r#"(global $g (mut i32) (i32.const 1)) (start $first)
        (func $first
          (call $say (global.get $g)) (global.set $g (i32.const 2))
          (drop (memory.grow (i32.const 3))))
        (func (export "_start") (call $say (global.get $g)) (call $say (memory.size)))"#,
        &[1, 2, 4],
    );
}

#[test]
fn limits_hold_from_its_first_instruction() {
    let program = program(
        r#"(module (memory (export "memory") 1) (func $first (loop $l (br $l))) (start $first)
          (func (export "_start")))"#,
    );
    let mut guest = Guest::new(&program, WasiCtx::builder().build());
    assert_eq!(guest.fuel_used(), 0, "nothing of it has run");
    guest.limit_fuel(10_000);
    match guest.run() {
        Ok(Step::Trapped(trap)) => assert_eq!(trap.cause, Cause::Fuel),
        other => panic!("{other:?}"),
    }
    assert!(guest.fuel_used() <= 10_000);
    let mut guest = Guest::new(&program, WasiCtx::builder().build());
    assert_eq!(guest.step(1_000), Step::Yielded);
    let end = guest.run_until(Some(Instant::now() + Duration::from_millis(20)));
    assert!(matches!(end, End::TimedOut), "{end:?}");
}

/// The words of one guest are not those of the next, in an instance used again or not.
#[test]
fn it_can_wait_and_its_instance_be_used_again() {
    let program = program(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_read" (func $r (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write" (func $w (param i32 i32 i32 i32) (result i32)))
          (memory (export "memory") 1) (global $runs (mut i32) (i32.const 48)) (start $first)
          (data (i32.const 0) "\10\00\00\00\01\00\00\00")
          (func $first
            (global.set $runs (i32.add (global.get $runs) (i32.const 1)))
            (drop (call $r (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
            (i32.store8 (i32.const 17) (global.get $runs)))
          (func (export "_start")
            (i32.store (i32.const 4) (i32.const 2))
            (drop (call $w (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))))"#,
    );
    let mut pool = Pool::new(&program);
    for byte in *b"abc" {
        let ((stdin, mut feed), out) = (pipe(16), Capture::new(16));
        let cx = WasiCtx::builder().stdin(stdin).stdout(out.clone()).build();
        let mut guest = pool.spawn(cx);
        assert_eq!(guest.step(1_000_000), Step::Parked);
        feed.write(&[byte]).expect("there is room");
        while guest.step(1_000) == Step::Yielded {}
        assert_eq!(out.take(), [byte, b'1']);
        pool.recycle(guest);
        // Before the pool has a batch of instances to put back, it would make another one.
        pool.trim();
        assert_eq!(pool.idle(), usize::from(pool.recycles()));
    }
}

#[test]
fn its_end_is_the_programs() {
    let exits = r#"(import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;
    for (body, expected) in [
        ("(call $exit (i32.const 7))", Some(7)),
        ("(unreachable)", None),
        ("(drop (i32.load (i32.const -1)))", None),
    ] {
        let text = format!(
            r#"(module {exits} (memory (export "memory") 1) (func $first {body}) (start $first)
              (func (export "_start") (call $exit (i32.const 1))))"#
        );
        let program = program(&text);
        let step = Guest::new(&program, WasiCtx::builder().build()).run().unwrap();
        match (step, expected) {
            (Step::Exited(code), Some(expected)) => assert_eq!(code, expected),
            (Step::Trapped(trap), None) => assert_eq!(trap.cause, Cause::Wasm),
            (step, _) => panic!("{body}: {step:?}"),
        }
    }
}

#[test]
fn segments_are_there_before_it() {
    let wasm = module(
        r#"(data (i32.const 100) "\2a") (table $t 1 funcref) (elem (i32.const 0) $say)
        (func $first (call_indirect $t (param i32) (i32.load8_u (i32.const 100)) (i32.const 0)))
        (start $first) (func (export "_start"))"#,
    );
    for program in programs(&wasm) {
        let (said, step) = super::run(&program, 10, 1 << 20);
        assert_eq!((said, step), (vec![42], Step::Exited(0)));
    }
}
