//! What can't be captured, and what is said.

use tinyhost::vfs::pipe::pipe;
use tinyhost::{Capturable, CaptureError, Guest, ProgramConfig, Step, WasiCtx};

const READ: &str = r#"(import "wasi_snapshot_preview1" "fd_read"
    (func $fd_read (param i32 i32 i32 i32) (result i32)))"#;

const CALL: &str = "(drop (call $fd_read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 8)))";

fn module(body: &str) -> Vec<u8> {
    wat::parse_str(format!("(module {READ} {body})")).expect("it is a module")
}

/// Why a program can't be captured, whatever it does.
fn refusal(body: &str) -> String {
    match Capturable::new(&ProgramConfig::default(), module(body)) {
        Ok(_) => panic!("it can be captured: {body}"),
        Err(error) => error.to_string(),
    }
}

/// Captures a guest of a program that waits in its first read.
fn captured(body: &str) -> Result<Vec<u8>, CaptureError> {
    let body = format!("(memory (export \"memory\") 1) (data (i32.const 4) \"\\01\") {body}");
    let capturable = Capturable::new(&ProgramConfig::default(), module(&body))?;
    let (stdin, _feed) = pipe(1);
    let mut guest = Guest::new(capturable.program(), WasiCtx::builder().stdin(stdin).build());
    assert_eq!(guest.step(u64::MAX), Step::Parked);
    capturable.capture(guest)
}

#[test]
fn what_an_image_does_not_record_is_refused_before_it_runs() {
    let start = format!("(func (export \"_start\") {CALL})");
    let memory = "(memory (export \"memory\") 1)";
    for (body, why) in [
        (start.clone(), "it has no memory"),
        (format!("{memory} (memory 1) {start}"), "it has several memories"),
        (
            format!(
                "{memory} (table 1 funcref) {start}
                 (func (table.set (i32.const 0) (ref.null func)))"
            ),
            "it changes its tables or drops segments, which an image doesn't record",
        ),
        (
            format!("{memory} {start} (data $d \"x\") (func (data.drop $d))"),
            "it changes its tables or drops segments, which an image doesn't record",
        ),
        (
            format!("{memory} (func (export \"_start\")) (func {CALL})"),
            "it never reads standard input",
        ),
        (
            format!("(import \"a\" \"b\" (global i32)) {memory} {start}"),
            "it imports a memory, a table or a global",
        ),
    ] {
        assert_eq!(refusal(&body), why, "{body}");
    }
    let error = Capturable::new(&ProgramConfig::default(), b"#!/bin/sh".as_slice()).unwrap_err();
    assert!(matches!(error, CaptureError::Program(_)), "{error}");
}

#[test]
fn a_reference_is_recorded_if_it_is_null() {
    let with = |local: &str, set: &str| {
        format!(
            "(elem declare func $f) (func $f)
             (func (export \"_start\") (local {local}) {set} {CALL} (drop (local.get 0)))"
        )
    };
    captured(&with("funcref", "")).unwrap();
    captured(&with("externref", "")).unwrap();
    let error = captured(&with("funcref", "(local.set 0 (ref.func $f))")).unwrap_err();
    assert_eq!(error, CaptureError::Reference);
    assert_eq!(
        error.to_string(),
        "it holds a reference to a function or to something of the host, which an image can't \
         record"
    );
    let global = |set: &str| {
        format!(
            "(elem declare func $f) (func $f) (global $g (mut funcref) (ref.null func))
             (func (export \"_start\") {set} {CALL})"
        )
    };
    captured(&global("")).unwrap();
    let error = captured(&global("(global.set $g (ref.func $f))")).unwrap_err();
    assert_eq!(error, CaptureError::Reference);
}

#[test]
fn a_stack_that_is_too_deep_is_refused() {
    let deep = |depth: u32| {
        captured(&format!(
            "(func $f (param i32) (if (local.get 0)
               (then (call $f (i32.sub (local.get 0) (i32.const 1)))) (else {CALL})))
             (func (export \"_start\") (call $f (i32.const {depth})))"
        ))
    };
    deep(9_000).unwrap();
    let error = deep(10_500).unwrap_err();
    assert_eq!(error, CaptureError::Deep(10_000));
    assert_eq!(
        error.to_string(),
        "more than 10000 of its functions are active when it reads standard input"
    );
}

#[test]
fn only_a_guest_that_waits_for_its_input_can_be_captured() {
    let body = format!(
        "(memory (export \"memory\") 1) (data (i32.const 4) \"\\01\")
         (func (export \"_start\") {CALL})"
    );
    let capturable = Capturable::new(&ProgramConfig::default(), module(&body)).unwrap();
    let other = Capturable::new(&ProgramConfig::default(), module(&body)).unwrap();
    let guest = |of: &Capturable| Guest::new(of.program(), WasiCtx::builder().build());
    // It has not begun.
    assert_eq!(capturable.capture(guest(&capturable)), Err(CaptureError::NotReading));
    // It has ended.
    let mut ended = guest(&capturable);
    assert_eq!(ended.run().unwrap(), Step::Exited(0));
    assert_eq!(capturable.capture(ended), Err(CaptureError::NotReading));
    // It is one of another program.
    let (stdin, _feed) = pipe(1);
    let mut parked = Guest::new(other.program(), WasiCtx::builder().stdin(stdin).build());
    assert_eq!(parked.step(u64::MAX), Step::Parked);
    assert_eq!(
        capturable.capture(parked).unwrap_err().to_string(),
        "it doesn't wait for its standard input"
    );
}
