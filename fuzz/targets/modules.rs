//! Modules: any bytes are a program or an error, and a guest of a program ends within its limits. One
//! that runs in a recycled instance ends as one in a fresh instance does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tinyhost::vfs::pipe::Capture;
use tinyhost::{Pool, Program, ProgramConfig, Step, WasiCtx, seeded};

const FUEL: u64 = 200_000;

fuzz_target!(|bytes: &[u8]| {
    let config = ProgramConfig { stack_max: 64 << 10, frames_max: 512, ..ProgramConfig::default() };
    let program = match Program::with(&config, bytes) {
        Ok(program) => program,
        Err(error) => return assert!(!error.to_string().is_empty()),
    };
    let mut pool = Pool::new(&program);
    let first = run(&mut pool);
    let second = run(&mut pool);
    assert_eq!(first, second, "a guest left something for the next one");
});

/// How a guest ends, and what it has written.
fn run(pool: &mut Pool) -> (String, Vec<u8>) {
    let stdout = Capture::new(1 << 16);
    let cx =
        WasiCtx::builder().random(seeded(1997)).stdout(stdout.clone()).memory_max(4 << 20).build();
    let mut guest = pool.spawn(cx);
    guest.limit_fuel(FUEL);
    let end = loop {
        match guest.step(10_000) {
            Step::Yielded => {}
            Step::Parked => break "parked".to_owned(),
            other => break format!("{other:?}"),
        }
    };
    pool.recycle(guest);
    (end, stdout.take())
}
