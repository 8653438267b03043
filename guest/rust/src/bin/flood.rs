//! Prints for ever, as fast as it can; ends with 1 when stdout takes no more.
//!
//! Pins: the limit on a reply, backpressure, and a broken pipe.

use std::io::{self, Write};
use std::process::ExitCode;

const LINE: &[u8; 64] = b"the quick brown fox jumps over the lazy dog, again and again...\n";

fn main() -> ExitCode {
    let page = LINE.repeat(64);
    let mut stdout = io::stdout().lock();
    while stdout.write_all(&page).is_ok() {}
    ExitCode::FAILURE
}
