//! `wasi_snapshot_preview1`: a table with one row per syscall, and the one way into a call.
//!
//! The linker, the trace and the exhaustive tests are derived from [`TABLE`]. A row's function
//! decodes its arguments, checks them against the guest's memory and descriptors, calls the
//! [filesystem](crate::vfs) and encodes the result. It never calls the operating system.

pub mod abi;
mod call;
mod ctx;
mod enter;
mod fd;
mod file;
pub(crate) mod frame;
mod limits;
mod mem;
mod open;
mod path;
mod poll;
mod preopen;
mod proc;
mod readdir;
pub(crate) mod reopen;
mod resume;
mod sock;
#[cfg(all(unix, feature = "sockets"))]
mod socket;
mod syscall;
mod table;
mod trace;
mod wait;
#[cfg(all(unix, feature = "net"))]
pub(crate) mod watch;
mod write;

pub(crate) use call::{Call, Stop, Sys};
pub use ctx::{BadString, CtxBuilder, FDS_DEFAULT, Mode, Strings, WasiCtx};
pub use fd::Descriptor;
pub use frame::{ARGS_MAX, Args};
#[cfg(all(unix, feature = "serve"))]
pub(crate) use limits::MemoryRefusal;
pub use limits::{MemoryBudget, MemoryLimiter};
pub use mem::Mem;
pub use poll::SUBSCRIPTIONS_MAX;
pub use resume::{Retried, is_parked, retry};
pub(crate) use resume::{Suspended, run_again};
#[cfg(all(unix, feature = "sockets"))]
pub use socket::{SOCKETS, add_sockets_to_linker};
pub use syscall::{Kind, Param, Row};
pub use table::{TABLE, add_to_linker};
pub use trace::{CallOutcome, Tee, Trace, TracedCall};
pub(crate) use wait::Waiter;
#[cfg(all(unix, feature = "net"))]
pub(crate) use wait::{min_timeout, time_until, wait_timeout};

/// The socket calls of other hosts: none without the feature `sockets`.
#[cfg(not(all(unix, feature = "sockets")))]
pub static SOCKETS: &[Row] = &[];

/// The name of the import module that all functions are in.
pub const MODULE: &str = "wasi_snapshot_preview1";
