//! `pipes FIFO FILE`: writes to a FIFO whose only reader, itself, is gone, and more to a file
//! than it may have. Tells the errors. Built and run by .ci/capi.

use std::ffi::{CString, c_char, c_int};
use std::fs::File;
use std::io::{Error, Write};
use std::os::fd::FromRawFd;

const O_RDONLY: c_int = 0x0400_0000;
const O_WRONLY: c_int = 0x1000_0000;
const O_NONBLOCK: c_int = 4;

unsafe extern "C" {
    #[link_name = "open"]
    fn c_open(path: *const c_char, flags: c_int, ...) -> c_int;
}

fn open(path: &str, flags: c_int) -> File {
    let c_path = CString::new(path).unwrap();
    let fd = unsafe { c_open(c_path.as_ptr(), flags | O_NONBLOCK) };
    assert!(fd >= 0, "{path}: {}", Error::last_os_error());
    unsafe { File::from_raw_fd(fd) }
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let reader = open(&args[1], O_RDONLY);
    let mut writer = open(&args[1], O_WRONLY);
    writer.write_all(b"x").unwrap();
    drop(reader);
    println!("to nobody: {:?}", writer.write_all(b"x").unwrap_err().kind());
    let mut file = File::create(&args[2]).unwrap();
    println!("too much: {:?}", file.write_all(&[0; 10_000]).unwrap_err().kind());
}
