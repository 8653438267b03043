//! What single calls do, on a host directory and in memory.

#[macro_use]
mod calls;

mod syscalls {
    pub mod dirs;
    pub mod files;
    pub mod names;
    pub mod process;
    pub mod streams;
}
