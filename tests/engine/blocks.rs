//! Operands below a block with parameters: they keep their values, whatever is given for those.

use tinyhost::Step;

use super::{module, programs, run};

/// What is given for a parameter.
const GIVEN: [&str; 4] = [
    "(i64.const 1)",
    "(local.get $p)",
    "(i64.add (local.get $p) (i64.const 3))",
    "(i64.load (i32.const 64))",
];

/// Blocks that set the variable whose value lies below them, some of them several times or in
/// one branch only. PARAMS is their type, GIVEN is given again, and DROPS takes them away.
const BLOCKS: [&str; 6] = [
    "loop PARAMS DROPS (local.set $v (i32.const 7))
       (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
       GIVEN (br_if 0 (local.get $turns)) DROPS end",
    "block PARAMS DROPS (br_if 0 (local.get $x)) (local.set $v (i32.const 7)) end",
    "(local.get $x) if PARAMS DROPS (local.set $v (i32.const 7)) else DROPS end",
    "(local.get $x) if PARAMS DROPS else DROPS (local.set $v (i32.const 7)) end",
    "(i32.eqz (local.get $x)) if PARAMS DROPS (local.set $v (i32.const 7)) else DROPS end",
    "block PARAMS loop PARAMS DROPS (local.set $v (i32.add (local.get $v) (i32.const 1)))
       (local.set $turns (i32.sub (local.get $turns) (i32.const 1)))
       GIVEN (br_if 0 (local.get $turns)) (br_if 1 (local.get $x)) DROPS end
       (local.set $v (i32.const 9)) GIVEN end DROPS",
];

#[test]
fn an_operand_below_a_block_keeps_its_value() {
    let mut body = String::new();
    let mut calls = String::new();
    let mut names = Vec::new();
    for block in BLOCKS {
        for one in GIVEN {
            for other in GIVEN.map(Some).into_iter().chain([None]) {
                let given = format!("{one} {}", other.unwrap_or_default());
                let count = 1 + usize::from(other.is_some());
                let results = if block.ends_with("DROPS") { "(result" } else { "" };
                let params = format!("(param{})", " i64".repeat(count));
                let inner = block
                    .replacen(
                        "block PARAMS loop",
                        &format!(
                            "block {params} {results}{} loop",
                            if results.is_empty() {
                                String::new()
                            } else {
                                " i64".repeat(count) + ")"
                            }
                        ),
                        1,
                    )
                    .replace("PARAMS", &params)
                    .replace("GIVEN", &given)
                    .replace("DROPS", &"drop ".repeat(count));
                let name = names.len();
                // Twice the variable, and another one, lie below the parameters.
                body += &format!(
                    "(func $f{name} (param $x i32) (result i32)
                       (local $v i32) (local $w i32) (local $turns i32) (local $p i64)
                       (local.set $v (i32.const 5)) (local.set $w (i32.const 100))
                       (local.set $turns (i32.const 3)) (local.set $p (i64.const 2))
                       (local.get $v) (local.get $w) (local.get $v)
                       {given} {inner}
                       i32.mul i32.add)\n"
                );
                for x in [0, 1] {
                    calls += &format!("(call $say (call $f{name} (i32.const {x})))\n");
                }
                names.push(format!("{given} {inner}"));
            }
        }
    }
    let wasm = module(&format!("{body} (func (export \"_start\") {calls})"));
    for program in programs(&wasm) {
        let (said, step) = run(&program, 1_000_000, 8 << 20);
        assert_eq!((said.len(), step), (2 * names.len(), Step::Exited(0)));
        let wrong = said.iter().zip(names.iter().flat_map(|name| [name, name]));
        let wrong: Vec<_> = wrong.filter(|(said, _)| **said != 5 + 100 * 5).collect();
        assert!(wrong.is_empty(), "{} of {}: {:#?}", wrong.len(), said.len(), &wrong[..1]);
    }
}
