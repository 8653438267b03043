//! Writes two lines to stderr and the line on stdin to stdout.
//!
//! Pins: the two streams stay apart. In `serve`, stdout is the reply and stderr the log.

use std::io;

fn main() -> io::Result<()> {
    let mut line = String::new();
    eprintln!("stderr: first");
    io::stdin().read_line(&mut line)?;
    eprintln!("stderr: second");
    print!("{line}");
    Ok(())
}
