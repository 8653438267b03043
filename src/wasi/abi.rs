//! The shapes of `wasi_snapshot_preview1` as they lie in guest memory.
//!
//! Little-endian, sizes and offsets from the spec's "Record members". What is written is
//! written whole, padding zeroed; what is read is read through a view that was checked
//! once. Flags are parsed: bits the spec does not know are EINVAL.

use std::ops::{BitAnd, BitOr, Not, Range};

use crate::errno::Errno;
use crate::vfs::{Access, Filetype, Stat};

/// Bytes of an iovec or ciovec: pointer and length.
pub const IOVEC_SIZE: usize = 8;
/// Bytes of a `filestat`.
pub const FILESTAT_SIZE: usize = 64;
/// Bytes of an `fdstat`.
pub const FDSTAT_SIZE: usize = 24;
/// Bytes of a `dirent`, without the name that follows it.
pub const DIRENT_SIZE: usize = 24;
/// Bytes of a `subscription`.
pub const SUBSCRIPTION_SIZE: usize = 48;
/// Bytes of an `event`.
pub const EVENT_SIZE: usize = 32;
/// Bytes of a `prestat`.
pub const PRESTAT_SIZE: usize = 8;

macro_rules! flags {
    ($(#[$doc:meta])* $name:ident: $repr:ty { $($flag:ident = $bit:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
        pub struct $name($repr);

        #[allow(missing_docs, reason = "the spec's names")]
        impl $name {
            $(pub const $flag: $name = $name(1 << $bit);)*
            /// Every bit the spec knows.
            pub const ALL: $name = $name(0 $(| 1 << $bit)*);
            /// No bit.
            pub const NONE: $name = $name(0);
            /// Names, for traces.
            pub const NAMES: &'static [(&'static str, $name)] =
                &[$((stringify!($flag), $name::$flag),)*];

            /// The flags in a guest's argument; EINVAL for bits there are no flags for.
            pub fn parse(raw: impl Into<u64>) -> Result<$name, Errno> {
                let raw: u64 = raw.into();
                let bits = <$repr>::try_from(raw).map_err(|_| Errno::Inval)?;
                if bits & !Self::ALL.0 != 0 { Err(Errno::Inval) } else { Ok($name(bits)) }
            }

            /// The flags there are, whatever else is set.
            pub fn truncate(raw: $repr) -> $name {
                $name(raw & Self::ALL.0)
            }

            /// As the spec numbers them.
            pub fn bits(self) -> $repr {
                self.0
            }

            /// All that are set in one of them.
            pub const fn union(self, other: $name) -> $name {
                $name(self.0 | other.0)
            }

            /// Whether all of `other` are set.
            pub fn has(self, other: $name) -> bool {
                self.0 & other.0 == other.0
            }
        }

        impl BitOr for $name {
            type Output = $name;
            fn bitor(self, other: $name) -> $name {
                $name(self.0 | other.0)
            }
        }

        impl BitAnd for $name {
            type Output = $name;
            fn bitand(self, other: $name) -> $name {
                $name(self.0 & other.0)
            }
        }

        impl Not for $name {
            type Output = $name;
            fn not(self) -> $name {
                $name(!self.0 & Self::ALL.0)
            }
        }
    };
}

flags! {
    /// What a descriptor may be used for.
    Rights: u64 {
        FD_DATASYNC = 0, FD_READ = 1, FD_SEEK = 2, FD_FDSTAT_SET_FLAGS = 3, FD_SYNC = 4,
        FD_TELL = 5, FD_WRITE = 6, FD_ADVISE = 7, FD_ALLOCATE = 8,
        PATH_CREATE_DIRECTORY = 9, PATH_CREATE_FILE = 10, PATH_LINK_SOURCE = 11,
        PATH_LINK_TARGET = 12, PATH_OPEN = 13, FD_READDIR = 14, PATH_READLINK = 15,
        PATH_RENAME_SOURCE = 16, PATH_RENAME_TARGET = 17, PATH_FILESTAT_GET = 18,
        PATH_FILESTAT_SET_SIZE = 19, PATH_FILESTAT_SET_TIMES = 20, FD_FILESTAT_GET = 21,
        FD_FILESTAT_SET_SIZE = 22, FD_FILESTAT_SET_TIMES = 23, PATH_SYMLINK = 24,
        PATH_REMOVE_DIRECTORY = 25, PATH_UNLINK_FILE = 26, POLL_FD_READWRITE = 27,
        SOCK_SHUTDOWN = 28, SOCK_ACCEPT = 29,
    }
}

flags! {
    /// Flags of a descriptor.
    Fdflags: u16 { APPEND = 0, DSYNC = 1, NONBLOCK = 2, RSYNC = 3, SYNC = 4, }
}

flags! {
    /// How `path_open` opens.
    Oflags: u16 { CREAT = 0, DIRECTORY = 1, EXCL = 2, TRUNC = 3, }
}

flags! {
    /// How a path is walked.
    Lookupflags: u32 { SYMLINK_FOLLOW = 0, }
}

flags! {
    /// Which times to set.
    Fstflags: u16 { ATIM = 0, ATIM_NOW = 1, MTIM = 2, MTIM_NOW = 3, }
}

flags! {
    /// Flags of `sock_recv`.
    Riflags: u16 { RECV_PEEK = 0, RECV_WAITALL = 1, }
}

flags! {
    /// Directions of `sock_shutdown`.
    Sdflags: u8 { RD = 0, WR = 1, }
}

flags! {
    /// Flags of a clock subscription.
    Subclockflags: u16 { ABSTIME = 0, }
}

impl Rights {
    /// What a regular file can be used for.
    pub const FILE: Rights = Rights(
        Self::FD_DATASYNC.0
            | Self::FD_READ.0
            | Self::FD_SEEK.0
            | Self::FD_FDSTAT_SET_FLAGS.0
            | Self::FD_SYNC.0
            | Self::FD_TELL.0
            | Self::FD_WRITE.0
            | Self::FD_ADVISE.0
            | Self::FD_ALLOCATE.0
            | Self::FD_FILESTAT_GET.0
            | Self::FD_FILESTAT_SET_SIZE.0
            | Self::FD_FILESTAT_SET_TIMES.0
            | Self::POLL_FD_READWRITE.0,
    );

    /// What a stream without a position can be used for. wasi-libc's `isatty` takes a
    /// character device for a terminal if it has no more than these.
    pub const STREAM: Rights = Rights(
        Self::FD_READ.0
            | Self::FD_WRITE.0
            | Self::FD_FDSTAT_SET_FLAGS.0
            | Self::FD_FILESTAT_GET.0
            | Self::POLL_FD_READWRITE.0,
    );

    /// What a socket can be used for.
    pub const SOCKET: Rights = Rights(Self::STREAM.0 | Self::SOCK_SHUTDOWN.0 | Self::SOCK_ACCEPT.0);

    /// What a directory itself can be used for.
    pub const DIRECTORY: Rights = Rights(
        Self::FD_FDSTAT_SET_FLAGS.0
            | Self::FD_DATASYNC.0
            | Self::FD_SYNC.0
            | Self::FD_ADVISE.0
            | Self::PATH_CREATE_DIRECTORY.0
            | Self::PATH_CREATE_FILE.0
            | Self::PATH_LINK_SOURCE.0
            | Self::PATH_LINK_TARGET.0
            | Self::PATH_OPEN.0
            | Self::FD_READDIR.0
            | Self::PATH_READLINK.0
            | Self::PATH_RENAME_SOURCE.0
            | Self::PATH_RENAME_TARGET.0
            | Self::PATH_FILESTAT_GET.0
            | Self::PATH_FILESTAT_SET_SIZE.0
            | Self::PATH_FILESTAT_SET_TIMES.0
            | Self::FD_FILESTAT_GET.0
            | Self::FD_FILESTAT_SET_TIMES.0
            | Self::PATH_SYMLINK.0
            | Self::PATH_REMOVE_DIRECTORY.0
            | Self::PATH_UNLINK_FILE.0
            | Self::POLL_FD_READWRITE.0,
    );

    /// What things opened through a directory can be used for at most.
    pub const INHERITING: Rights = Rights(Self::DIRECTORY.0 | Self::FILE.0 | Self::SOCKET.0);
}

impl Rights {
    /// All but those that need a direction which is not there.
    pub fn of_access(access: Access) -> Rights {
        let writing = Rights::FD_WRITE | Rights::FD_ALLOCATE | Rights::FD_FILESTAT_SET_SIZE;
        let without = |there: bool, rights: Rights| if there { Rights::ALL } else { !rights };
        without(access.read, Rights::FD_READ) & without(access.write, writing)
    }
}

fn put<const N: usize>(record: &mut [u8], at: Range<usize>, value: [u8; N]) {
    record[at].copy_from_slice(&value);
}

/// A `filestat`.
pub fn filestat(stat: &Stat) -> [u8; FILESTAT_SIZE] {
    let mut record = [0; FILESTAT_SIZE];
    put(&mut record, 0..8, stat.dev.to_le_bytes());
    put(&mut record, 8..16, stat.ino.to_le_bytes());
    record[16] = stat.filetype as u8;
    put(&mut record, 24..32, stat.nlink.to_le_bytes());
    put(&mut record, 32..40, stat.size.to_le_bytes());
    put(&mut record, 40..48, stat.atim.to_le_bytes());
    put(&mut record, 48..56, stat.mtim.to_le_bytes());
    put(&mut record, 56..64, stat.ctim.to_le_bytes());
    record
}

/// An `fdstat`.
pub fn fdstat(
    filetype: Filetype,
    flags: Fdflags,
    base: Rights,
    inheriting: Rights,
) -> [u8; FDSTAT_SIZE] {
    let mut record = [0; FDSTAT_SIZE];
    record[0] = filetype as u8;
    put(&mut record, 2..4, flags.bits().to_le_bytes());
    put(&mut record, 8..16, base.bits().to_le_bytes());
    put(&mut record, 16..24, inheriting.bits().to_le_bytes());
    record
}

/// A `prestat` of a directory, the only kind there is.
pub fn prestat(name_len: u32) -> [u8; PRESTAT_SIZE] {
    let mut record = [0; PRESTAT_SIZE];
    put(&mut record, 4..8, name_len.to_le_bytes());
    record
}

/// The head of a directory entry; the name follows it.
pub fn dirent(next: u64, ino: u64, name_len: u32, filetype: Filetype) -> [u8; DIRENT_SIZE] {
    let mut record = [0; DIRENT_SIZE];
    put(&mut record, 0..8, next.to_le_bytes());
    put(&mut record, 8..16, ino.to_le_bytes());
    put(&mut record, 16..20, name_len.to_le_bytes());
    record[20] = filetype as u8;
    record
}

/// What is subscribed to, and how an event names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the spec's names")]
pub enum Eventtype {
    Clock = 0,
    FdRead = 1,
    FdWrite = 2,
}

/// One subscription of `poll_oneoff`, decoded.
#[derive(Clone, Copy, Debug)]
pub struct Subscription {
    /// The guest's own number for it, given back in the event.
    pub userdata: u64,
    /// What it is about.
    pub about: About,
}

/// What a subscription is about.
#[derive(Clone, Copy, Debug)]
pub enum About {
    /// A clock reaching a time: `timeout` in ns, an instant if `absolute`, else from now.
    #[allow(missing_docs, reason = "said above")]
    Clock { id: u32, timeout: u64, absolute: bool },
    /// A descriptor being readable or writable.
    #[allow(missing_docs, reason = "said above")]
    Fd { kind: Eventtype, fd: u32 },
}

fn u64_at(record: &[u8; SUBSCRIPTION_SIZE], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|byte| record[at + byte]))
}

fn u32_at(record: &[u8; SUBSCRIPTION_SIZE], at: usize) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|byte| record[at + byte]))
}

impl Subscription {
    /// Decodes one; EINVAL for an unknown tag or clock flag.
    pub fn decode(record: &[u8; SUBSCRIPTION_SIZE]) -> Result<Subscription, Errno> {
        let about = match record[8] {
            0 => {
                let flags = u16::from_le_bytes([record[40], record[41]]);
                let absolute = Subclockflags::parse(flags)?.has(Subclockflags::ABSTIME);
                About::Clock { id: u32_at(record, 16), timeout: u64_at(record, 24), absolute }
            }
            1 => About::Fd { kind: Eventtype::FdRead, fd: u32_at(record, 16) },
            2 => About::Fd { kind: Eventtype::FdWrite, fd: u32_at(record, 16) },
            _ => return Err(Errno::Inval),
        };
        Ok(Subscription { userdata: u64_at(record, 0), about })
    }
}

/// An `event`.
pub fn event(
    userdata: u64,
    error: Option<Errno>,
    kind: Eventtype,
    nbytes: u64,
    hangup: bool,
) -> [u8; EVENT_SIZE] {
    let mut record = [0; EVENT_SIZE];
    put(&mut record, 0..8, userdata.to_le_bytes());
    let error = error.map_or(0, |errno| errno as u16);
    put(&mut record, 8..10, error.to_le_bytes());
    record[10] = kind as u8;
    put(&mut record, 16..24, nbytes.to_le_bytes());
    put(&mut record, 24..26, u16::from(hangup).to_le_bytes());
    record
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_bits_are_einval() {
        assert_eq!(Oflags::parse(0b1111_u32), Ok(Oflags::ALL));
        assert_eq!(Oflags::parse(0b1_0000_u32), Err(Errno::Inval));
        assert_eq!(Fdflags::parse(0x1_0001_u32), Err(Errno::Inval));
        assert_eq!(Rights::parse(1_u64 << 30), Err(Errno::Inval));
    }

    #[test]
    fn records_have_zero_padding() {
        let stat = Stat { dev: u64::MAX, filetype: Filetype::Directory, ..Stat::default() };
        let record = filestat(&stat);
        assert_eq!(record[16], 3);
        assert!(record[17..24].iter().all(|byte| *byte == 0));
        let record = event(7, Some(Errno::Badf), Eventtype::FdWrite, 9, true);
        assert_eq!((record[8], record[10], record[16], record[24]), (8, 2, 9, 1));
    }

    #[test]
    fn subscriptions_decode() {
        let mut record = [0; SUBSCRIPTION_SIZE];
        record[0] = 5;
        record[16] = 1;
        record[24] = 9;
        record[40] = 1;
        let clock = Subscription::decode(&record).unwrap();
        assert_eq!(clock.userdata, 5);
        assert!(matches!(clock.about, About::Clock { id: 1, timeout: 9, absolute: true }));
        record[40] = 2;
        assert_eq!(Subscription::decode(&record).unwrap_err(), Errno::Inval);
        record[8] = 3;
        assert_eq!(Subscription::decode(&record).unwrap_err(), Errno::Inval);
    }
}
