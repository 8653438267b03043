//! The attributes of a node or file, and those that can be set.
//!
//! # Identity
//!
//! Programs take two things of the same device and inode for one: `cp` for its own source, a
//! walk for a directory it has been in. So everything a guest sees has numbers that nothing else
//! it sees has, and keeps them. A backend that has none leaves both 0 ([`Stat::of`]), and is given:
//!
//! | what | device | inode |
//! |---|---|---|
//! | a node | that of its mount | a hash of its names below the mount |
//! | an open file | of the node it was opened by | of that |
//! | a stream, a connection | one for all | counted, in each guest |
//! | a directory that only leads to a mount | one for all | counted, in each namespace |
//!
//! Two mounts of one node have one device. A directory of the host has the numbers the host
//! gives; a tree in memory or of an archive has a device of its own ([`new_device`]).
//!
//! Devices of the host don't collide with these: Linux and macOS number theirs with 32 bits,
//! these begin above, and larger ones of a host (another tinyhost may be one) are moved away.

use std::sync::atomic::{AtomicU64, Ordering};

/// Devices numbered here begin with this one: those of the host are below, or moved away.
const OWN: u64 = 1 << 32;

/// Of streams and connections.
pub(crate) const STREAMS: u64 = OWN;

/// Of directories that lead to a mount.
pub(crate) const STEPPING: u64 = OWN + 1;

/// Of the trees that [`new_device`] is for.
const TREES: u64 = OWN + 16;

/// Of nodes without numbers; the number of their mount is added.
pub(crate) const UNNAMED: u64 = 2 * OWN;

/// What is added to a host's device that could be one of these. Each tinyhost that runs in
/// another adds it once more.
#[cfg(feature = "host-fs")]
const MOVED: u64 = 1 << 48;

/// A device number that nothing else in this process has, for a tree that numbers its inodes.
pub fn new_device() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(TREES);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Whether it is one of those made here, so that nothing of the host has it.
pub(crate) fn is_own_device(dev: u64) -> bool {
    (OWN..UNNAMED).contains(&dev)
}

/// A device of the host as a guest sees it.
#[cfg(feature = "host-fs")]
pub(crate) fn host_device(dev: u64) -> u64 {
    if dev < OWN { dev } else { dev.wrapping_add(MOVED) }
}

/// What kind of thing a name or a descriptor is; numbers are the spec's `filetype`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Filetype {
    /// None of the others: a pipe, for one, which preview1 has no word for.
    #[default]
    Unknown = 0,
    /// A block device.
    BlockDevice = 1,
    /// A character device.
    CharacterDevice = 2,
    /// A directory.
    Directory = 3,
    /// A regular file.
    RegularFile = 4,
    /// A datagram socket.
    SocketDgram = 5,
    /// A byte-stream socket.
    SocketStream = 6,
    /// A symbolic link.
    SymbolicLink = 7,
}

impl Filetype {
    /// Whether `sock_*` calls make sense on it.
    pub fn is_socket(self) -> bool {
        matches!(self, Filetype::SocketDgram | Filetype::SocketStream)
    }
}

/// The attributes that `stat` returns. Times are nanoseconds since 1970, sizes are bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields of stat(2)")]
pub struct Stat {
    pub dev: u64,
    pub ino: u64,
    pub filetype: Filetype,
    pub nlink: u64,
    pub size: u64,
    pub atim: u64,
    pub mtim: u64,
    pub ctim: u64,
}

impl Stat {
    /// A stat that says nothing but the kind; enough for a device or a service. Guests see
    /// numbers of its name for device and inode.
    pub fn of(filetype: Filetype) -> Stat {
        Stat { filetype, nlink: 1, ..Stat::default() }
    }

    /// Whether it says what it is.
    pub(crate) fn has_identity(&self) -> bool {
        (self.dev, self.ino) != (0, 0)
    }

    /// Its device and inode, or these if it says nothing of them.
    pub(crate) fn identity_or(&self, given: (u64, u64)) -> (u64, u64) {
        if self.has_identity() { (self.dev, self.ino) } else { given }
    }
}

/// New times for a node or file; `None` leaves one as it is. Nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Time of last access.
    pub atim: Option<SetTime>,
    /// Time of last modification.
    pub mtim: Option<SetTime>,
}

/// A time to set: the backend's own now, or a given one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// The current time of the backend's clock.
    Now,
    /// Nanoseconds since 1970.
    To(u64),
}

#[cfg(all(test, feature = "host-fs"))]
mod tests {
    use super::*;

    #[test]
    fn no_device_of_a_host_is_one_of_ours() {
        assert_eq!(host_device(0x0801), 0x0801);
        let ours = [STREAMS, STEPPING, new_device(), UNNAMED, UNNAMED + u64::from(u32::MAX)];
        let inner = ours.map(host_device);
        let innermost = inner.map(host_device);
        let sign_extended = [u64::MAX, 0xffff_ffff_8000_0001].map(host_device);
        for dev in inner.into_iter().chain(innermost).chain(sign_extended) {
            assert!(!(OWN..UNNAMED + OWN).contains(&dev), "{dev:#x}");
            assert!(!ours.contains(&dev), "{dev:#x}");
        }
        assert!(inner.iter().all(|dev| !innermost.contains(dev)));
    }
}
