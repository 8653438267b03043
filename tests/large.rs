//! Memories that are large, and of which little is touched.

#![cfg(target_os = "linux")]

mod util;

use util::{Process, TempDir, run, tinyhost};

/// A program that says yes if all of it holds, and waits for its standard input.
fn program(memory: &str, body: &str) -> Vec<u8> {
    wat::parse_str(format!(
        r#"(module
          (import "wasi_snapshot_preview1" "fd_read"
            (func $fd_read (param i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "fd_write"
            (func $fd_write (param i32 i32 i32 i32) (result i32)))
          {memory} (data (i32.const 0) "\10\00\00\00\04\00\00\00") (data (i32.const 16) "yes\n")
          (func $check (param i32) (if (i32.eqz (local.get 0)) (then unreachable)))
          (func (export "_start") {body}
            (drop (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))))"#
    ))
    .expect("it is a module")
}

/// The most memory a process has had, in KiB.
fn peak(process: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Runs it until it waits; the most memory that took, in KiB.
fn peak_of(wasm: &[u8]) -> u64 {
    let dir = TempDir::new();
    let process = Process::start(tinyhost(["run", &dir.file("large.wasm", wasm)]));
    process.wait_for_stdout("yes\n");
    peak(&process)
}

const GIB: &str = r#"(memory (export "memory") 16384)"#;

#[test]
fn a_gigabyte_that_is_declared_costs_what_is_touched() {
    let size = "(call $check (i32.eq (memory.size) (i32.const 16384)))
        (call $check (i32.eqz (i32.load8_u (i32.const 0x3fffffff))))
        (i32.store8 (i32.const 0x3fffffff) (i32.const 1))";
    let peak = peak_of(&program(GIB, size));
    assert!(peak < 64 << 10, "{peak} KiB");
}

#[test]
fn a_gigabyte_that_is_grown_costs_what_is_touched() {
    let memory = r#"(memory (export "memory") 2)"#;
    let body = "(i32.store (i32.const 0x1fffc) (i32.const 7))
        (call $check (i32.eq (memory.grow (i32.const 16000)) (i32.const 2)))
        (call $check (i32.eq (memory.size) (i32.const 16002)))
        (call $check (i32.eq (i32.load (i32.const 0x1fffc)) (i32.const 7)))
        (call $check (i32.eqz (i32.load (i32.const 0x20000))))
        (call $check (i32.eqz (i32.load (i32.const 0x3e81fffc))))
        (i32.store (i32.const 0x3e81fffc) (i32.const 1))
        (call $check (i32.eq (memory.grow (i32.const 1)) (i32.const 16002)))";
    let peak = peak_of(&program(memory, body));
    assert!(peak < 64 << 10, "{peak} KiB");
}

/// Every byte, as a guest may well look.
#[test]
fn what_is_grown_is_zero() {
    let memory = r#"(memory (export "memory") 600)"#;
    let body = "(local $i i32)
        (call $check (i32.eq (memory.grow (i32.const 300)) (i32.const 600)))
        (local.set $i (i32.const 64))
        (loop $all
          (call $check (i64.eqz (i64.load (local.get $i))))
          (local.set $i (i32.add (local.get $i) (i32.const 8)))
          (br_if $all (i32.lt_u (local.get $i) (i32.const 0x3840000))))";
    let dir = TempDir::new();
    let path = dir.file("grown.wasm", &program(memory, body));
    run(&[&path], b"").expect(0, "yes\n", "");
}

#[test]
fn data_is_where_it_belongs() {
    for (segment, address) in [
        ("(data (i32.const 0x3ffffffc) \"\\07\\00\\00\\00\")", "0x3ffffffc"),
        ("(data (i32.const 0x2000000) \"\\07\")", "0x2000000"),
        ("(data (offset (i32.add (i32.const 0x2000000) (i32.const 4))) \"\\07\")", "0x2000004"),
        (
            "(data $d \"\\07\") (func $put (memory.init $d (i32.const 9) (i32.const 0) (i32.const 1)))",
            "9",
        ),
    ] {
        let put = if segment.contains("$put") { "(call $put)" } else { "" };
        let body = format!(
            "{put} (call $check (i32.eq (i32.load8_u (i32.const {address})) (i32.const 7)))"
        );
        let dir = TempDir::new();
        let path = dir.file("data.wasm", &program(&format!("{GIB} {segment}"), &body));
        run(&[&path], b"").expect(0, "yes\n", "");
    }
}

#[test]
fn a_limit_holds_for_the_whole() {
    let dir = TempDir::new();
    let path = dir.file("declared.wasm", &program(GIB, ""));
    let said = format!(
        "tinyhost: {path}: exceeded the memory limit of 1073741823 bytes (raise the limit with \
         --memory)\n"
    );
    run(&["--memory", "1073741823", &path], b"").expect(137, "", &said);
    run(&["--memory", "1073741824", &path], b"").expect(0, "yes\n", "");
    // What is refused is as it was, and less of it is granted. (A table counts a little.)
    let body = "(call $check (i32.eq (memory.grow (i32.const 1600)) (i32.const -1)))
        (call $check (i32.eq (memory.size) (i32.const 1)))
        (call $check (i32.eq (memory.grow (i32.const 1598)) (i32.const 1)))
        (call $check (i32.eq (memory.grow (i32.const 1)) (i32.const -1)))";
    let wasm = program(r#"(memory (export "memory") 1)"#, body);
    run(&["--memory", "100M", &dir.file("grown.wasm", &wasm)], b"").expect(0, "yes\n", "");
    // So for what is declared.
    let body = "(call $check (i32.eq (memory.grow (i32.const 1000)) (i32.const -1)))
        (call $check (i32.eq (memory.grow (i32.const 999)) (i32.const 1)))";
    let wasm = program(r#"(memory (export "memory") 1 1000)"#, body);
    run(&[&dir.file("most.wasm", &wasm)], b"").expect(0, "yes\n", "");
}

/// Grown by much and by little, in turns: what was there stays, and what is added is zero.
#[test]
fn a_memory_that_has_grown_by_much_grows_again() {
    let memory = r#"(memory (export "memory") 2)"#;
    let mut body = String::new();
    let mut pages = 2;
    for added in [1, 300, 1, 300, 16, 1000, 129, 1] {
        let end = (pages + added) << 16;
        body += &format!(
            "(call $check (i32.eq (memory.grow (i32.const {added})) (i32.const {pages})))
             (call $check (i32.eqz (i32.load (i32.const {}))))
             (call $check (i32.eqz (i32.load (i32.const {}))))
             (i32.store (i32.const {}) (i32.const {pages}))\n",
            pages << 16,
            end - 4,
            end - 4,
        );
        pages += added;
    }
    pages = 2;
    for added in [1, 300, 1, 300, 16, 1000, 129, 1] {
        let last = ((pages + added) << 16) - 4;
        body +=
            &format!("(call $check (i32.eq (i32.load (i32.const {last})) (i32.const {pages})))\n");
        pages += added;
    }
    let dir = TempDir::new();
    let path = dir.file("grows.wasm", &program(memory, &body));
    run(&[&path], b"").expect(0, "yes\n", "");
}
