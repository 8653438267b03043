//! A guest whose first letter says what it does with its line, and the command that runs it.

use std::process::Command;
use std::sync::OnceLock;

use crate::util::{Ended, Process, TempDir, tinyhost};

/// `x` exits with 3 after it has written `half`; `T` traps; `s` computes for ever; `w` sleeps 20 ms
/// and `W` an hour, then both reply with the line; `n` replies without a newline; `2` replies twice;
/// `0` not at all; `e` writes the line to stderr and exits with 1, `E` writes it to both; `F` writes
/// for ever; `m` grows its memory until it can't and traps. What begins with anything else comes back
/// as it is.
const TEXT: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 8)
  (data (i32.const 0) "half")
  (data (i32.const 8) "\00\10\00\00\00\00\02\00")
  (data (i32.const 16) "\00\00\00\00\04\00\00\00")
  (global $len (mut i32) (i32.const 0))
  (func $say (param $fd i32) (param $len i32)
    (i32.store (i32.const 28) (local.get $len))
    (i32.store (i32.const 24) (i32.const 4096))
    (drop (call $write (local.get $fd) (i32.const 24) (i32.const 1) (i32.const 32))))
  (func $sleep (param $ns i64)
    (i32.store (i32.const 80) (i32.const 1))
    (i64.store (i32.const 88) (local.get $ns))
    (drop (call $poll (i32.const 64) (i32.const 128) (i32.const 1) (i32.const 32))))
  (func $is (param $letter i32) (result i32)
    (i32.eq (i32.load8_u (i32.const 4096)) (local.get $letter)))
  (func (export "_start")
    (loop $more
      (i32.store (i32.const 8) (i32.add (i32.const 4096) (global.get $len)))
      (drop (call $read (i32.const 0) (i32.const 8) (i32.const 1) (i32.const 32)))
      (global.set $len (i32.add (global.get $len) (i32.load (i32.const 32))))
      (br_if $more (i32.load (i32.const 32))))
    (if (call $is (i32.const 0x78)) (then
      (drop (call $write (i32.const 1) (i32.const 16) (i32.const 1) (i32.const 32)))
      (call $exit (i32.const 3))))
    (if (call $is (i32.const 0x54)) (then (unreachable)))
    (if (call $is (i32.const 0x73)) (then (loop $spin (br $spin))))
    (if (call $is (i32.const 0x6d)) (then
      (loop $grow (br_if $grow (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
      (unreachable)))
    (if (call $is (i32.const 0x77)) (then (call $sleep (i64.const 20000000))))
    (if (call $is (i32.const 0x57)) (then (call $sleep (i64.const 3600000000000))))
    (if (call $is (i32.const 0x65)) (then
      (call $say (i32.const 2) (global.get $len))
      (call $exit (i32.const 1))))
    (if (call $is (i32.const 0x45)) (then (call $say (i32.const 2) (global.get $len))))
    (if (call $is (i32.const 0x30)) (then (call $exit (i32.const 0))))
    (if (call $is (i32.const 0x46)) (then
      (loop $again (call $say (i32.const 1) (global.get $len)) (br $again))))
    (if (call $is (i32.const 0x32)) (then (call $say (i32.const 1) (global.get $len))))
    (if (call $is (i32.const 0x6e)) (then
      (call $say (i32.const 1) (i32.sub (global.get $len) (i32.const 1)))
      (call $exit (i32.const 0))))
    (call $say (i32.const 1) (global.get $len))))"#;

/// The path of its module.
pub fn path() -> &'static str {
    static PATH: OnceLock<(TempDir, String)> = OnceLock::new();
    let (_, path) = PATH.get_or_init(|| {
        let dir = TempDir::new();
        let path = dir.path().join("letters.wasm").display().to_string();
        std::fs::write(&path, wat::parse_str(TEXT).unwrap()).unwrap();
        (dir, path)
    });
    path
}

/// `tinyhost pipe OPTIONS letters.wasm`, yet to be started.
pub fn command(options: &[&str]) -> Command {
    tinyhost(["pipe"].iter().chain(options).chain(&[path()]))
}

/// The same with this input, to its end.
pub fn pipe(options: &[&str], input: &[u8]) -> Ended {
    Process::start(command(options)).input(input).end()
}
