//! Why a module is turned down, in words.

use std::fmt;

use super::refusal;
use super::survey::{Fault, Survey};
use crate::wasi::MODULE;

/// Why bytes are not a program that can be run here. The text says what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProgramError {
    /// Not WebAssembly at all.
    NotWasm,
    /// Not WebAssembly, but something else; what, and what to do.
    File(&'static str),
    /// A valid module that needs what is not here; what, and what to do.
    Needs(&'static str),
    /// A component rather than a module.
    Component,
    /// A function with more local variables than the interpreter takes.
    TooManyLocals {
        /// Its index.
        function: u32,
        /// How many it has, parameters included.
        locals: u32,
    },
    /// Damaged, or a proposal that isn't supported; with the place.
    Invalid(String),
    /// An import that is not there.
    MissingImport {
        /// The import's module.
        module: String,
        /// Its name there.
        name: String,
        /// What that means, and what to do.
        what: &'static str,
    },
    /// A WASI function imported with another signature.
    ImportType(String),
    /// An image that is not what was written. The text says what it is.
    Image(String),
    /// No `_start` export.
    NoStart,
    /// It is not known which export of a library to call; why, and what to do.
    Handler(String),
}

impl fmt::Display for ProgramError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProgramError::NotWasm => f.write_str(
                "not a WebAssembly module (it does not begin with '\\0asm'): \
                 build the program for wasm32-wasip1 and give the .wasm file",
            ),
            ProgramError::File(what) => write!(f, "not a WebAssembly module but {what}"),
            ProgramError::Needs(what) => write!(f, "it needs {what}"),
            ProgramError::Component => f.write_str(
                "a WebAssembly component, not a module: build it for wasm32-wasip1 \
                 (not wasip2), or take the core module before it was wrapped",
            ),
            ProgramError::Invalid(why) => write!(
                f,
                "not a valid WebAssembly module ({why}): it may be truncated or damaged; build or \
                 download it again"
            ),
            ProgramError::TooManyLocals { function, locals } => write!(
                f,
                "its function {function} has {locals} local variables, and the interpreter takes \
                 30000 at the most: build it with optimisation, or split the function"
            ),
            ProgramError::MissingImport { module, name, what } => {
                write!(f, "it imports '{module}.{name}', which is not there: {what}")
            }
            ProgramError::ImportType(name) => write!(
                f,
                "it imports '{MODULE}.{name}' with a wrong signature: build it with a \
                 toolchain for wasm32-wasip1"
            ),
            ProgramError::Image(what) => write!(f, "an image that is {what}"),
            ProgramError::NoStart => f.write_str(
                "it exports no function '_start' without parameters and results: build it as a \
                 command (a binary), not as a library or reactor",
            ),
            ProgramError::Handler(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ProgramError {}

/// Looks at a module; why it can't be run, if it is not valid.
pub(crate) fn survey(wasm: &[u8]) -> Result<Survey<'_>, ProgramError> {
    check_header(wasm)?;
    Survey::of(wasm).map_err(|fault| match fault {
        Fault::Refused(error) => error,
        Fault::Invalid(error) => match refusal::proposal(wasm) {
            Some(what) => ProgramError::Needs(what),
            None => ProgramError::Invalid(error.to_string()),
        },
    })
}

/// The first eight bytes: magic number, then version and layer.
fn check_header(wasm: &[u8]) -> Result<(), ProgramError> {
    match wasm {
        [b'\0', b'a', b's', b'm', _, _, 1, 0, ..] => Err(ProgramError::Component),
        [b'\0', b'a', b's', b'm', ..] => Ok(()),
        _ => Err(refusal::file(wasm).map_or(ProgramError::NotWasm, ProgramError::File)),
    }
}
