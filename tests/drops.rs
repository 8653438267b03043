//! Guests dropped while they are parked, a thousand at each kind of wait: nothing leaks,
//! nothing panics.

#![cfg(target_os = "linux")]

#[path = "util/busy.rs"]
mod busy;
#[path = "drops/warm.rs"]
mod warm;

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tinyhost::vfs::Namespace;
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::net::{Net, NetConfig, Policy};
use tinyhost::vfs::pipe::{Writer, pipe};
use tinyhost::{Armed, Guest, Program, Step, WasiCtx};

const GUESTS: usize = 1000;

/// How many are parked at a time: sockets are descriptors, and those are few.
const AT_A_TIME: usize = 50;

/// Counting descriptors means that nobody else opens any.
static ALONE: Mutex<()> = Mutex::new(());

fn program(name: &str) -> Program {
    let wasm = std::fs::read(format!("fixtures/{name}.wasm")).expect("fixtures are checked in");
    Program::new(wasm).expect("fixtures are programs")
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("Linux has it").count()
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux has it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Parks guests that `make` makes until there were [`GUESTS`], and drops them as they are.
fn drop_parked<T>(make: impl Fn() -> (Guest, T)) {
    let _alone = ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let round = || {
        let mut parked = Vec::new();
        for _ in 0..AT_A_TIME {
            let (mut guest, other_end) = make();
            let step = loop {
                match guest.step(10_000_000) {
                    Step::Yielded => {}
                    step => break step,
                }
            };
            assert_eq!(step, Step::Parked);
            // Armed, so that whatever is registered somewhere has to be let go as well.
            let mut watched = 0;
            let armed = guest.arm(std::task::Waker::noop(), &mut |_, _| watched += 1);
            assert_ne!(armed, Armed::Now);
            parked.push((guest, other_end));
        }
    };
    round();
    std::thread::sleep(Duration::from_millis(100));
    let (descriptors_before, kib_before) = (descriptors(), resident_kib());
    for _ in 1..GUESTS / AT_A_TIME {
        round();
    }
    // Fewer is no leak: a look-up of the test before may have been counted first.
    let descriptors_now = settled(descriptors, descriptors_before);
    assert!(
        descriptors_now <= descriptors_before,
        "{descriptors_now}, {descriptors_before} before"
    );
    // Each of them took about 1 MiB. The allocator keeps some rounds' worth, not all.
    let grown = resident_kib().saturating_sub(kib_before);
    assert!(grown < 150 << 10, "{grown} KiB more than after the first {AT_A_TIME}");
}

/// Look-ups end on threads of their own: gives those the time to close theirs.
fn settled(count: impl Fn() -> usize, expected: usize) -> usize {
    let until = Instant::now() + busy::LIMIT;
    while count() > expected && Instant::now() < until {
        std::thread::sleep(Duration::from_millis(10));
    }
    count()
}

fn plain(program: &Program, args: &[&str], names: Namespace) -> (Guest, Writer) {
    let (stdin, feed) = pipe(64);
    let mut cx = WasiCtx::builder().namespace(names).stdin(stdin);
    for arg in args {
        cx = cx.arg(arg).expect("no NUL");
    }
    (Guest::new(program, cx.build()), feed)
}

/// A namespace with the network at /dev, where this may be dialled and that be listened on.
fn network(dial: &[&str], listen: &[&str]) -> Namespace {
    let policy = Policy::from_rules(dial.iter().copied(), listen.iter().copied());
    let net = Net::new(NetConfig { policy: policy.expect("rules"), ..NetConfig::default() });
    let dev = Arc::new(Dev::with_net(net));
    Namespace::builder().mount("/dev", dev).expect("it is free").build()
}

#[test]
fn in_a_read_of_a_pipe() {
    let program = program("promptreply");
    drop_parked(|| plain(&program, &["promptreply"], Namespace::default()));
}

#[test]
fn in_a_sleep() {
    let program = program("sleeper");
    drop_parked(|| plain(&program, &["sleeper", "3600000"], Namespace::default()));
}

#[test]
fn in_a_poll_of_a_pipe_and_a_clock() {
    let wat = r#"(module
        (import "wasi_snapshot_preview1" "poll_oneoff"
            (func $poll (param i32 i32 i32 i32) (result i32)))
        (memory (export "memory") 1)
        ;; Two subscriptions of 48 bytes: the monotonic clock, an hour; reading of fd 0.
        (data (i32.const 16) "\01\00\00\00\00\00\00\00\00\a0\b8\30\46\03\00\00")
        (data (i32.const 56) "\01\00\00\00\00\00\00\00\00\00\00\00")
        (func (export "_start")
            (drop (call $poll (i32.const 0) (i32.const 128) (i32.const 2) (i32.const 256)))))"#;
    let program = Program::new(wat::parse_str(wat).expect("it is right")).expect("a program");
    drop_parked(|| plain(&program, &[], Namespace::default()));
}

#[test]
fn in_an_accept() {
    let free = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("it has one");
    let program = program("cat");
    let rule = free.to_string();
    let path = format!("/dev/accept/{free}");
    let names = network(&[], &[&rule]);
    drop_parked(|| plain(&program, &["cat", &path], names.clone()));
}

/// A listener whose queue is full: who dials it now waits.
fn full_listener() -> (TcpListener, SocketAddr, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("it has one");
    let mut queue = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&at, Duration::from_millis(200)) {
        queue.push(stream);
        assert!(queue.len() < 10_000, "the queue has an end");
    }
    (listener, at, queue)
}

#[test]
fn in_a_dial() {
    let program = program("dial");
    let (_listener, at, _queue) = full_listener();
    let (rule, path) = (at.to_string(), format!("/dev/{at}"));
    drop_parked(|| plain(&program, &["dial", &path, "hi"], network(&[&rule], &[])));
}

#[test]
fn in_a_read_of_a_socket() {
    let program = program("dial");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let at = listener.local_addr().expect("it has one");
    let (rule, path) = (at.to_string(), format!("/dev/{at}"));
    drop_parked(|| {
        let (mut guest, feed) = plain(&program, &["dial", &path, "hi"], network(&[&rule], &[]));
        while guest.step(10_000_000) == Step::Yielded {}
        // It has dialled; from here on it waits for an answer.
        (guest, (feed, listener.accept().expect("it has come")))
    });
}
