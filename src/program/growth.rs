//! Large memories, of which most is never touched.
//!
//! wasmi writes zeros to all of a new memory, and to all that is added to one: the system then has
//! to find a page for each of them. So a large memory is made small and grown in steps, and the pages
//! of each step are given back before the next one. They are read as zeros again.

use wasmi::{AsContextMut, Memory};
use wasmparser::{BinaryReader, DataKind, DataSectionReader, MemorySectionReader, Operator};

use super::encode::{id, leb128};
use super::survey::Survey;
use crate::wasi::WasiCtx;

/// Whether the system can be asked to take pages back (`instance/pages.rs`).
const SUPPORTED: bool = cfg!(all(target_os = "linux", feature = "recycle"));

/// Bytes of a page of memory.
const PAGE: u64 = 64 << 10;

/// Pages by which a memory is grown at once: few enough to stay in the processor's cache.
const STEP: u64 = 32;

/// Pages of a growth that is made at once. An allocator grows by less, and uses it.
const GROWN_AT_ONCE: u64 = 128;

/// Pages of a new memory that is made at once. Mappings of up to this size are used again.
const MADE_AT_ONCE: u64 = 512;

/// What the system does with the pages of a memory that is grown in steps.
#[derive(Clone, Copy)]
pub(crate) struct Paging {
    /// Steps begin, or are over, on this thread: large pages are of use meanwhile.
    pub(crate) steps: fn(bool),
    /// Gives back pages of a part of a memory that is zero; how many bytes from its beginning. With
    /// `all` it is all of them.
    pub(crate) give_back: fn(&mut [u8], all: bool) -> usize,
    /// The memory is to have small pages from then on. All of it: the kernel moves no mapping in one
    /// whose parts differ.
    pub(crate) small_pages: fn(&mut [u8]),
}

/// A memory that is made smaller than it is declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Withheld {
    /// Pages it is made with.
    made: u64,
    /// Pages it is then grown by.
    pub(crate) rest: u64,
    maximum: Option<u64>,
}

impl Withheld {
    /// How a module's memory is made, if it has one that is large. Data that is put into it at
    /// the beginning must find it large enough.
    pub(super) fn of(survey: &Survey<'_>) -> Option<Withheld> {
        let section = |id| {
            let (_, range) = survey.sections.iter().find(|(there, _)| *there == id)?;
            Some(BinaryReader::new(&survey.wasm[range.clone()], range.start))
        };
        let mut memories = MemorySectionReader::new(section(id::MEMORIES)?).ok()?.into_iter();
        let memory = memories.next()?.ok()?;
        if !SUPPORTED || memories.next().is_some() || memory.initial <= MADE_AT_ONCE {
            return None;
        }
        let mut end = 0;
        if let Some(section) = section(id::DATA) {
            for segment in DataSectionReader::new(section).ok()? {
                let segment = segment.ok()?;
                let DataKind::Active { memory_index: 0, offset_expr } = segment.kind else {
                    return None;
                };
                let mut expression = offset_expr.get_operators_reader();
                let Operator::I32Const { value } = expression.read().ok()? else { return None };
                if !matches!(expression.read().ok()?, Operator::End) {
                    return None;
                }
                end = end.max(u64::from(value.cast_unsigned()) + segment.data.len() as u64);
            }
        }
        let made = end.div_ceil(PAGE).max(STEP).min(memory.initial);
        Some(Withheld { made, rest: memory.initial - made, maximum: memory.maximum })
    }

    /// The memory section.
    pub(super) fn section(self) -> Vec<u8> {
        let mut section = vec![1, u8::from(self.maximum.is_some())];
        let mut number =
            |number| leb128(&mut section, usize::try_from(number).unwrap_or(usize::MAX));
        number(self.made);
        self.maximum.into_iter().for_each(number);
        section
    }
}

/// Why a memory was not grown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failed {
    /// It may not be as large. It is as it was.
    Refused,
    /// The host has no memory left. It is larger than it was, and can't be made smaller.
    Halfway,
}

/// Grows a memory; the pages it had. `maximum` is the most it may have.
pub(crate) fn grow(
    mut ctx: impl AsContextMut<Data = WasiCtx>,
    memory: Memory,
    pages: u64,
    paging: Paging,
) -> Result<u64, Failed> {
    let before = memory.size(&ctx);
    let maximum = memory.ty(&ctx).maximum().unwrap_or(PAGE).min(PAGE);
    let fits = before.checked_add(pages).is_some_and(|pages| pages <= maximum);
    if pages <= GROWN_AT_ONCE || !fits || !SUPPORTED {
        return memory.grow(&mut ctx, pages).map_err(|_| Failed::Refused);
    }
    let bytes = usize::try_from(pages * PAGE).map_err(|_| Failed::Refused)?;
    if !ctx.as_context_mut().data_mut().limits.reserve(bytes) {
        return Err(Failed::Refused);
    }
    let first = memory.data_size(&ctx);
    let mut given_back = first;
    let mut left = pages;
    (paging.steps)(true);
    while left > 0 {
        let step = left.min(STEP);
        if memory.grow(&mut ctx, step).is_err() {
            break;
        }
        given_back += (paging.give_back)(&mut memory.data_mut(&mut ctx)[given_back..], false);
        left -= step;
    }
    (paging.steps)(false);
    let bytes = memory.data_mut(&mut ctx);
    (paging.give_back)(&mut bytes[first..], true);
    (paging.small_pages)(bytes);
    if left > 0 {
        ctx.as_context_mut().data_mut().limits.give_back_reserved();
    }
    match left {
        0 => Ok(before),
        left if left == pages => Err(Failed::Refused),
        _ => Err(Failed::Halfway),
    }
}
