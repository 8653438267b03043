//! Guests that are captured while they read, and go on as modules of their own.

#[path = "capture/generate.rs"]
mod generate;
#[path = "capture/property.rs"]
mod property;
#[path = "capture/refusals.rs"]
mod refusals;
#[path = "capture/values.rs"]
mod values;

use tinyhost::vfs::pipe::{Capture, pipe};
use tinyhost::{Capturable, Guest, Program, ProgramConfig, Step, WasiCtx};

/// Runs a program on all of `input`: its last step, and what it wrote.
fn run(wasm: &[u8], input: &[u8]) -> (Step, Vec<u8>) {
    let config = ProgramConfig { reuse: false, ..ProgramConfig::default() };
    let program = Program::with(&config, wasm).expect("a program");
    let (stdin, mut feed) = pipe(1 << 16);
    feed.write(input).expect("it fits");
    drop(feed);
    let stdout = Capture::new(1 << 20);
    let cx = WasiCtx::builder().stdin(stdin).stdout(stdout.clone()).build();
    let step = Guest::new(&program, cx).run().expect("it can wait");
    (step, stdout.take())
}

/// What came of a program that was given some of its input.
enum Warmed {
    /// It waited for more. The module that goes on from there.
    Image(Vec<u8>),
    /// It ended before.
    Ended,
}

/// Runs a program until it waits for more than `input`, and captures it there.
fn warm(wasm: &[u8], input: &[u8]) -> Warmed {
    let capturable = Capturable::new(&ProgramConfig::default(), wasm).expect("it can be captured");
    let (stdin, mut feed) = pipe(1 << 16);
    if !input.is_empty() {
        feed.write(input).expect("it fits");
    }
    let mut guest = Guest::new(capturable.program(), WasiCtx::builder().stdin(stdin).build());
    loop {
        match guest.step(u64::MAX) {
            Step::Parked => break,
            Step::Yielded => {}
            _ => return Warmed::Ended,
        }
    }
    Warmed::Image(capturable.capture(guest).expect("it waits"))
}
