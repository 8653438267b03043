//! Modules that are hostile on purpose: what has broken an interpreter before, in loops and at
//! random. They don't end by themselves, or in a trap.
//!
//! A line on standard input that begins with `i` is printed back. Of any other the first byte
//! says which function is called.

use wasm_encoder::{
    BlockType, CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, Elements,
    EntityType, ExportKind, ExportSection, Function, FunctionSection, HeapType, ImportSection,
    InstructionSink, MemArg, MemArgTarget, MemorySection, MemoryType, Module, RefType,
    TableSection, TableType, TypeSection, ValType,
};

use super::Dice;

/// Functions that are imported: see `imports`.
const FD_WRITE: u32 = 0;
const FD_READ: u32 = 1;
const YIELD: u32 = 2;
const RANDOM: u32 = 3;
const POLL: u32 = 4;
const IMPORTED: u32 = 5;

/// Types.
const OF_CHAOS: u32 = 0;
const OF_FOUR: u32 = 1;
const OF_NONE: u32 = 2;
const OF_TWO: u32 = 3;
const OF_START: u32 = 4;

/// Local variables of a function: its parameter, counters of its loops, a vector.
const X: u32 = 0;
const COUNTERS: u32 = 1;
const COUNTERS_MAX: u32 = 6;
const VECTOR: u32 = COUNTERS + COUNTERS_MAX;

/// Where a line is read to, and what is told of it.
const LINE: i32 = 0x1_0000;
const TOLD: i32 = 0x1_f000;

/// Instructions that change memories and tables can be told to write anywhere in this much.
const PLACES: i32 = 0xffff;

/// Elements of the table and of the segment for it.
const ELEMENTS: u32 = 64;

/// Bytes of the segment for the memory.
const DATA: u32 = 4096;

/// The module of a seed.
pub fn module(seed: u64) -> Vec<u8> {
    let mut dice = Dice::new(!seed);
    let functions = 2 + dice.below(6) as u32;
    let mut types = TypeSection::new();
    types.ty().function([ValType::I32], [ValType::I32]);
    types.ty().function([ValType::I32; 4], [ValType::I32]);
    types.ty().function([], [ValType::I32]);
    types.ty().function([ValType::I32; 2], [ValType::I32]);
    types.ty().function([], []);
    let mut of = FunctionSection::new();
    let mut code = CodeSection::new();
    for _ in 0..functions {
        of.function(OF_CHAOS);
        code.function(&function(&mut dice, functions));
    }
    of.function(OF_START);
    code.function(&start(functions));
    let maximum = dice.one_in(2).then_some(1 << dice.below(17));
    let mut memories = MemorySection::new();
    memories.memory(MemoryType {
        minimum: 2,
        maximum: maximum.map(|most: u64| most.max(2)),
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut tables = TableSection::new();
    for element_type in [RefType::FUNCREF, RefType::EXTERNREF] {
        let minimum = u64::from(ELEMENTS);
        let maximum = dice.one_in(2).then(|| minimum + dice.below(1 << 20));
        tables.table(TableType { element_type, table64: false, minimum, maximum, shared: false });
    }
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export("_start", ExportKind::Func, IMPORTED + functions);
    let mut data = DataSection::new();
    data.passive((0..DATA).map(|_| dice.roll() as u8));
    let mut module = Module::new();
    module.section(&types).section(&imports()).section(&of).section(&tables).section(&memories);
    module.section(&exports).section(&elements(functions));
    module.section(&DataCountSection { count: 1 }).section(&code).section(&data);
    module.finish()
}

fn imports() -> ImportSection {
    let mut imports = ImportSection::new();
    let wanted = [
        ("fd_write", OF_FOUR),
        ("fd_read", OF_FOUR),
        ("sched_yield", OF_NONE),
        ("random_get", OF_TWO),
        ("poll_oneoff", OF_FOUR),
    ];
    for (name, ty) in wanted {
        imports.import("wasi_snapshot_preview1", name, EntityType::Function(ty));
    }
    imports
}

/// All functions again and again, in the table and in a segment for it. (The last ones of the
/// table are null.)
fn elements(functions: u32) -> ElementSection {
    let all: Vec<u32> = (0..ELEMENTS).map(|at| IMPORTED + at % functions).collect();
    let mut elements = ElementSection::new();
    let most = &all[..all.len() - 4];
    elements.active(None, &ConstExpr::i32_const(0), Elements::Functions(most.into()));
    elements.passive(Elements::Functions(all.into()));
    elements
}

/// Reads a line, and does as it says.
fn start(functions: u32) -> Function {
    let mut function = Function::new([]);
    let code = &mut function.instructions();
    code.i32_const(TOLD).i32_const(LINE).i32_store(at(0)).i32_const(TOLD).i32_const(4096);
    code.i32_store(at(4)).i32_const(0).i32_const(TOLD).i32_const(1).i32_const(TOLD + 8);
    code.call(FD_READ).drop();
    code.i32_const(LINE).i32_load8_u(at(0)).i32_const(i32::from(b'i')).i32_eq();
    code.if_(BlockType::Empty);
    code.i32_const(TOLD).i32_const(TOLD).i32_load(at(8)).i32_store(at(4));
    code.i32_const(1).i32_const(TOLD).i32_const(1).i32_const(TOLD + 8).call(FD_WRITE).drop();
    code.return_().end();
    code.i32_const(LINE).i32_load(at(0)).i32_const(LINE).i32_load8_u(at(0));
    code.i32_const(functions.cast_signed()).i32_rem_u().call_indirect(0, OF_CHAOS).drop().end();
    function
}

fn at(offset: u64) -> MemArg {
    MemArg { offset, align: 0, target: MemArgTarget::Memory(0), ordering: None }
}

/// A function of chaos.
fn function(dice: &mut Dice, functions: u32) -> Function {
    let locals = [(COUNTERS_MAX, ValType::I32), (1, ValType::V128)];
    let mut function = Function::new(locals);
    let code = &mut function.instructions();
    let mut chaos = Chaos { dice, functions, depth: 0, statements: 60 };
    chaos.block(code);
    chaos.number(code);
    code.end();
    function
}

struct Chaos<'a> {
    dice: &'a mut Dice,
    functions: u32,
    /// Loops around this place.
    depth: u32,
    /// How many statements may still come.
    statements: u32,
}

impl Chaos<'_> {
    fn block(&mut self, code: &mut InstructionSink) {
        for _ in 0..1 + self.dice.below(6) {
            if self.statements == 0 {
                return;
            }
            self.statements -= 1;
            self.statement(code);
        }
    }

    fn statement(&mut self, code: &mut InstructionSink) {
        match self.dice.below(15) {
            0..3 if self.depth < COUNTERS_MAX => self.turns(code),
            0..5 => self.grow(code),
            5..7 => self.memory(code),
            7..9 => self.table(code),
            9..11 => self.call(code),
            11 => self.tail_call(code),
            12 => self.vector(code),
            13 => self.ask(code),
            _ => self.store(code),
        }
    }

    /// A number that is another one each time it is come to.
    fn number(&mut self, code: &mut InstructionSink) {
        code.local_get(X).i32_const(self.dice.roll() as i32).i32_mul();
        code.i32_const(self.dice.roll() as i32).i32_add().local_tee(X);
        code.i32_const(15).i32_shr_u();
    }

    /// One that is likely to be a place or a length there is, unless it is to fail.
    fn place(&mut self, code: &mut InstructionSink, most: i32) {
        self.number(code);
        if !self.dice.one_in(40) {
            code.i32_const(most).i32_and();
        }
    }

    /// A loop: some turns, very many, or for ever.
    fn turns(&mut self, code: &mut InstructionSink) {
        let counter = COUNTERS + self.depth;
        let turns = match self.dice.below(8) {
            0 => i32::MAX,
            1..3 => 100_000,
            _ => 1 << self.dice.below(12),
        };
        self.depth += 1;
        code.i32_const(turns).local_set(counter).loop_(BlockType::Empty);
        self.block(code);
        code.local_get(counter).i32_const(1).i32_sub().local_tee(counter).br_if(0).end();
        self.depth -= 1;
    }

    fn grow(&mut self, code: &mut InstructionSink) {
        let count = self.dice.pick(&[0, 1, 3, 100, 65_536, -1]);
        match self.dice.below(3) {
            0 => code.ref_null(HeapType::FUNC).i32_const(count).table_grow(0),
            1 => code.ref_null(HeapType::EXTERN).i32_const(count).table_grow(1),
            _ => code.i32_const(count).memory_grow(0),
        };
        code.drop();
    }

    fn memory(&mut self, code: &mut InstructionSink) {
        let length = self.dice.pick(&[0xf, 0xff, 0xffff]);
        let filled = self.dice.below(3);
        self.place(code, PLACES);
        if filled == 2 {
            self.place(code, DATA as i32 / 2 - 1);
            self.place(code, DATA as i32 / 2 - 1);
            code.memory_init(0, 0);
            return;
        }
        self.place(code, PLACES);
        self.place(code, length);
        match filled {
            0 => code.memory_fill(0),
            _ => code.memory_copy(0, 0),
        };
    }

    fn table(&mut self, code: &mut InstructionSink) {
        const HALF: i32 = ELEMENTS as i32 / 2 - 1;
        self.place(code, HALF);
        let what = self.dice.below(5);
        if what == 0 {
            self.place(code, HALF);
            code.table_get(0).table_set(0);
            return;
        }
        if what == 1 {
            self.place(code, HALF);
            code.table_get(0);
        } else {
            self.place(code, HALF);
        }
        self.place(code, HALF);
        match what {
            1 => code.table_fill(0),
            2 => code.table_init(0, 1),
            3 => code.table_copy(1, 1),
            _ => code.table_copy(0, 0),
        };
    }

    fn function_index(&mut self) -> u32 {
        IMPORTED + self.dice.below(u64::from(self.functions)) as u32
    }

    fn call(&mut self, code: &mut InstructionSink) {
        self.number(code);
        if self.dice.one_in(2) {
            code.call(self.function_index());
        } else {
            self.place(code, ELEMENTS as i32 / 2 - 1);
            code.call_indirect(0, OF_CHAOS);
        }
        code.drop();
    }

    /// Now and then it leaves the function that way.
    fn tail_call(&mut self, code: &mut InstructionSink) {
        self.number(code);
        code.i32_const(self.dice.pick(&[0, 1, 7])).i32_and().i32_eqz().if_(BlockType::Empty);
        self.number(code);
        if self.dice.one_in(2) {
            code.return_call(self.function_index());
        } else {
            self.place(code, ELEMENTS as i32 / 2 - 1);
            code.return_call_indirect(0, OF_CHAOS);
        }
        code.end();
    }

    /// Lanes of vectors, at offsets that fit in 16 bits and that do not.
    fn vector(&mut self, code: &mut InstructionSink) {
        let offset = self.dice.pick(&[0, 0xfff0, 0xffff, 0x1_0000, 0x1_2345]);
        self.place(code, 0x0fff);
        code.local_get(VECTOR);
        let lane = self.dice.below(16) as u8;
        match self.dice.below(6) {
            0 => code.v128_store8_lane(at(offset), lane),
            1 => code.v128_store16_lane(at(offset), lane % 8),
            2 => code.v128_store32_lane(at(offset), lane % 4),
            3 => code.v128_store64_lane(at(offset), lane % 2),
            4 => code.v128_load8_lane(at(offset), lane).local_set(VECTOR),
            _ => code.v128_load16_lane(at(offset), lane % 8).local_set(VECTOR),
        };
    }

    fn store(&mut self, code: &mut InstructionSink) {
        let offset = self.dice.pick(&[0, 4, 0xfff0, 0x1_0000]);
        self.place(code, 0x7fff);
        self.number(code);
        code.i32_store(at(offset));
    }

    /// Calls of the host, mostly with nonsense.
    fn ask(&mut self, code: &mut InstructionSink) {
        match self.dice.below(4) {
            0 => {
                code.call(YIELD);
            }
            1 => {
                self.place(code, PLACES);
                self.place(code, PLACES);
                code.call(RANDOM);
            }
            which => {
                let call = if which == 2 { POLL } else { self.dice.pick(&[FD_WRITE, FD_READ]) };
                self.place(code, 3);
                self.place(code, PLACES);
                self.place(code, 3);
                self.place(code, PLACES);
                code.call(call);
            }
        }
        code.drop();
    }
}
