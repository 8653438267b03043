//! `httpget FILE HOST PATH`: asks the web server behind the network file FILE for PATH in
//! HTTP/1.0; prints the status line and the body.
//!
//! Pins: a TCP client with nothing but std::fs. HTTP/1.0 ends with the connection, so the
//! reply is all there is to read.

use std::fs::OpenOptions;
use std::io::{self, Read, Write};

fn main() -> io::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, file, host, path] = &args[..] else {
        eprintln!("usage: httpget FILE HOST PATH");
        std::process::exit(2);
    };
    let mut stream = OpenOptions::new().read(true).write(true).open(file)?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {host}\r\n\r\n")?;

    let mut reply = Vec::new();
    stream.read_to_end(&mut reply)?;
    let line = reply.iter().position(|byte| *byte == b'\r').unwrap_or(reply.len());
    let body = reply.windows(4).position(|end| end == b"\r\n\r\n").map_or(reply.len(), |at| at + 4);
    let mut stdout = io::stdout().lock();
    stdout.write_all(&reply[..line])?;
    stdout.write_all(b"\n")?;
    stdout.write_all(&reply[body..])
}
