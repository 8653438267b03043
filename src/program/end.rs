//! What an error of the interpreter means for a guest.

use wasmi::TrapCode;
use wasmi::errors::ErrorKind;

use crate::step::{Cause, Step, Trap, fuel_trap};
use crate::wasi::{MemoryLimiter, Suspended};

/// The end that an error of the interpreter means. `begun` is whether the guest has an
/// instance: what fails then fails in the guest.
pub(crate) fn end_of(error: &wasmi::Error, limits: &MemoryLimiter, begun: bool) -> Step {
    if let Some(code) = error.i32_exit_status() {
        return Step::Exited(code.cast_unsigned());
    }
    let trap = |cause, text: String| Step::Trapped(Trap { cause, text });
    match error.as_trap_code() {
        Some(TrapCode::OutOfFuel) => Step::Trapped(fuel_trap()),
        Some(TrapCode::OutOfSystemMemory | TrapCode::GrowthOperationLimited) => {
            trap(Cause::Memory, "the host has no more memory for it".into())
        }
        _ if limits.refused.is_some() => trap(Cause::Memory, limits.refusal()),
        Some(code) => trap(Cause::Wasm, trap_text(code).into()),
        None if is_out_of_memory(error) => trap(Cause::Memory, error.to_string()),
        None if begun && is_the_guests(error) => trap(Cause::Wasm, error.to_string()),
        None => trap(Cause::Host, error.to_string()),
    }
}

/// Whether an error comes from what the program does, rather than from what it is.
fn is_the_guests(error: &wasmi::Error) -> bool {
    let late = matches!(error.kind(), ErrorKind::Translation(_) | ErrorKind::Wasm(_));
    late || error.downcast_ref::<Suspended>().is_some()
}

fn trap_text(code: TrapCode) -> &'static str {
    match code {
        TrapCode::UnreachableCodeReached => {
            "unreachable executed (a panic or abort of the program)"
        }
        TrapCode::MemoryOutOfBounds => "memory access out of bounds",
        TrapCode::TableOutOfBounds => "table access out of bounds",
        TrapCode::IndirectCallToNull => "call through a null function pointer",
        TrapCode::IntegerDivisionByZero => "integer division by zero",
        TrapCode::IntegerOverflow => "integer overflow",
        TrapCode::BadConversionToInteger => "conversion of NaN or an infinity to an integer",
        TrapCode::StackOverflow => "call stack exhausted",
        TrapCode::BadSignature => "call through a function pointer of another type",
        _ => "trap",
    }
}

/// Whether an instantiation failed because memory was refused.
fn is_out_of_memory(error: &wasmi::Error) -> bool {
    matches!(error.kind(), ErrorKind::Memory(_) | ErrorKind::Table(_))
        || matches!(error.kind(), ErrorKind::Instantiation(_))
            && error.to_string().contains("memory")
}
