//! The ways out of a function.
//!
//! After each call under which standard input may be read comes: if the flag is set, write the
//! place of the call and the operands below its results, and leave the function by a way out at
//! its end, which writes the local variables and returns (zeros: its caller does the same). So a
//! call costs two instructions more, and a function under which nothing is read costs nothing.
//!
//! ```text
//!   (block $out
//!     ... call f  global.get $flag  (if (i32.const SITE) write, operands write.. (br $out)) ...
//!     return)
//!   locals write..  zeros
//! ```
//!
//! Operands below a block can't be reached from within. So the way out of a block that has some
//! leads to its end first, where the flag is asked for again.

use std::ops::Range;

use wasmparser::{BlockType, FuncValidator, Operator, ValType, WasmModuleResources};

use super::copy::{Copier, instructions};
use super::instrument::{Site, Writer};
use super::parts::Body;
use super::value::Value;
use super::{CaptureError, walk};
use crate::program::encode::{EMPTY_BLOCK, block_type, leb128, op, signed_leb128};

/// Copies a function and adds its ways out.
pub(super) fn add<'a>(
    writer: &mut Writer<'_, 'a>,
    out: &mut Vec<u8>,
    function: u32,
    given: &Body<'a>,
) -> Result<(), CaptureError> {
    let (to_validate, body) = given;
    let wasm = writer.parts.wasm;
    let mut validator = walk::validator(to_validate, std::mem::take(&mut writer.allocations));
    let mut reader = body.get_binary_reader();
    validator.read_locals(&mut reader)?;
    let begin = reader.original_position();
    out.extend_from_slice(&wasm[body.range().start..begin]);
    out.extend_from_slice(&[op::BLOCK, EMPTY_BLOCK]);
    // The function's own label is one further out now.
    let copier = Copier::new(wasm, begin, &[1]);
    let mut exits = Exits { writer, function, out, copier, blocks: Vec::new() };
    let mut operators = instructions(reader);
    let last = body.range().end - 1;
    while operators.original_position() < last {
        let at = operators.original_position();
        let operator = operators.read()?;
        validator.op(at, &operator)?;
        exits.take(at..operators.original_position(), &operator, &validator)?;
    }
    exits.copier.finish(exits.out, last);
    exits.out.extend_from_slice(&[op::RETURN, op::END]);
    exits.last(&validator);
    writer.allocations = validator.into_allocations();
    Ok(())
}

/// A block that has begun.
struct Block {
    ty: BlockType,
    /// The block around it has operands below it.
    is_above_operands: bool,
    /// It is a loop with a block around it.
    is_wrapped: bool,
    /// A way out leads to its end.
    is_left: bool,
}

impl Block {
    /// The block that a validator has just come into.
    fn new<T: WasmModuleResources>(validator: &FuncValidator<T>, ty: BlockType) -> Block {
        let height = |depth| validator.get_control_frame(depth).map(|frame| frame.height);
        let is_above_operands = height(0) > height(1);
        Block { ty, is_above_operands, is_wrapped: false, is_left: false }
    }
}

/// A function under way.
struct Exits<'w, 'p, 'a> {
    writer: &'w mut Writer<'p, 'a>,
    function: u32,
    out: &'w mut Vec<u8>,
    copier: Copier<'a>,
    /// Blocks that are open, the outermost first.
    blocks: Vec<Block>,
}

impl Exits<'_, '_, '_> {
    /// The next instruction, which has been validated.
    fn take<T: WasmModuleResources>(
        &mut self,
        place: Range<usize>,
        operator: &Operator<'_>,
        validator: &FuncValidator<T>,
    ) -> Result<(), CaptureError> {
        self.copier.take(self.out, place.clone(), operator)?;
        match *operator {
            Operator::Block { blockty } | Operator::If { blockty } => {
                self.blocks.push(Block::new(validator, blockty));
            }
            Operator::Loop { blockty } => {
                let mut block = Block::new(validator, blockty);
                if block.is_above_operands {
                    // The label of a loop is at its beginning.
                    self.copier.finish(self.out, place.start);
                    self.out.push(op::BLOCK);
                    block_type(self.out, blockty);
                    self.copier.wrapped();
                    block.is_wrapped = true;
                }
                self.blocks.push(block);
            }
            Operator::End => self.end(place.end, validator)?,
            _ if self.writer.reach.calls(operator) => self.call(place, operator, validator),
            _ => {}
        }
        Ok(())
    }

    /// After the end of a block.
    fn end<T: WasmModuleResources>(
        &mut self,
        after: usize,
        validator: &FuncValidator<T>,
    ) -> Result<(), CaptureError> {
        let Some(block) = self.blocks.pop() else { return Ok(()) };
        if block.is_wrapped || block.is_left {
            self.copier.finish(self.out, after);
        }
        if block.is_wrapped {
            self.out.push(op::END);
        }
        if block.is_left {
            let parts = self.writer.parts;
            let (_, results) = parts.block(&block.ty);
            let kept = walk::kept(validator, results.len()).and_then(|mut blocks| blocks.pop());
            self.leave(None, &kept.ok_or(CaptureError::Frames)?, results);
        }
        Ok(())
    }

    /// After a call under which standard input may be read.
    fn call<T: WasmModuleResources>(
        &mut self,
        place: Range<usize>,
        operator: &Operator<'_>,
        validator: &FuncValidator<T>,
    ) {
        let results = walk::results(self.writer.parts, operator).unwrap_or_default();
        let kept = walk::kept(validator, results.len()).and_then(|mut blocks| blocks.pop());
        // None where it is never executed.
        let Some(kept) = kept else { return };
        self.copier.finish(self.out, place.end);
        let site = Site { function: self.function, offset: place.start };
        self.leave(Some(site), &kept, results);
    }

    /// What comes after a call, or after a block from which a call has led here: if the flag is
    /// set, what is below the results is written, and the way leads on.
    fn leave(&mut self, site: Option<Site>, kept: &[ValType], results: &[ValType]) {
        let Exits { writer, out, copier, blocks, .. } = self;
        out.push(op::GLOBAL_GET);
        leb128(out, writer.flag);
        out.push(op::IF);
        if kept.is_empty() {
            out.push(EMPTY_BLOCK);
        } else {
            // What lies on the stack can be reached only by a block that takes and gives it.
            let all = [kept, results].concat();
            signed_leb128(out, writer.types.index(&all, &all).into());
        }
        if let Some(site) = site {
            out.push(op::I32_CONST);
            signed_leb128(out, writer.sites.len() as i64);
            writer.write(out, ValType::I32);
            writer.sites.push(site);
        }
        if !kept.is_empty() {
            out.extend(results.iter().map(|_| op::DROP));
            kept.iter().rev().for_each(|ty| writer.write(out, *ty));
        }
        // One label is that of the `if`.
        let mut depth = 1;
        match blocks.iter().rposition(|block| block.is_above_operands) {
            Some(place) => {
                let inner = blocks.len() - 1 - place;
                let block = &mut blocks[place];
                block.is_left = true;
                let (_, results) = writer.parts.block(&block.ty);
                results.iter().for_each(|ty| Value::initial(*ty).write(out));
                // The way leads to the end of the block: of two labels, to that of the outer one.
                depth += copier.labels(inner) + u32::from(block.is_wrapped);
            }
            None => depth += copier.labels(blocks.len()),
        }
        out.push(op::BR);
        leb128(out, depth as usize);
        out.push(op::END);
    }

    /// The last of the ways out: writes the local variables and returns.
    fn last<T: WasmModuleResources>(&mut self, validator: &FuncValidator<T>) {
        let Exits { writer, out, .. } = self;
        for (index, ty) in walk::locals(validator).enumerate() {
            out.push(op::LOCAL_GET);
            leb128(out, index);
            writer.write(out, ty);
        }
        for ty in &writer.parts.signature(self.function).results {
            Value::initial(*ty).write(out);
        }
        out.push(op::END);
    }
}
