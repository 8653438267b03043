//! Sockets handed over by systemd (`sd_listen_fds(3)`).
#![allow(unsafe_code, reason = "a descriptor known by its number only can't be had safely")]

use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use crate::cli::{Failure, Outcome};

/// The first descriptor handed over.
const FIRST: RawFd = 3;

/// More than anybody has ports for.
const COUNT_MAX: RawFd = 256;

/// The listening sockets there are, none if the variables are not for this process. May be
/// asked once, before anything else is opened.
pub fn listeners() -> Outcome<Vec<TcpListener>> {
    let variable = |name| std::env::var(name).ok();
    let for_us = variable("LISTEN_PID").is_some_and(|pid| pid == std::process::id().to_string());
    let Some(count) = variable("LISTEN_FDS").filter(|_| for_us) else { return Ok(Vec::new()) };
    let count = count.parse().ok().filter(|count| (0..=COUNT_MAX).contains(count));
    let count: RawFd = count.ok_or_else(|| {
        Failure::usage("LISTEN_FDS is no number of sockets: start it by systemd, or unset it")
    })?;
    (FIRST..FIRST + count).map(listener).collect()
}

fn listener(fd: RawFd) -> Outcome<TcpListener> {
    // SAFETY: by the protocol the descriptors from 3 on are this process's to own; nothing
    // has been opened yet that could have one of these numbers, and one that is closed
    // is found below by the first call that uses it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    let listener = TcpListener::from(owned);
    match listener.local_addr() {
        Ok(_) => Ok(listener),
        Err(error) => {
            // It is not ours to close after all.
            std::mem::forget(listener);
            Err(Failure::usage(format!(
                "descriptor {fd} of LISTEN_FDS is no TCP socket ({error}): use ListenStream= in \
                 the .socket unit"
            )))
        }
    }
}
