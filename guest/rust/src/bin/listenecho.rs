//! `listenecho COUNT [FD]`: a TCP server on the listening socket that `--listen` hands over
//! as descriptor FD (4: what follows the only directory, `/dev`). Serves COUNT clients, one
//! after the other, and sends each back what it says.
//!
//! Pins: std::net::TcpListener on a preopened socket: accept, read, write and shutdown of
//! its TcpStream, by sock_accept and sock_shutdown.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener};
use std::os::fd::{FromRawFd, RawFd};

fn main() -> io::Result<()> {
    let mut args = std::env::args().skip(1);
    let count = args.next().and_then(|text| text.parse::<u32>().ok());
    let fd = args.next().map_or(Some(4), |text| text.parse::<RawFd>().ok());
    let (Some(count), Some(fd)) = (count, fd) else {
        eprintln!("usage: listenecho COUNT [FD]");
        std::process::exit(2);
    };
    // SAFETY: it was opened for this program, and nothing else here uses it.
    let listener = unsafe { TcpListener::from_raw_fd(fd) };
    for number in 1..=count {
        let (mut client, _) = listener.accept()?;
        let mut said = Vec::new();
        client.read_to_end(&mut said)?;
        client.write_all(&said)?;
        client.shutdown(Shutdown::Both)?;
        println!("client {number}: {} bytes", said.len());
    }
    Ok(())
}
