//! `exit CODE`: leaves through proc_exit with CODE.
//!
//! Pins: the guest's exit status is the host's, verbatim.

use std::process;

fn main() {
    match std::env::args().nth(1).and_then(|code| code.parse().ok()) {
        Some(code) => process::exit(code),
        None => {
            eprintln!("usage: exit CODE");
            process::exit(2);
        }
    }
}
