//! Why a guest can't be captured.

use std::fmt;

use wasmparser::BinaryReaderError;

use crate::program::ProgramError;

/// Why a guest can't be [captured](crate::Capturable). The text is one line.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CaptureError {
    /// The module is not a program.
    Program(ProgramError),
    /// It imports something other than functions.
    Imports,
    /// It has no memory, or several.
    Memories(usize),
    /// It changes its tables, or takes data from segments while it runs.
    Tables,
    /// It has no way to read standard input.
    NeverReads,
    /// The guest is not one of this program, or doesn't wait for its standard input alone.
    NotReading,
    /// It has something open that can't be opened again; what, and why.
    Open(String),
    /// A function on its stack, or a global, holds a reference.
    Reference,
    /// More functions are on its stack than are captured.
    Deep(usize),
    /// The code to go on from its stack would be larger than this, in bytes.
    Large(usize),
    /// Its stack was not recorded: a fault of the host, or no memory is left.
    Frames,
}

impl fmt::Display for CaptureError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CaptureError::Program(error) => error.fmt(f),
            CaptureError::Imports => f.write_str("it imports a memory, a table or a global"),
            CaptureError::Memories(0) => f.write_str("it has no memory"),
            CaptureError::Memories(_) => f.write_str("it has several memories"),
            CaptureError::Tables => f.write_str(
                "it changes its tables or drops segments, which an image doesn't record",
            ),
            CaptureError::NeverReads => f.write_str("it never reads standard input"),
            CaptureError::NotReading => f.write_str("it doesn't wait for its standard input"),
            CaptureError::Open(what) => f.write_str(what),
            CaptureError::Reference => f.write_str(
                "it holds a reference to a function or to something of the host, which an image \
                 can't record",
            ),
            CaptureError::Deep(depth) => {
                write!(
                    f,
                    "more than {depth} of its functions are active when it reads standard input"
                )
            }
            CaptureError::Large(bytes) => write!(
                f,
                "the functions that are active when it reads standard input are too large: \
                 more than {bytes} bytes of code"
            ),
            CaptureError::Frames => f.write_str("its stack was not recorded as expected"),
        }
    }
}

impl std::error::Error for CaptureError {}

impl From<BinaryReaderError> for CaptureError {
    /// The module was validated before, so this is a module that was changed since.
    fn from(error: BinaryReaderError) -> CaptureError {
        CaptureError::Program(ProgramError::Invalid(error.to_string()))
    }
}
