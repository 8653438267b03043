//! `datagram FILE TEXT...`: sends each TEXT through the datagram file FILE (as
//! `/dev/udp/127.0.0.1/53`) and prints the answer to it with its length.
//!
//! Pins: one write is one datagram and one read is one datagram, an empty one included; what
//! does not fit the buffer is lost.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let Some(file) = args.get(1) else {
        eprintln!("usage: datagram FILE TEXT...");
        std::process::exit(2);
    };
    let mut socket = OpenOptions::new().read(true).write(true).open(file)?;
    let mut answer = [0; 16];
    for text in &args[2..] {
        socket.write_all(text.as_bytes())?;
        let length = socket.read(&mut answer)?;
        println!("{length} {}", String::from_utf8_lossy(&answer[..length]));
    }
    Ok(())
}
