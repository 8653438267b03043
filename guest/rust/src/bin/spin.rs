//! Computes for ever and calls nothing.
//!
//! Pins: timeouts, fuel and fairness against a guest that never enters the host.

use std::hint::black_box;

fn main() {
    let mut x: u64 = 1;
    loop {
        x = black_box(x.wrapping_mul(6364136223846793005).wrapping_add(1));
    }
}
