//! tinyhost: a small WASI preview1 host on the wasmi interpreter.

mod errno;
pub mod vfs;

pub use errno::Errno;
