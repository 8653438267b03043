//! Modules of wasm-smith's, in the features that tinyhost ships.

use arbitrary::Unstructured;
use wasm_smith::{Config, InstructionKind, InstructionKinds, MemoryOffsetChoices, Module};

use super::Dice;

/// Bytes of a memory at the most.
const MEMORY_MAX: u64 = 16 << 16;

/// What a call may use of what `ensure_termination` counts: calls and turns of loops.
pub const FUEL: u32 = 1_000;

/// A module, and which of its globals counts down.
pub struct Smith {
    pub wasm: Vec<u8>,
    pub fuel_global: u32,
}

/// The module of a seed, if one comes of it.
pub fn module(seed: u64) -> Option<Smith> {
    let mut dice = Dice::new(seed);
    let config = config(&mut dice);
    let bytes: Vec<u8> =
        (0..dice.pick(&[256, 1024, 4096, 16384])).map(|_| dice.roll() as u8).collect();
    let mut module = Module::new(config, &mut Unstructured::new(&bytes)).ok()?;
    let fuel_global = module.ensure_termination(FUEL).ok()?;
    Some(Smith { wasm: module.to_bytes(), fuel_global })
}

fn config(dice: &mut Dice) -> Config {
    Config {
        allowed_instructions: kinds(dice),
        bulk_memory_enabled: true,
        canonicalize_nans: true,
        disallow_traps: dice.one_in(2),
        exceptions_enabled: false,
        export_everything: false,
        gc_enabled: false,
        compact_imports_enabled: false,
        max_funcs: 12,
        min_funcs: 1,
        max_imports: 0,
        max_instructions: dice.pick(&[20, 100, 400]),
        max_memories: dice.pick(&[1, 1, 2]),
        min_memories: u32::from(!dice.one_in(4)),
        max_memory32_bytes: MEMORY_MAX,
        max_table_elements: 300,
        max_tables: 3,
        min_tables: u32::from(!dice.one_in(4)),
        max_tags: 0,
        max_types: 20,
        max_elements: 20,
        memory64_enabled: false,
        memory_max_size_required: true,
        memory_offset_choices: MemoryOffsetChoices(80, 17, 3),
        relaxed_simd_enabled: false,
        shared_everything_threads_enabled: false,
        table_max_size_required: true,
        threads_enabled: false,
        wide_arithmetic_enabled: false,
        ..Config::default()
    }
}

/// All kinds of instructions, or those that change memories and tables in the main: of all of
/// them they are a few.
fn kinds(dice: &mut Dice) -> InstructionKinds {
    use InstructionKind as Kind;
    match dice.below(3) {
        0 => InstructionKinds::new(&[
            Kind::NumericInt,
            Kind::Reference,
            Kind::Parametric,
            Kind::Variable,
            Kind::Table,
            Kind::Memory,
            Kind::Control,
        ]),
        1 => InstructionKinds::new(&[Kind::NumericInt, Kind::VectorInt, Kind::Memory, Kind::Table]),
        _ => InstructionKinds::all(),
    }
}
