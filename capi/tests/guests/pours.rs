//! `pours COUNT`: writes COUNT bytes to standard output in one call, and reports on standard error
//! how many were taken. Built and run by .ci/capi.

use std::ffi::{c_int, c_void};

unsafe extern "C" {
    fn write(fd: c_int, bytes: *const c_void, len: usize) -> isize;
}

fn main() {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).expect("a count");
    let bytes: Vec<u8> = (0..count).map(|n: usize| (n % 251) as u8).collect();
    // SAFETY: there are as many bytes as it says.
    let taken = unsafe { write(1, bytes.as_ptr().cast(), bytes.len()) };
    eprint!("{taken}");
}
