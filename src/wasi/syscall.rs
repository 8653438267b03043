//! A row of the table: a syscall, its parameters, and what it costs in any case.

use wasmi::{FuncType, ValType};

use super::call::{Call, Sys};
use super::limits::BYTES_PER_FUEL;

/// What a parameter means; its wasm type follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A descriptor.
    Fd,
    /// A pointer to where a result goes.
    Out,
    /// A pointer to something else.
    Ptr,
    /// The start of a path; its length is the next parameter.
    Path,
    /// Vectors to read into; their number is the next parameter.
    Iovs,
    /// Vectors to write from; their number is the next parameter.
    Ciovs,
    /// A length or count.
    Size,
    /// A 32-bit number, flags or enumeration.
    U32,
    /// A 64-bit number or flags.
    U64,
    /// A signed 64-bit offset.
    I64,
}

impl Kind {
    /// Whether it is an `i64` in wasm; all others are `i32`.
    pub fn is_wide(self) -> bool {
        matches!(self, Kind::U64 | Kind::I64)
    }
}

/// A parameter, by the spec's name.
#[derive(Debug)]
pub struct Param {
    /// The spec's name.
    pub name: &'static str,
    /// What it means.
    pub kind: Kind,
}

/// A syscall.
pub struct Row {
    /// The spec's name.
    pub name: &'static str,
    /// Its parameters.
    pub params: &'static [Param],
    /// `false` for `proc_exit`, which has no result.
    pub returns: bool,
    /// What it costs in any case, see [`Call::charge_fuel`].
    pub(super) work: u64,
    pub(super) run: fn(&mut Call<'_>, &[u64]) -> Sys,
}

impl Row {
    /// The wasm type of the function.
    pub(crate) fn signature(&self) -> FuncType {
        let wide = |wide| if wide { ValType::I64 } else { ValType::I32 };
        let params = self.params.iter().map(|param| wide(param.kind.is_wide()));
        FuncType::new(params.collect::<Vec<_>>(), self.returns.then_some(ValType::I32))
    }

    /// Whether a module imports the name in this form.
    #[cfg(all(unix, feature = "sockets"))]
    pub(super) fn is_imported_by(&self, module: &wasmi::Module) -> bool {
        module.imports().any(|import| {
            let ty = import.ty().func();
            import.module() == super::MODULE
                && import.name() == self.name
                && ty.is_some_and(|ty| *ty == self.signature())
        })
    }
}

/// The row of a frame that no call has used.
impl Default for &'static Row {
    fn default() -> &'static Row {
        &super::TABLE[0]
    }
}

/// Fuel for any call, and for each path that is walked. A unit of fuel is about a nanosecond.
const CALL_FUEL: u64 = 50;
const PATH_FUEL: u64 = 2000;

/// The work of a call with these parameters, see [`Call::charge_fuel`].
pub(super) const fn work(params: &[Kind]) -> u64 {
    let mut work = CALL_FUEL * BYTES_PER_FUEL;
    let mut at = 0;
    while at < params.len() {
        if matches!(params[at], Kind::Path) {
            work += PATH_FUEL * BYTES_PER_FUEL;
        }
        at += 1;
    }
    work
}

/// A name that is a word of Rust's is written `r#in`.
pub(super) const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}
