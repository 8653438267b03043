//! Sockets handed over by systemd (`sd_listen_fds(3)`).
#![allow(unsafe_code, reason = "a descriptor known by its number only can't be had safely")]

use std::net::TcpListener;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno as Os;

use crate::cli::failure::{CliResult, Failure};

/// The first descriptor handed over.
const FIRST: RawFd = 3;

/// More than there are ports.
const COUNT_MAX: RawFd = 256;

/// The listening sockets there are, none if the variables are not for this process. May be
/// asked once, before anything else is opened.
pub fn listeners() -> CliResult<Vec<TcpListener>> {
    let variable = |name| std::env::var(name).ok();
    let for_us = variable("LISTEN_PID").is_some_and(|pid| pid == std::process::id().to_string());
    let Some(count) = variable("LISTEN_FDS").filter(|_| for_us) else { return Ok(Vec::new()) };
    let count = count.parse().ok().filter(|count| (0..=COUNT_MAX).contains(count));
    let count: RawFd = count.ok_or_else(|| {
        Failure::usage("LISTEN_FDS is not a number of sockets: start it by systemd, or unset it")
    })?;
    (FIRST..FIRST + count).map(listener).collect()
}

fn listener(fd: RawFd) -> CliResult<TcpListener> {
    // SAFETY: by the protocol the descriptors from 3 on are this process's to own; nothing
    // has been opened yet that could have one of these numbers, and one that is closed
    // is found below by the first call that uses it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    match unsuited(&owned) {
        None => Ok(TcpListener::from(owned)),
        Some(why) => {
            // It is not ours to close after all.
            std::mem::forget(owned);
            Err(Failure::usage(format!("descriptor {fd} of LISTEN_FDS is {why}")))
        }
    }
}

/// What a descriptor is, if no TCP connection can be accepted on it, and what to write in the
/// .socket unit instead.
fn unsuited(fd: &OwnedFd) -> Option<String> {
    use rustix::net::{AddressFamily, SocketType, sockopt};
    const STREAM: &str = "write ListenStream=PORT or ListenStream=ADDR:PORT in the .socket unit";
    let kind = match sockopt::socket_type(fd) {
        Ok(kind) => kind,
        Err(Os::NOTSOCK) => return Some(format!("not a socket: {STREAM}")),
        Err(Os::BADF) => {
            return Some("not open: start it by systemd, or unset LISTEN_FDS".to_owned());
        }
        Err(error) => return Some(format!("not usable ({error}): {STREAM}")),
    };
    let family = rustix::net::getsockname(fd).map(|addr| addr.address_family());
    match kind {
        SocketType::STREAM => {}
        SocketType::DGRAM => {
            return Some(format!("a datagram socket: {STREAM}, not ListenDatagram="));
        }
        SocketType::SEQPACKET => {
            return Some(format!(
                "a sequential-packet socket: {STREAM}, not ListenSequentialPacket="
            ));
        }
        _ => return Some(format!("a raw socket: {STREAM}")),
    }
    // Unknown to some systems; then accepting tells.
    if !listens(fd) {
        let connected = rustix::net::getpeername(fd).is_ok_and(|peer| peer.is_some());
        return Some(if connected {
            "a connection, not a socket that listens: write Accept=no in the .socket unit"
                .to_owned()
        } else {
            format!("a socket that does not listen: {STREAM}")
        });
    }
    match family {
        Ok(AddressFamily::INET | AddressFamily::INET6) => None,
        Ok(AddressFamily::UNIX) => Some(format!(
            "a Unix socket, and serve listens on TCP: {STREAM}, such as ListenStream=127.0.0.1:1997"
        )),
        _ => Some(format!("a socket of another protocol than TCP: {STREAM}")),
    }
}

#[cfg(not(target_vendor = "apple"))]
fn listens(fd: &OwnedFd) -> bool {
    rustix::net::sockopt::socket_acceptconn(fd) != Ok(false)
}

/// Apple's systems can't be asked this: a socket that has no peer is taken to listen.
#[cfg(target_vendor = "apple")]
fn listens(fd: &OwnedFd) -> bool {
    rustix::net::getpeername(fd).is_err()
}
