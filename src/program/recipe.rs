//! What makes an instance of a module new again, if anything can.
//!
//! An instance consists of its memory, globals and tables, and of its segments, which can
//! be dropped. Memory and globals can be put back. Tables and segments can't be, so a module
//! with an instruction that changes those is left alone. A start section is run for each guest
//! (`rewrite.rs`), so it can't collide.

use wasmparser::{
    BinaryReaderError, DataKind, ElementKind, MemorySectionReader, Operator, Parser, Payload,
    ValType,
};

use super::image::Image;
use super::rewrite::global;
use super::survey::Survey;

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

/// Why instances of a module can't be put back.
#[derive(Debug)]
pub(crate) enum Unfit {
    Invalid(BinaryReaderError),
    /// What it has that stands against it.
    Has(&'static str),
}

impl From<BinaryReaderError> for Unfit {
    fn from(error: BinaryReaderError) -> Unfit {
        Unfit::Invalid(error)
    }
}

/// What a valid module has that keeps its instances from being put back.
pub(crate) fn obstacle(survey: &Survey<'_>) -> Option<String> {
    match recipe(survey) {
        Ok(_) => None,
        Err(Unfit::Has(what)) => Some(format!("it has {what}")),
        Err(Unfit::Invalid(error)) => Some(error.to_string()),
    }
}

/// Finds how to recycle instances of a valid module.
pub(super) fn recipe(survey: &Survey<'_>) -> Result<Recipe, Unfit> {
    if survey.changes_tables {
        return Err(Unfit::Has("instructions that change a table, or drop a segment"));
    }
    let contents = Contents::of(survey.wasm)?;
    let image = Image::of_segments(&contents.data, contents.memory.unwrap_or(0));
    Ok(Recipe { globals: contents.globals, prefix: survey.prefix.clone(), image })
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
    fn of(wasm: &'a [u8]) -> Result<Contents<'a>, Unfit> {
        let mut contents = Contents::default();
        for payload in Parser::new(0).parse_all(wasm) {
            contents.take(payload?)?;
        }
        if contents.memory.is_none() {
            return Err(Unfit::Has("no memory"));
        }
        if contents.globals.len() > GLOBALS_MAX {
            return Err(Unfit::Has("more than 1024 mutable globals"));
        }
        Ok(contents)
    }

    /// Takes a part of the module, if it allows recycling.
    fn take(&mut self, payload: Payload<'a>) -> Result<(), Unfit> {
        match payload {
            // What is imported is shared with others. (WASI has functions only.)
            Payload::ImportSection(imports) => {
                for import in imports {
                    if !matches!(import?.ty, wasmparser::TypeRef::Func(_)) {
                        return Err(Unfit::Has("imports that are not functions"));
                    }
                }
            }
            Payload::MemorySection(memories) => self.take_memories(memories)?,
            Payload::GlobalSection(globals) => {
                for global in globals {
                    let ty = global?.ty;
                    let number = !matches!(ty.content_type, ValType::Ref(_));
                    if ty.mutable && !number {
                        return Err(Unfit::Has("a mutable global that holds a reference"));
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
                        return Err(Unfit::Has("a passive element segment"));
                    }
                }
            }
            Payload::DataSection(segments) => {
                for segment in segments {
                    let segment = segment?;
                    self.add_segment(&segment.kind, segment.data)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// One plain memory is what can be put back.
    fn take_memories(&mut self, memories: MemorySectionReader<'a>) -> Result<(), Unfit> {
        for memory in memories {
            let memory = memory?;
            let plain = !memory.memory64 && !memory.shared;
            let page = 1 << memory.page_size_log2.unwrap_or(16);
            let bytes = memory.initial.checked_mul(page);
            let bytes = bytes.and_then(|bytes| usize::try_from(bytes).ok());
            if self.memory.is_some() {
                return Err(Unfit::Has("more than one memory"));
            }
            if !plain || bytes.is_none() {
                return Err(Unfit::Has("a memory of another kind"));
            }
            self.memory = bytes;
        }
        Ok(())
    }

    /// Adds a data segment to the image. None that is passive can be, none that goes to where
    /// no plain constant says, and none that does not fit (instantiation will fail).
    fn add_segment(&mut self, kind: &DataKind<'a>, data: &'a [u8]) -> Result<(), Unfit> {
        let DataKind::Active { memory_index: 0, offset_expr } = kind else {
            return Err(Unfit::Has("a passive data segment"));
        };
        let mut expression = offset_expr.get_operators_reader();
        let Operator::I32Const { value } = expression.read()? else {
            return Err(Unfit::Has("a data segment whose place is computed"));
        };
        if !matches!(expression.read()?, Operator::End) {
            return Err(Unfit::Has("a data segment whose place is computed"));
        }
        let at = usize::try_from(value.cast_unsigned()).unwrap_or(usize::MAX);
        let fits = at.checked_add(data.len()).is_some_and(|end| Some(end) <= self.memory);
        if !fits {
            return Err(Unfit::Has("a data segment beyond its memory"));
        }
        self.data.push((at, data));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe_of(wat: &str) -> Option<Recipe> {
        let wasm = wat::parse_str(wat).unwrap();
        let survey = crate::program::survey(&wasm).unwrap();
        recipe(&survey).ok()
    }

    fn is_recyclable(body: &str) -> bool {
        recipe_of(&format!("(module (memory 1) (func (export \"_start\")) {body})")).is_some()
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
