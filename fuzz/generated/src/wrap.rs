//! Makes a command of a module: `_start` calls each of its functions, and prints after each one a
//! digest of what it returned and of all memories, tables and globals.
//!
//! A command runs anywhere, so the same bytes run on tinyhost and on wasmtime, and what they
//! print is compared. A line on standard input that begins with `i` is printed back instead: so a
//! server of such a command has innocent clients.

use wasm_encoder::reencode::{Error, Reencode};
use wasm_encoder::{
    BlockType, CodeSection, DataCountSection, DataSection, ElementSection, EntityType, ExportKind,
    ExportSection, Function, FunctionSection, GlobalSection, GlobalType, Ieee32, Ieee64,
    ImportSection, InstructionSink, MemArg, MemArgTarget, MemorySection, MemoryType, Module,
    RefType, StartSection, TableSection, TypeSection, ValType,
};
use wasmparser::{CompositeInnerType, Parser, Payload};

use super::Dice;
use super::smith::{FUEL, Smith};

/// Functions that are imported, and so come before those of the module.
const IMPORTED: u32 = 2;
const FD_WRITE: u32 = 0;
const FD_READ: u32 = 1;

/// Where things are in the command's own memory.
const DIGEST: i32 = 0;
const VECTOR: i32 = 16;
const COUNT: i32 = 24;
const LINE: i32 = 64;
const LINE_MAX: i32 = 4096;

/// Elements of a table that are looked at.
const ELEMENTS_MAX: i32 = 512;

/// Functions come later than they did.
struct Shift;

impl Reencode for Shift {
    type Error = std::convert::Infallible;

    fn function_index(&mut self, func: u32) -> Result<u32, Error<Self::Error>> {
        Ok(func + IMPORTED)
    }
}

/// A module taken apart, to be added to.
#[derive(Default)]
struct Parts {
    types: TypeSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    globals: GlobalSection,
    start: Option<StartSection>,
    elements: ElementSection,
    data_count: Option<DataCountSection>,
    code: CodeSection,
    data: DataSection,
    /// Parameters and results of each type.
    signatures: Vec<(Vec<ValType>, Vec<ValType>)>,
    /// The type of each function.
    type_of: Vec<u32>,
    global_types: Vec<ValType>,
}

impl Parts {
    fn of(wasm: &[u8]) -> Result<Parts, Error<std::convert::Infallible>> {
        let mut parts = Parts::default();
        for payload in Parser::new(0).parse_all(wasm) {
            parts.take(payload?)?;
        }
        Ok(parts)
    }

    fn take(&mut self, payload: Payload) -> Result<(), Error<std::convert::Infallible>> {
        let shift = &mut Shift;
        match payload {
            Payload::TypeSection(section) => {
                for group in section.clone() {
                    for ty in group?.types() {
                        let CompositeInnerType::Func(ty) = &ty.composite_type.inner else {
                            self.signatures.push(Default::default());
                            continue;
                        };
                        let params = shift.val_types(ty.params().to_vec())?;
                        let results = shift.val_types(ty.results().to_vec())?;
                        self.signatures.push((params, results));
                    }
                }
                shift.parse_type_section(&mut self.types, section)?;
            }
            Payload::ImportSection(section) => {
                let count = section.into_imports().count();
                assert_eq!(count, 0, "modules import nothing");
            }
            Payload::FunctionSection(section) => {
                self.type_of = section.clone().into_iter().collect::<Result<_, _>>()?;
                shift.parse_function_section(&mut self.functions, section)?;
            }
            Payload::TableSection(section) => {
                shift.parse_table_section(&mut self.tables, section)?
            }
            Payload::MemorySection(section) => {
                shift.parse_memory_section(&mut self.memories, section)?;
            }
            Payload::GlobalSection(section) => {
                for global in section.clone() {
                    self.global_types.push(shift.val_type(global?.ty.content_type)?);
                }
                shift.parse_global_section(&mut self.globals, section)?;
            }
            Payload::StartSection { func, .. } => {
                self.start = Some(StartSection { function_index: shift.function_index(func)? });
            }
            Payload::ElementSection(section) => {
                shift.parse_element_section(&mut self.elements, section)?;
            }
            Payload::DataCountSection { count, .. } => {
                self.data_count = Some(DataCountSection { count });
            }
            Payload::DataSection(section) => shift.parse_data_section(&mut self.data, section)?,
            Payload::CodeSectionEntry(body) => {
                shift.parse_function_body(&mut self.code, body)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn module(&self, imports: &ImportSection, exports: &ExportSection) -> Vec<u8> {
        let mut module = Module::new();
        module.section(&self.types).section(imports).section(&self.functions);
        module.section(&self.tables).section(&self.memories).section(&self.globals);
        module.section(exports);
        if let Some(start) = &self.start {
            module.section(start);
        }
        module.section(&self.elements);
        if let Some(count) = &self.data_count {
            module.section(count);
        }
        module.section(&self.code).section(&self.data);
        module.finish()
    }

    /// Adds a function; its index.
    fn function(
        &mut self,
        params: &[ValType],
        locals: &[ValType],
        body: impl FnOnce(&mut InstructionSink),
    ) -> u32 {
        let ty = self.types.len();
        self.types.ty().function(params.iter().copied(), []);
        let index = IMPORTED + self.functions.len();
        self.functions.function(ty);
        let mut function = Function::new_with_locals_types(locals.iter().copied());
        body(&mut function.instructions());
        function.instructions().end();
        self.code.function(&function);
        index
    }
}

/// The command. The first function it calls is the one of that number.
pub fn wrap(smith: &Smith, seed: u64, first: usize) -> Vec<u8> {
    let mut parts = Parts::of(&smith.wasm).expect("the generator makes valid modules");
    let mut imports = ImportSection::new();
    let of_wasi = parts.types.len();
    parts.types.ty().function([ValType::I32; 4], [ValType::I32]);
    for name in ["fd_write", "fd_read"] {
        imports.import("wasi_snapshot_preview1", name, EntityType::Function(of_wasi));
    }
    let own =
        Own { memory: parts.memories.len(), digest: parts.globals.len(), fuel: smith.fuel_global };
    parts.memories.memory(MemoryType {
        minimum: 1,
        maximum: Some(1),
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let number = GlobalType { val_type: ValType::I64, mutable: true, shared: false };
    parts.globals.global(number, &wasm_encoder::ConstExpr::i64_const(1));
    let mix = parts.function(&[ValType::I64], &[], |code| own.mix(code));
    let digest = digest(&mut parts, &own, mix);
    let print = parts.function(&[], &[], |code| own.print(code));
    let calls = calls(&parts, &own, (seed, first), [mix, digest, print]);
    let start = parts.function(&[], &[ValType::V128], |code| {
        own.answer_innocent(code);
        calls.iter().for_each(|call| call(code));
    });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, own.memory);
    exports.export("_start", ExportKind::Func, start);
    parts.module(&imports, &exports)
}

/// What the command has for itself.
struct Own {
    memory: u32,
    /// The global of the digest.
    digest: u32,
    /// The global that counts down.
    fuel: u32,
}

impl Own {
    fn at(&self, align: u32) -> MemArg {
        in_memory(self.memory, align)
    }

    /// Takes a number into the digest.
    fn mix(&self, code: &mut InstructionSink) {
        code.global_get(self.digest).local_get(0);
        stir(code);
        code.global_set(self.digest);
    }

    fn print(&self, code: &mut InstructionSink) {
        code.i32_const(DIGEST).global_get(self.digest).i64_store(self.at(3));
        self.write(
            code,
            |code| {
                code.i32_const(DIGEST);
            },
            |code| {
                code.i32_const(8);
            },
        );
    }

    fn vector(
        &self,
        code: &mut InstructionSink,
        from: impl FnOnce(&mut InstructionSink),
        length: impl FnOnce(&mut InstructionSink),
    ) {
        code.i32_const(VECTOR);
        from(code);
        code.i32_store(self.at(2)).i32_const(VECTOR + 4);
        length(code);
        code.i32_store(self.at(2));
    }

    fn write(
        &self,
        code: &mut InstructionSink,
        from: impl FnOnce(&mut InstructionSink),
        length: impl FnOnce(&mut InstructionSink),
    ) {
        self.vector(code, from, length);
        code.i32_const(1).i32_const(VECTOR).i32_const(1).i32_const(COUNT).call(FD_WRITE).drop();
    }

    /// If the line begins with `i`, prints it and returns.
    fn answer_innocent(&self, code: &mut InstructionSink) {
        let length = |code: &mut InstructionSink| {
            code.i32_const(LINE_MAX);
        };
        self.vector(
            code,
            |code| {
                code.i32_const(LINE);
            },
            length,
        );
        code.i32_const(0).i32_const(VECTOR).i32_const(1).i32_const(COUNT).call(FD_READ).drop();
        code.i32_const(LINE).i32_load8_u(self.at(0)).i32_const(i32::from(b'i')).i32_eq();
        code.if_(BlockType::Empty);
        let read = |code: &mut InstructionSink| {
            code.i32_const(COUNT).i32_load(self.at(2));
        };
        self.write(
            code,
            |code| {
                code.i32_const(LINE);
            },
            read,
        );
        code.return_().end();
    }
}

/// Where an instruction finds what it is told.
fn in_memory(memory: u32, align: u32) -> MemArg {
    MemArg { offset: 0, align, target: MemArgTarget::Memory(memory), ordering: None }
}

/// Of the digest and a number, on the stack, makes the next digest.
fn stir(code: &mut InstructionSink) {
    code.i64_xor().i64_const(0x0000_0100_0000_01b3).i64_mul().i64_const(29).i64_rotl();
}

/// Takes what is on the stack into the digest. `vector` is a local to keep a vector in.
fn mix_value(code: &mut InstructionSink, ty: ValType, mix: u32, vector: u32) {
    match ty {
        ValType::I32 => code.i64_extend_i32_u().call(mix),
        ValType::I64 => code.call(mix),
        ValType::F32 => code.i32_reinterpret_f32().i64_extend_i32_u().call(mix),
        ValType::F64 => code.i64_reinterpret_f64().call(mix),
        ValType::V128 => {
            code.local_set(vector);
            code.local_get(vector).i64x2_extract_lane(0).call(mix);
            code.local_get(vector).i64x2_extract_lane(1).call(mix)
        }
        ValType::Ref(_) => code.ref_is_null().i64_extend_i32_u().call(mix),
    };
}

/// The function that takes all memories, tables and globals into the digest.
fn digest(parts: &mut Parts, own: &Own, mix: u32) -> u32 {
    let (memories, tables) = (own.memory, parts.tables.len());
    let globals = parts.global_types.clone();
    let (place, end, sum, vector) = (0, 1, 2, 3);
    let locals = [ValType::I32, ValType::I32, ValType::I64, ValType::V128];
    parts.function(&[], &locals, |code| {
        for memory in 0..memories {
            code.memory_size(memory).i64_extend_i32_u().call(mix);
            code.global_get(own.digest).local_set(sum).i32_const(0).local_set(place);
            code.memory_size(memory).i32_const(16).i32_shl().local_set(end);
            count_up(code, place, end, 8, |code| {
                code.local_get(sum).local_get(place).i64_load(in_memory(memory, 3));
                stir(code);
                code.local_set(sum);
            });
            code.local_get(sum).global_set(own.digest);
        }
        for table in 0..tables {
            code.table_size(table).i64_extend_i32_u().call(mix);
            code.i32_const(0).local_set(place).table_size(table).i32_const(ELEMENTS_MAX);
            code.table_size(table).i32_const(ELEMENTS_MAX).i32_lt_u().select().local_set(end);
            count_up(code, place, end, 1, |code| {
                code.local_get(place).table_get(table).ref_is_null().i64_extend_i32_u().call(mix);
            });
        }
        for (global, ty) in (0..).zip(globals) {
            code.global_get(global);
            mix_value(code, ty, mix, vector);
        }
    })
}

/// A loop.
fn count_up(
    code: &mut InstructionSink,
    place: u32,
    end: u32,
    step: i32,
    body: impl FnOnce(&mut InstructionSink),
) {
    code.block(BlockType::Empty).loop_(BlockType::Empty);
    code.local_get(place).local_get(end).i32_ge_u().br_if(1);
    body(code);
    code.local_get(place).i32_const(step).i32_add().local_set(place).br(0).end().end();
}

type Piece = Box<dyn Fn(&mut InstructionSink)>;

/// Calls each function of the module.
fn calls(parts: &Parts, own: &Own, of: (u64, usize), helpers: [u32; 3]) -> Vec<Piece> {
    let (seed, first) = of;
    let [mix, digest, print] = helpers;
    let fuel = own.fuel;
    let count = parts.type_of.len();
    let mut pieces: Vec<Piece> = Vec::new();
    for turn in 0..count {
        let index = (first + turn) % count;
        let (params, results) = parts.signatures[parts.type_of[index] as usize].clone();
        let nullable = |ty: &ValType| !matches!(ty, ValType::Ref(RefType { nullable: false, .. }));
        if !params.iter().all(nullable) {
            continue;
        }
        let callee = IMPORTED + u32::try_from(index).expect("few");
        pieces.push(Box::new(move |code| {
            let mut dice = Dice::new(seed ^ (turn as u64) << 32);
            code.i32_const(FUEL.cast_signed()).global_set(fuel);
            params.iter().for_each(|ty| argument(code, *ty, &mut dice));
            code.call(callee);
            results.iter().rev().for_each(|ty| mix_value(code, *ty, mix, 0));
            code.call(digest).call(print);
        }));
    }
    pieces
}

/// Some number that might matter.
fn integer(dice: &mut Dice) -> u64 {
    match dice.below(4) {
        0 => dice.below(16),
        1 => dice.below(1 << 17),
        2 => dice.pick(&[0, 1, u64::MAX, 1 << 31, (1 << 31) - 1, 1 << 63, u64::MAX >> 1, 0xffff]),
        _ => dice.roll(),
    }
}

fn argument(code: &mut InstructionSink, ty: ValType, dice: &mut Dice) {
    let number = integer(dice);
    match ty {
        ValType::I32 => code.i32_const(number as i32),
        ValType::I64 => code.i64_const(number as i64),
        ValType::F32 => code.f32_const(Ieee32::new(number as u32)),
        ValType::F64 => code.f64_const(Ieee64::new(number)),
        ValType::V128 => code.v128_const(i128::from(number) * 0x1_0001_0001_0001),
        ValType::Ref(ty) => code.ref_null(ty.heap_type),
    };
}
