//! A program's state as a module: what it has computed up to a read of its standard input, and
//! where it goes on from there.
//!
//! A WebAssembly stack can't be read from outside. So a program that is to be captured is run
//! with an addition (`instrument.rs`, `exits.rs`): when the host sets a flag while the program waits in a read,
//! each function on the stack writes its values into a second memory and returns, and the program
//! comes out of `_start` with an empty stack. Memory, globals and what was written are its state.
//!
//! From that state and the *original* module an image is written (`image.rs`). For each function
//! that was on the stack it has one function more (`resume.rs`), with the values as constants
//! and the code that comes after the call. `_start` is the first of them. An image is a plain
//! module that any host can run, and it runs no slower than the program it is of.
//!
//! ```text
//!   module --Instrumented::of--> module to run ... parked in a read, flag set, returned
//!      |                                              |
//!      |                        State: memory, globals, frames, the call's arguments
//!      |                                              |
//!      +------------------------image-----------------+--> module that begins at the read
//! ```
//!
//! Everything here is pure: bytes to bytes.

mod copy;
mod error;
mod exits;
mod frames;
mod image;
mod instrument;
mod parts;
mod reach;
mod resume;
mod value;
mod walk;

pub use error::CaptureError;
pub(crate) use image::{Continuation, Data, State, Stopped, image};
pub(crate) use instrument::Instrumented;
pub(crate) use reach::READS;
pub(crate) use value::Value;
