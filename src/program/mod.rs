//! A module, checked and compiled once, to be run as any number of guests.

pub(crate) mod recipe;

use std::fmt;
use std::sync::Arc;

use wasmi::errors::ErrorKind;
use wasmi::{
    CompilationMode, Config as WasmiConfig, CustomFuelCosts, Engine, ExternType, FuncType, Linker,
    Module, ValType,
};

use crate::wasi::{MODULE, Row, TABLE, WasiCtx, add_to_linker};
use recipe::Recipe;

/// Finished stacks kept for the next guest; a parked guest has its own.
const STACKS_CACHED: usize = 64;

/// How programs are compiled.
#[derive(Clone, Debug)]
pub struct Config {
    /// Bytes of value stack a guest can use. It grows on the host's heap as it is used.
    pub stack_max: usize,
    /// Calls within calls a guest can make.
    pub frames_max: usize,
    /// Guests of it are made again and again: everything is checked and translated at once,
    /// and made ready for [recycling](crate::Pool). Otherwise each function is when it is
    /// first called, and one that is not valid traps then.
    pub reuse: bool,
}

impl Default for Config {
    /// Room for Go programs and for interpreters compiled to wasm.
    fn default() -> Config {
        Config { stack_max: 32 << 20, frames_max: 200_000, reuse: true }
    }
}

/// A program: a WASI command that can be started again and again. Cheap to clone.
///
/// ```
/// use tinyhost::{Program, ProgramError};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let program = Program::new(std::fs::read("fixtures/hello.wasm")?)?;
/// # let _ = program;
/// let error = Program::new(b"#!/bin/sh").unwrap_err();
/// assert_eq!(error, ProgramError::NotWasm); // its text says what to do
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Program {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) engine: Engine,
    pub(crate) module: Module,
    pub(crate) linker: Linker<WasiCtx>,
    /// How its instances are used again, if they can be.
    pub(crate) recipe: Option<Recipe>,
}

/// Why bytes are not a program that can be run here. The text says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramError {
    /// Not WebAssembly at all.
    NotWasm,
    /// A component rather than a module.
    Component,
    /// Damaged, or a proposal that isn't supported; with the place.
    Invalid(String),
    /// An import that is not there, as `module.name`.
    MissingImport(String, String),
    /// A WASI function imported with another signature.
    ImportType(String),
    /// No `_start` export.
    NoStart,
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProgramError::NotWasm => f.write_str(
                "not a WebAssembly module (it does not begin with '\\0asm'): \
                 build the program for wasm32-wasip1 and give the .wasm file",
            ),
            ProgramError::Component => f.write_str(
                "a WebAssembly component, not a module: build it for wasm32-wasip1 \
                 (not wasip2), or take the core module before it was wrapped",
            ),
            ProgramError::Invalid(why) => write!(
                f,
                "not a valid WebAssembly module ({why}): it may be truncated or need a feature \
                 that is not supported; build it again for wasm32-wasip1"
            ),
            ProgramError::MissingImport(module, name) => {
                write!(f, "it imports '{module}.{name}', which is not there: {}", hint(module))
            }
            ProgramError::ImportType(name) => write!(
                f,
                "it imports '{MODULE}.{name}' with a wrong signature: build it with a \
                 toolchain for wasm32-wasip1"
            ),
            ProgramError::NoStart => f.write_str(
                "it exports no function '_start' without parameters and results: build it as a \
                 command (a binary), not as a library or reactor",
            ),
        }
    }
}

impl std::error::Error for ProgramError {}

/// What most likely led to an import from this module.
fn hint(module: &str) -> &'static str {
    match module {
        MODULE => "preview1 has no such function; build with a current toolchain",
        "wasi_unstable" => "that is preview0; build with a toolchain for wasm32-wasip1",
        "gojs" | "go" => "that is Go for browsers; build with GOOS=wasip1 GOARCH=wasm",
        "wbg" | "__wbindgen_placeholder__" => {
            "that is wasm-bindgen, for browsers; build for wasm32-wasip1 without it"
        }
        _ => "only functions of 'wasi_snapshot_preview1' are",
    }
}

impl Program {
    /// Checks and compiles a module.
    ///
    /// # Errors
    ///
    /// If the bytes are no command for preview1; see [`ProgramError`].
    pub fn new(wasm: impl AsRef<[u8]>) -> Result<Program, ProgramError> {
        Program::with(&Config::default(), wasm)
    }

    /// As [`Program::new`], with limits of its own.
    ///
    /// # Errors
    ///
    /// As [`Program::new`].
    pub fn with(config: &Config, wasm: impl AsRef<[u8]>) -> Result<Program, ProgramError> {
        let wasm = wasm.as_ref();
        check_header(wasm)?;
        let engine = Engine::new(&engine_config(config));
        let (changed, recipe) = config.reuse.then(|| recipe::recipe(wasm)).flatten().unzip();
        let wasm = changed.as_deref().unwrap_or(wasm);
        let module = Module::new(&engine, wasm).map_err(|error| {
            // wasmi's texts may have several lines; the first says what.
            let text = error.to_string();
            ProgramError::Invalid(text.lines().next().unwrap_or_default().to_owned())
        })?;
        check_imports(&module)?;
        match module.get_export("_start") {
            Some(ExternType::Func(ty)) if ty.params().is_empty() && ty.results().is_empty() => {}
            _ => return Err(ProgramError::NoStart),
        }
        let mut linker = Linker::new(&engine);
        add_to_linker(&mut linker, |cx: &mut WasiCtx| cx)
            .expect("an empty linker has none of the names");
        Ok(Program { shared: Arc::new(Shared { engine, module, linker, recipe }) })
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").finish_non_exhaustive()
    }
}

fn engine_config(config: &Config) -> WasmiConfig {
    let mut wasmi = WasmiConfig::default();
    wasmi
        .consume_fuel(true)
        // Translation happens once for all guests, so none is charged for it: the same run
        // costs the same fuel each time. (Running out of fuel there can't be resumed.)
        .fuel_cost(CustomFuelCosts {
            bytes_copied_per_fuel: 64,
            fuel_per_bytes_translated: 0,
            fuel_per_bytes_validated: 0,
        })
        .ignore_custom_sections(true)
        .compilation_mode(if config.reuse { CompilationMode::Eager } else { CompilationMode::Lazy })
        .set_max_cached_stacks(STACKS_CACHED)
        .set_max_recursion_depth(config.frames_max)
        // wasmi refuses a maximum below what a stack begins with.
        .set_max_stack_height(config.stack_max.max(64 << 10));
    wasmi
}

/// The first eight bytes: magic number, then version and layer.
fn check_header(wasm: &[u8]) -> Result<(), ProgramError> {
    match wasm {
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Err(ProgramError::Component),
        [b'\0', b'a', b's', b'm', ..] => Ok(()),
        _ => Err(ProgramError::NotWasm),
    }
}

fn check_imports(module: &Module) -> Result<(), ProgramError> {
    for import in module.imports() {
        let missing = || ProgramError::MissingImport(import.module().into(), import.name().into());
        let row = TABLE.iter().find(|row| row.name == import.name());
        let (Some(row), MODULE) = (row, import.module()) else { return Err(missing()) };
        match import.ty() {
            ExternType::Func(ty) if *ty == signature(row) => {}
            _ => return Err(ProgramError::ImportType(import.name().into())),
        }
    }
    Ok(())
}

/// The wasm type of a syscall.
fn signature(row: &Row) -> FuncType {
    let wide = |wide| if wide { ValType::I64 } else { ValType::I32 };
    let params = row.params.iter().map(|param| wide(param.kind.is_wide()));
    FuncType::new(params.collect::<Vec<_>>(), row.returns.then_some(ValType::I32))
}

/// Whether an instantiation failed for want of memory.
pub(crate) fn is_out_of_memory(error: &wasmi::Error) -> bool {
    matches!(error.kind(), ErrorKind::Memory(_) | ErrorKind::Table(_))
        || matches!(error.kind(), ErrorKind::Instantiation(_))
            && error.to_string().contains("memory")
}
