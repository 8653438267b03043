//! Copying code whose branches lead further out than before.

use std::ops::Range;

use wasmparser::{BinaryReader, ConstExpr, Operator, OperatorsReader};

use super::CaptureError;
use crate::program::encode::{leb128, op};
use crate::program::survey::features;

/// A reader of the instructions that come next, which need not be a whole body.
pub(super) fn instructions(mut reader: BinaryReader<'_>) -> OperatorsReader<'_> {
    reader.set_features(features());
    // wasmparser makes such a reader of nothing else but whole bodies.
    ConstExpr::new(reader).get_operators_reader()
}

/// Copies instructions. `depths` are the new depths of the labels outside of `range`, by how far out
/// each is.
pub(super) fn copy(
    out: &mut Vec<u8>,
    wasm: &[u8],
    range: Range<usize>,
    depths: &[u32],
) -> Result<(), CaptureError> {
    let mut copier = Copier::new(wasm, range.start, depths);
    let end = range.end;
    let mut reader = instructions(BinaryReader::new(&wasm[range.clone()], range.start));
    while reader.original_position() < end {
        let at = reader.original_position();
        let operator = reader.read()?;
        copier.take(out, at..reader.original_position(), &operator)?;
    }
    copier.finish(out, end);
    Ok(())
}

/// A copy under way.
pub(super) struct Copier<'a> {
    wasm: &'a [u8],
    /// How far it is copied.
    copied: usize,
    /// The labels that each block has that has begun in what is copied: 2 if there is one more
    /// around its own.
    open: Vec<u32>,
    depths: &'a [u32],
}

impl<'a> Copier<'a> {
    pub(super) fn new(wasm: &'a [u8], from: usize, depths: &'a [u32]) -> Copier<'a> {
        Copier { wasm, copied: from, open: Vec::new(), depths }
    }

    /// The block that has just begun has another one around it.
    pub(super) fn wrapped(&mut self) {
        self.open.last_mut().into_iter().for_each(|labels| *labels = 2);
    }

    /// Labels of the innermost so many blocks that are open in what is copied.
    pub(super) fn labels(&self, blocks: usize) -> u32 {
        self.open.iter().rev().take(blocks).sum()
    }

    /// Copies what has been taken and not been copied.
    pub(super) fn finish(&mut self, out: &mut Vec<u8>, end: usize) {
        out.extend_from_slice(&self.wasm[self.copied..end]);
        self.copied = end;
    }

    /// The next instruction, which is at `place`.
    pub(super) fn take(
        &mut self,
        out: &mut Vec<u8>,
        place: Range<usize>,
        operator: &Operator<'_>,
    ) -> Result<(), CaptureError> {
        let branch = match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => {
                self.open.push(1);
                return Ok(());
            }
            Operator::End => {
                self.open.pop();
                return Ok(());
            }
            Operator::Br { relative_depth } => (op::BR, *relative_depth),
            Operator::BrIf { relative_depth } => (op::BR_IF, *relative_depth),
            Operator::BrTable { targets } => {
                let mut depths = targets.targets().collect::<Result<Vec<u32>, _>>()?;
                depths.push(targets.default());
                if depths.iter().any(|depth| self.depth(*depth) != *depth) {
                    self.finish(out, place.start);
                    out.push(op::BR_TABLE);
                    leb128(out, depths.len() - 1);
                    depths.iter().for_each(|depth| leb128(out, self.depth(*depth) as usize));
                    self.copied = place.end;
                }
                return Ok(());
            }
            _ => return Ok(()),
        };
        let (opcode, depth) = branch;
        if self.depth(depth) != depth {
            self.finish(out, place.start);
            out.push(opcode);
            leb128(out, self.depth(depth) as usize);
            self.copied = place.end;
        }
        Ok(())
    }

    /// What becomes of a label's depth.
    fn depth(&self, depth: u32) -> u32 {
        let blocks = depth as usize;
        match blocks.checked_sub(self.open.len()) {
            Some(outside) => self.labels(blocks) + self.depths.get(outside).copied().unwrap_or(0),
            None => self.labels(blocks),
        }
    }
}
