//! Where in its function a call is: the blocks around it, and what lies on the operand stack.

use wasmparser::{
    BlockType, FuncToValidate, FuncValidator, FuncValidatorAllocations, Operator, OperatorsReader,
    ValType, WasmModuleResources,
};

use super::CaptureError;
use super::copy::instructions;
use super::parts::Parts;

/// What kind of block it is, as far as going on in it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The function itself.
    Function,
    /// A block, or an arm of an `if`: it is left at its end.
    Block,
    /// A loop: it may begin again.
    Loop,
}

/// A block around a call.
#[derive(Debug)]
pub(super) struct Level {
    pub(super) kind: Kind,
    pub(super) block_type: BlockType,
    /// The values in this block that lie below what is further in.
    pub(super) kept: Vec<ValType>,
    /// Where its instructions begin.
    pub(super) start: usize,
    /// Where those of its arm with the call end.
    pub(super) end: usize,
    /// Where what comes after it begins.
    pub(super) after: usize,
}

/// The place of a call in its function.
#[derive(Debug)]
pub(super) struct CallSite {
    /// The blocks around it, from the function itself inwards.
    pub(super) levels: Vec<Level>,
    /// Parameters and other local variables.
    pub(super) locals: Vec<ValType>,
    /// Where what comes after the call begins.
    pub(super) after: usize,
}

impl CallSite {
    /// Values on the operand stack, the lowest first.
    pub(super) fn kept(&self) -> impl DoubleEndedIterator<Item = ValType> + '_ {
        self.levels.iter().flat_map(|level| level.kept.iter().copied())
    }

    /// Looks for the call at offset `site` of the module, in `function`.
    pub(super) fn of(
        parts: &Parts<'_>,
        function: u32,
        site: usize,
    ) -> Result<CallSite, CaptureError> {
        let (to_validate, body) = parts.body(function).ok_or(CaptureError::Frames)?;
        let mut validator = validator(to_validate, FuncValidatorAllocations::default());
        let mut reader = body.get_binary_reader();
        validator.read_locals(&mut reader)?;
        let mut open = vec![level(Kind::Function, BlockType::Empty, reader.original_position())];
        let mut operators = instructions(reader);
        let after = loop {
            if operators.eof() {
                return Err(CaptureError::Frames);
            }
            let at = operators.original_position();
            let operator = operators.read()?;
            let next = operators.original_position();
            validator.op(at, &operator)?;
            match operator {
                Operator::Block { blockty } | Operator::If { blockty } => {
                    open.push(level(Kind::Block, blockty, next));
                }
                Operator::Loop { blockty } => open.push(level(Kind::Loop, blockty, next)),
                Operator::End => {
                    open.pop();
                }
                _ => {}
            }
            if at == site {
                let results = results(parts, &operator).ok_or(CaptureError::Frames)?.len();
                let levels = kept(&validator, results).ok_or(CaptureError::Frames)?;
                open.iter_mut().zip(levels).for_each(|(level, kept)| level.kept = kept);
                break next;
            }
        };
        find_ends(&mut open, &mut operators)?;
        Ok(CallSite { levels: open, locals: locals(&validator).collect(), after })
    }
}

fn level(kind: Kind, block_type: BlockType, start: usize) -> Level {
    Level { kind, block_type, kept: Vec::new(), start, end: 0, after: 0 }
}

/// Finds where the blocks end in which a call is. It has been read.
fn find_ends(
    levels: &mut [Level],
    operators: &mut OperatorsReader<'_>,
) -> Result<(), CaptureError> {
    let mut open = levels.len();
    // Blocks that have begun since.
    let mut inner = 0_u32;
    while open > 0 {
        let at = operators.original_position();
        let operator = operators.read()?;
        let level = &mut levels[open - 1];
        match operator {
            Operator::Block { .. } | Operator::Loop { .. } | Operator::If { .. } => inner += 1,
            Operator::End if inner > 0 => inner -= 1,
            // The call is in the other arm.
            Operator::Else if inner == 0 => level.end = at,
            Operator::End => {
                if level.end == 0 {
                    level.end = at;
                }
                level.after = operators.original_position();
                open -= 1;
            }
            _ => {}
        }
    }
    Ok(())
}

/// What validates a function, once more.
pub(super) fn validator<T: WasmModuleResources>(
    function: &FuncToValidate<T>,
    allocations: FuncValidatorAllocations,
) -> FuncValidator<&T> {
    let FuncToValidate { resources, index, ty, features } = function;
    let function = FuncToValidate { resources, index: *index, ty: *ty, features: *features };
    function.into_validator(allocations)
}

/// The types of parameters and other local variables.
pub(super) fn locals<T: WasmModuleResources>(
    validator: &FuncValidator<T>,
) -> impl Iterator<Item = ValType> {
    (0..validator.len_locals()).filter_map(|index| validator.get_local_type(index))
}

/// What a call gives. `None` for another instruction.
pub(super) fn results<'p>(parts: &'p Parts<'_>, call: &Operator<'_>) -> Option<&'p [ValType]> {
    let signature = match *call {
        Operator::Call { function_index } => parts.signature(function_index),
        Operator::CallIndirect { type_index, .. } => parts.types.get(type_index as usize)?,
        _ => return None,
    };
    Some(&signature.results)
}

/// The operands of each block, from the function itself inwards, after a call that has given so many
/// results. `None` where the code is never executed.
pub(super) fn kept<T: WasmModuleResources>(
    validator: &FuncValidator<T>,
    results: usize,
) -> Option<Vec<Vec<ValType>>> {
    let height = validator.operand_stack_height() as usize;
    let blocks = validator.control_stack_height() as usize;
    let mut kept = Vec::with_capacity(blocks);
    let mut above = height.checked_sub(results)?;
    for depth in 0..blocks {
        let frame = validator.get_control_frame(depth)?;
        if frame.unreachable {
            return None;
        }
        let operand = |place: usize| validator.get_operand_type(height - 1 - place).flatten();
        kept.push((frame.height..above).map(operand).collect::<Option<Vec<_>>>()?);
        above = frame.height;
    }
    kept.reverse();
    Some(kept)
}
