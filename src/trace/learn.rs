//! What a guest needed: the material of a policy.

use std::collections::{BTreeMap, BTreeSet};

use super::network::{NetworkName, network_name};
use crate::errno::Errno;
use crate::vfs::Filetype;
use crate::wasi::abi::{Oflags, Rights};
use crate::wasi::{CallOutcome, Descriptor, Trace, TracedCall};

/// Different things that are noted; what is beyond is not, and [`Used::complete`] says so.
const USED_MAX: usize = 100_000;

/// How a path was used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathUse {
    /// Something was changed there, or opened so that it could be.
    pub write: bool,
    /// It is a directory.
    pub directory: bool,
}

/// What a guest used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Used {
    /// Files and directories, by the guest's names; those that were not there are left out.
    pub paths: BTreeMap<String, PathUse>,
    /// What was dialled, as `HOST:PORT`, whether or not it was answered.
    pub dials: BTreeSet<String>,
    /// Where clients were waited for, as `ADDR:PORT`.
    pub accepts: BTreeSet<String>,
    /// Listening sockets it was given and accepted on, by name.
    pub sockets: BTreeSet<String>,
    /// The variables were read: all at once, so it is not known which of them.
    pub environment: bool,
    /// Nothing was left out.
    pub complete: bool,
}

impl Default for Used {
    fn default() -> Used {
        Used {
            paths: BTreeMap::new(),
            dials: BTreeSet::new(),
            accepts: BTreeSet::new(),
            sockets: BTreeSet::new(),
            environment: false,
            complete: true,
        }
    }
}

/// Notes what a guest uses.
#[derive(Default)]
pub struct Learn {
    used: Used,
}

impl Learn {
    /// What was used so far.
    pub fn used(&self) -> &Used {
        &self.used
    }

    fn path(&mut self, call: &TracedCall<'_>, fd: &str, path: &str, access: PathUse) {
        if let Some(path) = call.path(fd, path) {
            self.note(path, access);
        }
    }

    fn note(&mut self, path: String, access: PathUse) {
        // Too long to be kept whole: where its end lies is not known.
        if path.starts_with("...") {
            self.used.complete = false;
            return;
        }
        if self.used.paths.len() >= USED_MAX && !self.used.paths.contains_key(&path) {
            self.used.complete = false;
            return;
        }
        let known = self.used.paths.entry(path).or_default();
        known.write |= access.write;
        known.directory |= access.directory;
    }

    /// A network name that was opened, or would have been if it had been answered.
    fn network(&mut self, call: &TracedCall<'_>, errno: Option<Errno>) -> bool {
        let name = call.path("fd", "path").and_then(|path| network_name(&path));
        let Some(name) = name else { return false };
        if !reached(call, errno) {
            return false;
        }
        self.note_network(name);
        true
    }

    /// A socket that was bound, connected or sent from, or would have been if it had been answered.
    /// Its descriptor is named by that.
    fn socket(&mut self, call: &TracedCall<'_>, errno: Option<Errno>) {
        let open = call.arg_u32("fd").and_then(|fd| call.descriptor(fd));
        let name = open.and_then(|open| network_name(&open.path));
        // Of a connect that goes on it is known that it was allowed.
        if errno == Some(Errno::Inprogress) || was_allowed(errno) {
            name.into_iter().for_each(|name| self.note_network(name));
        }
    }

    fn note_network(&mut self, name: NetworkName) {
        let (set, name) = match name {
            NetworkName::Dial(name) => (&mut self.used.dials, name),
            NetworkName::Accept(name) => (&mut self.used.accepts, name),
        };
        self.used.complete &= set.len() < USED_MAX;
        if self.used.complete {
            set.insert(name);
        }
    }

    fn opened(&mut self, call: &TracedCall<'_>) {
        let rights = Rights::truncate(call.arg("fs_rights_base").unwrap_or_default());
        let writing = [Rights::FD_WRITE, Rights::FD_ALLOCATE, Rights::FD_FILESTAT_SET_SIZE];
        let oflags = call.arg("oflags").unwrap_or_default();
        let changes = u64::from((Oflags::CREAT | Oflags::TRUNC).bits());
        let directory = opened(call).is_some_and(|opened| opened.filetype == Filetype::Directory);
        let write = writing.iter().any(|right| rights.has(*right)) || oflags & changes != 0;
        self.path(call, "fd", "path", PathUse { write: write && !directory, directory });
    }

    fn succeeded(&mut self, call: &TracedCall<'_>) {
        let read = PathUse::default();
        let write = PathUse { write: true, directory: false };
        match call.row.name {
            "path_open" => self.opened(call),
            "path_filestat_get" => {
                let record = call.arg_u32("buf").and_then(|at| call.mem.array::<64>(at).ok());
                let directory = record.is_some_and(|r| r[16] == Filetype::Directory as u8);
                self.path(call, "fd", "path", PathUse { write: false, directory });
            }
            "path_readlink" => self.path(call, "fd", "path", read),
            "path_symlink" => self.path(call, "fd", "new_path", write),
            "path_link" => {
                self.path(call, "old_fd", "old_path", write);
                self.path(call, "new_fd", "new_path", write);
            }
            "path_rename" => {
                self.path(call, "fd", "old_path", write);
                self.path(call, "new_fd", "new_path", write);
            }
            name if name.starts_with("path_") => self.path(call, "fd", "path", write),
            "fd_filestat_set_times" | "fd_filestat_set_size" | "fd_allocate" => {
                let open = call.arg_u32("fd").and_then(|fd| call.descriptor(fd));
                if let Some(open) = open {
                    self.note(open.path.to_string(), write);
                }
            }
            // On a socket that it was given: one of its own was learned when it was bound.
            "sock_accept" | "sock_accept_v2" => {
                let open = call.arg_u32("fd").and_then(|fd| call.descriptor(fd));
                let given = open.filter(|open| network_name(&open.path).is_none());
                self.used.sockets.extend(given.map(|open| open.path.to_string()));
            }
            "environ_get" => self.used.environment = true,
            _ => {}
        }
    }
}

/// Whether an open got as far as a peer, or as far as finding that there is none: it was
/// allowed. Anything else says nothing of that, a malformed name or a descriptor too many.
fn reached(call: &TracedCall<'_>, errno: Option<Errno>) -> bool {
    was_allowed(errno)
        && (errno.is_some()
            || opened(call).is_some_and(|opened| {
                matches!(opened.filetype, Filetype::SocketStream | Filetype::SocketDgram)
            }))
}

/// Whether a call that ended so was allowed by the rules.
fn was_allowed(errno: Option<Errno>) -> bool {
    use Errno::{
        Addrinuse, Addrnotavail, Connaborted, Connrefused, Connreset, Hostunreach, Netdown,
        Netunreach, Timedout,
    };
    match errno {
        None => true,
        Some(
            Addrinuse | Addrnotavail | Connaborted | Connrefused | Connreset | Hostunreach
            | Netdown | Netunreach | Timedout,
        ) => true,
        Some(_) => false,
    }
}

/// What a `path_open` that succeeded has opened.
fn opened<'a>(call: &TracedCall<'a>) -> Option<&'a Descriptor> {
    let number = call.arg_u32("opened_fd").and_then(|at| call.mem.array(at).ok())?;
    call.descriptor(u32::from_le_bytes(*number))
}

impl Trace for Learn {
    fn call(&mut self, call: &TracedCall<'_>, outcome: CallOutcome) {
        let CallOutcome::Done(errno) = outcome else { return };
        if call.row.name == "path_open" && self.network(call, errno) {
            return;
        }
        match call.row.name {
            "sock_bind" | "sock_listen" | "sock_connect" | "sock_send_to" => {
                self.socket(call, errno);
            }
            "sock_bind_v2" | "sock_listen_v2" | "sock_connect_v2" | "sock_send_to_v2" => {
                self.socket(call, errno);
            }
            _ => {}
        }
        if errno.is_none() {
            self.succeeded(call);
        }
    }
}
