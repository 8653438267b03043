//! Growing memories and tables, in slices that it doesn't fit, over and over, and in vain.

use tinyhost::{Guest, Program, Step, WasiCtx};

use super::{SLICES, module, programs, run, says};

/// Does something 100,000 times, then says what it was last answered.
fn again_and_again(what: &str) -> String {
    format!(
        r#"(table $t 10 1000000 funcref) (table $e 10 externref) (elem declare func $say)
        (func (export "_start") (local $i i32) (local $last i32)
          (loop $again
            (local.set $last {what})
            (br_if $again (i32.lt_u
              (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 100000))))
          (call $say (local.get $last)))"#
    )
}

#[test]
fn a_loop_of_growing_needs_no_stack_of_the_host() {
    for what in [
        "(memory.grow (i32.const 65536))",
        "(memory.grow (i32.const 1000))",
        "(memory.grow (i32.const -1))",
        "(table.grow $t (ref.null func) (i32.const 2000000))",
        "(table.grow $t (ref.func $say) (i32.const 900000))",
        "(table.grow $e (ref.null extern) (i32.const -1))",
    ] {
        // It may succeed once at the most: then there is no more.
        let memory = if what.contains("900000") { 900_000 * 16 + (2 << 20) } else { 8 << 20 };
        let wasm = module(&again_and_again(what));
        for program in programs(&wasm) {
            for slice in SLICES {
                let (said, step) = run(&program, slice, memory);
                assert_eq!((said, step), (vec![-1], Step::Exited(0)), "slices of {slice}: {what}");
            }
        }
    }
    says(&again_and_again("(memory.grow (i32.const 0))"), &[1]);
    says(&again_and_again("(table.grow $t (ref.null func) (i32.const 0))"), &[10]);
    says(&again_and_again("(table.grow $e (ref.null extern) (i32.const 1))"), &[100_009]);
}

/// Each of the instructions that move much at once or fail, as often as would overflow a stack
/// if its handler were not left by a jump.
#[test]
fn a_loop_of_bulk_instructions_needs_no_stack_of_the_host() {
    for what in [
        "(memory.fill (i32.const 64) (i32.const 1) (i32.const 640))",
        "(memory.copy (i32.const 64) (i32.const 96) (i32.const 640))",
        "(memory.copy $n $m (i32.const 64) (i32.const 96) (i32.const 640))",
        "(memory.init $d (i32.const 64) (i32.const 0) (i32.const 3))",
        "(table.fill $t (i32.const 1) (ref.null func) (i32.const 90))",
        "(table.copy $t $t (i32.const 1) (i32.const 2) (i32.const 90))",
        "(table.copy $u $t (i32.const 1) (i32.const 2) (i32.const 90))",
        "(table.init $t $s (i32.const 1) (i32.const 0) (i32.const 2))",
        "(table.set $t (i32.const 3) (table.get $t (i32.const 4)))",
        "(call $nop) (call_indirect $u (type $none) (i32.const 99))",
        "(call $tail (i32.const 9)) (call $tail_indirect (i32.const 9))",
        "(data.drop $x) (elem.drop $y)",
        "(drop (block $b (result i32)
           (br_table $b $b $b (i32.const 5) (i32.and (local.get $i) (i32.const 3)))))",
    ] {
        let body = format!(
            r#"(memory $n 1) (table $t 100 funcref) (table $u 100 funcref) (type $none (func))
            (data $d "abc") (data $x "x") (elem $s func $say $nop) (elem $y func $nop)
            (elem (table $u) (i32.const 99) func $nop)
            (func $nop)
            (func $tail (param $n i32)
              (if (local.get $n) (then
                (return_call $tail (i32.sub (local.get $n) (i32.const 1))))))
            (func $tail_indirect (param i32)
              (return_call_indirect $u (type $none) (i32.const 99)))
            (func (export "_start") (local $i i32)
              (loop $again
                {what}
                (br_if $again (i32.lt_u
                  (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 50000))))
              (call $say (local.get $i)))"#
        );
        says(&body, &[50_000]);
    }
}

/// wasmi resumes a table.grow that ran out of fuel from wherever it was before: here that is
/// before an instruction that would take the number on the stack for a reference.
#[test]
fn growing_a_table_by_more_than_a_slice_is_whole() {
    says(
        r#"(table $t 10 1000000 funcref) (type $none (func)) (elem (i32.const 0) $nop)
        (func $nop)
        (func $go (param $x i32)
          (table.set $t (i32.const 1)
            (block (result funcref) (table.get $t (i32.const 0)) (call $nop)))
          (call $say
            (i32.add (i32.mul (local.get $x) (i32.const 1000003))
              (i32.add (i32.mul (local.get $x) (i32.const 7))
                (table.grow $t (ref.null func) (i32.const 900000)))))
          (call_indirect $t (type $none) (i32.const 1))
          (call $say (table.size $t)))
        (func (export "_start") (call $go (i32.const 3)))"#,
        &[3 * 1_000_003 + 21 + 10, 900_010],
    );
}

#[test]
fn what_grows_is_what_the_instruction_names() {
    says(
        r#"(memory $n 2) (memory $o 3 5)
        (table $t 4 funcref) (table $e 5 9 externref) (table $u 6 funcref)
        (elem declare func $say) (global $host (mut externref) (ref.null extern))
        (func (export "_start")
          (call $say (memory.grow $o (i32.const 1)))
          (call $say (memory.grow $n (i32.const 7)))
          (call $say (memory.grow $m (i32.const 2)))
          (call $say (memory.grow $o (i32.const 2)))
          (call $say (i32.load $n (i32.const 500000)))
          (call $say (memory.size $m)) (call $say (memory.size $n)) (call $say (memory.size $o))
          (call $say (table.grow $u (ref.func $say) (i32.const 2)))
          (call $say (table.grow $e (global.get $host) (i32.const 4)))
          (call $say (table.grow $e (global.get $host) (i32.const 1)))
          (call $say (table.grow $t (ref.null func) (i32.const 3)))
          (call_indirect $u (param i32) (i32.const 77) (i32.const 7))
          (call $say (ref.is_null (table.get $t (i32.const 6))))
          (call $say (table.size $t)) (call $say (table.size $e)) (call $say (table.size $u)))"#,
        &[3, 2, 1, -1, 0, 3, 9, 4, 6, 5, -1, 4, 77, 1, 7, 9, 8],
    );
}

/// Much of it is in one step, and counted: the guest pays for the zeros.
#[test]
fn growing_costs_fuel_and_is_counted_once() {
    let wasm = module(r#"(func (export "_start") (call $say (memory.grow (i32.const 640))))"#);
    for program in programs(&wasm) {
        for slice in SLICES {
            let (said, step) = run(&program, slice, 48 << 20);
            assert_eq!((said, step), (vec![1], Step::Exited(0)), "slices of {slice}");
        }
        let mut guest = Guest::new(&program, WasiCtx::builder().build());
        guest.run().expect("there is nothing to wait for");
        assert!(guest.fuel_used() > 640 * 1024, "{}", guest.fuel_used());
        let mut guest = Guest::new(&program, WasiCtx::builder().build());
        guest.limit_fuel(1_000);
        assert!(matches!(guest.run(), Ok(Step::Trapped(_))));
    }
}

/// Names that begin as the added ones do are a guest's own right.
#[test]
fn exports_with_the_names_of_the_added_ones_change_nothing() {
    let own: String = ["calls", "memory.0", "start", "table.0", "global.0"]
        .iter()
        .flat_map(|name| ["\\00tinyhost.", "\\00tinyhost..", "\\00tinyhost...."].map(|p| (p, name)))
        .map(|(prefix, name)| format!("(export \"{prefix}{name}\" (func $say))"))
        .collect();
    says(
        &format!(
            r#"{own} (global $g (mut i32) (i32.const 0)) (func $first (global.set $g (i32.const 5)))
            (start $first)
            (func (export "_start")
              (call $say (global.get $g)) (call $say (memory.grow (i32.const 1))))"#
        ),
        &[5, 1],
    );
}

#[test]
fn a_growing_program_is_one_in_the_group_of_programs() {
    let wasm = wat::parse_str(
        r#"(module (memory (export "memory") 1)
          (func (export "_start") (loop $l (drop (memory.grow (i32.const 65536))) (br $l))))"#,
    );
    let program = Program::new(wasm.unwrap()).unwrap();
    let mut guest = Guest::new(&program, WasiCtx::builder().build());
    guest.limit_fuel(20_000_000);
    assert!(matches!(guest.run(), Ok(Step::Trapped(_))), "fuel ends it, not the host's stack");
}
