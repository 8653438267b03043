//! Takes memory one MiB at a time and touches it, until there is none left.
//!
//! Pins: the memory limit. The guest sees it as a failed allocation, not as a trap, says
//! how far it came, and exits with 3.

use std::process::ExitCode;

const MIB: usize = 1 << 20;

fn main() -> ExitCode {
    let mut blocks: Vec<Vec<u8>> = Vec::new();
    while let Some(block) = allocate() {
        if blocks.try_reserve(1).is_err() {
            break;
        }
        blocks.push(block);
    }

    let count = blocks.len();
    drop(blocks); // stderr may need memory of its own
    eprintln!("hog: out of memory after {count} MiB");
    ExitCode::from(3)
}

fn allocate() -> Option<Vec<u8>> {
    let mut block = Vec::new();
    block.try_reserve_exact(MIB).ok()?;
    block.resize(MIB, 0xa5);
    Some(std::hint::black_box(block))
}
