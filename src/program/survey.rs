//! One look at a module before the interpreter sees it: whether it is valid, and where it has
//! what must not reach the interpreter as it is.

use std::ops::Range;

use wasmparser::{
    BinaryReader, BinaryReaderError, CompositeInnerType, FuncToValidate, FuncValidatorAllocations,
    FunctionBody, Parser, Payload, RefType, TableSectionReader, TypeRef, TypeSectionReader,
    ValidPayload, Validator, ValidatorResources, WasmFeatures,
};

use super::ProgramError;

/// What a module may use. It is what wasmi is configured with, less 64-bit memories.
pub(super) fn features() -> WasmFeatures {
    let mut features = WasmFeatures::MUTABLE_GLOBAL
        | WasmFeatures::MULTI_VALUE
        | WasmFeatures::MULTI_MEMORY
        | WasmFeatures::SATURATING_FLOAT_TO_INT
        | WasmFeatures::SIGN_EXTENSION
        | WasmFeatures::BULK_MEMORY
        | WasmFeatures::REFERENCE_TYPES
        | WasmFeatures::GC_TYPES
        | WasmFeatures::TAIL_CALL
        | WasmFeatures::EXTENDED_CONST
        | WasmFeatures::FLOATS;
    features.set(WasmFeatures::SIMD | WasmFeatures::RELAXED_SIMD, cfg!(feature = "simd"));
    features
}

/// Whether a module is valid with these features.
pub(super) fn validates(wasm: &[u8], features: WasmFeatures) -> bool {
    Validator::new_with_features(features).validate_all(wasm).is_ok()
}

/// Parameters and other local variables of a function that wasmi translates at the most.
const LOCALS_MAX: u32 = 30_000;

/// Bytes of a body in which as many operands can't be live at once as are too many for wasmi
/// to translate. (It numbers 65,535 slots; a vector takes two of them, and each operand takes
/// a byte of code to make.)
const SHORT_BODY: usize = 8 << 10;

/// A growing instruction, with the index of what it grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Grow {
    /// `memory.grow`.
    Memory(u32),
    /// `table.grow`.
    Table(u32),
}

/// What becomes of a place in the code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    /// It is a growing instruction, which becomes a call.
    Call(Grow),
    /// A `select` follows, and its condition is 0 or 1.
    SelectByBit,
    /// A `select` follows, and its condition may be any number.
    SelectByNumber,
    /// A block, loop or `if` with parameters follows.
    BlockWithParams,
}

/// A place that is changed.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) change: Change,
    /// What is replaced.
    pub(super) place: Range<usize>,
    /// The body it is in, without its length.
    pub(super) body: Range<usize>,
    /// Where that length begins.
    pub(super) entry: usize,
}

/// What is known of a valid module.
#[derive(Default)]
pub(crate) struct Survey<'a> {
    pub(crate) wasm: &'a [u8],
    /// Sections and where their contents are, custom ones left out.
    pub(super) sections: Vec<(u8, Range<usize>)>,
    /// Whether each of its types has parameters.
    has_params: Vec<bool>,
    /// What its tables hold.
    pub(super) tables: Vec<RefType>,
    pub(super) start: Option<u32>,
    /// In the order of their places.
    pub(super) sites: Vec<Site>,
    /// It has an instruction that changes tables or segments.
    pub(crate) changes_tables: bool,
    /// One of its functions may have more than wasmi can translate.
    heavy: bool,
    /// Begins the names of the exports that are added to it, and no other.
    pub(crate) prefix: String,
    /// Where the body before this one ended.
    body_end: usize,
    /// The first byte of the instruction before this one.
    before: u8,
}

/// Why a module is turned down.
pub(super) enum Fault {
    Invalid(BinaryReaderError),
    Refused(ProgramError),
}

impl From<BinaryReaderError> for Fault {
    fn from(error: BinaryReaderError) -> Fault {
        Fault::Invalid(error)
    }
}

impl<'a> Survey<'a> {
    /// Whether it takes an attempt to know that all of it can be translated.
    pub(super) fn is_heavy(&self) -> bool {
        self.heavy
    }

    /// How many types it has.
    pub(super) fn types(&self) -> usize {
        self.has_params.len()
    }

    /// Validates a module and looks at all of it.
    pub(super) fn of(wasm: &'a [u8]) -> Result<Survey<'a>, Fault> {
        let prefix = "\0tinyhost.".to_owned();
        let mut survey = Survey { wasm, prefix, ..Survey::default() };
        let mut validator = Validator::new_with_features(features());
        let mut allocations = FuncValidatorAllocations::default();
        let mut parser = Parser::new(0);
        parser.set_features(features());
        for payload in parser.parse_all(wasm) {
            let payload = payload?;
            if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
                allocations = survey.take_function(function, &body, allocations)?;
            }
            if let Some(section) = payload.as_section().filter(|(id, _)| *id != 0) {
                survey.sections.push(section);
            }
            survey.take(payload)?;
        }
        Ok(survey)
    }

    fn take(&mut self, payload: Payload<'a>) -> Result<(), Fault> {
        match payload {
            Payload::TypeSection(types) => self.take_types(types)?,
            Payload::ImportSection(imports) => {
                for import in imports {
                    if let TypeRef::Table(table) = import?.ty {
                        self.tables.push(table.element_type);
                    }
                }
            }
            Payload::TableSection(tables) => self.take_tables(tables)?,
            Payload::ExportSection(exports) => {
                for export in exports {
                    // No toolchain makes a name with a NUL, but a hostile module can have one.
                    let name = export?.name;
                    while name.starts_with(&self.prefix) {
                        self.prefix.push('.');
                    }
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::CodeSectionStart { range, .. } => {
                // Where the module is cut off, the section says that it is longer than it is.
                let rest = self.wasm.get(range.start..).unwrap_or_default();
                let mut reader = BinaryReader::new(rest, range.start);
                reader.read_var_u32()?;
                self.body_end = reader.original_position();
            }
            _ => {}
        }
        Ok(())
    }

    fn take_types(&mut self, types: TypeSectionReader<'a>) -> Result<(), Fault> {
        for group in types {
            let group = group?;
            for ty in group.types() {
                let function = match &ty.composite_type.inner {
                    CompositeInnerType::Func(function) => Some(function),
                    _ => None,
                };
                self.has_params.push(function.is_some_and(|ty| !ty.params().is_empty()));
            }
        }
        Ok(())
    }

    fn take_tables(&mut self, tables: TableSectionReader<'a>) -> Result<(), Fault> {
        for table in tables {
            self.tables.push(table?.ty.element_type);
        }
        Ok(())
    }

    /// Validates a function, instruction by instruction.
    fn take_function(
        &mut self,
        function: FuncToValidate<ValidatorResources>,
        body: &FunctionBody<'a>,
        allocations: FuncValidatorAllocations,
    ) -> Result<FuncValidatorAllocations, Fault> {
        let entry = std::mem::replace(&mut self.body_end, body.range().end);
        let mut validator = function.into_validator(allocations);
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        reader.set_features(features());
        let locals = validator.len_locals();
        if locals > LOCALS_MAX {
            let function = validator.index();
            return Err(Fault::Refused(ProgramError::TooManyLocals { function, locals }));
        }
        let long = body.range().len() > SHORT_BODY || locals > LOCALS_MAX / 2;
        self.heavy |= long && locals > LOCALS_MAX / 2;
        while !reader.eof() {
            let from = reader.original_position();
            reader.visit_operator(&mut validator.visitor(from))??;
            if long && validator.operand_stack_height() + locals > LOCALS_MAX / 2 {
                self.heavy = true;
            }
            self.take_instruction(from..reader.original_position(), entry, body)?;
        }
        validator.finish(reader.original_position())?;
        Ok(validator.into_allocations())
    }

    /// Notes a (valid) instruction that matters, by its opcode.
    #[inline]
    fn take_instruction(
        &mut self,
        place: Range<usize>,
        entry: usize,
        body: &FunctionBody<'a>,
    ) -> Result<(), Fault> {
        const TABLE_SET: u8 = 0x26;
        const MEMORY_GROW: u8 = 0x40;
        const PREFIXED: u8 = 0xfc;
        const SELECT: u8 = 0x1b;
        const SELECT_TYPED: u8 = 0x1c;
        const BLOCK: u8 = 0x02;
        const LOOP: u8 = 0x03;
        const IF: u8 = 0x04;
        let opcode = self.wasm[place.start];
        let before = std::mem::replace(&mut self.before, opcode);
        let (change, place) = match opcode {
            TABLE_SET => {
                self.changes_tables = true;
                return Ok(());
            }
            MEMORY_GROW | PREFIXED => {
                let mut reader = BinaryReader::new(&self.wasm[place.clone()], place.start);
                let Some(grow) = self.take_rare(&mut reader)? else { return Ok(()) };
                (Change::Call(grow), place)
            }
            SELECT | SELECT_TYPED => {
                let Some(change) = of_condition(before) else { return Ok(()) };
                (change, place.start..place.start)
            }
            BLOCK | LOOP | IF if self.takes_params(&place)? => {
                (Change::BlockWithParams, place.start..place.start)
            }
            _ => return Ok(()),
        };
        self.sites.push(Site { change, place, body: body.range(), entry });
        Ok(())
    }

    /// Whether this block has parameters: then its type is an index.
    #[inline]
    fn takes_params(&self, place: &Range<usize>) -> Result<bool, Fault> {
        let mut reader = BinaryReader::new(&self.wasm[place.start + 1..place.end], place.start + 1);
        let index = usize::try_from(reader.read_var_s33()?).ok();
        Ok(index.is_some_and(|index| self.has_params.get(index) == Some(&true)))
    }

    fn take_rare(&mut self, reader: &mut BinaryReader<'a>) -> Result<Option<Grow>, Fault> {
        const MEMORY_GROW: u8 = 0x40;
        const TABLE_GROW: u32 = 15;
        // Of the second byte: memory.init, data.drop, and the table's init, drop of a segment,
        // copy, grow and fill.
        const CHANGES: [u32; 7] = [8, 9, 12, 13, 14, TABLE_GROW, 17];
        if reader.read_u8()? == MEMORY_GROW {
            return Ok(Some(Grow::Memory(reader.read_var_u32()?)));
        }
        let operation = reader.read_var_u32()?;
        self.changes_tables |= CHANGES.contains(&operation);
        match operation {
            TABLE_GROW => Ok(Some(Grow::Table(reader.read_var_u32()?))),
            _ => Ok(None),
        }
    }
}

/// What keeps a `select` apart from a condition that this instruction has made. wasmi takes a
/// comparison with zero and a `select` together, wrongly, if the one is the last it has
/// translated when it comes to the other. For these it is not.
fn of_condition(opcode: u8) -> Option<Change> {
    match opcode {
        // Calls.
        0x10 | 0x11
        // local.get, local.tee, global.get, loads, i32.const
        | 0x20 | 0x22 | 0x23 | 0x28..=0x35 | 0x41
        // Comparisons by size, and those of floats.
        | 0x48..=0x4f | 0x53..=0x66
        // i32.and, i32.or, i32.xor
        | 0x71..=0x73
        // Of vectors.
        | 0xfd => None,
        // Comparisons of integers with eqz, eq and ne.
        0x45..=0x47 | 0x50..=0x52 => Some(Change::SelectByBit),
        // These may translate to nothing, after one of those.
        _ => Some(Change::SelectByNumber),
    }
}
