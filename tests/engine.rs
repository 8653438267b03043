//! What a hostile module must not do to the host through the interpreter: `docs/wasmi.md` says
//! what goes wrong in it, and how guests are kept from it.

#[path = "engine/blocks.rs"]
mod blocks;
#[path = "engine/grow.rs"]
mod grow;
#[path = "engine/immediates.rs"]
mod immediates;
#[path = "engine/load.rs"]
mod load;
#[path = "engine/mutated.rs"]
mod mutated;
#[path = "engine/select.rs"]
mod select;
#[path = "engine/start.rs"]
mod start;

use tinyhost::vfs::pipe::Capture;
use tinyhost::{Guest, Program, ProgramConfig, Step, WasiCtx};

/// The one function that tests use to say something, and where they keep the words.
const WRITE: &str = r#"
    (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
    (memory $m (export "memory") 1)
    (func $say (param $number i32)
      (i32.store (i32.const 8) (local.get $number))
      (i32.store (i32.const 0) (i32.const 8)) (i32.store (i32.const 4) (i32.const 4))
      (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 12))))"#;

/// Slices from less than a loop takes to more than a test does.
const SLICES: [u64; 4] = [7, 1_000, 100_000, 50_000_000];

/// Native stack of the thread that guests run on: a handler that calls where it should jump has
/// used it up after a few thousand instructions.
const NATIVE_STACK: usize = 512 << 10;

fn module(body: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {WRITE} {body})")).expect("it is a module")
}

/// Both ways of compiling.
fn programs(wasm: &[u8]) -> [Program; 2] {
    [true, false].map(|reuse| {
        let config = ProgramConfig { reuse, ..ProgramConfig::default() };
        Program::with(&config, wasm).expect("it is a program")
    })
}

/// Runs a guest to its end in slices; what it said, and how it ended.
fn run(program: &Program, slice: u64, memory: usize) -> (Vec<i32>, Step) {
    let (program, out) = (program.clone(), Capture::new(1 << 16));
    let cx = WasiCtx::builder().stdout(out.clone()).memory_max(memory).build();
    let thread = std::thread::Builder::new().stack_size(NATIVE_STACK);
    let thread = thread.spawn(move || {
        let mut guest = Guest::new(&program, cx);
        loop {
            match guest.step(slice) {
                Step::Yielded => {}
                step => return step,
            }
        }
    });
    let step = thread.expect("a thread").join().expect("no panic");
    let said =
        out.take().chunks(4).map(|four| i32::from_le_bytes(four.try_into().unwrap())).collect();
    (said, step)
}

/// The same for every way of compiling and every slice.
#[track_caller]
fn says(body: &str, expected: &[i32]) {
    let wasm = module(body);
    for program in programs(&wasm) {
        for slice in SLICES {
            let (said, step) = run(&program, slice, 64 << 20);
            assert_eq!(step, Step::Exited(0), "slices of {slice}: {body}");
            assert_eq!(said, expected, "slices of {slice}: {body}");
        }
    }
}
