//! Guests of warm programs, and such as can be captured, dropped at every point at which they can be
//! stopped: between any two slices of a little fuel, and wherever they wait.

use std::io::Write;

use tinyhost::vfs::Namespace;
use tinyhost::vfs::host;
use tinyhost::vfs::pipe::{Capture, Writer, pipe};
use tinyhost::{Capturable, Guest, Pool, Program, ProgramConfig, Step, WarmUp, Warmth, WasiCtx};

use super::{ALONE, descriptors, resident_kib};

/// Fuel of a slice, and the slices after which a guest has come to its end.
const SLICE: u64 = 25;
const SLICES_MAX: usize = 10_000;

/// Fills 256 KiB and opens `/data/f` before its first read. Of each line it adds up the bytes, writes
/// to many pages, grows its memory, reads a byte of the file and replies with that.
const FILTER: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (import "wasi_snapshot_preview1" "path_open" (func $path_open
      (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (memory (export "memory") 8)
  (data (i32.const 64) "f")
  (func $read (param $fd i32) (param $most i32) (result i32)
    (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (local.get $most))
    (drop (call $fd_read (local.get $fd) (i32.const 0) (i32.const 1) (i32.const 8)))
    (i32.load (i32.const 8)))
  (func (export "_start") (local $file i32) (local $left i32) (local $sum i32)
    (memory.fill (i32.const 0x10000) (i32.const 7) (i32.const 0x40000))
    (if (call $path_open (i32.const 3) (i32.const 0) (i32.const 64) (i32.const 1)
        (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 48))
      (then (call $exit (i32.const 9))))
    (local.set $file (i32.load (i32.const 48)))
    (loop $line
      (local.set $left (call $read (i32.const 0) (i32.const 512)))
      (if (i32.eqz (local.get $left)) (then (call $exit (i32.const 0))))
      (local.set $sum (i32.const 0))
      (loop $byte
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (local.set $sum (i32.add (local.get $sum)
          (i32.load8_u (i32.add (i32.const 1024) (local.get $left)))))
        (i32.store (i32.add (i32.const 0x10000) (i32.shl (local.get $left) (i32.const 12)))
          (local.get $sum))
        (br_if $byte (local.get $left)))
      (drop (memory.grow (i32.const 1)))
      (drop (call $read (local.get $file) (i32.const 1)))
      (i32.store8 (i32.const 1025) (local.get $sum))
      (i32.store (i32.const 0) (i32.const 1024)) (i32.store (i32.const 4) (i32.const 2))
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
      (br $line))))"#;

/// A directory of the host with the file, so that a guest that holds it holds a descriptor.
fn files() -> (Namespace, std::path::PathBuf) {
    let path = std::env::temp_dir().join(format!("tinyhost-drops-{}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    std::fs::File::create(path.join("f")).unwrap().write_all(b"abcdef").unwrap();
    let dir = host::open(&path).unwrap();
    (Namespace::builder().mount("/data", dir).unwrap().build(), path)
}

struct Ends {
    feed: Writer,
    stdout: Capture,
}

fn context(namespace: &Namespace) -> (WasiCtx, Ends) {
    let (stdin, feed) = pipe(4096);
    let stdout = Capture::new(4096);
    let cx = WasiCtx::builder().namespace(namespace.clone()).stdin(stdin).stdout(stdout.clone());
    (cx.build(), Ends { feed, stdout })
}

/// Gives guest after guest two lines, and drops or recycles each a slice later than the one before.
/// Answers how many points that were.
fn at_each_point(mut make: impl FnMut() -> (Guest, Ends), mut gone: impl FnMut(Guest)) -> usize {
    for points in 0..SLICES_MAX {
        let (mut guest, mut ends) = make();
        let mut lines = [&b"one\n"[..], b"and two\n"].into_iter();
        let mut served = false;
        for _ in 0..points {
            match guest.step(SLICE) {
                Step::Yielded => {}
                Step::Parked => match lines.next() {
                    Some(line) => drop(ends.feed.write(line).unwrap()),
                    None => {
                        served = true;
                        break;
                    }
                },
                step => panic!("it reads on: {step:?}"),
            }
        }
        if served {
            // The sums of the bytes, as far as they fit one.
            assert_eq!(ends.stdout.take(), [b'a', 76, b'b', 183]);
        }
        gone(guest);
        if served {
            return points;
        }
    }
    panic!("it has no end");
}

/// Whether descriptors and memory are what they were after `rounds` of it.
fn leaves_nothing(mut round: impl FnMut() -> usize) {
    let points = round();
    assert!(points > 20, "only {points} points");
    let (open, kib) = (descriptors(), resident_kib());
    for _ in 0..3 {
        assert_eq!(round(), points);
    }
    assert_eq!(descriptors(), open);
    let grown = resident_kib().saturating_sub(kib);
    assert!(grown < 32 << 10, "{grown} KiB more");
}

#[test]
fn a_warm_guest_at_every_point() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (namespace, path) = files();
    let wasm = wat::parse_str(FILTER).unwrap();
    let start = || WasiCtx::builder().namespace(namespace.clone());
    let program = Program::warm(&WarmUp::default(), &wasm, &start).unwrap();
    assert!(matches!(program.warmth(), Some(Warmth::Warm(_))), "{:?}", program.warmth());
    let fresh = || {
        let (cx, ends) = context(&namespace);
        (Guest::new(&program, cx), ends)
    };
    leaves_nothing(|| at_each_point(fresh, drop));
    // The next guest, in the same instance, answers as the first one did.
    let pool = std::cell::RefCell::new(Pool::new(&program));
    let spawned = || {
        let (cx, ends) = context(&namespace);
        (pool.borrow_mut().spawn(cx), ends)
    };
    leaves_nothing(|| at_each_point(spawned, |guest| pool.borrow_mut().recycle(guest)));
    std::fs::remove_dir_all(path).unwrap();
}

#[test]
fn a_guest_that_can_be_captured_at_every_point() {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let (namespace, path) = files();
    let wasm = wat::parse_str(FILTER).unwrap();
    let capturable = Capturable::new(&ProgramConfig::default(), wasm).unwrap();
    let make = || {
        let (cx, ends) = context(&namespace);
        (Guest::new(capturable.program(), cx), ends)
    };
    leaves_nothing(|| at_each_point(make, drop));
    // Captured where it waits, and asked for it where it does not.
    let images = std::cell::Cell::new(0);
    let capture = |guest: Guest| {
        let waits = guest.waits_for_stdin();
        let captured = capturable.capture(guest);
        assert_eq!(captured.is_ok(), waits);
        images.set(images.get() + u32::from(waits));
    };
    leaves_nothing(|| at_each_point(make, capture));
    assert!(images.get() > 0);
    std::fs::remove_dir_all(path).unwrap();
}
