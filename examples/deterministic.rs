//! The same run twice, byte for byte: same program, same clock, same seed, same trace.
//!
//! Prints the trace of the first run; `deterministic SEED` runs with another seed.

use std::error::Error;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

use tinyhost::seeded;
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::pipe::Capture;
use tinyhost::vfs::{self, Namespace};
use tinyhost::wasi::{CallOutcome, Trace, TracedCall};
use tinyhost::{Armed, Clock, Guest, ManualClock, Program, Step, WasiCtx};

/// One line for each call: name, arguments, how it ended; at the exit a sum over memory.
struct Lines(Arc<Mutex<String>>);

impl Trace for Lines {
    fn call(&mut self, call: &TracedCall<'_>, outcome: CallOutcome) {
        let mut text = self.0.lock().expect("nobody panics with it");
        let args = &call.args[..call.row.params.len()];
        let _ = writeln!(text, "{} {args:?} {outcome:?}", call.row.name);
        if let CallOutcome::Exit(_) = outcome {
            let sum = call.mem.all().iter().fold(0u64, |sum, byte| {
                (sum.rotate_left(5) ^ u64::from(*byte)).wrapping_mul(0x517c_c1b7_2722_0a95)
            });
            let _ = writeln!(text, "memory {sum:016x}");
        }
    }
}

fn run(program: &Program, args: &[&str], seed: u64) -> Result<(String, u64), Box<dyn Error>> {
    let clock = Arc::new(ManualClock::new(1_000_000_000_000_000_000));
    let now = clock.clone();
    let time = Arc::new(move || Clock::realtime(&*now));
    let tree = vfs::mem::tree_with_device(None, time, 1);
    let names = Namespace::builder()
        .mount("/", tree)?
        .mount("/dev", Arc::new(Dev::new().random(seeded(!seed))))?
        .build();
    let trace = Arc::new(Mutex::new(String::new()));
    let mut cx = WasiCtx::builder()
        .namespace(names)
        .clock(clock.clone())
        .random(seeded(seed))
        .stdout(Capture::new(1 << 20))
        .trace(Lines(trace.clone()));
    for arg in args {
        cx = cx.arg(arg)?;
    }
    let mut guest = Guest::new(program, cx.build());
    loop {
        match guest.step(1_000_000) {
            Step::Yielded => {}
            // It sleeps: time is what we say, so it has passed at once.
            Step::Parked => match guest.arm(std::task::Waker::noop(), &mut |_, _| {}) {
                Armed::Now => {}
                Armed::Until(Some(time)) => clock.advance(time),
                Armed::Until(None) => return Err("it waits for ever".into()),
            },
            end => {
                let trace = std::mem::take(&mut *trace.lock().expect("nobody panics with it"));
                return Ok((format!("{trace}{end:?}\n"), guest.fuel_used()));
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let seed = std::env::args().nth(1).map_or(Ok(7), |text| text.parse())?;
    for args in [&["treewalk", "/"][..], &["sleeper", "5000"], &["cat", "/dev/null"]] {
        let program = Program::new(std::fs::read(format!("fixtures/{}.wasm", args[0]))?)?;
        let (first, fuel) = run(&program, args, seed)?;
        let (second, fuel_again) = run(&program, args, seed)?;
        let calls = first.lines().count() - 1;
        println!("{}: {calls} calls, {fuel} fuel", args[0]);
        print!("{}", first.lines().last().map_or(String::new(), |end| format!("  {end}\n")));
        if (first, fuel) != (second, fuel_again) {
            return Err(format!("{} did not do the same twice", args[0]).into());
        }
    }
    println!("the same twice");
    Ok(())
}
