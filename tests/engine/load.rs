//! What can't be run is found before anything of it has run.

use std::sync::Arc;

use tinyhost::vfs::pipe::Capture;
use tinyhost::wasi::MemoryBudget;
use tinyhost::{Cause, Guest, Program, ProgramConfig, ProgramError, Step, WasiCtx};

/// Why a module is refused, for both ways of compiling.
#[track_caller]
fn refused(wasm: &[u8]) -> ProgramError {
    let [one, other] = [true, false].map(|reuse| {
        let config = ProgramConfig { reuse, ..ProgramConfig::default() };
        Program::with(&config, wasm).expect_err("it can't be run")
    });
    assert_eq!(one, other);
    one
}

#[test]
fn a_function_that_is_never_called_must_be_valid() {
    let called = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x03\x02\0\0\x05\x03\x01\0\x01\
        \x07\x0a\x01\x06_start\0\0\x0a\x08\x02\x02\0\x0b\x03\0\x6a\x0b";
    assert!(matches!(refused(called), ProgramError::Invalid(_)));
    let exceptions = wat::parse_str(
        r#"(module (memory (export "memory") 1) (func (local exnref)) (func (export "_start")))"#,
    );
    let error = refused(&exceptions.unwrap());
    assert!(error.to_string().starts_with("it needs exceptions: "), "{error}");
}

#[test]
fn too_many_locals_are_refused_with_that_reason() {
    let module = |locals: usize, ty: &str| {
        wat::parse_str(format!(
            r#"(module (memory (export "memory") 1)
              (func (param i64 i64) (local {}))
              (func (export "_start") (call 0 (i64.const 1) (i64.const 2))))"#,
            format!("{ty} ").repeat(locals)
        ))
        .expect("it is a module")
    };
    let error = refused(&module(29_999, "i32"));
    assert_eq!(error, ProgramError::TooManyLocals { function: 0, locals: 30_001 });
    assert!(error.to_string().contains("30001 local variables"), "{error}");
    for program in super::programs(&module(29_998, "i32")) {
        let mut guest = Guest::new(&program, WasiCtx::builder().build());
        assert_eq!(guest.run().unwrap(), Step::Exited(0));
    }
}

/// So many operands at once that there are too few slots for them.
#[test]
fn what_can_not_be_translated_is_known_at_once() {
    let (push, drop) = ("(i32.clz (local.get 0)) ".repeat(70_000), "drop ".repeat(70_000));
    let wasm = wat::parse_str(format!(
        r#"(module (memory (export "memory") 1)
          (func $deep (param i32) {push} {drop})
          (func (export "_start") (call $deep (i32.const 1))))"#
    ));
    assert!(matches!(refused(&wasm.unwrap()), ProgramError::Invalid(_)));
}

#[test]
fn memory_of_64_bits_is_refused_by_name() {
    let wasm =
        wat::parse_str(r#"(module (memory (export "memory") i64 1) (func (export "_start")))"#);
    let error = refused(&wasm.unwrap());
    assert!(error.to_string().starts_with("it needs 64-bit memory: "), "{error}");
}

/// What stacks can come to beyond the usual is counted for all, before anything of them is used.
#[test]
fn large_stacks_are_counted_where_guests_share() {
    let wasm =
        super::module(r#"(func (export "_start") (call $say (memory.grow (i32.const 100))))"#);
    let grown = |stack_max: usize| {
        let config = ProgramConfig { stack_max, ..ProgramConfig::default() };
        let program = Program::with(&config, &wasm).unwrap();
        let (budget, out) = (Arc::new(MemoryBudget::new(8 << 20)), Capture::new(64));
        let cx = WasiCtx::builder().stdout(out.clone()).memory_budget(budget.clone());
        let mut guest = Guest::new(&program, cx.build());
        let step = guest.run().unwrap();
        let said = out.take().first_chunk().map(|four| i32::from_le_bytes(*four));
        drop(guest);
        assert_eq!(budget.used(), 0);
        (step, said)
    };
    assert_eq!(grown(2 << 20), (Step::Exited(0), Some(1)));
    assert_eq!(grown(8 << 20), (Step::Exited(0), Some(-1)), "there is not that much left");
    let (step, said) = grown(64 << 20);
    assert!(matches!(step, Step::Trapped(trap) if trap.cause == Cause::Memory));
    assert_eq!(said, None);
}
