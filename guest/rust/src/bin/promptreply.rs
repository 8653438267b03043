//! Reads one line, trims it, prints it: the filter of an echo server.
//!
//! Pins: one line of stdin is one run of the guest, and reading it must not wait for EOF.

use std::io;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut line = String::new();
    if let Err(error) = io::stdin().read_line(&mut line) {
        eprintln!("promptreply: stdin: {error}");
        return ExitCode::FAILURE;
    }
    println!("{}", line.trim());
    ExitCode::SUCCESS
}
