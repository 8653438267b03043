//! Sends each line of stdin straight back, until EOF.
//!
//! Pins: a guest that lives as long as its connection. Each line is flushed before the
//! next is read, so a host that holds output back until the guest ends deadlocks here.

use std::io::{self, BufRead, Write};

fn main() -> io::Result<()> {
    let mut input = io::stdin().lock();
    let mut output = io::stdout().lock();
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line)? != 0 {
        output.write_all(&line)?;
        output.flush()?;
        line.clear();
    }
    Ok(())
}
