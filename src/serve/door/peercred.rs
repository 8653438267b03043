//! Who has connected to a Unix socket.
#![cfg_attr(
    target_os = "linux",
    allow(
        unsafe_code,
        reason = "rustix takes the number of a process to be 1 or more, and the kernel says 0 for one \
                  that is outside of this process's PID namespace"
    )
)]

use std::os::fd::AsFd;

use crate::vfs::Credentials;

/// Who called connect(2), as the kernel has noted it.
#[cfg(target_os = "linux")]
pub fn of(stream: impl AsFd) -> Option<Credentials> {
    use std::os::fd::AsRawFd;
    let fd = stream.as_fd();
    let mut by = libc::ucred { pid: 0, uid: 0, gid: 0 };
    let size = size_of::<libc::ucred>();
    let mut len = libc::socklen_t::try_from(size).ok()?;
    // SAFETY: the descriptor is open as long as it is borrowed, and the kernel writes at most `len`
    // bytes to `by`, which is as large as that, and valid whatever they are.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERCRED,
            (&raw mut by).cast(),
            &raw mut len,
        )
    };
    let whole = result == 0 && usize::try_from(len) == Ok(size);
    let pid = u32::try_from(by.pid).ok().filter(|pid| *pid != 0);
    whole.then_some(Credentials { pid, uid: by.uid, gid: by.gid })
}

/// Other systems don't say all of it.
#[cfg(not(target_os = "linux"))]
pub fn of(_stream: impl AsFd) -> Option<Credentials> {
    None
}
