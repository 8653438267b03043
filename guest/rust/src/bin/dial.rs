//! `dial PATH [TEXT]`: opens PATH for reading and writing, writes TEXT (or all of stdin),
//! reads to the end and prints what came.
//!
//! Pins: the true errno of a refused, denied, unresolved or missing name. What went wrong
//! is printed as a kind and a number, so that a test can tell EACCES from ENOENT.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut args = std::env::args().skip(1);
    let Some(path) = args.next() else {
        eprintln!("usage: dial PATH [TEXT]");
        return ExitCode::from(2);
    };
    match dial(&path, args.next()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let number = error.raw_os_error().unwrap_or(0);
            eprintln!("error: {:?} (os error {number})", error.kind());
            ExitCode::FAILURE
        }
    }
}

fn dial(path: &str, text: Option<String>) -> io::Result<()> {
    let mut stream = OpenOptions::new().read(true).write(true).open(path)?;

    let mut request = text.unwrap_or_default().into_bytes();
    if std::env::args().len() == 2 {
        io::stdin().lock().read_to_end(&mut request)?;
    }
    stream.write_all(&request)?;

    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    let mut stdout = io::stdout().lock();
    stdout.write_all(&reply)?;
    stdout.flush()
}
