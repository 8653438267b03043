//! A module, checked and compiled once, for any number of guests.

pub(crate) mod capture;
mod encode;
mod end;
mod error;
pub(crate) mod exports;
pub(crate) mod growth;
mod hook;
pub(crate) mod image;
mod inspect;
pub(crate) mod recipe;
mod refusal;
mod rewrite;
pub(crate) mod seal;
mod survey;
pub(crate) mod warmth;

use std::fmt;
use std::sync::Arc;

use wasmi::{
    CompilationMode, Config as WasmiConfig, CustomFuelCosts, Engine, ExternType, FuncType, Linker,
    Module, ValType,
};

#[cfg(all(unix, feature = "sockets"))]
use crate::wasi::add_sockets_to_linker;
use crate::wasi::reopen::Kept;
use crate::wasi::{MODULE, Row, SOCKETS, TABLE, WasiCtx, add_to_linker};
use image::Image;
use recipe::Recipe;

/// Finished stacks kept for the next guest; a parked guest has its own.
const STACKS_CACHED: usize = 16;

pub(crate) use end::end_of;
pub use error::ProgramError;
pub(crate) use error::survey;
pub(crate) use hook::{EntryPoint, complete, install};
pub use inspect::{Export, Import, Inspection, MemorySize, Producer};
pub(crate) use rewrite::Hooks;
pub use warmth::{Warm, Warmth};

/// Options for [`Program::with`].
#[derive(Clone, Debug)]
pub struct ProgramConfig {
    /// Bytes of value stack a guest can use. The stack grows on the host's heap. wasmi doesn't
    /// report how far, so a [`MemoryBudget`](crate::wasi::MemoryBudget) counts the largest size.
    pub stack_max: usize,
    /// Depth of nested calls. Beyond it the guest traps.
    pub frames_max: usize,
    /// Set if many guests of the program will be made. All functions are then translated at once,
    /// and instances can be [recycled](crate::Pool). Otherwise a function is translated at its
    /// first call. Either way the whole module is validated at once.
    pub reuse: bool,
}

impl Default for ProgramConfig {
    /// 2 MiB of stack and 16,384 nested calls, which suits thousands of guests. A program with deep
    /// recursion may need more.
    fn default() -> ProgramConfig {
        ProgramConfig { stack_max: 2 << 20, frames_max: 16_384, reuse: true }
    }
}

impl ProgramConfig {
    /// The largest size of a guest's stacks in bytes. A list of frames is held twice as it grows.
    fn stack_bytes(&self) -> usize {
        const FRAME_BYTES: usize = 32;
        let frames = self.frames_max.saturating_mul(2 * FRAME_BYTES);
        self.stack_max.saturating_add(frames)
    }
}

/// A WASI command, checked and compiled. Any number of guests can be made of it. Cheap to clone.
///
/// ```
/// use tinyhost::{Program, ProgramError};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let program = Program::new(std::fs::read("fixtures/hello.wasm")?)?;
/// # let _ = program;
/// let error = Program::new(b"#!/bin/sh").unwrap_err();
/// assert!(matches!(error, ProgramError::File(_))); // its text says what to do
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
    /// The largest size of a guest's stacks in bytes.
    pub(crate) stack_bytes: usize,
    /// What was added to the module.
    pub(crate) hooks: Hooks,
    /// How its instances are used again, if they can be.
    pub(crate) recipe: Option<Recipe>,
    /// The exports to call, one after the other.
    pub(crate) entry: Vec<String>,
    /// How it came to its image, if it was to be given one.
    pub(crate) warmth: Option<Warmth>,
    /// What its guests have open when they begin.
    pub(crate) files: Kept,
}

/// What is made of a module, and for what.
pub(crate) struct Build<'a> {
    /// The exports that are the program.
    pub(crate) entry: &'a [&'a str],
    /// Translates all functions at once, rather than each at its first call.
    pub(crate) eager: bool,
    /// Prepares its instances to be put back.
    pub(crate) reuse: bool,
    /// What its memory holds, if the module does not say that itself.
    pub(crate) image: Option<Image>,
    pub(crate) warmth: Option<Warmth>,
    /// What its guests have open when they begin, if the module does not say that itself.
    pub(crate) files: Option<Kept>,
}

impl Program {
    /// Checks and compiles a module.
    ///
    /// # Errors
    ///
    /// If the bytes are not a WASI preview1 command, see [`ProgramError`].
    pub fn new(wasm: impl AsRef<[u8]>) -> Result<Program, ProgramError> {
        Program::with(&ProgramConfig::default(), wasm)
    }

    /// Checks and compiles a module with these options.
    ///
    /// # Errors
    ///
    /// As [`Program::new`].
    pub fn with(config: &ProgramConfig, wasm: impl AsRef<[u8]>) -> Result<Program, ProgramError> {
        let reuse = config.reuse;
        let build = Build {
            entry: &["_start"],
            eager: reuse,
            reuse,
            image: None,
            warmth: None,
            files: None,
        };
        Program::build(config, wasm.as_ref(), build)
    }

    pub(crate) fn build(
        config: &ProgramConfig,
        wasm: &[u8],
        build: Build<'_>,
    ) -> Result<Program, ProgramError> {
        let files = match build.files {
            Some(files) => files,
            None => seal::open(wasm)?,
        };
        let survey = error::survey(wasm)?;
        let engine = Engine::new(&engine_config(config, build.eager || survey.is_heavy()));
        let mut recipe = build.reuse.then(|| recipe::recipe(&survey).ok()).flatten();
        let globals = recipe.as_ref().map_or(&[][..], Recipe::globals);
        let hooks = Hooks::of(&survey);
        let invalid = |text: String| {
            // wasmi's texts may have several lines; the first says what.
            ProgramError::Invalid(text.lines().next().unwrap_or_default().to_owned())
        };
        let changed = rewrite::rewrite(&survey, &hooks, globals)
            .map_err(|error| invalid(error.to_string()))?;
        let module = Module::new(&engine, changed).map_err(|error| invalid(error.to_string()))?;
        check_imports(&module)?;
        let may_return = build.image.is_some() || build.entry != ["_start"];
        check_entry(&module, build.entry, may_return)?;
        if let Some(image) = build.image {
            let recipe = recipe.as_mut();
            recipe.ok_or_else(|| invalid("it can't have an image".to_owned()))?.image = image;
        }
        let stack_bytes = config.stack_bytes();
        let mut linker = Linker::new(&engine);
        add_to_linker(&mut linker, |cx: &mut WasiCtx| cx)
            .expect("an empty linker has none of the names");
        #[cfg(all(unix, feature = "sockets"))]
        add_sockets_to_linker(&mut linker, &module, |cx: &mut WasiCtx| cx)
            .expect("what is there already is replaced");
        let entry = build.entry.iter().map(|name| (*name).to_owned()).collect();
        let warmth = build.warmth;
        Ok(Program {
            shared: Arc::new(Shared {
                engine,
                module,
                linker,
                stack_bytes,
                hooks,
                recipe,
                entry,
                warmth,
                files,
            }),
        })
    }

    /// How [`Program::warm`] went. `None` for other programs.
    pub fn warmth(&self) -> Option<&Warmth> {
        self.shared.warmth.as_ref()
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").finish_non_exhaustive()
    }
}

fn engine_config(config: &ProgramConfig, eager: bool) -> WasmiConfig {
    let mut wasmi = WasmiConfig::default();
    wasmi
        .consume_fuel(true)
        // Translation happens once for all guests, so none is charged for it: the same run
        // costs the same fuel each time. (Running out of fuel there can't be resumed.)
        // Copying costs about what it does in a host call.
        .fuel_cost(CustomFuelCosts {
            bytes_copied_per_fuel: 16,
            fuel_per_bytes_translated: 0,
            fuel_per_bytes_validated: 0,
        })
        .ignore_custom_sections(true)
        // The module was validated before. What it takes for a function to be more than can be
        // translated is only known when it is tried, and has to be known before it runs.
        .compilation_mode(if eager { CompilationMode::Eager } else { CompilationMode::Lazy })
        // The crate feature is on for its encodings (docs/wasmi.md); the proposal is not.
        .wasm_memory64(false)
        .set_max_cached_stacks(STACKS_CACHED)
        .set_max_recursion_depth(config.frames_max)
        // wasmi refuses a maximum below what a stack begins with.
        .set_max_stack_height(config.stack_max.max(64 << 10));
    wasmi
}

/// Functions without parameters. If it `may_return` something, the last one returns the status with
/// which the program exits.
fn check_entry(module: &Module, entry: &[&str], may_return: bool) -> Result<(), ProgramError> {
    for (index, name) in entry.iter().enumerate() {
        let last = may_return && index + 1 == entry.len();
        match module.get_export(name) {
            Some(ExternType::Func(ty))
                if ty.params().is_empty()
                    && (ty.results().is_empty() || last && ty.results() == [ValType::I32]) => {}
            _ => return Err(ProgramError::NoStart),
        }
    }
    Ok(())
}

fn check_imports(module: &Module) -> Result<(), ProgramError> {
    let mut missing = Vec::new();
    let mut mistyped = None;
    for import in module.imports() {
        // The socket calls of other hosts have several forms, and some the name of a standard one.
        let rows = TABLE.iter().chain(SOCKETS).filter(|row| row.name == import.name());
        let forms: Vec<FuncType> = rows.map(Row::signature).collect();
        if forms.is_empty() || import.module() != MODULE {
            missing.push((import.module(), import.name()));
            continue;
        }
        match import.ty() {
            ExternType::Func(ty) if forms.contains(ty) => {}
            _ => mistyped = mistyped.or(Some(import.name())),
        }
    }
    // What is missing says more of how the module was built.
    if let Some((module, name, what)) = refusal::import(&missing) {
        return Err(ProgramError::MissingImport { module: module.into(), name: name.into(), what });
    }
    match mistyped {
        Some(name) => Err(ProgramError::ImportType(name.into())),
        None => Ok(()),
    }
}
