//! Copies the named files to stdout; `-`, or no name at all, is stdin.
//!
//! Pins: opening below a preopen, reading to the end, and the errno of a file that
//! can't be had. As with the Unix command, one bad name is reported and the rest go on.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut names: Vec<String> = std::env::args().skip(1).collect();
    if names.is_empty() {
        names.push("-".to_owned());
    }

    let mut status = ExitCode::SUCCESS;
    for name in names {
        if let Err(error) = copy(&name) {
            eprintln!("cat: {name}: {error}");
            status = ExitCode::FAILURE;
        }
    }
    status
}

fn copy(name: &str) -> io::Result<()> {
    let mut input: Box<dyn Read> = match name {
        "-" => Box::new(io::stdin().lock()),
        _ => Box::new(File::open(name)?),
    };
    let mut output = io::stdout().lock();
    io::copy(&mut input, &mut output)?;
    output.flush()
}
