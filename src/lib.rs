//! tinyhost: a small WASI preview1 host on the wasmi interpreter.

mod errno;
mod guest;
mod program;
mod recycle;
#[cfg(all(unix, feature = "net"))]
pub mod sched;
#[cfg(all(unix, feature = "cli"))]
pub mod serve;
pub mod trace;
pub mod vfs;
pub mod wasi;
#[cfg(all(unix, feature = "net"))]
mod watch;

pub use errno::Errno;
pub use guest::{Armed, Cause, Guest, Step, Trap};
pub use program::{Config, Program, ProgramError};
#[cfg(all(target_os = "linux", feature = "recycle"))]
pub use recycle::GuestAllocator;
pub use recycle::{Ahead, Pool};
pub use wasi::WasiCtx;
