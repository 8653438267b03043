//! Runs each module on wasmtime and on tinyhost: with all the fuel it wants, in slices, and in an
//! instance that is used again.

use std::io::Write;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use tinyhost::vfs::pipe::Capture;
use tinyhost::{Config, Guest, Pool, Program, Step, WasiCtx};

use super::{Dice, smith, wrap};

/// Bytes a command prints at the most.
const PRINTED_MAX: usize = 1 << 16;

/// Bytes that are printed for each call.
const DIGEST_BYTES: usize = 8;

/// Commands that are made of a module at the most.
const COMMANDS_MAX: usize = 4;

/// How a run came to its end, and what it had printed by then.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Ran {
    end: End,
    printed: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Returned,
    Unreachable,
    Memory,
    Table,
    Null,
    Signature,
    Division,
    Overflow,
    Conversion,
    /// How deep a call may go is each one's own matter.
    Stack,
    /// None that a module should come to.
    Other,
}

/// In which words each one tells of a trap.
const TRAPS: [(End, &[&str]); 9] = [
    (End::Unreachable, &["unreachable"]),
    (End::Memory, &["out of bounds memory access", "memory access out of bounds"]),
    (End::Null, &["uninitialized element", "null function pointer"]),
    (
        End::Table,
        &["out of bounds table access", "undefined element", "table access out of bounds"],
    ),
    (End::Signature, &["indirect call type mismatch", "function pointer of another type"]),
    (End::Division, &["integer divide by zero", "integer division by zero"]),
    (End::Overflow, &["integer overflow"]),
    (End::Conversion, &["invalid conversion to integer", "conversion of NaN or an infinity"]),
    (End::Stack, &["call stack exhausted"]),
];

fn trap(text: &str) -> End {
    let told = |(_, words): &&(End, &[&str])| words.iter().any(|word| text.contains(word));
    TRAPS.iter().find(told).map_or(End::Other, |(end, _)| *end)
}

/// What was counted.
#[derive(Default)]
struct Count {
    modules: u64,
    commands: u64,
    returned: u64,
    trapped: u64,
    deep: u64,
    recycled: u64,
    steps: u64,
}

/// Compares for so long, from a seed on.
pub fn run(seconds: u64, seed: u64) -> ExitCode {
    let wasmtime = std::env::var("WASMTIME").unwrap_or_else(|_| "wasmtime".into());
    let began = Instant::now();
    let mut told = began;
    let mut count = Count::default();
    let mut seed = seed;
    while began.elapsed() < Duration::from_secs(seconds) {
        if let Err(why) = compare(&wasmtime, seed, &mut count) {
            eprintln!("generated: seed {seed}: {why}");
            eprintln!("repeat it with: generated compare 1 {seed}");
            return ExitCode::FAILURE;
        }
        seed += 1;
        if told.elapsed() > Duration::from_secs(30) {
            told = Instant::now();
            tell(&count, began, seed);
        }
    }
    tell(&count, began, seed);
    ExitCode::SUCCESS
}

fn tell(count: &Count, began: Instant, seed: u64) {
    let Count { modules, commands, returned, trapped, deep, recycled, steps } = count;
    println!(
        "{} s: {modules} modules, {commands} commands ({returned} returned, {trapped} trapped, \
         {deep} without a verdict for depth), {recycled} in a used instance, {steps} steps; next \
         seed {seed}",
        began.elapsed().as_secs()
    );
    let _ = std::io::stdout().flush();
}

/// Runs the commands of a seed everywhere.
fn compare(wasmtime: &str, seed: u64, count: &mut Count) -> Result<(), String> {
    let Some(module) = smith::module(seed) else { return Ok(()) };
    count.modules += 1;
    let mut dice = Dice::new(!seed);
    let mut first = 0;
    for _ in 0..COMMANDS_MAX {
        let wasm = wrap::wrap(&module, seed, first);
        let expected = reference(wasmtime, &wasm)?;
        count.commands += 1;
        match expected.end {
            End::Returned => count.returned += 1,
            End::Stack => count.deep += 1,
            _ => count.trapped += 1,
        }
        for (how, got) in on_tinyhost(&wasm, &mut dice, count)? {
            let deep = End::Stack == expected.end || End::Stack == got.end;
            if !deep && got != expected {
                let (got, expected) = (shown(&got), shown(&expected));
                return Err(format!("first {first}, {how}: {got}, but wasmtime: {expected}"));
            }
        }
        if expected.end == End::Returned {
            break;
        }
        // Nothing is seen after a trap: the next command begins with the function after it.
        first += 1 + expected.printed.len() / DIGEST_BYTES;
    }
    Ok(())
}

fn shown(ran: &Ran) -> String {
    let digests: Vec<String> = ran
        .printed
        .chunks(DIGEST_BYTES)
        .map(|digest| digest.iter().rev().map(|byte| format!("{byte:02x}")).collect())
        .collect();
    format!("{:?} after {digests:?}", ran.end)
}

/// On wasmtime.
fn reference(wasmtime: &str, wasm: &[u8]) -> Result<Ran, String> {
    let path = std::env::temp_dir().join(format!("generated-{}.wasm", std::process::id()));
    std::fs::write(&path, wasm).map_err(|error| format!("{path:?}: {error}"))?;
    let output = Command::new(wasmtime)
        .args(["run", "-C", "cache=n,parallel-compilation=n", "-O", "opt-level=0"])
        .arg(&path)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{wasmtime}: {error} (WASMTIME says which one to run)"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let end = if output.status.success() { End::Returned } else { trap(&said) };
    if end == End::Other {
        return Err(format!("wasmtime: {}: {said}", output.status));
    }
    Ok(Ran { end, printed: output.stdout })
}

/// On tinyhost, in all the ways.
fn on_tinyhost(
    wasm: &[u8],
    dice: &mut Dice,
    count: &mut Count,
) -> Result<Vec<(String, Ran)>, String> {
    let mut ran = Vec::new();
    let eager = Program::new(wasm).map_err(|error| error.to_string())?;
    let config = Config { reuse: false, ..Config::default() };
    let lazy = Program::with(&config, wasm).map_err(|error| error.to_string())?;
    let slice = 1 + dice.below(1000);
    for fuel in [u64::MAX >> 1, 1, slice] {
        for (kind, program) in [("eager", &eager), ("lazy", &lazy)] {
            // A lazy one costs fuel for its translation, and resumes there.
            let printed = Capture::new(PRINTED_MAX);
            let cx = WasiCtx::builder().stdout(printed.clone()).build();
            let mut guest = Guest::new(program, cx);
            let end = to_its_end(&mut guest, || fuel, count)?;
            ran.push((format!("{kind}, slices of {fuel}"), Ran { end, printed: printed.take() }));
        }
    }
    let mut pool = Pool::new(&eager);
    for turn in 0..3 {
        let printed = Capture::new(PRINTED_MAX);
        let cx = WasiCtx::builder().stdout(printed.clone()).build();
        count.recycled += u64::from(pool.idle() > 0);
        let mut guest = pool.spawn(cx);
        let end = to_its_end(&mut guest, || 1 + dice.below(1000), count)?;
        ran.push((format!("recycled {turn} times"), Ran { end, printed: printed.take() }));
        pool.recycle(guest);
    }
    Ok(ran)
}

fn to_its_end(
    guest: &mut Guest,
    mut fuel: impl FnMut() -> u64,
    count: &mut Count,
) -> Result<End, String> {
    loop {
        count.steps += 1;
        match guest.step(fuel()) {
            Step::Exited(0) => return Ok(End::Returned),
            Step::Trapped(why) => match trap(&why.text) {
                End::Other => return Err(format!("tinyhost: {:?}: {why}", why.cause)),
                end => return Ok(end),
            },
            Step::Exited(status) => return Err(format!("tinyhost: exit status {status}")),
            Step::Yielded => {}
            Step::Parked => return Err("tinyhost: the guest waits".into()),
        }
    }
}
