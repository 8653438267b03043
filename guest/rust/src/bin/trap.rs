//! Runs into an `unreachable` after one line of output.
//!
//! Pins: a trap is the host's error and not the guest's exit status, and what the guest
//! printed before it is not lost.

fn main() {
    println!("before the trap");
    #[cfg(target_arch = "wasm32")]
    core::arch::wasm32::unreachable();
}
