//! A function that goes on where another one was.
//!
//! It has the other's local variables, set to what they were, and the blocks around the call,
//! one in the other. In each block come first the operands that were there, then what is further
//! in, then the rest of the block's code. In the innermost it is the call: of the function that
//! goes on for the callee, or of the host.
//!
//! ```text
//!   a loop around the call                 goes on as
//!
//!   (loop $l                               (block $left
//!     before                                 (block $again
//!     call f                                   call f'
//!     after: br $l)                            after: br $again
//!                                              br $left)
//!                                            (loop $l before  call f  after: br $l))
//! ```
//!
//! So what is before the call is there only where it may be executed again, and nothing is skipped
//! at run time.

use wasmparser::ValType;

use super::CaptureError;
use super::copy::copy;
use super::frames::StackFrame;
use super::parts::{AddedTypes, Parts};
use super::value::Value;
use super::walk::{Kind, Level};
use crate::program::encode::{EMPTY_BLOCK, block_type, leb128, op, signed_leb128, value_type};

/// What the innermost call becomes.
pub(super) struct Callee<'v> {
    pub(super) function: u32,
    /// Its arguments.
    pub(super) args: &'v [Value],
}

/// Writes functions that go on.
pub(super) struct Resumer<'p, 'a> {
    parts: &'p Parts<'a>,
    pub(super) types: AddedTypes<'p, 'a>,
}

impl<'p, 'a> Resumer<'p, 'a> {
    pub(super) fn new(parts: &'p Parts<'a>) -> Resumer<'p, 'a> {
        Resumer { parts, types: AddedTypes::new(parts) }
    }

    /// The function that goes on for one of the stack: its type and its body.
    pub(super) fn function(
        &mut self,
        frame: &StackFrame,
        callee: &Callee<'_>,
    ) -> Result<(u32, Vec<u8>), CaptureError> {
        let mut body = Vec::new();
        local_variables(&mut body, &frame.place.locals);
        for (index, value) in frame.locals.iter().enumerate() {
            if !value.is_initial() {
                value.write(&mut body);
                body.push(op::LOCAL_SET);
                leb128(&mut body, index);
            }
        }
        let mut kept = frame.kept.iter();
        let levels = &frame.place.levels;
        for level in levels {
            self.begin(&mut body, level);
            kept.by_ref().take(level.kept.len()).for_each(|value| value.write(&mut body));
        }
        callee.args.iter().for_each(|value| value.write(&mut body));
        body.push(op::CALL);
        leb128(&mut body, callee.function as usize);
        let mut from = frame.place.after;
        for (depth, level) in levels.iter().enumerate().rev() {
            let labels = labels(&levels[..=depth]);
            copy(&mut body, self.parts.wasm, from..level.end, &labels)?;
            if level.kind == Kind::Loop {
                body.extend_from_slice(&[op::BR, 1, op::END, op::LOOP]);
                block_type(&mut body, level.block_type);
                copy(&mut body, self.parts.wasm, level.start..level.end, &labels)?;
                body.push(op::END);
            }
            body.push(op::END);
            from = level.after;
        }
        let results = &self.parts.signature(frame.function).results;
        Ok((self.types.index(&[], results), body))
    }

    /// The beginning of a block. What it takes has been taken.
    fn begin(&mut self, out: &mut Vec<u8>, level: &Level) {
        let (params, results) = self.parts.block(&level.block_type);
        match level.kind {
            Kind::Function => {}
            Kind::Block => self.block(out, results),
            Kind::Loop => {
                self.block(out, results);
                self.block(out, params);
            }
        }
    }

    /// A block that gives this.
    fn block(&mut self, out: &mut Vec<u8>, results: &[ValType]) {
        out.push(op::BLOCK);
        match results {
            [] => out.push(EMPTY_BLOCK),
            [ty] => out.push(value_type(*ty)),
            _ => signed_leb128(out, self.types.index(&[], results).into()),
        }
    }
}

/// How far out the labels of these blocks are, the innermost first, seen from in there: a loop
/// has a second label around its own.
fn labels(levels: &[Level]) -> Vec<u32> {
    let mut depth = 0;
    let mut labels = Vec::with_capacity(levels.len());
    for level in levels.iter().rev() {
        labels.push(depth);
        depth += if level.kind == Kind::Loop { 2 } else { 1 };
    }
    labels
}

/// The declaration of local variables.
fn local_variables(out: &mut Vec<u8>, types: &[ValType]) {
    let groups: Vec<&[ValType]> = types.chunk_by(|one, other| one == other).collect();
    leb128(out, groups.len());
    for group in groups {
        leb128(out, group.len());
        out.push(value_type(group[0]));
    }
}
