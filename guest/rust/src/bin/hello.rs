//! Prints one line. The smallest Rust guest there is.
//!
//! Pins: a guest that needs nothing but stdout, and that tinyhost starts it at all.

fn main() {
    println!("hello, world");
}
