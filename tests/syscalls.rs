//! What single calls do, on a host directory and in memory.
#![cfg(all(unix, feature = "host-fs", feature = "net"))]

#[path = "util/busy.rs"]
mod busy;
#[macro_use]
mod calls;

mod syscalls {
    pub mod dirs;
    pub mod files;
    pub mod identity;
    pub mod names;
    pub mod process;
    pub mod rights;
    pub mod streams;
}
