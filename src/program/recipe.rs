//! What makes an instance of a module new again, if anything can.
//!
//! An instance consists of its memory, globals and tables, and of its segments, which can
//! be dropped. Memory and globals can be put back. Tables and segments can't be, so a module
//! with an instruction that changes those is left alone. A start section is run for each guest
//! (`rewrite.rs`), so it can't collide.

use std::ops::Range;

use wasmparser::{
    BinaryReaderError, DataKind, ElementKind, MemorySectionReader, Operator, Parser, Payload,
    ValType,
};

use super::rewrite::global;
use super::survey::Survey;

/// Whether the system can say which pages of a memory were touched.
pub(crate) const SUPPORTED: bool = cfg!(all(target_os = "linux", feature = "recycle"));

/// No toolchain makes a program with more mutable globals than this, and it would make putting
/// them back the greater part of the work.
const GLOBALS_MAX: usize = 1024;

/// What is put back into an instance after a run.
#[derive(Debug)]
pub(crate) struct Recipe {
    /// All mutable globals, by their indices.
    globals: Vec<u32>,
    /// Begins the names under which they are exported.
    prefix: String,
    /// What a new memory holds.
    pub(crate) image: Image,
}

impl Recipe {
    pub(crate) fn globals(&self) -> &[u32] {
        &self.globals
    }

    /// The name of a global's export.
    pub(crate) fn global(&self, index: u32) -> String {
        global(&self.prefix, index)
    }
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

/// Finds how to recycle instances of a valid module. `None` if they can't be.
pub(super) fn recipe(survey: &Survey<'_>) -> Option<Recipe> {
    if !SUPPORTED || survey.changes_tables {
        return None;
    }
    let contents = Contents::of(survey.wasm).ok().flatten()?;
    let image = Image::of(&contents.data);
    Some(Recipe { globals: contents.globals, prefix: survey.prefix.clone(), image })
}

/// What an instance is made of.
#[derive(Default)]
struct Contents<'a> {
    /// Indices of the mutable globals.
    globals: Vec<u32>,
    globals_seen: u32,
    /// Bytes of the one memory.
    memory: Option<usize>,
    /// The data segments.
    data: Vec<(usize, &'a [u8])>,
}

impl<'a> Contents<'a> {
    /// `Ok(None)` for a module that can't be recycled.
    fn of(wasm: &'a [u8]) -> Result<Option<Contents<'a>>, BinaryReaderError> {
        let mut contents = Contents::default();
        for payload in Parser::new(0).parse_all(wasm) {
            if !contents.take(payload?)? {
                return Ok(None);
            }
        }
        let whole = contents.memory.is_some() && contents.globals.len() <= GLOBALS_MAX;
        Ok(whole.then_some(contents))
    }

    /// Whether this part of the module allows recycling.
    fn take(&mut self, payload: Payload<'a>) -> Result<bool, BinaryReaderError> {
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
                    if !self.add_segment(&segment.kind, segment.data)? {
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

    /// Adds a data segment to the image; `false` if it is passive, where it goes is not a
    /// plain constant, or it does not fit (instantiation will fail).
    fn add_segment(
        &mut self,
        kind: &DataKind<'a>,
        data: &'a [u8],
    ) -> Result<bool, BinaryReaderError> {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe_of(wat: &str) -> Option<Recipe> {
        let wasm = wat::parse_str(wat).unwrap();
        let survey = crate::program::survey(&wasm).unwrap();
        recipe(&survey)
    }

    fn is_recyclable(body: &str) -> bool {
        recipe_of(&format!("(module (memory 1) (func (export \"_start\")) {body})")).is_some()
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
    fn every_mutable_global_is_put_back() {
        let recipe = recipe_of(
            "(module (memory (export \"memory\") 1) (global i32 (i32.const 1))
               (global (mut i32) (i32.const 2)) (global (export \"g\") (mut f64) (f64.const 3))
               (func (export \"_start\") (global.set 1 (i32.const 5))))",
        )
        .unwrap();
        assert_eq!(recipe.globals(), [1, 2]);
    }

    #[test]
    fn what_can_not_be_put_back_is_left_alone() {
        assert!(is_recyclable(""));
        assert!(is_recyclable("(data (i32.const 65535) \"x\")"));
        assert!(is_recyclable("(func $f) (start $f)"), "it is run once for each guest");
        assert!(is_recyclable("(table 1 funcref) (elem (i32.const 0) 0) (elem declare func 0)"));
        for body in [
            "(memory 1)",
            "(data \"passive\")",
            "(data (i32.const 65535) \"xx\")",
            "(data (i32.add (i32.const 1) (i32.const 1)) \"x\")",
            "(data (i32.const 0) \"x\") (func (data.drop 0))",
            "(data (i32.const 0) \"x\") (func (memory.init 0 (i32.const 0) (i32.const 0) (i32.const 0)))",
            "(global (mut funcref) (ref.null func))",
            "(table 1 funcref) (func (table.set (i32.const 0) (ref.null func)))",
            "(table 1 funcref) (func (drop (table.grow (ref.null func) (i32.const 1))))",
            "(table 1 funcref) (func (table.fill (i32.const 0) (ref.null func) (i32.const 1)))",
            "(table 1 funcref) (func (table.copy (i32.const 0) (i32.const 0) (i32.const 1)))",
            "(table 1 funcref) (elem func 0)",
            "(table 1 funcref) (elem (i32.const 0) 0) (func (elem.drop 0))",
            "(table 1 funcref) (elem (i32.const 0) 0) \
             (func (table.init 0 (i32.const 0) (i32.const 0) (i32.const 0)))",
        ] {
            assert!(!is_recyclable(body), "{body}");
        }
        assert!(recipe_of("(module (func (export \"_start\")))").is_none(), "no memory");
        assert!(
            recipe_of("(module (import \"m\" \"m\" (memory 1)) (func (export \"_start\")))")
                .is_none()
        );
        assert!(
            recipe_of(
                "(module (import \"m\" \"g\" (global i32)) (memory 1) (func (export \"_start\")))"
            )
            .is_none()
        );
    }
}
