//! A process that is ended by a signal of the processor's, or aborts, says whose guest ran, and
//! ends by the signal all the same.

mod util;

use std::io::Write;
use std::net::{SocketAddr, TcpStream};

use rustix::process::Signal;
use util::{Process, TempDir, tinyhost};

const SIGNALS: [(Signal, &str); 4] = [
    (Signal::SEGV, "SIGSEGV"),
    (Signal::BUS, "SIGBUS"),
    (Signal::ILL, "SIGILL"),
    (Signal::ABORT, "SIGABRT"),
];

/// Signals come between two slices of a guest too, if rarely.
const ATTEMPTS: usize = 20;

/// A program that says it is there and computes.
fn stubborn(dir: &TempDir) -> String {
    let text = r#"(module
      (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "\08\00\00\00\05\00\00\00tried")
      (func (export "_start")
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 100)))
        (loop $ever (br $ever))))"#;
    dir.file("stub\u{7}born.wasm", &wat::parse_str(text).unwrap())
}

/// The one line that is said, of a process that is ended by a signal while it does what it does.
fn said(signal: (Signal, &str), process: Process) -> String {
    process.signal(signal.0);
    let ended = process.end();
    assert_eq!((ended.status, ended.signal), (None, Some(signal.0.as_raw())), "{ended:?}");
    let start = format!("tinyhost: ended by {} while ", signal.1);
    let mut lines = ended.stderr.lines().filter_map(|line| line.strip_prefix(&start));
    let line = lines.next().unwrap_or_else(|| panic!("{ended:?}")).to_owned();
    assert_eq!(lines.next(), None, "{ended:?}");
    assert!(line.contains("stub\\u{7}born.wasm"), "{line}");
    line
}

/// Tries until a signal comes while a guest runs.
fn said_of_guest(signal: (Signal, &str), start: impl Fn() -> (Process, String)) {
    let mut lines = Vec::new();
    for _ in 0..ATTEMPTS {
        let (process, expected) = start();
        let line = said(signal, process);
        if line.ends_with(&expected) {
            return;
        }
        assert!(line.contains("no guest ran on this thread"), "{line}");
        lines.push(line);
    }
    panic!("{lines:?}");
}

#[test]
fn run_says_what_ran() {
    let dir = TempDir::new();
    let program = stubborn(&dir);
    for signal in SIGNALS {
        said_of_guest(signal, || {
            let process = Process::start(tinyhost(["run", &program]));
            process.wait_for_stdout("tried");
            (process, "born.wasm ran".into())
        });
    }
}

#[test]
fn serve_says_for_whom() {
    let dir = TempDir::new();
    let program = stubborn(&dir);
    for signal in SIGNALS {
        said_of_guest(signal, || {
            let words = ["serve", "--bind=127.0.0.1:0", "--workers=1", "--timeout=1h", &program];
            let process = Process::start(tinyhost(words));
            let line = process.wait_for_line("listening on ");
            let address: SocketAddr = line.rsplit(' ').next().unwrap().parse().unwrap();
            let mut client = TcpStream::connect(address).unwrap();
            client.write_all(b"a line\n").unwrap();
            // Guests of a line answer when they have ended, so its processor time tells.
            process.wait_until_busy();
            (process, format!("born.wasm ran for {}", client.local_addr().unwrap()))
        });
    }
}

#[test]
fn one_that_waits_says_that_no_guest_ran() {
    let dir = TempDir::new();
    let program = stubborn(&dir);
    let process = Process::start(tinyhost(["serve", "--bind=127.0.0.1:0", &program]));
    process.wait_for_line("listening on ");
    let line = said(SIGNALS[0], process);
    assert!(line.starts_with("no guest ran on this thread"), "{line}");
}
