//! Writing a program's state as a module.

use std::collections::BTreeMap;

use wasmparser::{BinaryReader, ExportSectionReader, ExternalKind, GlobalSectionReader, ValType};

use super::frames;
use super::instrument::Instrumented;
use super::parts::{Import, Parts, Signature};
use super::resume::{Callee, Resumer};
use super::{CaptureError, Value};
use crate::program::encode::{export, id, kind, leb128, longer, op, signed_leb128, value_type};
use crate::wasi::MODULE;

/// Bytes of code to go on with, at the most.
const CODE_MAX: usize = 64 << 20;

/// Zeros between two pieces of data, from which on they are two: a segment takes about as much.
const GAP: usize = 16;

/// Segments at the most: other hosts take no more than 100,000.
const SEGMENTS_MAX: usize = 50_000;

/// Bytes of a page of memory.
const PAGE: usize = 64 << 10;

/// What a program has come to.
pub(crate) struct State<'s> {
    pub(crate) memory: &'s [u8],
    /// Mutable globals by their indices. `None` for a reference to something.
    pub(crate) globals: &'s [(u32, Option<Value>)],
    pub(crate) next: Continuation<'s>,
}

/// Where a program goes on.
pub(crate) enum Continuation<'s> {
    /// With a call of this function.
    Call(u32),
    /// In the functions that were on its stack.
    Stopped(Stopped<'s>),
}

/// Where a program has stopped.
pub(crate) struct Stopped<'s> {
    pub(crate) instrumented: &'s Instrumented,
    /// What the instrumented module has written of its stack.
    pub(crate) written: &'s [u8],
    /// The call of the host in which it waits, and its arguments.
    pub(crate) call: &'s str,
    pub(crate) args: &'s [u64],
    /// It is in its start section: `_start` is still to be called.
    pub(crate) in_start: bool,
}

/// Where the contents of the memory go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Data {
    /// Into the module, which is then complete.
    Within,
    /// Nowhere: the memory is as large as it was, and zero.
    Apart,
}

/// The module that goes on from `state` of the program `wasm`. It has no start section, and first
/// calls what it exports as `tinyhost_forked`, if that is a function without parameters and results.
///
/// # Errors
///
/// If the state can't be recorded.
pub(crate) fn image(wasm: &[u8], state: &State<'_>, data: Data) -> Result<Vec<u8>, CaptureError> {
    let parts = Parts::of(wasm)?;
    let code = Code::of(&parts, &state.next)?;
    let mut sections = BTreeMap::from([
        (id::TYPES, Some(code.types)),
        (id::FUNCTIONS, Some(code.functions)),
        (id::CODE, Some(code.bodies)),
        (id::START, None),
        (id::DATA_COUNT, None),
        (id::MEMORIES, Some(memory(&parts, state.memory.len()))),
        (id::EXPORTS, Some(exports(&parts, code.entry)?)),
    ]);
    if let Some(content) = parts.section(id::GLOBALS) {
        sections.insert(id::GLOBALS, Some(globals(content, state.globals)?));
    }
    let segments = match data {
        Data::Within => Some(segments(state.memory)).filter(|section| section[..] != [0]),
        Data::Apart => None,
    };
    sections.insert(id::DATA, segments);
    Ok(parts.with(&sections))
}

/// The sections that have to do with functions.
struct Code {
    types: Vec<u8>,
    functions: Vec<u8>,
    bodies: Vec<u8>,
    /// What `_start` is.
    entry: u32,
}

impl Code {
    fn of(parts: &Parts<'_>, next: &Continuation<'_>) -> Result<Code, CaptureError> {
        let mut resumer = Resumer::new(parts);
        let mut added = Vec::new();
        let first = index(parts.functions.len());
        let mut calls = Vec::new();
        let nothing = |function: &u32| *parts.signature(*function) == Signature::default();
        calls.extend(parts.resumed.filter(nothing));
        match next {
            Continuation::Call(function) => calls.push(*function),
            Continuation::Stopped(stopped) => {
                added = resume(&mut resumer, parts, stopped)?;
                calls.push(first);
                calls.extend(parts.entry.filter(|_| stopped.in_start));
            }
        }
        let mut entry = calls[0];
        if calls.len() > 1 {
            entry = first + index(added.len());
            added.push(calling(parts, &mut resumer, &calls));
        }
        let section = |id| parts.section(id).unwrap_or(&[0]);
        let mut functions = longer(section(id::FUNCTIONS), added.len())?;
        let mut bodies = longer(section(id::CODE), added.len())?;
        for (ty, body) in added {
            leb128(&mut functions, ty as usize);
            leb128(&mut bodies, body.len());
            bodies.extend_from_slice(&body);
        }
        Ok(Code { types: resumer.types.section()?, functions, bodies, entry })
    }
}

/// The functions that go on for those of the stack, the outermost first: types and bodies.
fn resume(
    resumer: &mut Resumer<'_, '_>,
    parts: &Parts<'_>,
    stopped: &Stopped<'_>,
) -> Result<Vec<(u32, Vec<u8>)>, CaptureError> {
    let frames = frames::read(parts, &stopped.instrumented.sites, stopped.written)?;
    let outermost = if stopped.in_start { parts.start } else { parts.entry };
    if outermost.is_none() || frames.first().map(|frame| frame.function) != outermost {
        return Err(CaptureError::Frames);
    }
    let (call, args) = host_call(parts, stopped)?;
    let mut added = Vec::with_capacity(frames.len());
    let mut size = 0;
    for (place, frame) in frames.iter().enumerate() {
        let callee = if place + 1 == frames.len() {
            Callee { function: call, args: &args }
        } else {
            Callee { function: index(parts.functions.len() + place + 1), args: &[] }
        };
        let function = resumer.function(frame, &callee)?;
        size += function.1.len();
        if size > CODE_MAX {
            return Err(CaptureError::Large(CODE_MAX));
        }
        added.push(function);
    }
    Ok(added)
}

/// A function that calls these, one after the other, and gives what the last one gives.
fn calling(parts: &Parts<'_>, resumer: &mut Resumer<'_, '_>, calls: &[u32]) -> (u32, Vec<u8>) {
    let mut body = vec![0];
    for function in calls {
        body.push(op::CALL);
        leb128(&mut body, *function as usize);
    }
    body.push(op::END);
    let last = calls.last().and_then(|last| parts.functions.get(*last as usize));
    let results = last.map_or(&[][..], |ty| &parts.types[*ty as usize].results);
    (resumer.types.index(&[], results), body)
}

/// A number of functions as an index.
fn index(functions: usize) -> u32 {
    u32::try_from(functions).expect("a module has fewer")
}

/// The call of the host in which the program waits, by the index of the function.
fn host_call(parts: &Parts<'_>, stopped: &Stopped<'_>) -> Result<(u32, Vec<Value>), CaptureError> {
    let of_name = |import: &Import<'_>| import.module == MODULE && import.name == stopped.call;
    let index = index(parts.imports.iter().position(of_name).ok_or(CaptureError::Frames)?);
    let value = |(ty, arg): (&ValType, &u64)| match ty {
        ValType::I64 => Value::I64(arg.cast_signed()),
        _ => Value::I32((*arg as u32).cast_signed()),
    };
    Ok((index, parts.signature(index).params.iter().zip(stopped.args).map(value).collect()))
}

/// The memory section: the one memory, as large as it is now.
fn memory(parts: &Parts<'_>, bytes: usize) -> Vec<u8> {
    let mut section = vec![1, u8::from(parts.memory.maximum.is_some())];
    leb128(&mut section, bytes / PAGE);
    if let Some(maximum) = parts.memory.maximum {
        leb128(&mut section, usize::try_from(maximum).unwrap_or(usize::MAX));
    }
    section
}

/// The exports, with this as `_start`.
fn exports(parts: &Parts<'_>, entry: u32) -> Result<Vec<u8>, CaptureError> {
    const START: &str = "_start";
    let content = parts.section(id::EXPORTS).unwrap_or(&[0]);
    let mut section = Vec::with_capacity(content.len() + 16);
    let reader = ExportSectionReader::new(BinaryReader::new(content, 0))?;
    leb128(&mut section, reader.count() as usize + usize::from(parts.entry.is_none()));
    for given in reader {
        let given = given?;
        let kind = match given.kind {
            ExternalKind::Func => kind::FUNCTION,
            ExternalKind::Table => kind::TABLE,
            ExternalKind::Memory => kind::MEMORY,
            // No module that is valid here has a tag.
            ExternalKind::Global | ExternalKind::Tag => kind::GLOBAL,
        };
        let index = if given.name == START { entry } else { given.index };
        export(&mut section, given.name, kind, index);
    }
    if parts.entry.is_none() {
        export(&mut section, START, kind::FUNCTION, entry);
    }
    Ok(section)
}

/// The globals, those that are mutable with their values.
fn globals(content: &[u8], values: &[(u32, Option<Value>)]) -> Result<Vec<u8>, CaptureError> {
    const MUTABLE: u8 = 1;
    let reader = GlobalSectionReader::new(BinaryReader::new(content, 0))?;
    let mut section = Vec::with_capacity(content.len() + 16);
    leb128(&mut section, reader.count() as usize);
    let mut from = content.len();
    let mut entries = Vec::new();
    for global in reader.into_iter_with_offsets() {
        let (at, global) = global?;
        from = from.min(at);
        entries.push((at, global.ty));
    }
    let ends = entries.iter().skip(1).map(|(at, _)| *at).chain([content.len()]);
    for ((index, (at, ty)), end) in (0..).zip(&entries).zip(ends) {
        if !ty.mutable {
            section.extend_from_slice(&content[*at..end]);
            continue;
        }
        let (_, value) =
            values.iter().find(|(there, _)| *there == index).ok_or(CaptureError::Frames)?;
        section.extend_from_slice(&[value_type(ty.content_type), MUTABLE]);
        value.ok_or(CaptureError::Reference)?.write(&mut section);
        section.push(op::END);
    }
    Ok(section)
}

/// The data section: all that is not zero.
fn segments(memory: &[u8]) -> Vec<u8> {
    const ACTIVE: u8 = 0;
    let mut gap = GAP;
    let pieces = loop {
        let pieces = pieces(memory, gap);
        if pieces.len() <= SEGMENTS_MAX {
            break pieces;
        }
        gap *= 4;
    };
    let mut section = Vec::new();
    leb128(&mut section, pieces.len());
    for piece in pieces {
        section.extend_from_slice(&[ACTIVE, op::I32_CONST]);
        signed_leb128(&mut section, (piece.start as u32).cast_signed().into());
        section.push(op::END);
        leb128(&mut section, piece.len());
        section.extend_from_slice(&memory[piece]);
    }
    section
}

/// Ranges that hold all that is not zero, with at least `gap` zeros between each two.
fn pieces(memory: &[u8], gap: usize) -> Vec<std::ops::Range<usize>> {
    let mut pieces: Vec<std::ops::Range<usize>> = Vec::new();
    // Most of a memory is zero: it is looked at in blocks first.
    const BLOCK: usize = 4096;
    for (number, block) in memory.chunks(BLOCK).enumerate() {
        if block.iter().fold(0, |all, byte| all | byte) == 0 {
            continue;
        }
        for (at, _) in block.iter().enumerate().filter(|(_, byte)| **byte != 0) {
            let at = number * BLOCK + at;
            match pieces.last_mut() {
                Some(last) if at - last.end < gap => last.end = at + 1,
                _ => pieces.push(at..at + 1),
            }
        }
    }
    pieces
}
