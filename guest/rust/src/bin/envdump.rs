//! Prints its arguments in order, then its environment sorted by name.
//!
//! Pins: args and environ reach the guest whole, in order, and nothing of the host's own
//! environment comes with them.

use std::env;

fn main() {
    for (i, arg) in env::args().enumerate() {
        println!("arg[{i}]={arg}");
    }
    let mut vars: Vec<(String, String)> = env::vars().collect();
    vars.sort();
    for (name, value) in vars {
        println!("{name}={value}");
    }
}
