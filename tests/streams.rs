//! What a descriptor promises whatever is behind it: a write that blocks is whole, and a direction
//! that was not opened does not exist. Each rule is tried on every kind of stream there is.
#![cfg(all(unix, feature = "host-fs", feature = "net"))]

#[macro_use]
mod calls;
mod util;

mod streams {
    pub mod directions;
    pub mod fifo;
    pub mod inherited;
    pub mod kinds;
    pub mod once;
    pub mod terminal;
    pub mod whole;
    pub mod writer;
}
