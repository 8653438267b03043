//! Conditions of `select`: whatever has made them, and whatever was computed before.

use tinyhost::Step;

use super::{module, programs, run};

/// Of a number, what a condition comes to.
type Model = fn(i32) -> bool;

const IS_ZERO: Model = |x| x == 0;
const IS_NOT: Model = |x| x != 0;

/// Instructions that make a condition of `$x`. In many of them a comparison with zero is the last
/// that is translated.
const CONDITIONS: [(&str, Model); 28] = [
    ("(i32.eqz (local.get $x))", IS_ZERO),
    ("(i32.eq (local.get $x) (i32.const 0))", IS_ZERO),
    ("(i32.eq (i32.const 0) (local.get $x))", IS_ZERO),
    ("(i32.eq (local.get $x) (i32.sub (i32.const 4) (i32.const 4)))", IS_ZERO),
    ("(i32.ne (local.get $x) (i32.const 0))", IS_NOT),
    ("(i32.ne (i32.const 0) (local.get $x))", IS_NOT),
    ("(i32.eqz (i32.eqz (local.get $x)))", IS_NOT),
    ("(i32.eqz (i32.eqz (i32.eqz (local.get $x))))", IS_ZERO),
    ("(i32.eqz (i32.ne (local.get $x) (i32.const 0)))", IS_ZERO),
    ("(i32.eqz (i32.xor (local.get $x) (i32.const 0)))", IS_ZERO),
    ("(i32.ne (i32.xor (local.get $x) (i32.const 0)) (i32.const 0))", IS_NOT),
    ("(i32.eqz (i32.xor (local.get $x) (i32.const 5)))", |x| x == 5),
    ("(i32.eqz (local.get $x)) (nop)", IS_ZERO),
    ("(i32.eqz (local.get $x)) (nop) (drop (local.get $x)) (nop)", IS_ZERO),
    ("(block (result i32) (i32.eqz (local.get $x)))", IS_ZERO),
    ("(i32.eqz (local.get $x)) (block (param i32) (result i32))", IS_ZERO),
    ("(i32.eqz (local.get $x)) (loop (param i32) (result i32))", IS_ZERO),
    (
        "(if (result i32) (local.get $x) (then (i32.const 0)) (else (i32.eqz (local.get $x))))",
        IS_ZERO,
    ),
    ("(i32.wrap_i64 (i64.extend_i32_u (i32.eqz (local.get $x))))", IS_ZERO),
    ("(i64.eqz (i64.extend_i32_u (i32.eqz (local.get $x))))", IS_NOT),
    ("(i64.ne (i64.extend_i32_u (i32.eqz (local.get $x))) (i64.const 0))", IS_ZERO),
    ("(i64.eqz (i64.extend_i32_s (local.get $x)))", IS_ZERO),
    ("(i32.shl (i32.eqz (local.get $x)) (i32.const 0))", IS_ZERO),
    ("(i32.sub (i32.eqz (local.get $x)) (i32.const 0))", IS_ZERO),
    ("(local.tee $w (i32.eqz (local.get $x)))", IS_ZERO),
    ("(local.set $w (i32.eqz (local.get $x))) (local.get $w)", IS_ZERO),
    ("(select (i32.eqz (local.get $x)) (i32.eqz (local.get $x)) (local.get $x))", IS_ZERO),
    ("(local.get $x)", IS_NOT),
];

/// What registers hold before.
const BEFORE: [&str; 4] = [
    "",
    "(local.set $w (i32.or (local.get $x) (i32.const 8)))",
    "(local.set $w (i32.and (local.get $x) (i32.const 0)))",
    "(local.set $w (i32.eqz (i32.or (local.get $x) (i32.const 8))))",
];

/// What is selected, each as a 1 or a 0 of some type, and how that is said as a number.
const KINDS: [(&str, &str, &str, &str); 6] = [
    ("select", "(i32.const 1)", "(i32.const 0)", ""),
    ("select (result i32)", "(i32.const 1)", "(local.get $none)", ""),
    ("select", "(i64.const 1)", "(i64.const 0)", "i32.wrap_i64"),
    ("select", "(f32.const 1)", "(f32.const 0)", "i32.trunc_f32_s"),
    ("select", "(local.get $one)", "(f64.const 0)", "i32.trunc_f64_s"),
    ("select (result funcref)", "(ref.null func)", "(ref.func $say)", "ref.is_null"),
];

#[test]
fn the_condition_is_the_one_that_was_computed() {
    let mut body = String::from("(elem declare func $say)\n");
    let mut calls = String::new();
    let mut expected = Vec::new();
    for (condition, model) in CONDITIONS {
        for before in BEFORE {
            for (select, yes, no, number) in KINDS {
                for set in ["", "(local.set $x) (local.get $x)"] {
                    let name = expected.len();
                    body += &format!(
                        "(func $f{name} (param $x i32) (result i32)
                           (local $w i32) (local $none i32) (local $one f64)
                           (local.set $one (f64.const 1))
                           {before} {yes} {no} {condition} {select} {number} {set})\n"
                    );
                    for x in [0, 1, 5] {
                        calls += &format!("(call $say (call $f{name} (i32.const {x})))\n");
                        expected.push((
                            i32::from(model(x)),
                            format!("{before} {condition} {select} {number} of {x}"),
                        ));
                    }
                }
            }
        }
    }
    let wasm = module(&format!("{body} (func (export \"_start\") {calls})"));
    for program in programs(&wasm) {
        let (said, step) = run(&program, 1_000_000, 8 << 20);
        assert_eq!((said.len(), step), (expected.len(), Step::Exited(0)));
        let differ = said.iter().zip(&expected).filter(|(said, (model, _))| **said != *model);
        let wrong: Vec<_> = differ.map(|(_, (_, what))| what).collect();
        assert!(wrong.is_empty(), "{} of {}: {wrong:#?}", wrong.len(), expected.len());
    }
}
