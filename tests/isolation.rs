//! Guest after guest in the same few instances, nearly all of which touch the same pages, and now and
//! then one that writes anywhere: none finds what another has written.
//!
//! The only test of its process, so that its page faults are those of its guests.

use std::io::{IoSlice, IoSliceMut};

use tinyhost::vfs::{Errno, File, Filetype, Stat};
use tinyhost::{Pool, Program, Step, WasiCtx};

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tinyhost::GuestAllocator = tinyhost::GuestAllocator;

/// Pages of 4 KiB. The guest's input goes to the first, its data segment is in the second, and each
/// guest writes to the third.
const PAGES: u32 = 256;

const GUEST: &str = r#"(module
  (import "wasi_snapshot_preview1" "fd_read"
    (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
  (memory (export "memory") 16)
  (global $seen (mut i32) (i32.const 5))
  (data (i32.const 0) "\10\00\00\00\0c\00\00\00")
  (data (i32.const 4096) "\2a\00\00\00")
  (func (export "_start") (local $at i32)
    (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 64)))
    ;; The third number: look at all there is.
    (if (i32.load (i32.const 24)) (then
      (local.set $at (i32.const 4100))
      (if (i32.ne (i32.load (i32.const 4096)) (i32.const 42)) (then (call $exit (i32.const 1))))
      (loop $next
        (if (i32.load (local.get $at)) (then (call $exit (i32.const 2))))
        (br_if $next (i32.lt_u
          (local.tee $at (i32.add (local.get $at) (i32.const 4))) (i32.const 1048576))))))
    (if (i32.ne (global.get $seen) (i32.const 5)) (then (call $exit (i32.const 3))))
    (global.set $seen (i32.const 6))
    ;; The first: where to write. The second: what, from there to the end of its page.
    (i32.store (i32.const 8192) (i32.const -1))
    (memory.fill (i32.load (i32.const 16)) (i32.load (i32.const 20))
      (i32.sub (i32.const 4096) (i32.and (i32.load (i32.const 16)) (i32.const 4095))))))"#;

/// Three numbers.
struct Command([u8; 12]);

impl File for Command {
    fn stat(&mut self) -> Result<Stat, Errno> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize, Errno> {
        bufs[0].copy_from_slice(&self.0);
        Ok(12)
    }

    fn write(&mut self, _bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize, Errno> {
        Err(Errno::Badf)
    }
}

fn run(pool: &mut Pool, at: u32, value: u32, looks: bool) {
    let mut command = [0; 12];
    for (bytes, number) in command.chunks_mut(4).zip([at, value, u32::from(looks)]) {
        bytes.copy_from_slice(&number.to_le_bytes());
    }
    let mut guest = pool.spawn(WasiCtx::builder().stdin(Command(command)).build());
    let step = guest.step(u64::MAX);
    assert_eq!(step, Step::Exited(0), "1: its data; 2: its memory; 3: its global");
    pool.recycle(guest);
}

#[test]
fn no_guest_finds_what_another_has_written() {
    let program = Program::new(wat::parse_str(GUEST).unwrap()).unwrap();
    let mut pool = Pool::new(&program);
    if !pool.recycles() {
        eprintln!("SKIPPED: this kernel has no PAGEMAP_SCAN, so nothing is recycled");
        return;
    }
    let lines = std::env::var("ISOLATION_LINES").map_or(6_000, |text| text.parse().unwrap());
    let mut random = 1u64;
    for line in 0..lines {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let place = u32::try_from(random >> 33).unwrap();
        match line % 200 {
            // Anywhere but in what is read into.
            70 | 110 => run(&mut pool, 4096 + place % (4096 * (PAGES - 1)), 0xff, false),
            // More of them than instances are used in turn.
            71..=74 | 130..=170 => run(&mut pool, 8192, 1, true),
            _ => run(&mut pool, 8192, 1, false),
        }
    }
    assert!(pool.idle() > 1, "they are restored in batches");
    eprintln!("{lines} guests, and none has seen another");
}
