//! Sockets handed over by systemd (`sd_listen_fds_with_names(3)`).
#![allow(unsafe_code, reason = "a descriptor known by its number only can't be had safely")]

use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno as Os;
use rustix::net::{AddressFamily, SocketType, sockopt};
use tinyhost::serve::ServerSocket;

use crate::cli::failure::{CliResult, Failure};

/// The first descriptor handed over.
const FIRST: RawFd = 3;

/// More than there are ports.
const COUNT_MAX: RawFd = 256;

/// What to write in a .socket unit.
const STREAM: &str = "write ListenStream= with a port, ADDR:PORT or a path in the .socket unit";

/// The sockets handed over that no option has taken yet.
pub struct HandedOver {
    sockets: Vec<Named>,
}

struct Named {
    fd: RawFd,
    /// `FileDescriptorName=` of the unit; `unknown` if the variable of names is missing.
    name: String,
    listener: ServerSocket,
}

impl HandedOver {
    /// The sockets there are, none if the variables are not for this process. May be asked once,
    /// before anything else is opened.
    ///
    /// # Errors
    ///
    /// If one is not a stream socket that listens: what it is, and what to do.
    pub fn take() -> CliResult<HandedOver> {
        let variable = |name| std::env::var(name).ok();
        let for_us =
            variable("LISTEN_PID").is_some_and(|pid| pid == std::process::id().to_string());
        let Some(count) = variable("LISTEN_FDS").filter(|_| for_us) else {
            return Ok(HandedOver { sockets: Vec::new() });
        };
        let count = count.parse().ok().filter(|count| (0..=COUNT_MAX).contains(count));
        let count: RawFd = count.ok_or_else(|| {
            Failure::usage(
                "LISTEN_FDS is not a number of sockets: start it by systemd, or unset it",
            )
        })?;
        let names = names(variable("LISTEN_FDNAMES"), usize::try_from(count).unwrap_or(0))?;
        let sockets = (FIRST..).zip(names).map(|(fd, name)| {
            let listener = listener(fd, &name)?;
            Ok(Named { fd, name, listener })
        });
        Ok(HandedOver { sockets: sockets.collect::<CliResult<_>>()? })
    }

    /// Takes all sockets of this name, for an option that asks for them.
    ///
    /// # Errors
    ///
    /// If there are none.
    pub fn named(&mut self, option: &str, name: &str) -> CliResult<Vec<ServerSocket>> {
        let there: Vec<String> = self.sockets.iter().map(|socket| socket.name.clone()).collect();
        let taken: Vec<ServerSocket> =
            self.sockets.extract_if(.., |s| s.name == name).map(|s| s.listener).collect();
        if !taken.is_empty() {
            return Ok(taken);
        }
        let hint = if there.is_empty() {
            "no socket was handed over: start it by systemd, with a .socket unit".to_owned()
        } else {
            format!("the sockets handed over are named {} (FileDescriptorName=)", there.join(", "))
        };
        Err(Failure::usage(format!("{option} fd:{name}: {hint}")))
    }

    /// Takes all that are left.
    pub fn rest(&mut self) -> Vec<ServerSocket> {
        self.sockets.drain(..).map(|socket| socket.listener).collect()
    }

    /// None may be left: their clients would wait for ever.
    ///
    /// # Errors
    ///
    /// If one is.
    pub fn finish(self) -> CliResult<()> {
        match self.sockets.first() {
            None => Ok(()),
            Some(Named { fd, name, .. }) => Err(Failure::usage(format!(
                "descriptor {fd} of LISTEN_FDS ({name}) is not used: add --bind fd:{name}, or \
                 leave out all --bind fd:"
            ))),
        }
    }
}

/// The name of each socket.
fn names(variable: Option<String>, count: usize) -> CliResult<Vec<String>> {
    let Some(variable) = variable else { return Ok(vec!["unknown".to_owned(); count]) };
    let names: Vec<String> = variable.split(':').map(str::to_owned).collect();
    if names.len() != count && !(count == 0 && variable.is_empty()) {
        return Err(Failure::usage(format!(
            "LISTEN_FDNAMES has {} names for {count} sockets: start it by systemd, or unset it",
            names.len()
        )));
    }
    Ok(names)
}

fn listener(fd: RawFd, name: &str) -> CliResult<ServerSocket> {
    // SAFETY: by the protocol the descriptors from 3 on are this process's to own; nothing
    // has been opened yet that could have one of these numbers, and one that is closed
    // is found below by the first call that uses it.
    let owned = unsafe { OwnedFd::from_raw_fd(fd) };
    match family(&owned) {
        Ok(AddressFamily::UNIX) => {
            Ok(ServerSocket::from(std::os::unix::net::UnixListener::from(owned)))
        }
        Ok(_) => Ok(ServerSocket::from(std::net::TcpListener::from(owned))),
        Err(why) => {
            // It is not ours to close after all.
            std::mem::forget(owned);
            let name = if name == "unknown" { String::new() } else { format!(" ({name})") };
            Err(Failure::usage(format!("descriptor {fd} of LISTEN_FDS{name} is {why}")))
        }
    }
}

/// The family of a stream socket that listens: of IP, or Unix.
///
/// # Errors
///
/// What it is else, and what to write in the .socket unit instead.
fn family(fd: &OwnedFd) -> Result<AddressFamily, String> {
    let kind = match sockopt::socket_type(fd) {
        Ok(kind) => kind,
        Err(Os::NOTSOCK) => return Err(format!("not a socket: {STREAM}")),
        Err(Os::BADF) => {
            return Err("not open: start it by systemd, or unset LISTEN_FDS".to_owned());
        }
        Err(error) => return Err(format!("not usable ({error}): {STREAM}")),
    };
    match kind {
        SocketType::STREAM => {}
        SocketType::DGRAM => {
            return Err(format!("a datagram socket: {STREAM}, not ListenDatagram="));
        }
        SocketType::SEQPACKET => {
            return Err(format!(
                "a sequential-packet socket: {STREAM}, not ListenSequentialPacket="
            ));
        }
        _ => return Err(format!("a raw socket: {STREAM}")),
    }
    // Unknown to some systems; then accepting tells.
    if !listens(fd) {
        let connected = rustix::net::getpeername(fd).is_ok_and(|peer| peer.is_some());
        return Err(if connected {
            "a connection, not a socket that listens: write Accept=no in the .socket unit"
                .to_owned()
        } else {
            format!("a socket that does not listen: {STREAM}")
        });
    }
    match rustix::net::getsockname(fd).map(|addr| addr.address_family()) {
        Ok(family @ (AddressFamily::INET | AddressFamily::INET6 | AddressFamily::UNIX)) => {
            Ok(family)
        }
        _ => Err(format!("a socket of neither TCP nor Unix: {STREAM}")),
    }
}

#[cfg(not(target_vendor = "apple"))]
fn listens(fd: &OwnedFd) -> bool {
    sockopt::socket_acceptconn(fd) != Ok(false)
}

/// Apple's systems can't be asked this: a socket that has no peer is taken to listen.
#[cfg(target_vendor = "apple")]
fn listens(fd: &OwnedFd) -> bool {
    rustix::net::getpeername(fd).is_err()
}
