//! `polls PATH`: reads a file that has nothing and writes to one that has no room, without
//! blocking, with a poll before each try. Built and run by .ci/capi.

use std::ffi::{c_char, c_int, c_short, c_void};

const O_RDWR: c_int = 0x1400_0000;
const O_NONBLOCK: c_int = 4;
const POLLIN: c_short = 1;
const POLLOUT: c_short = 2;

#[repr(C)]
struct PollFd {
    fd: c_int,
    events: c_short,
    revents: c_short,
}

unsafe extern "C" {
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn read(fd: c_int, bytes: *mut c_void, len: usize) -> isize;
    fn write(fd: c_int, bytes: *const c_void, len: usize) -> isize;
    fn poll(fds: *mut PollFd, count: usize, timeout_ms: c_int) -> c_int;
}

/// Tries, and polls and tries again until it comes to something. Tells the number of polls.
fn insist(fd: c_int, events: c_short, mut attempt: impl FnMut() -> isize) -> (usize, u32) {
    let mut polls = 0;
    loop {
        if let Ok(n) = usize::try_from(attempt()) {
            return (n, polls);
        }
        let error = std::io::Error::last_os_error();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
        let mut polled = PollFd { fd, events, revents: 0 };
        assert_eq!(unsafe { poll(&mut polled, 1, -1) }, 1);
        assert_eq!(polled.revents, events);
        polls += 1;
    }
}

fn main() {
    let path = std::env::args().nth(1).expect("a path");
    let path = std::ffi::CString::new(path).unwrap();
    let fd = unsafe { open(path.as_ptr(), O_RDWR | O_NONBLOCK) };
    assert!(fd > 2);
    let mut news = [0; 32];
    let (n, polls) =
        insist(fd, POLLIN, || unsafe { read(fd, news.as_mut_ptr().cast(), news.len()) });
    println!("read {:?} after {polls} polls", str::from_utf8(&news[..n]).unwrap());
    let mail = b"dear app";
    let (n, polls) = insist(fd, POLLOUT, || unsafe { write(fd, mail.as_ptr().cast(), mail.len()) });
    println!("wrote {n} bytes after {polls} polls");
}
