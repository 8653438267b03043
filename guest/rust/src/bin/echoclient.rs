//! A TCP client that knows nothing of TCP: asks for a line, writes it to a network file,
//! reads the reply from the same file. The file's path may be given as the argument.
//!
//! Pins: `File::create` asks for no read right, yet the handle is read afterwards, so a
//! network file is always readable and writable and O_CREAT and O_TRUNC mean nothing to
//! it. The reply ends at EOF. The sleep is a timer, not a blocked thread.

use std::fs::File;
use std::io::{self, Read, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

const SERVER: &str = "/dev/localhost:1997";

fn main() -> ExitCode {
    let server = std::env::args().nth(1).unwrap_or_else(|| SERVER.to_owned());
    match talk(&server) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echoclient: {server}: {error}");
            ExitCode::FAILURE
        }
    }
}

fn talk(server: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(b"input> ")?;
    stdout.flush()?;

    let mut line = String::new();
    io::stdin().read_line(&mut line)?;
    if !line.ends_with('\n') {
        line.push('\n');
    }

    let mut stream = File::create(server)?;
    stream.write_all(line.as_bytes())?;
    thread::sleep(Duration::from_millis(10));

    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    stdout.write_all(b" output> ")?;
    stdout.write_all(&reply)?;
    stdout.flush()
}
