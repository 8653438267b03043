//! Hostile numbers: pointers at and past the end of memory, counts whose product wraps,
//! flags nobody knows, tables that are full, and random arguments to everything.
#![cfg(all(unix, feature = "host-fs", feature = "net"))]

#[path = "util/busy.rs"]
mod busy;
#[macro_use]
mod calls;

mod hostile {
    #[cfg(target_os = "linux")]
    pub mod descriptors;
    pub mod numbers;
    pub mod order;
    pub mod pointers;
    pub mod random;
}
