//! `deep N`: recurses N calls deep and prints what it worked out on the way back.
//!
//! Pins: the host's cap on recursion is high enough for real programs. The frames need
//! the host's stack only, none of the guest's own in linear memory.

use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(depth) = std::env::args().nth(1).and_then(|depth| depth.parse().ok()) else {
        eprintln!("usage: deep N");
        return ExitCode::from(2);
    };
    println!("{}", descend(depth));
    ExitCode::SUCCESS
}

/// Rotations and xors don't regroup, so the optimizer can't make this a loop.
#[inline(never)]
fn descend(depth: u32) -> u32 {
    if depth == 0 {
        return 1;
    }
    descend(depth - 1).rotate_left(5) ^ depth
}
