//! `acceptecho FILE COUNT`: a TCP server. Opens the accept name FILE (as
//! `/dev/accept/127.0.0.1:7000`) COUNT times, one client after the other, and sends each
//! back what it says until it has said all.
//!
//! Pins: each open of an accept name waits for a client and is its stream; clients that
//! come meanwhile are not lost; dropping the file hangs up.

use std::fs::OpenOptions;
use std::io;

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let (Some(file), Some(Ok(count))) = (args.get(1), args.get(2).map(|text| text.parse::<u32>()))
    else {
        eprintln!("usage: acceptecho FILE COUNT");
        std::process::exit(2);
    };
    for number in 1..=count {
        let client = OpenOptions::new().read(true).write(true).open(file)?;
        // A `&File` reads and writes as well as a `File`.
        let bytes = io::copy(&mut &client, &mut &client)?;
        println!("client {number}: {bytes} bytes");
    }
    Ok(())
}
