//! `--warm`: guests start where the program first reads.

use crate::util::{Ended, Process, TempDir, tinyhost};

/// `tinyhost pipe --warm` of a program whose `_start` is this.
fn warm(options: &[&str], parts: &str, input: &[u8]) -> Ended {
    let text = format!(
        r#"(module
      (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
      (memory (export "memory") 4)
      (func $read (result i32)
        (i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (i32.const 4096))
        (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
        (i32.load (i32.const 8)))
      (func $write (param $fd i32) (param $count i32)
        (i32.store (i32.const 0) (i32.const 4096)) (i32.store (i32.const 4) (local.get $count))
        (drop (call $fd_write (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8))))
      {parts})"#
    );
    let dir = TempDir::new();
    let path = dir.path().join("program.wasm");
    std::fs::write(&path, wat::parse_str(text).unwrap()).unwrap();
    let path = path.display().to_string();
    let words = ["pipe", "--warm"];
    let command = tinyhost(words.iter().chain(options).chain(&[&*path]));
    Process::start(command).input(input).end()
}

/// Replies with how many lines it has had, and the line; at the end of its input it exits with 9.
/// What it writes to standard error comes before its first read.
const LOOP: &str = r#"(func (export "_start") (local $got i32) (local $n i32)
    (i64.store (i32.const 4096) (i64.const 0x0a6f6c6c6568)) (call $write (i32.const 2) (i32.const 6))
    (loop $next
        (local.set $got (call $read))
        (if (i32.eqz (local.get $got)) (then (call $exit (i32.const 9))))
        (i32.store8 (i32.const 4096) (i32.add (i32.const 48) (local.get $n)))
        (call $write (i32.const 1) (local.get $got))
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br $next)))"#;

#[test]
fn a_loop_over_lines_is_a_filter() {
    let lines: String = (0..5000).map(|n| format!("_{n}\n")).collect();
    let ended = warm(&["--workers", "2"], LOOP, lines.as_bytes());
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert_eq!(String::from_utf8(ended.stdout).unwrap(), lines.replace('_', "0"));
    assert_eq!(ended.stderr, "tinyhost: program.wasm: hello\n");
}

#[test]
fn a_program_that_stays_cold_is_one_that_is_said_so() {
    let ended = warm(
        &[],
        r#"(func (export "_start") (call $write (i32.const 1) (i32.const 0)) unreachable
        (drop (call $read)))"#,
        b"x\n",
    );
    let why = "program.wasm: stays cold: it traps before it reads its standard input: unreachable";
    assert!(ended.stderr.contains(why), "{}", ended.stderr);
    assert_eq!(ended.status, Some(1));
}

#[test]
fn a_library_is_called_for_each_line() {
    let library = r#"(global $base (mut i32) (i32.const 0))
        (func (export "_initialize") (global.set $base (i32.const 97)))
        (func (export "one") (drop (call $read)) (i32.store8 (i32.const 4096) (global.get $base))
            (i32.store8 (i32.const 4097) (i32.const 10)) (call $write (i32.const 1) (i32.const 2)))
        (func (export "two") (result i32) (drop (call $read)) (i32.const 7))"#;
    let ended = warm(&["--call", "one"], library, b"x\ny\n");
    assert_eq!((ended.status, &ended.stdout[..]), (Some(0), &b"a\na\n"[..]), "{}", ended.stderr);
    let ended = warm(&["--call", "two"], library, b"x\n");
    assert!(ended.stderr.contains("status 7"), "{}", ended.stderr);
    let ended = warm(&[], library, b"x\n");
    assert_eq!(ended.status, Some(125));
    assert!(ended.stderr.contains("choose one with --call NAME"), "{}", ended.stderr);
}
