//! A program gets the forms that it imports.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use tinyhost::trace::Learn;
use tinyhost::{Guest, Program, ProgramError, Step, WasiCtx};

use super::guest::{DIALECTS, World, module};
use crate::busy::LIMIT;

#[test]
fn each_dialect_is_a_program() {
    for dialect in DIALECTS {
        let program = Program::new(module(&dialect.rows())).expect("a program");
        let mut guest = Guest::new(&program, WasiCtx::builder().build());
        assert_eq!(guest.run().expect("it runs"), Step::Exited(0));
    }
}

#[test]
fn a_form_that_no_dialect_has_is_refused() {
    let import = |ty: &str| {
        let text = format!(
            r#"(module (import "wasi_snapshot_preview1" "sock_accept" (func {ty}))
            (memory (export "memory") 1) (func (export "_start")))"#
        );
        Program::new(wat::parse_str(text).expect("text"))
    };
    assert!(import("(param i32 i32) (result i32)").is_ok());
    assert!(import("(param i32 i32 i32) (result i32)").is_ok());
    for ty in ["(param i32) (result i32)", "(param i32 i64) (result i32)", "(param i32 i32)"] {
        let error = import(ty).expect_err(ty);
        assert!(matches!(error, ProgramError::ImportType(name) if &*name == "sock_accept"));
    }
}

/// A server in WasmEdge's dialect: it serves one client, to which it sends back what it says.
const SERVER: &str = r#"(module
    (import "wasi_snapshot_preview1" "sock_open" (func $open (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_bind" (func $bind (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_listen" (func $listen (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_accept" (func $accept (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "sock_connect"
        (func $connect (param i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_read"
        (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write"
        (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 0x100) "\00\02\00\00\04\00\00\00")
    (data (i32.const 0x200) "\7f\00\00\01")
    (data (i32.const 0x300) "\00\10\00\00\00\01\00\00")
    (func $check (param i32) (if (local.get 0) (then (call $exit (local.get 0)))))
    (func (export "_start") (local $fd i32)
        (call $check (call $open (i32.const 1) (i32.const 2) (i32.const 0)))
        (local.set $fd (i32.load (i32.const 0)))
        STEPS
        (call $check (call $read (i32.load (i32.const 0)) (i32.const 0x300) (i32.const 1)
            (i32.const 0x304)))
        (call $check (call $write (i32.load (i32.const 0)) (i32.const 0x300) (i32.const 1)
            (i32.const 8)))))"#;

fn server(port: u16) -> Program {
    let steps = format!(
        "(call $check (call $bind (local.get $fd) (i32.const 0x100) (i32.const {port})))
        (call $check (call $listen (local.get $fd) (i32.const 5)))
        (call $check (call $accept (local.get $fd) (i32.const 0)))"
    );
    Program::new(wat::parse_str(SERVER.replace("STEPS", &steps)).unwrap()).unwrap()
}

fn client(port: u16) -> Program {
    let steps = format!(
        "(call $check (call $connect (local.get $fd) (i32.const 0x100) (i32.const {port})))"
    );
    Program::new(wat::parse_str(SERVER.replace("STEPS", &steps)).unwrap()).unwrap()
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[test]
fn a_guest_is_parked_in_accept_and_its_listener_ends_with_it() {
    let port = free_port();
    let world = World::new(&[], &["127.0.0.1:*"]);
    let program = server(port);
    let start = || {
        let cx = WasiCtx::builder().namespace(world.namespace()).trace(Learn::default()).build();
        let mut guest = Guest::new(&program, cx);
        while !matches!(guest.step(1_000_000), Step::Parked) {}
        guest
    };
    // One that is given up leaves the port.
    drop(start());
    let mut guest = start();
    let mut socket = TcpStream::connect(("127.0.0.1", port)).expect("connect");
    socket.set_read_timeout(Some(LIMIT)).expect("a timeout");
    socket.write_all(b"hello").expect("write");
    assert_eq!(guest.run().expect("it runs"), Step::Exited(0));
    let learned = guest.context().trace::<Learn>().expect("it is there").used().clone();
    assert_eq!(learned.accepts.into_iter().collect::<Vec<_>>(), [format!("127.0.0.1:{port}")]);
    assert!(learned.sockets.is_empty(), "it was given none");
    drop(guest);
    let mut answer = [0; 5];
    socket.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"hello");
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens any more");
}

#[test]
fn a_connect_is_learned_as_the_rule_that_allows_it() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let world = World::new(&["127.0.0.0/8:*"], &[]);
    let program = client(port);
    let cx = WasiCtx::builder().namespace(world.namespace()).trace(Learn::default()).build();
    let mut guest = Guest::new(&program, cx);
    let echo = std::thread::spawn(move || {
        let mut client = listener.accept().expect("a client").0;
        client.write_all(b"hello").expect("write");
        let mut answer = [0; 5];
        client.read_exact(&mut answer).expect("read");
        answer
    });
    assert_eq!(guest.run().expect("it runs"), Step::Exited(0));
    assert_eq!(&echo.join().expect("it ended"), b"hello");
    let learned = guest.context().trace::<Learn>().expect("it is there").used();
    let dials: Vec<_> = learned.dials.iter().cloned().collect();
    assert_eq!(dials, [format!("127.0.0.1:{port}")]);
}
