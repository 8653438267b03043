//! Arguments, environment, clocks, randomness, the process.

use std::sync::Arc;

use tinyhost::{Cause, Errno, Guest, Program, Step, WasiCtx};
use tinyhost::{Clock, Random};

use crate::calls::{Calls, DATA, OTHER, OUT, Outcome, UNTOUCHED};

/// The strings behind `count` pointers.
fn strings(calls: &mut Calls, pointers: u32, count: u32) -> Vec<String> {
    let string = |calls: &mut Calls, index| {
        let at = calls.u32_at(pointers + 4 * index) as usize;
        let bytes = &calls.memory()[at..];
        let len = bytes.iter().position(|byte| *byte == 0).expect("a NUL");
        String::from_utf8(bytes[..len].to_vec()).expect("UTF-8")
    };
    (0..count).map(|index| string(calls, index)).collect()
}

fn list(calls: &mut Calls, what: &str) -> Vec<String> {
    calls.call(&format!("{what}_sizes_get"), &[OUT.into(), (OUT + 4).into()]).expect("sizes");
    let (count, len) = (calls.u32_at(OUT), calls.u32_at(OUT + 4));
    calls.call(&format!("{what}_get"), &[OTHER.into(), DATA.into()]).expect("strings");
    let strings = strings(calls, OTHER, count);
    assert_eq!(strings.iter().map(|s| s.len() + 1).sum::<usize>(), len as usize);
    assert_eq!(calls.bytes(DATA + len, 1), [UNTOUCHED], "no byte more than was said");
    assert_eq!(calls.bytes(OTHER + 4 * count, 1), [UNTOUCHED]);
    strings
}

#[test]
fn arguments_and_environment_arrive() {
    let cx = WasiCtx::builder();
    let cx =
        cx.arg("program").and_then(|cx| cx.arg("")).and_then(|cx| cx.arg("ü b")).expect("args");
    let cx = cx.env("A", "1").and_then(|cx| cx.env("EMPTY", "")).expect("variables");
    let cx = cx.env("EQ", "a=b").expect("variables");
    let mut calls = Calls::new(cx.build());
    assert_eq!(list(&mut calls, "args"), ["program", "", "ü b"]);
    let mut calls2 = Calls::new(WasiCtx::builder().build());
    assert!(list(&mut calls2, "args").is_empty() && list(&mut calls2, "environ").is_empty());
    calls.memory().fill(UNTOUCHED);
    assert_eq!(list(&mut calls, "environ"), ["A=1", "EMPTY=", "EQ=a=b"]);
}

struct Fixed;

impl Clock for Fixed {
    fn realtime(&self) -> u64 {
        1_700_000_000_000_000_001
    }

    fn monotonic(&self) -> u64 {
        42
    }

    fn resolution(&self) -> u64 {
        1_000
    }
}

#[test]
fn clocks_tell_the_time_they_are_given() {
    let mut calls = Calls::new(WasiCtx::builder().clock(Arc::new(Fixed)).build());
    for (id, time) in [(0, Fixed.realtime()), (1, 42)] {
        for precision in [0, 1, u64::MAX] {
            calls.call("clock_time_get", &[id, precision, OUT.into()]).expect("a clock");
            assert_eq!(calls.u64_at(OUT), time);
        }
        calls.call("clock_res_get", &[id, OUT.into()]).expect("a clock");
        assert_eq!(calls.u64_at(OUT), 1_000);
    }
    // CPU-time clocks are none a guest has.
    for id in [2, 3] {
        assert_eq!(calls.call("clock_time_get", &[id, 0, OUT.into()]), Err(Errno::Inval));
        assert_eq!(calls.call("clock_res_get", &[id, OUT.into()]), Err(Errno::Inval));
    }
}

#[test]
fn the_hosts_clocks_go_forward() {
    let mut calls = Calls::new(WasiCtx::builder().build());
    let mut last = 0;
    for _ in 0..1000 {
        calls.call("clock_time_get", &[1, 0, OUT.into()]).expect("a clock");
        let now = calls.u64_at(OUT);
        assert!(now >= last && now > 0);
        last = now;
    }
    calls.call("clock_time_get", &[0, 0, OUT.into()]).expect("a clock");
    assert!(calls.u64_at(OUT) > 1_600_000_000 * 1_000_000_000, "it is after 2020");
}

struct Counting(u8);

impl Random for Counting {
    fn fill(&mut self, bytes: &mut [u8]) -> std::io::Result<()> {
        if self.0 == 0 {
            return Err(std::io::Error::other("no more"));
        }
        bytes.iter_mut().for_each(|byte| *byte = self.0);
        self.0 -= 1;
        Ok(())
    }
}

#[test]
fn random_bytes_are_those_of_the_source() {
    let mut calls = Calls::new(WasiCtx::builder().random(Counting(2)).build());
    calls.call("random_get", &[DATA.into(), 5]).expect("bytes");
    assert_eq!(calls.bytes(DATA, 6), [2, 2, 2, 2, 2, UNTOUCHED]);
    calls.call("random_get", &[DATA.into(), 0]).expect("none");
    assert_eq!(calls.call("random_get", &[DATA.into(), 5]), Err(Errno::Io));
    // And those of the system are not all the same.
    let mut calls = Calls::new(WasiCtx::builder().build());
    calls.call("random_get", &[DATA.into(), 4096]).expect("bytes");
    let bytes = calls.bytes(DATA, 4096);
    assert!((0..=255).filter(|byte| bytes.contains(byte)).count() > 200);
}

#[test]
fn exit_and_signals_end_the_guest() {
    let outcome =
        |name: &str, value| Calls::new(WasiCtx::builder().build()).outcome(name, &[value]);
    for status in [0, 1, 42, 255, 256, u32::MAX] {
        assert_eq!(outcome("proc_exit", status.into()), Outcome::Exit(status));
    }
    // What is ignored when nobody handles it: none, CHLD, CONT, URG, WINCH.
    for signal in [0, 16, 17, 22, 27] {
        assert_eq!(outcome("proc_raise", signal), Outcome::Done(Ok(())), "{signal}");
    }
    // The rest end it as a shell shows it: ABRT, KILL, TERM, SYS.
    for signal in [6, 9, 15, 30] {
        assert_eq!(outcome("proc_raise", signal), Outcome::Exit(128 + signal as u32), "{signal}");
    }
    assert_eq!(outcome("proc_raise", 31), Outcome::Done(Err(Errno::Inval)));
}

#[test]
fn yielding_comes_back() {
    let mut calls = Calls::new(WasiCtx::builder().build());
    for _ in 0..3 {
        assert_eq!(calls.call("sched_yield", &[]), Ok(()));
    }
}

/// Calls that do much for one instruction are paid for, or no limit of fuel or time would
/// hold: a loop of them is ended by a limit of fuel after a few.
#[test]
fn calls_cost_fuel_for_what_they_do() {
    let loops = |call: &str| {
        let text = format!(
            "(module {} (memory (export \"memory\") 3) (func (export \"_start\") (local $n i32)
             (loop $again {call}
               (local.set $n (i32.add (local.get $n) (i32.const 1)))
               (br_if $again (i32.lt_u (local.get $n) (i32.const 100000))))))",
            crate::calls::imports()
        );
        let program = Program::new(wat::parse_str(text).unwrap()).unwrap();
        let mut guest = Guest::new(&program, WasiCtx::builder().build());
        guest.limit_fuel(2_000_000);
        let step = guest.run().unwrap();
        assert!(matches!(step, Step::Trapped(trap) if trap.cause == Cause::Fuel), "{call}");
    };
    // 64 KiB of random bytes; 1000 clocks that are due; a thousand empty vectors; a path.
    loops("(drop (call $random_get (i32.const 0) (i32.const 65536)))");
    loops(
        "(drop (call $poll_oneoff (i32.const 0) (i32.const 65536) (i32.const 1000) (i32.const 65532)))",
    );
    loops("(drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1000) (i32.const 65532)))");
    loops("(drop (call $path_unlink_file (i32.const 3) (i32.const 0) (i32.const 1)))");
    loops("(drop (call $sched_yield))");
}
