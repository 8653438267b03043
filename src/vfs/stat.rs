//! What is told of a node or file, and what of that can be set.

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

/// What `stat` tells. Times are nanoseconds since 1970, sizes bytes.
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
    /// A stat that says nothing but the kind; enough for a device or a service.
    pub fn of(filetype: Filetype) -> Stat {
        Stat { filetype, nlink: 1, ..Stat::default() }
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
    /// Now, by the clock of whoever keeps the file.
    Now,
    /// Nanoseconds since 1970.
    To(u64),
}
