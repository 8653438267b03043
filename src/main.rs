//! The `tinyhost` program.

fn main() {}
