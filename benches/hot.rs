//! The paths that decide what a guest costs, measured in one process.
//!
//! `cargo bench --bench hot` prints times. `TINYHOST_BENCH_ONCE=PATH:COUNT` runs one path so
//! many times and nothing else, for those that measure from outside: `.ci/callgrind` counts
//! instructions, `benches/compare` CPU time and memory.

use std::hint::black_box;
use std::io::{IoSlice, IoSliceMut};
use std::sync::{Arc, Mutex};

use divan::Bencher;
use divan::counter::ItemsCount;
use tinyhost::vfs::{Errno, File, Filetype, Stat};
use tinyhost::{Guest, Pool, Program, Step, WasiCtx};

const PROMPTREPLY: &[u8] = include_bytes!("../fixtures/promptreply.wasm");

#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tinyhost::GuestAllocator = tinyhost::GuestAllocator;

fn main() {
    let Ok(wish) = std::env::var("TINYHOST_BENCH_ONCE") else { return divan::main() };
    let (path, count) = wish.split_once(':').expect("PATH:COUNT");
    once(path, count.parse().expect("a count"));
}

fn once(path: &str, count: u64) {
    match path {
        "line" => {
            let mut pool = Pool::new(&promptreply());
            (0..count).for_each(|_| line(&mut pool));
            assert!(pool.recycles(), "this system can't recycle");
        }
        "fresh" => {
            let program = promptreply();
            (0..count).for_each(|_| line_in(Guest::new(&program, line_context().0)));
        }
        "calls" => calls(&looping("fd_tell", "(i32.const 1) (i32.const 64)", count)),
        // Guests that wait for their first byte; prints what each keeps resident.
        "parked" | "parked-fresh" => {
            let program = promptreply();
            let mut pool = Pool::new(&program);
            let mut park = || {
                let cx = WasiCtx::builder().stdin(Never).build();
                let fresh = path == "parked-fresh";
                let mut guest = if fresh { Guest::new(&program, cx) } else { pool.spawn(cx) };
                assert_eq!(guest.step(u64::MAX), Step::Parked);
                guest
            };
            let first = park();
            let before = resident_kib();
            let guests: Vec<Guest> = (0..count).map(|_| park()).collect();
            println!("{}", (resident_kib() - before) as f64 / count as f64);
            drop((first, guests));
        }
        other => panic!("TINYHOST_BENCH_ONCE={other}: no such path"),
    }
}

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).expect("it is there");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number")
}

/// Standard input with one line in it.
struct Line(&'static [u8]);

impl File for Line {
    fn stat(&mut self) -> Result<Stat, Errno> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize, Errno> {
        let count = self.0.len().min(bufs[0].len());
        let (now, later) = self.0.split_at(count);
        bufs[0][..count].copy_from_slice(now);
        self.0 = later;
        Ok(count)
    }
}

/// Standard input that has a byte every second time it is asked.
struct Hesitant(bool);

impl File for Hesitant {
    fn stat(&mut self) -> Result<Stat, Errno> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize, Errno> {
        self.0 = !self.0;
        if self.0 {
            return Err(Errno::Again);
        }
        bufs[0][0] = b'x';
        Ok(1)
    }
}

/// Standard input that nothing comes from yet.
struct Never;

impl File for Never {
    fn stat(&mut self) -> Result<Stat, Errno> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn read(&mut self, _bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize, Errno> {
        Err(Errno::Again)
    }
}

struct Reply(Arc<Mutex<Vec<u8>>>);

impl File for Reply {
    fn stat(&mut self) -> Result<Stat, Errno> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize, Errno> {
        let mut all = self.0.lock().expect("one thread");
        bufs.iter().for_each(|buf| all.extend_from_slice(buf));
        Ok(bufs.iter().map(|buf| buf.len()).sum())
    }
}

fn promptreply() -> Program {
    Program::new(PROMPTREPLY).expect("a fixture")
}

fn line_context() -> (WasiCtx, Arc<Mutex<Vec<u8>>>) {
    let reply = Arc::new(Mutex::new(Vec::new()));
    let stdout = Reply(reply.clone());
    (WasiCtx::builder().stdin(Line(b"  hello, world\n")).stdout(stdout).build(), reply)
}

fn line_in(mut guest: Guest) {
    ended(&mut guest);
}

fn ended(guest: &mut Guest) {
    let step = guest.step(u64::MAX);
    assert_eq!(step, Step::Exited(0));
}

/// One isolated line: a new guest, its input, its reply, and its end.
fn line(pool: &mut Pool) {
    let (cx, reply) = line_context();
    let mut guest = pool.spawn(cx);
    ended(&mut guest);
    pool.recycle(guest);
    assert!(reply.lock().expect("one thread").ends_with(b"hello, world\n"));
}

#[divan::bench]
fn line_recycled(bencher: Bencher<'_, '_>) {
    let mut pool = Pool::new(&promptreply());
    bencher.bench_local(|| line(&mut pool));
}

#[divan::bench]
fn line_fresh(bencher: Bencher<'_, '_>) {
    let program = promptreply();
    bencher.bench_local(|| {
        let (cx, reply) = line_context();
        ended(&mut Guest::new(&program, cx));
        black_box(reply);
    });
}

#[divan::bench]
fn spawn_recycled(bencher: Bencher<'_, '_>) {
    let mut pool = Pool::new(&promptreply());
    bencher.bench_local(|| {
        let guest = pool.spawn(WasiCtx::builder().build());
        pool.recycle(guest);
    });
}

#[divan::bench]
fn spawn_fresh(bencher: Bencher<'_, '_>) {
    let program = promptreply();
    bencher.bench_local(|| Guest::new(&program, WasiCtx::builder().build()));
}

/// Many guests at once, none of whose memory was there before.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn arrival_of_a_thousand(bencher: Bencher<'_, '_>) {
    let program = promptreply();
    bencher.counter(ItemsCount::new(1000_u32)).bench_local(|| {
        let mut pool = Pool::new(&program);
        (0..1000).map(|_| pool.spawn(line_context().0)).collect::<Vec<_>>()
    });
}

const CALLS: u64 = 10_000;

/// A program that makes a call again and again, as a guest of its own.
fn looping(name: &str, args: &str, count: u64) -> Program {
    let params = match name {
        "clock_time_get" => "i32 i64 i32",
        "fd_read" | "fd_write" => "i32 i32 i32 i32",
        _ => "i32 i32",
    };
    let wat = format!(
        "(module (import \"wasi_snapshot_preview1\" \"{name}\"
             (func $call (param {params}) (result i32)))
           (memory (export \"memory\") 1) (data (i32.const 16) \"\\20\\00\\00\\00\\01\\00\\00\\00\")
           (func (export \"_start\") (local $left i64) (local.set $left (i64.const {count}))
             (loop $next (drop (call $call {args}))
               (local.set $left (i64.sub (local.get $left) (i64.const 1)))
               (br_if $next (i64.ne (local.get $left) (i64.const 0))))))"
    );
    Program::new(wat::parse_str(wat).expect("it parses")).expect("it is valid")
}

fn calls(program: &Program) {
    let cx = WasiCtx::builder().stdin(Hesitant(false)).build();
    let mut guest = Guest::new(program, cx);
    while matches!(guest.step(u64::MAX), Step::Parked) {}
}

fn bench_calls(bencher: Bencher<'_, '_>, name: &str, args: &str) {
    let program = looping(name, args, CALLS);
    bencher.counter(ItemsCount::new(CALLS)).bench_local(|| calls(&program));
}

#[divan::bench]
fn call_tell(bencher: Bencher<'_, '_>) {
    bench_calls(bencher, "fd_tell", "(i32.const 1) (i32.const 64)");
}

#[divan::bench]
fn call_clock(bencher: Bencher<'_, '_>) {
    bench_calls(bencher, "clock_time_get", "(i32.const 1) (i64.const 0) (i32.const 64)");
}

#[divan::bench]
fn call_write(bencher: Bencher<'_, '_>) {
    let args = "(i32.const 1) (i32.const 16) (i32.const 1) (i32.const 64)";
    bench_calls(bencher, "fd_write", args);
}

/// Each read finds nothing, parks the guest, and is made again.
#[divan::bench]
fn park_and_resume(bencher: Bencher<'_, '_>) {
    let args = "(i32.const 0) (i32.const 16) (i32.const 1) (i32.const 64)";
    bench_calls(bencher, "fd_read", args);
}
