//! What a module is changed to before it is compiled.
//!
//! Nothing of what a guest can see changes. wasmi 2.0.0 has instructions that a hostile module
//! breaks the host with, and does things that can't be interrupted; no module reaches wasmi
//! with these in it:
//!
//! - `memory.grow` and `table.grow` become calls of functions of the host, through a table
//!   that is added for it (`docs/wasmi.md` says what goes wrong without).
//! - Between a comparison with zero and a `select` comes an instruction that does nothing, as
//!   wasmi takes the two together in a wrong way.
//! - Before a block with parameters comes an empty one: wasmi then keeps local variables that are
//!   operands, all of which it should have kept for the block itself.
//! - A start section becomes an export, which is called before `_start`: it can wait, run out
//!   of a slice, and be ended like the rest of the program.
//! - A large memory is made small and grown before anything runs (`growth.rs`).
//! - Mutable globals are exported, so that an instance can be put back (see `recycle`).
//!
//! What is added comes after what is there, so no index changes.

use std::ops::Range;

use wasmparser::{BinaryReaderError, RefType};

use super::encode::{
    EMPTY_BLOCK, FUNCTION_TYPE, HEADER, I32, export, id, kind, leb128, longer, op, reference,
    section, signed_leb128,
};
use super::growth::Withheld;
use super::survey::{Change, Grow, Site, Survey};

/// What was added to a module, by the names of the exports.
#[derive(Debug, Default)]
pub(crate) struct Hooks {
    prefix: String,
    /// What the table of calls leads to.
    pub(crate) grows: Vec<Grow>,
    /// Its start section is an export now.
    pub(crate) starts: bool,
    /// Its memory is made smaller, and grown before anything runs.
    pub(crate) withheld: Option<Withheld>,
}

impl Hooks {
    /// What is added to a module.
    pub(super) fn of(survey: &Survey<'_>) -> Hooks {
        let mut grows = Vec::new();
        for site in &survey.sites {
            if let Change::Call(grow) = site.change
                && !grows.contains(&grow)
            {
                grows.push(grow);
            }
        }
        Hooks {
            prefix: survey.prefix.clone(),
            grows,
            starts: survey.start.is_some(),
            withheld: Withheld::of(survey),
        }
    }

    /// The table of calls.
    pub(crate) fn calls(&self) -> String {
        format!("{}calls", self.prefix)
    }

    /// What a growing instruction grows.
    pub(crate) fn grown(&self, grow: Grow) -> String {
        match grow {
            Grow::Memory(index) => format!("{}memory.{index}", self.prefix),
            Grow::Table(index) => format!("{}table.{index}", self.prefix),
        }
    }

    /// The memory that is made smaller.
    pub(crate) fn withheld(&self) -> String {
        format!("{}memory", self.prefix)
    }

    /// The function of the start section.
    pub(crate) fn start(&self) -> String {
        format!("{}start", self.prefix)
    }
}

/// The name under which a global is exported for us.
pub(crate) fn global(prefix: &str, index: u32) -> String {
    format!("{prefix}global.{index}")
}

/// The module with all that is added; `globals` are exported, too.
///
/// # Errors
///
/// None for a module that is valid.
pub(super) fn rewrite(
    survey: &Survey<'_>,
    hooks: &Hooks,
    globals: &[u32],
) -> Result<Vec<u8>, BinaryReaderError> {
    let wasm = survey.wasm;
    let changes = Changes { survey, hooks, globals };
    let mut out = wasm[..HEADER].to_vec();
    let mut has_tables = hooks.grows.is_empty();
    for (section_id, range) in &survey.sections {
        if !has_tables && *section_id > id::TABLES && *section_id != id::CODE {
            section(&mut out, id::TABLES, &changes.with_calls(None)?);
            has_tables = true;
        }
        has_tables |= *section_id == id::TABLES;
        let content = &wasm[range.clone()];
        match *section_id {
            id::TYPES if !hooks.grows.is_empty() => {
                section(&mut out, id::TYPES, &changes.with_types(content)?);
            }
            id::TABLES if !hooks.grows.is_empty() => {
                section(&mut out, id::TABLES, &changes.with_calls(Some(content))?);
            }
            id::MEMORIES => match hooks.withheld {
                Some(withheld) => section(&mut out, id::MEMORIES, &withheld.section()),
                None => section(&mut out, id::MEMORIES, content),
            },
            id::EXPORTS => section(&mut out, id::EXPORTS, &changes.with_exports(content)?),
            id::START => {}
            id::CODE => section(&mut out, id::CODE, &changes.code(range)),
            other => section(&mut out, other, content),
        }
    }
    Ok(out)
}

/// `i32.const 0 i32.ne`: of any number makes whether it is not zero.
const MAKE_BIT: [u8; 3] = [0x41, 0, 0x47];

/// `i32.const 1 i32.and`: does nothing to 0 and 1, but wasmi translates it to an instruction.
const KEEP_BIT: [u8; 3] = [0x41, 1, 0x71];

/// `block end`
const EMPTY: [u8; 3] = [op::BLOCK, EMPTY_BLOCK, op::END];

struct Changes<'a> {
    survey: &'a Survey<'a>,
    hooks: &'a Hooks,
    globals: &'a [u32],
}

impl Changes<'_> {
    /// What is grown by a growing instruction, one type for each kind.
    fn kinds(&self) -> Vec<Option<RefType>> {
        let mut kinds = Vec::new();
        for grow in &self.hooks.grows {
            let kind = self.kind(*grow);
            if !kinds.contains(&kind) {
                kinds.push(kind);
            }
        }
        kinds
    }

    /// The elements of a table; `None` for a memory.
    fn kind(&self, grow: Grow) -> Option<RefType> {
        match grow {
            Grow::Memory(_) => None,
            Grow::Table(index) => self.survey.tables.get(index as usize).copied(),
        }
    }

    /// Adds the types of the calls.
    fn with_types(&self, content: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
        let kinds = self.kinds();
        let mut out = longer(content, kinds.len())?;
        for kind in kinds {
            match kind {
                None => out.extend_from_slice(&[FUNCTION_TYPE, 1, I32, 1, I32]),
                Some(element) => {
                    out.extend_from_slice(&[FUNCTION_TYPE, 2, reference(element), I32, 1, I32]);
                }
            }
        }
        Ok(out)
    }

    /// Adds the table of calls.
    fn with_calls(&self, content: Option<&[u8]>) -> Result<Vec<u8>, BinaryReaderError> {
        const MIN_AND_MAX: u8 = 1;
        let mut out = longer(content.unwrap_or(&[0]), 1)?;
        out.extend_from_slice(&[reference(RefType::FUNCREF), MIN_AND_MAX]);
        let count = self.hooks.grows.len();
        leb128(&mut out, count);
        leb128(&mut out, count);
        Ok(out)
    }

    fn with_exports(&self, content: &[u8]) -> Result<Vec<u8>, BinaryReaderError> {
        let mut exports: Vec<(String, u8, u32)> = Vec::new();
        for index in self.globals {
            let name = global(&self.survey.prefix, *index);
            exports.push((name, kind::GLOBAL, *index));
        }
        for grow in &self.hooks.grows {
            let (kind, index) = match grow {
                Grow::Memory(index) => (kind::MEMORY, *index),
                Grow::Table(index) => (kind::TABLE, *index),
            };
            exports.push((self.hooks.grown(*grow), kind, index));
        }
        if !self.hooks.grows.is_empty() {
            exports.push((self.hooks.calls(), kind::TABLE, self.calls_index()));
        }
        if let Some(index) = self.survey.start {
            exports.push((self.hooks.start(), kind::FUNCTION, index));
        }
        if self.hooks.withheld.is_some() {
            exports.push((self.hooks.withheld(), kind::MEMORY, 0));
        }
        let mut out = longer(content, exports.len())?;
        for (name, kind, index) in exports {
            export(&mut out, &name, kind, index);
        }
        Ok(out)
    }

    /// The table of calls comes after all others.
    fn calls_index(&self) -> u32 {
        u32::try_from(self.survey.tables.len()).unwrap_or(u32::MAX)
    }

    /// The code, with a call in place of each growing instruction, all `select`s apart from
    /// comparisons, and blocks with parameters after empty ones.
    fn code(&self, section: &Range<usize>) -> Vec<u8> {
        let wasm = self.survey.wasm;
        let mut out = Vec::with_capacity(section.len() + 16 * self.survey.sites.len());
        let mut copied = section.start;
        for sites in self.survey.sites.chunk_by(|one, other| one.body == other.body) {
            let Site { body, entry, .. } = &sites[0];
            out.extend_from_slice(&wasm[copied..*entry]);
            let mut changed = Vec::with_capacity(body.len() + 16 * sites.len());
            let mut from = body.start;
            for site in sites {
                changed.extend_from_slice(&wasm[from..site.place.start]);
                match site.change {
                    Change::Call(grow) => self.call(&mut changed, grow),
                    Change::SelectByBit => changed.extend_from_slice(&KEEP_BIT),
                    Change::SelectByNumber => {
                        changed.extend_from_slice(&MAKE_BIT);
                        changed.extend_from_slice(&KEEP_BIT);
                    }
                    Change::BlockWithParams => changed.extend_from_slice(&EMPTY),
                }
                from = site.place.end;
            }
            changed.extend_from_slice(&wasm[from..body.end]);
            leb128(&mut out, changed.len());
            out.extend_from_slice(&changed);
            copied = body.end;
        }
        out.extend_from_slice(&wasm[copied..section.end]);
        out
    }

    /// Calls what does the same as a growing instruction. Its operands are there already.
    fn call(&self, out: &mut Vec<u8>, grow: Grow) {
        let place = |found: Option<usize>| found.unwrap_or(0);
        let slot = place(self.hooks.grows.iter().position(|other| *other == grow));
        let kind = self.kind(grow);
        let added = place(self.kinds().iter().position(|other| *other == kind));
        out.push(op::I32_CONST);
        signed_leb128(out, slot as i64);
        out.push(op::CALL_INDIRECT);
        leb128(out, self.survey.types() + added);
        leb128(out, self.calls_index() as usize);
    }
}
