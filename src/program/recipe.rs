//! What makes an instance of a module new again, if anything can.
//!
//! An instance consists of its memory, globals and tables, and of its segments, which can
//! be dropped. Memory and globals can be put back. Tables and segments can't be, so a module
//! with an instruction that changes those is left alone, and so is one that does anything
//! while it is being instantiated.

use std::ops::Range;

use wasmparser::{
    BinaryReader, BinaryReaderError, DataKind, ElementKind, ExportSectionReader, ExternalKind,
    MemorySectionReader, Operator, Parser, Payload, ValType,
};

/// Whether the system can say which pages of a memory were touched.
pub(crate) const SUPPORTED: bool = cfg!(all(target_os = "linux", feature = "recycle"));

/// Begins the names under which a module's own globals are exported for us. No toolchain
/// makes a name with a NUL.
const PREFIX: &str = "\0tinyhost.global.";

/// More mutable globals than this is no program of any toolchain, and would make putting
/// them back the greater part of the work.
const GLOBALS_MAX: usize = 1024;

/// What is put back into an instance after a run.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// Names of the exports of all mutable globals.
    pub(crate) globals: Vec<String>,
    /// What a new memory holds.
    pub(crate) image: Image,
}

/// What of a new memory is not zero: the data segments, in order, without overlap.
#[derive(Debug, Default)]
pub(crate) struct Image {
    pieces: Vec<(usize, Vec<u8>)>,
}

impl Image {
    /// What instantiation makes of segments: later ones lie over earlier ones.
    fn of(segments: &[(usize, &[u8])]) -> Image {
        let mut ranges: Vec<Range<usize>> =
            segments.iter().map(|(at, data)| *at..at + data.len()).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        let mut pieces: Vec<(usize, Vec<u8>)> = Vec::new();
        for range in ranges.into_iter().filter(|range| !range.is_empty()) {
            match pieces.last_mut() {
                Some((at, bytes)) if range.start <= *at + bytes.len() => {
                    bytes.resize(bytes.len().max(range.end - *at), 0);
                }
                _ => pieces.push((range.start, vec![0; range.len()])),
            }
        }
        for (at, data) in segments.iter().filter(|(_, data)| !data.is_empty()) {
            let piece = pieces.partition_point(|piece| piece.0 <= *at) - 1;
            let (start, bytes) = &mut pieces[piece];
            bytes[at - *start..][..data.len()].copy_from_slice(data);
        }
        Image { pieces }
    }

    /// Writes all of it into a memory that is zero everywhere else.
    pub(crate) fn write(&self, memory: &mut [u8]) {
        for (at, bytes) in &self.pieces {
            memory[*at..][..bytes.len()].copy_from_slice(bytes);
        }
    }

    /// Zeroes what of `range` lies outside of the pieces.
    pub(crate) fn zero_around(&self, memory: &mut [u8], range: Range<usize>) {
        let mut from = range.start;
        let first = self.pieces.partition_point(|piece| piece.0 + piece.1.len() <= from);
        for (at, bytes) in &self.pieces[first..] {
            if *at >= range.end {
                break;
            }
            if from < *at {
                memory[from..*at].fill(0);
            }
            from = at + bytes.len();
        }
        if from < range.end {
            memory[from..range.end].fill(0);
        }
    }
}

/// Finds how to recycle instances of `wasm`, and the module changed for it: with an export
/// for each mutable global. `None` if they can't be recycled, or it is no valid module.
pub(crate) fn recipe(wasm: &[u8]) -> Option<(Vec<u8>, Recipe)> {
    if !SUPPORTED {
        return None;
    }
    let survey = Survey::of(wasm).ok().flatten()?;
    Some((survey.changed(wasm), Recipe { globals: survey.names(), image: Image::of(&survey.data) }))
}

#[derive(Default)]
struct Survey<'a> {
    /// Sections and where their contents are, custom ones left out.
    sections: Vec<(u8, Range<usize>)>,
    /// Indices of the mutable globals.
    globals: Vec<u32>,
    globals_seen: u32,
    /// How many exports there are, and where the first one begins.
    exports: Option<(u32, usize)>,
    /// Bytes of the one memory.
    memory: Option<usize>,
    /// The data segments.
    data: Vec<(usize, &'a [u8])>,
}

impl<'a> Survey<'a> {
    /// `Ok(None)` for a module that can't be recycled.
    fn of(wasm: &'a [u8]) -> Result<Option<Survey<'a>>, BinaryReaderError> {
        let mut survey = Survey::default();
        for payload in Parser::new(0).parse_all(wasm) {
            let payload = payload?;
            match payload.as_section() {
                Some((0, _)) | None => {}
                Some(section) => survey.sections.push(section),
            }
            if !survey.take(payload, wasm)? {
                return Ok(None);
            }
        }
        let whole = survey.memory.is_some() && survey.exports.is_some();
        Ok((whole && survey.globals.len() <= GLOBALS_MAX).then_some(survey))
    }

    /// Whether this part of the module allows recycling.
    fn take(&mut self, payload: Payload<'a>, wasm: &'a [u8]) -> Result<bool, BinaryReaderError> {
        match payload {
            // What is imported is shared with others. (WASI has functions only.)
            Payload::ImportSection(imports) => {
                for import in imports {
                    if !matches!(import?.ty, wasmparser::TypeRef::Func(_)) {
                        return Ok(false);
                    }
                }
            }
            Payload::MemorySection(memories) => return self.take_memories(memories),
            Payload::GlobalSection(globals) => {
                for global in globals {
                    let ty = global?.ty;
                    let number = !matches!(ty.content_type, ValType::Ref(_));
                    if ty.mutable && !number {
                        return Ok(false);
                    }
                    if ty.mutable {
                        self.globals.push(self.globals_seen);
                    }
                    self.globals_seen += 1;
                }
            }
            Payload::ExportSection(exports) => return self.take_exports(exports, wasm),
            // It would have done something before the first run that we couldn't put back.
            Payload::StartSection { .. } => return Ok(false),
            Payload::ElementSection(segments) => {
                for segment in segments {
                    if matches!(segment?.kind, ElementKind::Passive) {
                        return Ok(false);
                    }
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments {
                    let segment = segment?;
                    if !self.lay(&segment.kind, segment.data)? {
                        return Ok(false);
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                let mut code = body.get_operators_reader()?;
                while !code.eof() {
                    if changes_for_good(&code.read()?) {
                        return Ok(false);
                    }
                }
            }
            _ => {}
        }
        Ok(true)
    }

    /// One plain memory is what can be put back.
    fn take_memories(
        &mut self,
        memories: MemorySectionReader<'a>,
    ) -> Result<bool, BinaryReaderError> {
        for memory in memories {
            let memory = memory?;
            let plain = !memory.memory64 && !memory.shared;
            let page = 1 << memory.page_size_log2.unwrap_or(16);
            let bytes = memory.initial.checked_mul(page);
            let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
            if !plain || self.memory.is_some() || bytes.is_none() {
                return Ok(false);
            }
            self.memory = bytes;
        }
        Ok(true)
    }

    /// Finds where exports can be added; none there may have a name of ours.
    fn take_exports(
        &mut self,
        exports: ExportSectionReader<'a>,
        wasm: &'a [u8],
    ) -> Result<bool, BinaryReaderError> {
        let section = exports.range();
        let mut reader = BinaryReader::new(&wasm[section.clone()], section.start);
        let count = reader.read_var_u32()?;
        self.exports = Some((count, reader.original_position()));
        for export in exports {
            let export = export?;
            if export.kind == ExternalKind::Global && export.name.starts_with(PREFIX) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Adds a data segment to the image; `false` if it is passive, where it goes is not a
    /// plain constant, or it does not fit (instantiation will fail).
    fn lay(&mut self, kind: &DataKind<'a>, data: &'a [u8]) -> Result<bool, BinaryReaderError> {
        let DataKind::Active { memory_index: 0, offset_expr } = kind else {
            return Ok(false);
        };
        let mut expression = offset_expr.get_operators_reader();
        let Operator::I32Const { value } = expression.read()? else { return Ok(false) };
        if !matches!(expression.read()?, Operator::End) {
            return Ok(false);
        }
        let at = usize::try_from(value.cast_unsigned()).unwrap_or(usize::MAX);
        let fits = at.checked_add(data.len()).is_some_and(|end| Some(end) <= self.memory);
        if fits {
            self.data.push((at, data));
        }
        Ok(fits)
    }

    fn names(&self) -> Vec<String> {
        self.globals.iter().map(|index| format!("{PREFIX}{index}")).collect()
    }

    /// The module with the exports added.
    fn changed(&self, wasm: &[u8]) -> Vec<u8> {
        const HEADER: usize = 8;
        const EXPORTS: u8 = 7;
        const GLOBAL: u8 = 3;
        let mut out = wasm[..HEADER].to_vec();
        for (id, range) in &self.sections {
            let mut content = &wasm[range.clone()];
            let mut longer = Vec::new();
            if let (EXPORTS, Some((count, first))) = (*id, self.exports) {
                let added = u32::try_from(self.globals.len()).unwrap_or(0);
                leb128(&mut longer, count + added);
                longer.extend_from_slice(&wasm[first..range.end]);
                for (index, name) in self.globals.iter().zip(self.names()) {
                    leb128(&mut longer, u32::try_from(name.len()).unwrap_or(0));
                    longer.extend_from_slice(name.as_bytes());
                    longer.push(GLOBAL);
                    leb128(&mut longer, *index);
                }
                content = &longer;
            }
            out.push(*id);
            leb128(&mut out, u32::try_from(content.len()).unwrap_or(u32::MAX));
            out.extend_from_slice(content);
        }
        out
    }
}

/// Whether an instruction can change what is not put back.
fn changes_for_good(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::TableSet { .. }
            | Operator::TableGrow { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::ElemDrop { .. }
            | Operator::DataDrop { .. }
            | Operator::MemoryInit { .. }
    )
}

/// A number as WebAssembly writes them.
fn leb128(out: &mut Vec<u8>, mut number: u32) {
    loop {
        let byte = (number & 0x7f).to_le_bytes()[0];
        number >>= 7;
        if number == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(wat: &str) -> Option<(Vec<u8>, Recipe)> {
        recipe(&wat::parse_str(wat).unwrap())
    }

    fn can(body: &str) -> bool {
        find(&format!("(module (memory 1) (func (export \"_start\")) {body})")).is_some()
    }

    #[test]
    fn later_segments_lie_over_earlier_ones() {
        let image =
            Image::of(&[(8, b"aaaa"), (0, b"bb"), (10, b"cccc"), (20, b"d"), (16, b""), (2, b"e")]);
        let mut memory = [9; 24];
        image.zero_around(&mut memory, 0..24);
        image.write(&mut memory);
        assert_eq!(&memory, b"bbe\0\0\0\0\0aacccc\0\0\0\0\0\0d\0\0\0");
        let mut memory = [9; 24];
        image.zero_around(&mut memory, 1..9);
        assert_eq!(memory[..10], [9, 9, 9, 0, 0, 0, 0, 0, 9, 9]);
        image.zero_around(&mut memory, 12..22);
        assert_eq!(memory[10..], [9, 9, 9, 9, 0, 0, 0, 0, 0, 0, 9, 0, 9, 9]);
    }

    #[test]
    fn every_mutable_global_gets_a_name() {
        let (wasm, recipe) = find(
            "(module (memory (export \"memory\") 1) (global i32 (i32.const 1))
               (global (mut i32) (i32.const 2)) (global (export \"g\") (mut f64) (f64.const 3))
               (func (export \"_start\") (global.set 1 (i32.const 5))))",
        )
        .unwrap();
        assert_eq!(recipe.globals, ["\0tinyhost.global.1", "\0tinyhost.global.2"]);
        let module = wasmi::Module::new(&wasmi::Engine::default(), &wasm).unwrap();
        for name in &recipe.globals {
            assert!(module.get_export(name).is_some_and(|ty| ty.global().is_some()));
        }
        assert_eq!(module.exports().count(), 5);
    }

    #[test]
    fn what_can_not_be_put_back_is_left_alone() {
        assert!(can(""));
        assert!(can("(data (i32.const 65535) \"x\")"));
        assert!(can("(table 1 funcref) (elem (i32.const 0) 0) (elem declare func 0)"));
        for body in [
            "(memory 1)",
            "(data \"passive\")",
            "(data (i32.const 65535) \"xx\")",
            "(global $i i32 (i32.const 1)) (data (global.get $i) \"x\")",
            "(data (i32.add (i32.const 1) (i32.const 1)) \"x\")",
            "(data (i32.const 0) \"x\") (func (data.drop 0))",
            "(data (i32.const 0) \"x\") (func (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 0)))",
            "(func $f) (start $f)",
            "(global (mut funcref) (ref.null func))",
            "(table 1 funcref) (func (table.set (i32.const 0) (ref.null func)))",
            "(table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 1))))",
            "(table 1 funcref) (func (table.fill (i32.const 0) (ref.null func) (i32.const 1)))",
            "(table 1 funcref) (func (table.copy (i32.const 0) (i32.const 0) (i32.const 1)))",
            "(table 1 funcref) (elem func 0)",
            "(table 1 funcref) (elem (i32.const 0) 0) (func (elem.drop 0))",
            "(table 1 funcref) (elem (i32.const 0) 0) \
             (func (table.init 0 (i32.const 0) (i32.const 0) (i32.const 0)))",
            "(global (export \"\\00tinyhost.global.7\") i32 (i32.const 0))",
        ] {
            assert!(!can(body), "{body}");
        }
        assert!(find("(module (func (export \"_start\")))").is_none(), "no memory");
        assert!(
            find("(module (import \"m\" \"m\" (memory 1)) (func (export \"_start\")))").is_none()
        );
        assert!(
            find(
                "(module (import \"m\" \"g\" (global i32)) (memory 1) (func (export \"_start\")))"
            )
            .is_none()
        );
        assert!(recipe(b"\0asm\x01\0\0\0rubbish").is_none());
    }
}
