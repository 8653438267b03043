//! A value of a guest, and the instruction that makes it.

use wasmi::Val;
use wasmparser::{RefType, ValType};

use crate::program::encode::{leb128, op, reference, signed_leb128};

/// A value, floating-point numbers by their bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    I32(i32),
    I64(i64),
    F32(u32),
    F64(u64),
    V128([u8; 16]),
    /// A reference to nothing: the only one that can be recorded.
    Null(RefType),
}

/// Bytes of a slot, in which a value is recorded; a vector takes two.
pub(super) const SLOT: usize = 8;

/// Bytes in which a value of this type is recorded.
pub(super) fn recorded_bytes(ty: ValType) -> usize {
    if ty == ValType::V128 { 2 * SLOT } else { SLOT }
}

impl Value {
    /// A value of the interpreter. `None` for a reference to something.
    pub(crate) fn of(value: &Val) -> Option<Value> {
        Some(match value {
            Val::I32(number) => Value::I32(*number),
            Val::I64(number) => Value::I64(*number),
            Val::F32(number) => Value::F32(number.to_bits()),
            Val::F64(number) => Value::F64(number.to_bits()),
            Val::V128(vector) => Value::V128(vector.as_u128().to_le_bytes()),
            Val::FuncRef(function) if function.is_null() => Value::Null(RefType::FUNCREF),
            Val::ExternRef(host) if host.is_null() => Value::Null(RefType::EXTERNREF),
            Val::FuncRef(_) | Val::ExternRef(_) => return None,
        })
    }

    /// Reads a recorded value. `None` for a reference to something.
    pub(super) fn read(ty: ValType, bytes: &[u8]) -> Option<Value> {
        let low = |bytes: &[u8]| <[u8; SLOT]>::try_from(&bytes[..SLOT]).expect("as many");
        let number = u64::from_le_bytes(low(bytes));
        let half = number as u32;
        Some(match ty {
            ValType::I32 => Value::I32(half.cast_signed()),
            ValType::I64 => Value::I64(number.cast_signed()),
            ValType::F32 => Value::F32(half),
            ValType::F64 => Value::F64(number),
            ValType::V128 => Value::V128(bytes[..16].try_into().expect("as many")),
            // What is recorded of a reference is whether it is null.
            ValType::Ref(ty) if half == 1 => Value::Null(ty),
            ValType::Ref(_) => return None,
        })
    }

    /// What a local variable of this type is when its function begins.
    pub(super) fn initial(ty: ValType) -> Value {
        match ty {
            ValType::I32 => Value::I32(0),
            ValType::I64 => Value::I64(0),
            ValType::F32 => Value::F32(0),
            ValType::F64 => Value::F64(0),
            ValType::V128 => Value::V128([0; 16]),
            ValType::Ref(ty) => Value::Null(ty),
        }
    }

    /// Whether a local variable has this value when its function begins.
    pub(super) fn is_initial(self) -> bool {
        match self {
            Value::I32(number) => number == 0,
            Value::I64(number) => number == 0,
            Value::F32(bits) => bits == 0,
            Value::F64(bits) => bits == 0,
            Value::V128(bytes) => bytes == [0; 16],
            Value::Null(_) => true,
        }
    }

    /// Writes the instruction that makes it.
    pub(super) fn write(self, out: &mut Vec<u8>) {
        match self {
            Value::I32(number) => {
                out.push(op::I32_CONST);
                signed_leb128(out, number.into());
            }
            Value::I64(number) => {
                out.push(op::I64_CONST);
                signed_leb128(out, number);
            }
            Value::F32(bits) => {
                out.push(op::F32_CONST);
                out.extend_from_slice(&bits.to_le_bytes());
            }
            Value::F64(bits) => {
                out.push(op::F64_CONST);
                out.extend_from_slice(&bits.to_le_bytes());
            }
            Value::V128(bytes) => {
                out.push(op::VECTOR);
                leb128(out, op::V128_CONST);
                out.extend_from_slice(&bytes);
            }
            Value::Null(ty) => out.extend_from_slice(&[op::REF_NULL, reference(ty)]),
        }
    }
}
