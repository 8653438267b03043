//! What a call costs the host is charged, and what guests share is divided.

#![cfg(all(unix, feature = "net"))]

use std::sync::Arc;

use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::net::{Net, NetConfig, Policy};
use tinyhost::vfs::{Name, Namespace, Node, Open, mem};
use tinyhost::{Errno, Guest, Program, Step, WasiCtx};

/// A guest whose `_start` is this, with a path at 1024 and an iovec of `len` bytes at 65536.
fn guest(namespace: Namespace, path: &str, len: u32, start: &str) -> Guest {
    let wat = format!(
        r#"(module
          (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "path_filestat_get" (func $stat (param i32 i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_readdir" (func $readdir (param i32 i32 i32 i64 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 40)
          (data (i32.const 1024) "{path}")
          (func $path (result i32) (i32.const {path_len}))
          (func $read (result i32)
            (i32.store (i32.const 0) (i32.const 65536))
            (i32.store (i32.const 4) (i32.const {len}))
            (call $fd_read (i32.load (i32.const 12)) (i32.const 0) (i32.const 1) (i32.const 8)))
          (func (export "_start") {start}))"#,
        path_len = path.len(),
    );
    let program = Program::new(wat::parse_str(wat).unwrap()).unwrap();
    Guest::new(&program, WasiCtx::builder().namespace(namespace).build())
}

const OPEN: &str =
    "(call $exit (call $open (i32.const 3) (i32.const 1) (i32.const 1024) (call $path)
    (i32.const 0) (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 12)))";

/// Runs it in small slices; its fuel.
fn fuel(mut guest: Guest) -> u64 {
    loop {
        match guest.step(2_000) {
            Step::Yielded => {}
            end => break assert_eq!(end, Step::Exited(0)),
        }
    }
    guest.fuel_used()
}

fn at(node: Arc<dyn Node>) -> Namespace {
    Namespace::builder().mount("/", node).unwrap().build()
}

fn name(text: &str) -> Name<'_> {
    Name::new(text).unwrap()
}

#[test]
fn names_walked_are_paid_for_each() {
    let tree = mem::tree(None);
    tree.create_directory(name("d")).unwrap();
    let stat = "(call $exit (call $stat (i32.const 3) (i32.const 1) (i32.const 1024) (call $path) (i32.const 0)))";
    let of = |path: &str| fuel(guest(at(tree.clone()), path, 0, stat));
    let (short, long) = (of("d"), of(&("d/../".repeat(800) + "d")));
    assert!(long > short + 800 * 200, "{short} and {long}");
    assert_eq!(of("d"), short, "the same each time");
}

#[test]
fn a_call_that_costs_more_than_a_slice_is_paid_for_in_full() {
    let read =
        "(drop (call $open (i32.const 3) (i32.const 1) (i32.const 1024) (call $path) (i32.const 0)
        (i64.const 2) (i64.const 0) (i32.const 0) (i32.const 12))) (call $exit (call $read))";
    let random = |len| fuel(guest(at(Arc::new(Dev::new())), "urandom", len, read));
    let (little, much) = (random(1), random(1 << 20));
    // What is left of a long read comes with the next.
    assert!(much > little + (64 << 10) * 2, "{little} and {much}");
    assert!(much < little + (64 << 10) * 10, "{little} and {much}");
}

#[test]
fn entries_listed_are_paid_for_each() {
    let listed = |count: usize| {
        let tree = mem::tree(None);
        for nth in 0..count {
            tree.create_directory(name(&nth.to_string())).unwrap();
        }
        let list = "(call $exit (call $readdir (i32.const 3) (i32.const 65536) (i32.const 65536)
            (i64.const 0) (i32.const 8)))";
        fuel(guest(at(tree), "x", 0, list))
    };
    let (few, many) = (listed(1), listed(1001));
    assert!(many > few + 1000 * 100, "{few} and {many}");
}

#[test]
fn a_rename_in_a_deep_tree_looks_at_few_directories() {
    let tree = mem::tree(None);
    let mut at = tree.clone();
    for _ in 0..20_000 {
        at.create_directory(name("d")).unwrap();
        at = at.lookup(name("d")).unwrap();
    }
    at.create_directory(name("x")).unwrap();
    assert_eq!(at.rename(name("x"), &at, name("y")), Ok(()), "in its directory");
    tree.create_directory(name("empty")).unwrap();
    assert_eq!(tree.rename(name("empty"), &at, name("z")), Ok(()), "nothing lies below it");
    let full = tree.lookup(name("d")).unwrap();
    assert_eq!(tree.rename(name("d"), &full, name("d2")), Err(Errno::Inval), "into itself");
    assert_eq!(
        tree.rename(name("d"), &at, name("d2")),
        Err(Errno::Nametoolong),
        "far below itself"
    );
    let mut shallow = tree.clone();
    for _ in 0..1000 {
        shallow.create_directory(name("s")).unwrap();
        shallow = shallow.lookup(name("s")).unwrap();
    }
    assert_eq!(tree.rename(name("d"), &shallow, name("d2")), Ok(()), "as deep as programs go");
}

#[test]
fn what_is_freed_is_paid_for() {
    let tree = mem::tree(None);
    let create = Open { write: true, ..Open::default() };
    let mut file = tree.create(name("f"), create).unwrap();
    for chunk in 0..64 {
        file.write(&[std::io::IoSlice::new(b"x")], chunk << 16).unwrap();
    }
    drop(file);
    let open = OPEN.replace("(i32.const 0) (i64.const 2)", "(i32.const 8) (i64.const 66)");
    let cut = fuel(guest(at(tree.clone()), "f", 0, &open));
    let again = fuel(guest(at(tree), "f", 0, &open));
    assert!(cut > again + 64 * 4_000, "{cut} and {again}");
}

fn network() -> Net {
    let policy = Policy::from_rules(["none"], ["127.0.0.1:*"]).unwrap();
    Net::new(NetConfig { policy, ..NetConfig::default() })
}

#[test]
fn a_listener_ends_with_its_guest_and_with_the_last_that_asked_for_it() {
    let net = network();
    let open = || {
        let dev = Arc::new(Dev::with_net(net.for_guest()));
        let path = "accept/127.0.0.1:0,addr";
        let sleep = OPEN.replace("call $exit", "drop") + "(loop $for_ever (br $for_ever))";
        let mut guest = guest(at(dev), path, 0, &sleep);
        assert_eq!(guest.step(100_000), Step::Yielded);
        guest
    };
    let (mut one, other) = (open(), open());
    assert_eq!(net.bound().len(), 1, "the same for both");
    one.limit_fuel(1);
    assert!(one.step(1).is_end());
    assert_eq!(net.bound().len(), 1, "the other has it still");
    drop(other);
    assert_eq!(
        net.bound().len(),
        0,
        "it was given back, though the first is there to be looked at"
    );
    drop(one);
}

/// Ports that are free, more or less.
fn listen(net: &Net, from: u8, count: u8) -> (Vec<Errno>, Net) {
    let own = net.for_guest();
    let mut failed = Vec::new();
    for nth in 0..count {
        // Another address for each: port 0 of one is the same listener.
        let accept = own.lookup(name("accept")).unwrap();
        let node = accept.lookup(name(&format!("127.0.{from}.{nth}:0,addr"))).unwrap();
        failed.extend(node.open(Open { read: true, ..Open::default() }).err());
    }
    (failed, own)
}

#[test]
#[cfg(target_os = "linux")]
fn nobody_has_all_listeners() {
    let policy = Policy::from_rules(["none"], ["127.0.0.0/8:*", "127.0.0.1:*"]);
    let Ok(policy) = policy else { return };
    let net = Net::new(NetConfig { policy, ..NetConfig::default() });
    let (failed, one) = listen(&net, 1, 20);
    assert_eq!(failed, [Errno::Nfile; 4], "16 of one guest");
    let (failed, other) = listen(&net, 2, 16);
    assert_eq!(failed, []);
    let (failed, _) = listen(&net, 3, 1);
    assert_eq!(failed, [Errno::Nfile], "half of all for those that are one party");
    drop((one, other));
    assert_eq!(listen(&net, 3, 1).0, []);
}
