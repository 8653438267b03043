//! What many guests leave of the memory they took: nothing. With the real binary, whose
//! allocator has a part in it.

#![cfg(all(target_os = "linux", feature = "serve"))]

mod util;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use util::{LIMIT, Process, fixture, tinyhost};

const GUESTS: usize = 500;

/// Pages of 4 KiB that are its memory now.
fn resident_kib(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Pages it touched that were not there.
fn page_faults(pid: u32) -> usize {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // Behind the name, which may have spaces in it: state, six numbers, flags, minflt.
    stat.rsplit(')').next().unwrap().split_whitespace().nth(7).unwrap().parse().unwrap()
}

/// A server on one worker, and its address.
fn serve(options: &str, program: &str) -> (Process, SocketAddr) {
    let (words, program) = ("serve --bind 127.0.0.1:0 --workers 1", fixture(program));
    let words = words.split(' ').chain(options.split(' '));
    let server = Process::start(tinyhost(words.chain([&*program])));
    let line = server.wait_for_line("listening on ");
    (server, line.rsplit(' ').next().unwrap().parse().unwrap())
}

/// Waits until it is about as small as it was once.
fn settles(server: &Process, floor: usize) {
    let (high, until) = (resident_kib(server.pid()), Instant::now() + LIMIT);
    while resident_kib(server.pid()) > floor + 2048 {
        let now = resident_kib(server.pid());
        assert!(Instant::now() < until, "from {floor} KiB to {high} KiB and back to {now} KiB");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn answers(client: &mut TcpStream) {
    client.write_all(b"line\n").unwrap();
    let mut reply = [0; 5];
    client.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"line\n");
}

#[test]
fn many_guests_come_cheaply_and_leave_nothing() {
    let program = tinyhost::Program::new(std::fs::read(fixture("linefilter")).unwrap()).unwrap();
    if !tinyhost::Pool::new(&program).recycles() {
        eprintln!("skipped: this kernel has no PAGEMAP_SCAN, so guests keep their whole memory");
        return;
    }
    let options = "--per connection --max-conns 4000 --max-conns-per-addr 4000";
    let (server, addr) = serve(options, "linefilter");
    let connect = || TcpStream::connect(addr).unwrap();
    // What is made once and stays.
    answers(&mut connect());
    let (floor, faults) = (resident_kib(server.pid()), page_faults(server.pid()));
    let mut clients: Vec<TcpStream> = (0..GUESTS).map(|_| connect()).collect();
    clients.iter_mut().for_each(answers);
    let high = resident_kib(server.pid());
    let (each, faults) = ((high - floor) / GUESTS, page_faults(server.pid()) - faults);
    assert!(each <= 64, "{each} KiB a guest");
    // Its memory alone has 272 pages.
    assert!(faults / GUESTS <= 40, "{} page faults a guest", faults / GUESTS);
    drop(clients);
    if cfg!(target_env = "gnu") {
        settles(&server, floor);
    }
}

#[test]
fn memory_of_guests_that_took_much_is_freed_though_not_at_once() {
    let (server, addr) = serve("--memory 32M", "hog");
    let hog = || {
        let mut client = TcpStream::connect(addr).unwrap();
        client.write_all(b"take\n").unwrap();
        client
    };
    let ended = |mut client: TcpStream| assert_eq!(client.read(&mut [0]).unwrap_or(0), 0);
    let floor = resident_kib(server.pid());
    ended(hog());
    settles(&server, floor);
    let hogs: Vec<TcpStream> = (0..30).map(|_| hog()).collect();
    hogs.into_iter().for_each(ended);
    settles(&server, floor);
}
