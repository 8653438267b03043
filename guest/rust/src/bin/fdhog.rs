//! `fdhog PATH`: opens PATH again and again and keeps every handle, until it can't; then
//! prints how many it had and why there were no more.
//!
//! Pins: the limit on descriptors, and that it is the guest's EMFILE and not the host's.

use std::fs::File;
use std::process::ExitCode;

fn main() -> ExitCode {
    let Some(path) = std::env::args().nth(1) else {
        eprintln!("usage: fdhog PATH");
        return ExitCode::from(2);
    };
    let mut handles = Vec::new();
    let error = loop {
        match File::open(&path) {
            Ok(handle) => handles.push(handle),
            Err(error) => break error,
        }
    };
    let number = error.raw_os_error().unwrap_or(0);
    println!("opened {}: {:?} (os error {number})", handles.len(), error.kind());
    ExitCode::SUCCESS
}
