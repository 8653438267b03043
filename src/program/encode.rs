//! WebAssembly's binary format, as far as modules are written here.

use wasmparser::{BinaryReader, BinaryReaderError, BlockType, RefType, ValType};

/// Length of a module's header.
pub(super) const HEADER: usize = 8;

/// Identifiers of sections.
pub(super) mod id {
    pub(in crate::program) const TYPES: u8 = 1;
    pub(in crate::program) const FUNCTIONS: u8 = 3;
    pub(in crate::program) const TABLES: u8 = 4;
    pub(in crate::program) const MEMORIES: u8 = 5;
    pub(in crate::program) const GLOBALS: u8 = 6;
    pub(in crate::program) const EXPORTS: u8 = 7;
    pub(in crate::program) const START: u8 = 8;
    pub(in crate::program) const CODE: u8 = 10;
    pub(in crate::program) const DATA: u8 = 11;
    pub(in crate::program) const DATA_COUNT: u8 = 12;

    /// Where a section comes among the others: the count of data comes before the code.
    pub(in crate::program) fn place(id: u8) -> u8 {
        match id {
            DATA_COUNT => 2 * CODE - 1,
            id => 2 * id,
        }
    }
}

/// Kinds of exports.
pub(super) mod kind {
    pub(in crate::program) const FUNCTION: u8 = 0;
    pub(in crate::program) const TABLE: u8 = 1;
    pub(in crate::program) const MEMORY: u8 = 2;
    pub(in crate::program) const GLOBAL: u8 = 3;
}

/// Instructions.
pub(super) mod op {
    pub(in crate::program) const UNREACHABLE: u8 = 0x00;
    pub(in crate::program) const BLOCK: u8 = 0x02;
    pub(in crate::program) const LOOP: u8 = 0x03;
    pub(in crate::program) const IF: u8 = 0x04;
    pub(in crate::program) const END: u8 = 0x0b;
    pub(in crate::program) const BR: u8 = 0x0c;
    pub(in crate::program) const BR_IF: u8 = 0x0d;
    pub(in crate::program) const BR_TABLE: u8 = 0x0e;
    pub(in crate::program) const RETURN: u8 = 0x0f;
    pub(in crate::program) const CALL: u8 = 0x10;
    pub(in crate::program) const CALL_INDIRECT: u8 = 0x11;
    pub(in crate::program) const DROP: u8 = 0x1a;
    pub(in crate::program) const LOCAL_GET: u8 = 0x20;
    pub(in crate::program) const LOCAL_SET: u8 = 0x21;
    pub(in crate::program) const GLOBAL_GET: u8 = 0x23;
    pub(in crate::program) const GLOBAL_SET: u8 = 0x24;
    pub(in crate::program) const I32_STORE: u8 = 0x36;
    pub(in crate::program) const I64_STORE: u8 = 0x37;
    pub(in crate::program) const F32_STORE: u8 = 0x38;
    pub(in crate::program) const F64_STORE: u8 = 0x39;
    pub(in crate::program) const MEMORY_SIZE: u8 = 0x3f;
    pub(in crate::program) const MEMORY_GROW: u8 = 0x40;
    pub(in crate::program) const I32_CONST: u8 = 0x41;
    pub(in crate::program) const I64_CONST: u8 = 0x42;
    pub(in crate::program) const F32_CONST: u8 = 0x43;
    pub(in crate::program) const F64_CONST: u8 = 0x44;
    pub(in crate::program) const I32_EQ: u8 = 0x46;
    pub(in crate::program) const I32_GT_U: u8 = 0x4b;
    pub(in crate::program) const I32_ADD: u8 = 0x6a;
    pub(in crate::program) const I32_SHL: u8 = 0x74;
    pub(in crate::program) const REF_NULL: u8 = 0xd0;
    pub(in crate::program) const REF_IS_NULL: u8 = 0xd1;
    /// Begins the instructions of vectors, with a number after it.
    pub(in crate::program) const VECTOR: u8 = 0xfd;
    pub(in crate::program) const V128_STORE: usize = 11;
    pub(in crate::program) const V128_CONST: usize = 12;
}

/// Begins the type of a function.
pub(super) const FUNCTION_TYPE: u8 = 0x60;

/// The type of a block without parameters and results.
pub(super) const EMPTY_BLOCK: u8 = 0x40;

pub(super) const I32: u8 = 0x7f;

/// A section: identifier, length, contents.
pub(super) fn section(out: &mut Vec<u8>, id: u8, content: &[u8]) {
    out.push(id);
    leb128(out, content.len());
    out.extend_from_slice(content);
}

/// A list of so many entries more, without them.
pub(super) fn longer(content: &[u8], added: usize) -> Result<Vec<u8>, BinaryReaderError> {
    let mut reader = BinaryReader::new(content, 0);
    let count = reader.read_var_u32()?;
    let mut out = Vec::with_capacity(content.len() + 64 * added + 8);
    leb128(&mut out, count as usize + added);
    out.extend_from_slice(&content[reader.original_position()..]);
    Ok(out)
}

/// An export.
pub(super) fn export(out: &mut Vec<u8>, name: &str, kind: u8, index: u32) {
    leb128(out, name.len());
    out.extend_from_slice(name.as_bytes());
    out.push(kind);
    leb128(out, index as usize);
}

pub(super) fn reference(element: RefType) -> u8 {
    const FUNCREF: u8 = 0x70;
    const EXTERNREF: u8 = 0x6f;
    if element.is_func_ref() { FUNCREF } else { EXTERNREF }
}

/// The type of a value.
pub(super) fn value_type(ty: ValType) -> u8 {
    match ty {
        ValType::I32 => I32,
        ValType::I64 => 0x7e,
        ValType::F32 => 0x7d,
        ValType::F64 => 0x7c,
        ValType::V128 => 0x7b,
        ValType::Ref(ty) => reference(ty),
    }
}

/// A list of types.
pub(super) fn value_types(out: &mut Vec<u8>, types: &[ValType]) {
    leb128(out, types.len());
    out.extend(types.iter().copied().map(value_type));
}

/// The type of a block.
pub(super) fn block_type(out: &mut Vec<u8>, ty: BlockType) {
    match ty {
        BlockType::Empty => out.push(EMPTY_BLOCK),
        BlockType::Type(ty) => out.push(value_type(ty)),
        BlockType::FuncType(index) => signed_leb128(out, index.into()),
    }
}

/// A number as WebAssembly writes them.
pub(super) fn leb128(out: &mut Vec<u8>, mut number: usize) {
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

/// The same for one that has a sign.
pub(super) fn signed_leb128(out: &mut Vec<u8>, mut number: i64) {
    loop {
        let byte = number.to_le_bytes()[0] & 0x7f;
        number >>= 7;
        // The last byte's bit 6 is the sign.
        let sign = if byte & 0x40 == 0 { 0 } else { -1 };
        if number == sign {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_were_written() {
        let mut numbers = vec![0, 1, -1, 63, 64, -64, -65, 127, 128, i64::MAX, i64::MIN];
        numbers.extend((0..63).flat_map(|bit| [1 << bit, (1 << bit) - 1, -(1 << bit)]));
        for number in numbers {
            let mut out = Vec::new();
            signed_leb128(&mut out, number);
            assert_eq!(BinaryReader::new(&out, 0).read_var_i64().unwrap(), number);
            let Ok(number) = u32::try_from(number) else { continue };
            let mut out = Vec::new();
            leb128(&mut out, number as usize);
            assert_eq!(BinaryReader::new(&out, 0).read_var_u32().unwrap(), number);
        }
    }
}
