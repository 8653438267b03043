//! Guests on a tree whose every verb waits.

use std::sync::Arc;

use tinyhost::vfs::Namespace;
use tinyhost::vfs::pipe::Capture;
use tinyhost::{Armed, Guest, Program, Step, WasiCtx};

use super::waiting::{Server, Waiting};

/// Makes a directory, a file in it, renames both, lists, and takes all away again.
const NAMES: &str = r#"(module
  (import "wasi_snapshot_preview1" "path_create_directory"
    (func $mkdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_rename"
    (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_unlink_file"
    (func $unlink (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_remove_directory"
    (func $rmdir (param i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_readdir"
    (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "d") (data (i32.const 8) "d/f") (data (i32.const 16) "d/g")
  (data (i32.const 24) "e") (data (i32.const 32) "e/g")
  (func $must (param i32) (if (local.get 0) (then (call $exit (local.get 0)))))
  (func (export "_start")
    (call $must (call $mkdir (i32.const 3) (i32.const 0) (i32.const 1)))
    ;; O_CREAT, all rights, NONBLOCK: which means nothing for what a node has asked
    (call $must (call $open (i32.const 3) (i32.const 0) (i32.const 8) (i32.const 3) (i32.const 1)
      (i64.const 0x1fffffff) (i64.const 0x1fffffff) (i32.const 4) (i32.const 64)))
    (call $must (call $rename (i32.const 3) (i32.const 8) (i32.const 3)
      (i32.const 3) (i32.const 16) (i32.const 3)))
    (call $must (call $rename (i32.const 3) (i32.const 0) (i32.const 1)
      (i32.const 3) (i32.const 24) (i32.const 1)))
    (call $must (call $readdir (i32.const 3) (i32.const 256) (i32.const 512) (i64.const 0)
      (i32.const 64)))
    (call $must (call $unlink (i32.const 3) (i32.const 32) (i32.const 3)))
    (call $must (call $rmdir (i32.const 3) (i32.const 24) (i32.const 1)))))"#;

fn guest(program: &Program, server: &Arc<Server>, stdout: &Capture) -> Guest {
    let names = Namespace::builder().mount("/", Waiting::root(server)).expect("mount").build();
    let cx = WasiCtx::builder().arg("guest").expect("arg").arg("/").expect("arg").namespace(names);
    Guest::new(program, cx.stdout(stdout.clone()).stderr(stdout.clone()).build())
}

/// Steps a guest until it has waited so often, or has ended.
fn run(guest: &mut Guest, server: &Server, waits_max: usize) -> (Step, usize) {
    let mut waits = 0;
    loop {
        match guest.step(1_000_000) {
            Step::Yielded => {}
            Step::Parked if waits == waits_max => return (Step::Parked, waits),
            Step::Parked => {
                waits += 1;
                assert!(waits < 100_000, "it comes no further: {:?}", server.done());
                let armed = guest.arm(std::task::Waker::noop(), &mut |_, _| {});
                if armed == Armed::Until(None) {
                    assert!(server.work(), "it waits, but asked nobody");
                }
            }
            end => return (end, waits),
        }
    }
}

#[test]
fn what_changes_a_name_is_done_once() {
    let program = Program::new(wat::parse_str(NAMES).expect("wat")).expect("program");
    for seed in 0..50 {
        let (server, stdout) = (Server::new(seed), Capture::new(1 << 16));
        let mut guest = guest(&program, &server, &stdout);
        let (end, waits) = run(&mut guest, &server, usize::MAX);
        assert_eq!(end, Step::Exited(0));
        assert!(waits > 15, "each verb waits: {waits}");
        let done = server.done();
        let changes = ["mkdir d", "create f", "rename f g", "rename d e", "unlink g", "rmdir e"];
        for change in changes {
            let times = done.iter().filter(|what| *what == change).count();
            assert_eq!(times, 1, "{change}: {done:?}");
        }
        drop(guest);
        assert_eq!(server.held(), (0, 0));
    }
}

#[test]
fn a_cancelled_call_leaves_nothing() {
    let program = Program::new(wat::parse_str(NAMES).expect("wat")).expect("program");
    for waits_max in 0.. {
        let (server, stdout) = (Server::new(7), Capture::new(1 << 16));
        let mut guest = guest(&program, &server, &stdout);
        let (step, _) = run(&mut guest, &server, waits_max);
        drop(guest);
        assert_eq!(server.held(), (0, 0), "dropped at wait {waits_max}");
        if step == Step::Exited(0) {
            return;
        }
        assert_eq!(step, Step::Parked);
    }
}

#[test]
fn a_program_of_the_standard_library_runs_on_it() {
    let program = Program::new(std::fs::read("fixtures/fstour.wasm").expect("fixture"));
    let (server, stdout) = (Server::new(3), Capture::new(1 << 16));
    let mut guest = guest(&program.expect("program"), &server, &stdout);
    let (end, waits) = run(&mut guest, &server, usize::MAX);
    let said = String::from_utf8_lossy(&stdout.take()).into_owned();
    assert_eq!(end, Step::Exited(0), "{said}");
    assert!(waits > 100, "{waits}");
    drop(guest);
    assert_eq!(server.held(), (0, 0));
}

/// Opens a file with these flags and writes two bytes, and two more at an offset.
fn synced_writes(fdflags: u32) -> Vec<u8> {
    let wat = format!(
        r#"(module
  (import "wasi_snapshot_preview1" "path_open"
    (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_pwrite"
    (func $pwrite (param i32 i32 i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "f") (data (i32.const 8) "ab")
  (data (i32.const 16) "\08\00\00\00\02\00\00\00")
  (func $must (param i32) (if (local.get 0) (then (call $exit (local.get 0)))))
  (func (export "_start")
    (call $must (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1)
      (i64.const 0x1fffffff) (i64.const 0) (i32.const {fdflags}) (i32.const 64)))
    (call $must (call $write (i32.load (i32.const 64)) (i32.const 16) (i32.const 1) (i32.const 68)))
    (call $must (call $pwrite (i32.load (i32.const 64)) (i32.const 16) (i32.const 1) (i64.const 9)
      (i32.const 72)))
    (call $must (i32.ne (i32.load (i32.const 68)) (i32.const 2)))
    (call $must (i32.ne (i32.load (i32.const 72)) (i32.const 2)))))"#
    );
    wat::parse_str(wat).expect("wat")
}

#[test]
fn a_write_that_waits_for_its_sync_is_done_once() {
    const APPEND: u32 = 1;
    const DSYNC: u32 = 2;
    const SYNC: u32 = 16;
    for flags in [SYNC, DSYNC, SYNC | APPEND] {
        let program = Program::new(synced_writes(flags)).expect("program");
        let (server, stdout) = (Server::new(5), Capture::new(1 << 16));
        let mut guest = guest(&program, &server, &stdout);
        let (end, _) = run(&mut guest, &server, usize::MAX);
        let done = server.done();
        assert_eq!(end, Step::Exited(0), "flags {flags}: {done:?}");
        let count = |verb: &str| done.iter().filter(|what| what.starts_with(verb)).count();
        assert_eq!(count("write ") + count("append "), 2, "flags {flags}: {done:?}");
        assert_eq!(count("sync "), 2, "flags {flags}: {done:?}");
    }
}
