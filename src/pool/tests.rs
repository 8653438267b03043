//! Not one bit passes from a guest to the next: random guests in instances used again and in
//! fresh ones, compared in everything they have and do.

use std::fmt::Write;
use std::io::{IoSlice, IoSliceMut};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wasmi::{Global, Val};

use super::*;
use crate::program::Warmth;
use crate::step::Step;
use crate::vfs::{Errno, File, Filetype, Result, Stat};
use crate::warm::WarmUp;

/// xorshift64*: the same guests every time.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) as u32
    }

    fn below(&mut self, end: u32) -> u32 {
        self.next() % end
    }
}

/// Standard input with commands in it; behind them it is at its end, or never will be.
struct Feed {
    bytes: Vec<u8>,
    at: usize,
    ends: bool,
}

impl File for Feed {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        let rest = &self.bytes[self.at..];
        if rest.is_empty() && !self.ends {
            return Err(Errno::Again);
        }
        let count = rest.len().min(bufs[0].len());
        bufs[0][..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

#[derive(Clone, Default)]
struct Collected(Arc<Mutex<Vec<u8>>>);

impl File for Collected {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        let mut all = lock(&self.0);
        bufs.iter().for_each(|buf| all.extend_from_slice(buf));
        Ok(bufs.iter().map(|buf| buf.len()).sum())
    }
}

const GLOBALS: [(&str, &str); 5] =
    [("i32", "7"), ("i64", "-9"), ("f32", "nan:0x200001"), ("f64", "0.1"), ("i32", "-1")];

/// A program that does what the 16-byte commands on its standard input tell: memory, data
/// and globals are random, the code is always the same.
fn program(random: &mut Random) -> Program {
    Program::new(module(random, "")).unwrap()
}

/// The module of such a program, with something more.
fn module(random: &mut Random, more: &str) -> Vec<u8> {
    let pages = 1 + random.below(40);
    let mut wat = format!("(module {IMPORTS} (memory (export \"memory\") {pages} 64)\n");
    for (index, (ty, value)) in GLOBALS.iter().enumerate() {
        let export =
            if random.below(3) == 0 { format!("(export \"g{index}\")") } else { String::new() };
        writeln!(wat, "(global {export} (mut {ty}) ({ty}.const {value}))").unwrap();
    }
    writeln!(wat, "(global i32 (i32.const 3))").unwrap();
    for _ in 0..random.below(8) {
        let at = random.below(pages * 65536 - 9000);
        let text: String =
            (0..random.below(9000)).map(|_| char::from(b'a' + (random.below(26) as u8))).collect();
        writeln!(wat, "(data (i32.const {at}) \"{text}\")").unwrap();
    }
    wat.push_str(CODE.trim_end().strip_suffix(')').unwrap());
    wat.push_str(more);
    wat.push(')');
    wat::parse_str(wat).unwrap()
}

const IMPORTS: &str = r#"
  (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))"#;

const CODE: &str = r#"
  (table 4 funcref) (elem (i32.const 1) $deep $nothing)
  (func $nothing) (func $deep (call $deep))
  (func (export "_start") (local $a i32) (local $b i32) (local $c i32)
    (loop $next
      (i32.store (i32.const 0) (i32.const 16)) (i32.store (i32.const 4) (i32.const 16))
      (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))
      (if (i32.eqz (i32.load (i32.const 8))) (then (return)))
      (local.set $a (i32.load (i32.const 20)))
      (local.set $b (i32.load (i32.const 24)))
      (local.set $c (i32.load (i32.const 28)))
      (block $12 (block $11 (block $10 (block $9 (block $8 (block $7 (block $6 (block $5
      (block $4 (block $3 (block $2 (block $1 (block $0
        (br_table $0 $1 $2 $3 $4 $5 $6 $7 $8 $9 $10 $11 $12 (i32.load (i32.const 16))))
        (i32.store (local.get $a) (local.get $b)) (br $next))
        (memory.fill (local.get $a) (local.get $b) (local.get $c)) (br $next))
        (memory.copy (local.get $a) (local.get $b) (local.get $c)) (br $next))
        (global.set 0 (local.get $a)) (global.set 1 (i64.extend_i32_s (local.get $b)))
        (global.set 2 (f32.reinterpret_i32 (local.get $c))) (br $next))
        (global.set 3 (f64.convert_i32_s (local.get $a)))
        (global.set 4 (i32.add (global.get 0) (i32.load (local.get $b)))) (br $next))
        (i32.store (i32.const 0) (local.get $a)) (i32.store (i32.const 4) (local.get $c))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br $next))
        (i32.store (i32.const 32) (global.get 0)) (i64.store (i32.const 36) (global.get 1))
        (f32.store (i32.const 44) (global.get 2)) (f64.store (i32.const 48) (global.get 3))
        (i32.store (i32.const 56) (global.get 4))
        (i32.store (i32.const 0) (i32.const 32)) (i32.store (i32.const 4) (i32.const 28))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8))) (br $next))
        (drop (memory.grow (i32.and (local.get $a) (i32.const 1)))) (br $next))
        (call_indirect (i32.and (local.get $a) (i32.const 3))) (br $next))
        (call $exit (local.get $a)) (br $next))
        (drop (call $close (i32.const 1))) (br $next))
        (loop $ever (br $ever)))
      unreachable)))"#;

/// Commands, most of them harmless, the last one perhaps not.
fn commands(random: &mut Random, memory: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.below(12) {
        let op = match random.below(40) {
            0 => 7 + random.below(6),
            1 => 1,
            _ => random.below(7),
        };
        let (mut a, mut b) = (32 + random.below(memory - 32), 32 + random.below(memory - 32));
        let room = memory - a.max(b);
        let mut c =
            if random.below(3) == 0 { random.below(room) } else { random.below(room.min(300)) };
        match random.below(60) {
            // Over the end, and over everything.
            0 => a = random.next(),
            1 => b = random.next(),
            2 => (a, b, c) = (64, random.next(), memory - 64),
            _ => {}
        }
        for word in [op, a, b, c] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    bytes
}

fn context(input: &[u8], ends: bool) -> (WasiCtx, Collected) {
    let out = Collected::default();
    let feed = Feed { bytes: input.to_vec(), at: 0, ends };
    (WasiCtx::builder().stdin(feed).stdout(out.clone()).build(), out)
}

/// All that a guest has.
fn state(guest: &Guest, globals: &[Global]) -> (Vec<u8>, Vec<String>, usize, usize) {
    let memory = guest.instance.store.data().memory.unwrap();
    let bits = |value: Val| match value {
        Val::F32(value) => format!("f32 {:x}", value.to_bits()),
        Val::F64(value) => format!("f64 {:x}", value.to_bits()),
        other => format!("{other:?}"),
    };
    let globals = globals.iter().map(|global| bits(global.get(&guest.instance.store))).collect();
    let limits = &guest.context().limits;
    (memory.data(&guest.instance.store).to_vec(), globals, limits.used, limits.peak)
}

/// The handles of a guest's globals.
fn globals(guest: &Guest) -> Vec<Global> {
    guest.instance.globals()
}

fn compare(
    seed: u64,
    (one, one_globals): (&Guest, &[Global]),
    (other, other_globals): (&Guest, &[Global]),
) {
    let (a, b) = (state(one, one_globals), state(other, other_globals));
    let differing = a.0.iter().zip(&b.0).position(|(a, b)| a != b);
    assert_eq!((differing, a.0.len()), (None, b.0.len()), "memory, seed {seed}");
    assert_eq!((a.1, a.2, a.3), (b.1, b.2, b.3), "globals and limits, seed {seed}");
}

#[test]
fn a_recycled_guest_is_a_fresh_one() {
    let (mut recycled, mut ends) = (0, [0; 4]);
    for seed in 1..=24 {
        let mut random = Random(0x9e37_79b9_7f4a_7c15 ^ seed);
        let program = program(&mut random);
        assert!(program.shared.recipe.is_some());
        let mut pool = Pool::new(&program);
        if !pool.recycles() {
            eprintln!("skipped: this kernel has no PAGEMAP_SCAN, so nothing is recycled");
            return;
        }
        for _ in 0..40 {
            recycled += pool.idle.len();
            let probe = Guest::new(&program, WasiCtx::blank());
            let memory =
                probe.instance.store.data().memory.unwrap().data_size(&probe.instance.store) as u32;
            let (input, at_end) = (commands(&mut random, memory), random.below(2) == 0);
            let (cx, fresh_out) = context(&input, at_end);
            let mut fresh = Guest::new(&program, cx);
            let (cx, out) = context(&input, at_end);
            let mut again = pool.spawn(cx);
            let (fresh_globals, again_globals) = (globals(&fresh), globals(&again));
            // Looking brings pages in, so that is not always done.
            if random.below(2) == 0 {
                compare(seed, (&fresh, &fresh_globals), (&again, &again_globals));
            }
            let limit = 30_000 + u64::from(random.below(100_000));
            fresh.limit_fuel(limit);
            again.limit_fuel(limit);
            for _ in 0..1 + random.below(4) {
                let fuel = u64::from(random.below(60_000));
                let step = fresh.step(fuel);
                assert_eq!(again.step(fuel), step, "seed {seed}");
                ends[match step {
                    Step::Exited(_) => 0,
                    Step::Trapped(_) => 1,
                    Step::Yielded => 2,
                    Step::Parked => 3,
                }] += 1;
            }
            assert_eq!(again.fuel_used(), fresh.fuel_used(), "seed {seed}");
            assert_eq!(*lock(&out.0), *lock(&fresh_out.0), "seed {seed}");
            if random.below(4) != 0 {
                compare(seed, (&fresh, &fresh_globals), (&again, &again_globals));
            }
            pool.recycle(again);
            assert_eq!(Arc::strong_count(&out.0), 1, "what it held is closed");
        }
    }
    assert!(recycled > 500, "only {recycled} guests were recycled");
    assert!(ends.iter().all(|count| *count > 50), "exits, traps, yields, parks: {ends:?}");
}

/// Runs a guest until it ends or waits. `None` if it runs out of fuel, which takes it another way
/// from where it begins.
fn settle(guest: &mut Guest) -> Option<Step> {
    guest.limit_fuel(3_000_000);
    loop {
        match guest.step(100_000) {
            Step::Yielded => {}
            Step::Trapped(trap) if trap.cause == crate::step::Cause::Fuel => return None,
            step => return Some(step),
        }
    }
}

#[test]
fn a_warm_guest_is_a_cold_one() {
    let (mut compared, mut ends) = (0, [0; 3]);
    for seed in 1..=16 {
        let mut random = Random(0x5851_f42d_4c95_7f2d ^ seed);
        // What the start leaves in memory and globals is small or large.
        let len = if random.below(2) == 0 { 3000 } else { 50_000 };
        let start = format!(
            "(start $begin) (func $begin (global.set 4 (i32.const {})) (global.set 1 (i64.const {}))
               (memory.fill (i32.const {}) (i32.const {}) (i32.const {len})))",
            random.next().cast_signed(),
            random.next(),
            64 + random.below(9000),
            random.below(256),
        );
        let wasm = module(&mut random, &start);
        let cold = Program::new(&wasm).unwrap();
        let warm = Program::warm(&WarmUp::default(), &wasm, &WasiCtx::builder).unwrap();
        assert!(matches!(warm.warmth(), Some(Warmth::Warm(_))), "{:?}", warm.warmth());
        let mut pool = Pool::new(&warm);
        for _ in 0..40 {
            let memory = 65536;
            let (input, at_end) = (commands(&mut random, memory), random.below(2) == 0);
            let (cx, cold_out) = context(&input, at_end);
            let mut fresh = Guest::new(&cold, cx);
            let (cx, out) = context(&input, at_end);
            let mut again = match random.below(3) {
                0 => Guest::new(&warm, cx),
                1 => pool.spawn(cx),
                _ => Guest::asleep(&warm, cx),
            };
            let one = settle(&mut fresh);
            let other = settle(&mut again);
            if let (Some(one), Some(other)) = (one, other)
                // One that is asleep has no memory to look at.
                && again.context().limits.peak > 0
            {
                assert_eq!(one, other, "seed {seed}");
                assert_eq!(*lock(&out.0), *lock(&cold_out.0), "seed {seed}");
                compare(seed, (&fresh, &globals(&fresh)), (&again, &globals(&again)));
                compared += 1;
                ends[match one {
                    Step::Exited(_) => 0,
                    Step::Trapped(_) => 1,
                    _ => 2,
                }] += 1;
            }
            pool.recycle(again);
            assert_eq!(Arc::strong_count(&out.0), 1, "what it held is closed");
        }
    }
    assert!(compared > 300, "only {compared} guests were compared");
    assert!(ends.iter().all(|count| *count > 20), "exits, traps, parks: {ends:?}");
}

#[test]
fn an_instance_whose_memory_has_grown_is_not_used_again() {
    let mut random = Random(1);
    let program = program(&mut random);
    let mut pool = Pool::new(&program);
    let grow: Vec<u8> = [7u32, 1, 0, 0].iter().flat_map(|word| word.to_le_bytes()).collect();
    for (input, kept) in [(&[][..], 1), (&grow[..], 0), (&[], 1), (&grow, 0)] {
        let mut guest = pool.spawn(context(input, true).0);
        assert_eq!(guest.step(100_000), Step::Exited(0));
        pool.recycle(guest);
        assert_eq!(pool.idle.len(), if pool.recycles() { kept } else { 0 });
    }
}

#[test]
fn a_guest_of_another_program_is_not_taken_in() {
    let (one, other) = (program(&mut Random(1)), program(&mut Random(2)));
    let mut pool = Pool::new(&one);
    pool.recycle(Pool::new(&other).spawn(WasiCtx::blank()));
    pool.recycle(Guest::new(&one, WasiCtx::blank()));
    assert!(pool.idle.is_empty());
}

#[test]
fn a_limit_that_is_too_small_fails_as_elsewhere() {
    let program = program(&mut Random(3));
    let mut pool = Pool::new(&program);
    let guest = pool.spawn(WasiCtx::builder().build());
    pool.recycle(guest);
    let small = || WasiCtx::builder().memory_max(1000).build();
    let step = Guest::new(&program, small()).step(1000);
    assert!(matches!(step, Step::Trapped(_)));
    assert_eq!(pool.spawn(small()).step(1000), step);
    assert_eq!(pool.idle.len(), usize::from(pool.recycles()), "it is there for others");
}

/// Enough for a guest to come to its first read at once, on any machine.
const SLICE: Duration = Duration::from_secs(10);

#[test]
fn a_guest_run_ahead_waits_and_is_fed() {
    let program = program(&mut Random(4));
    let mut pool = Pool::new(&program);
    let mut ahead = Ahead::new(2, Duration::from_secs(10));
    let now = Instant::now();
    for _ in 0..3 {
        assert_eq!(ahead.run(&mut pool, now, SLICE, || (context(&[], false).0, ())), Ok(()));
    }
    assert_eq!((ahead.len(), ahead.wants()), (2, false));
    assert_eq!(ahead.next_expiry(), Some(now + Duration::from_secs(10)));
    let (mut guest, ()) = ahead.take().unwrap();
    assert_eq!(guest.step(1000), Step::Parked);
    ahead.expire(&mut pool, now + Duration::from_secs(9));
    assert_eq!(ahead.len(), 1);
    ahead.expire(&mut pool, now + Duration::from_secs(10));
    assert!(ahead.is_empty());
    assert_eq!(pool.idle.len(), usize::from(pool.recycles()));

    // One that ends before it reads is no good, and is not tried again until a reload.
    assert!(
        ahead
            .run(&mut pool, now, SLICE, || (context(&[], true).0, ()))
            .unwrap_err()
            .contains("ends")
    );
    assert_eq!(ahead.run(&mut pool, now, SLICE, || (context(&[], false).0, ())), Ok(()));
    assert!(ahead.is_empty() && !ahead.wants(), "it is known");
    ahead.clear();
    assert_eq!(ahead.run(&mut pool, now, SLICE, || (context(&[], false).0, ())), Ok(()));
    assert_eq!(ahead.len(), 1);
}

/// Counts the calls it sees.
struct Count(Arc<Mutex<usize>>);

impl crate::wasi::Trace for Count {
    fn call(&mut self, _: &crate::wasi::TracedCall<'_>, _: crate::wasi::CallOutcome) {
        *lock(&self.0) += 1;
    }
}

#[test]
fn one_that_looks_around_first_is_not_run_ahead() {
    let calls = [
        ("environ_sizes_get", "i32 i32", "(i32.const 0) (i32.const 8)"),
        ("clock_time_get", "i32 i64 i32", "(i32.const 0) (i64.const 0) (i32.const 8)"),
        ("fd_write", "i32 i32 i32 i32", "(i32.const 1) (i32.const 16) (i32.const 0) (i32.const 8)"),
        ("fd_read", "i32 i32 i32 i32", "(i32.const 3) (i32.const 16) (i32.const 0) (i32.const 8)"),
        ("args_sizes_get", "i32 i32", "(i32.const 0) (i32.const 8)"),
        ("random_get", "i32 i32", "(i32.const 64) (i32.const 8)"),
    ];
    let tried = calls.map(|(name, params, args)| {
        let wat = format!(
            r#"(module (import "wasi_snapshot_preview1" "{name}" (func $first (param {params}) (result i32)))
                 {IMPORTS} (memory (export "memory") 1) (func (export "_start") (drop (call $first {args}))
                 (i32.store (i32.const 4) (i32.const 1))
                 (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
        );
        let program = Program::new(wat::parse_str(wat).unwrap()).unwrap();
        let (mut pool, count) = (Pool::new(&program), Arc::new(Mutex::new(0)));
        let mut ahead = Ahead::new(1, Duration::from_secs(10));
        let (mut cx, _) = context(&[], false);
        cx.trace = Some(Box::new(Count(count.clone())));
        let why = ahead.run(&mut pool, Instant::now(), SLICE, || (cx, ()));
        if let Some((mut guest, ())) = ahead.take() {
            let seen = *lock(&count);
            assert_eq!(guest.step(1000), Step::Parked);
            assert_eq!(*lock(&count), seen + 1, "who was told before is told on");
        }
        (name, why.is_ok())
    });
    let suited = tried.iter().filter(|(_, suited)| *suited).map(|(name, _)| *name);
    assert_eq!(suited.collect::<Vec<_>>(), ["args_sizes_get", "random_get"]);
}

#[test]
fn instances_nobody_needed_are_dropped() {
    let program = program(&mut Random(5));
    let mut pool = Pool::new(&program);
    if !pool.recycles() {
        return;
    }
    let all: Vec<Guest> = (0..10).map(|_| pool.spawn(WasiCtx::blank())).collect();
    all.into_iter().for_each(|guest| pool.recycle(guest));
    pool.trim();
    assert_eq!(pool.idle(), 10, "they were in use since the last time");
    let some: Vec<Guest> = (0..4).map(|_| pool.spawn(WasiCtx::blank())).collect();
    some.into_iter().for_each(|guest| pool.recycle(guest));
    pool.trim();
    assert_eq!(pool.idle(), 5, "as many as were, and one");
    pool.trim();
    assert_eq!(pool.idle(), 1);
    pool.trim();
    assert_eq!(pool.idle(), 1, "the next line need not wait for a new one");
}

/// Locks, also after a panic of another thread: that one is the failure to be seen.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
