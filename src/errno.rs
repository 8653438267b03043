//! The one error type a guest ever sees.

use std::fmt;

macro_rules! errnos {
    ($($name:ident = $code:literal, $spec:literal, $text:literal;)*) => {
        /// An error number of `wasi_snapshot_preview1`, by the spec's names.
        ///
        /// [`Errno::Again`] has a second meaning inside the host: a node or file that
        /// answers it has done nothing and changed nothing, and wants to be asked
        /// again with the same arguments once it is ready.
        #[derive(Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u16)]
        #[allow(missing_docs, reason = "each one's text is its documentation")]
        pub enum Errno { $(#[doc = $text] $name = $code,)* }

        impl Errno {
            const ALL: &'static [(Errno, &'static str, &'static str)] =
                &[$((Errno::$name, $spec, $text),)*];
        }
    };
}

errnos! {
    Success = 0, "success", "No error occurred. System call completed successfully";
    TooBig = 1, "2big", "Argument list too long";
    Acces = 2, "acces", "Permission denied";
    Addrinuse = 3, "addrinuse", "Address in use";
    Addrnotavail = 4, "addrnotavail", "Address not available";
    Afnosupport = 5, "afnosupport", "Address family not supported";
    Again = 6, "again", "Resource unavailable, or operation would block";
    Already = 7, "already", "Connection already in progress";
    Badf = 8, "badf", "Bad file descriptor";
    Badmsg = 9, "badmsg", "Bad message";
    Busy = 10, "busy", "Device or resource busy";
    Canceled = 11, "canceled", "Operation canceled";
    Child = 12, "child", "No child processes";
    Connaborted = 13, "connaborted", "Connection aborted";
    Connrefused = 14, "connrefused", "Connection refused";
    Connreset = 15, "connreset", "Connection reset";
    Deadlk = 16, "deadlk", "Resource deadlock would occur";
    Destaddrreq = 17, "destaddrreq", "Destination address required";
    Dom = 18, "dom", "Mathematics argument out of domain of function";
    Dquot = 19, "dquot", "Reserved";
    Exist = 20, "exist", "File exists";
    Fault = 21, "fault", "Bad address";
    Fbig = 22, "fbig", "File too large";
    Hostunreach = 23, "hostunreach", "Host is unreachable";
    Idrm = 24, "idrm", "Identifier removed";
    Ilseq = 25, "ilseq", "Illegal byte sequence";
    Inprogress = 26, "inprogress", "Operation in progress";
    Intr = 27, "intr", "Interrupted function";
    Inval = 28, "inval", "Invalid argument";
    Io = 29, "io", "I/O error";
    Isconn = 30, "isconn", "Socket is connected";
    Isdir = 31, "isdir", "Is a directory";
    Loop = 32, "loop", "Too many levels of symbolic links";
    Mfile = 33, "mfile", "File descriptor value too large";
    Mlink = 34, "mlink", "Too many links";
    Msgsize = 35, "msgsize", "Message too large";
    Multihop = 36, "multihop", "Reserved";
    Nametoolong = 37, "nametoolong", "Filename too long";
    Netdown = 38, "netdown", "Network is down";
    Netreset = 39, "netreset", "Connection aborted by network";
    Netunreach = 40, "netunreach", "Network unreachable";
    Nfile = 41, "nfile", "Too many files open in system";
    Nobufs = 42, "nobufs", "No buffer space available";
    Nodev = 43, "nodev", "No such device";
    Noent = 44, "noent", "No such file or directory";
    Noexec = 45, "noexec", "Executable file format error";
    Nolck = 46, "nolck", "No locks available";
    Nolink = 47, "nolink", "Reserved";
    Nomem = 48, "nomem", "Not enough space";
    Nomsg = 49, "nomsg", "No message of the desired type";
    Noprotoopt = 50, "noprotoopt", "Protocol not available";
    Nospc = 51, "nospc", "No space left on device";
    Nosys = 52, "nosys", "Function not supported";
    Notconn = 53, "notconn", "The socket is not connected";
    Notdir = 54, "notdir", "Not a directory or a symbolic link to a directory";
    Notempty = 55, "notempty", "Directory not empty";
    Notrecoverable = 56, "notrecoverable", "State not recoverable";
    Notsock = 57, "notsock", "Not a socket";
    Notsup = 58, "notsup", "Not supported, or operation not supported on socket";
    Notty = 59, "notty", "Inappropriate I/O control operation";
    Nxio = 60, "nxio", "No such device or address";
    Overflow = 61, "overflow", "Value too large to be stored in data type";
    Ownerdead = 62, "ownerdead", "Previous owner died";
    Perm = 63, "perm", "Operation not permitted";
    Pipe = 64, "pipe", "Broken pipe";
    Proto = 65, "proto", "Protocol error";
    Protonosupport = 66, "protonosupport", "Protocol not supported";
    Prototype = 67, "prototype", "Protocol wrong type for socket";
    Range = 68, "range", "Result too large";
    Rofs = 69, "rofs", "Read-only file system";
    Spipe = 70, "spipe", "Invalid seek";
    Srch = 71, "srch", "No such process";
    Stale = 72, "stale", "Reserved";
    Timedout = 73, "timedout", "Connection timed out";
    Txtbsy = 74, "txtbsy", "Text file busy";
    Xdev = 75, "xdev", "Cross-device link";
    Notcapable = 76, "notcapable", "Extension: Capabilities insufficient";
}

impl Errno {
    /// The spec's name: `"notcapable"`, `"2big"`.
    pub fn name(self) -> &'static str {
        Self::ALL[self as usize].1
    }

    /// The number a guest is given.
    pub fn code(self) -> i32 {
        i32::from(self as u16)
    }

    /// The errno with this number, for reading a guest's result back (traces, tests).
    pub fn from_code(code: i32) -> Option<Errno> {
        Some(Self::ALL.get(usize::try_from(code).ok()?)?.0)
    }
}

impl fmt::Debug for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL[*self as usize].2)
    }
}

impl std::error::Error for Errno {}

/// The one place where a host error becomes an errno.
impl From<std::io::Error> for Errno {
    fn from(error: std::io::Error) -> Errno {
        #[cfg(all(any(unix, target_os = "wasi"), any(feature = "host-fs", feature = "net")))]
        if let Some(errno) = rustix::io::Errno::from_io_error(&error) {
            return Errno::from(errno);
        }
        let ours = error.get_ref().and_then(|inner| inner.downcast_ref::<Errno>());
        ours.copied().unwrap_or_else(|| from_kind(error.kind()))
    }
}

/// The other way round, for [`std::io`] traits on files of ours: the kind, and the errno
/// itself inside.
impl From<Errno> for std::io::Error {
    fn from(errno: Errno) -> std::io::Error {
        use std::io::ErrorKind as K;
        let kind = match errno {
            Errno::Again => K::WouldBlock,
            Errno::Pipe => K::BrokenPipe,
            Errno::Noent => K::NotFound,
            Errno::Exist => K::AlreadyExists,
            Errno::Inval => K::InvalidInput,
            Errno::Nomem => K::OutOfMemory,
            _ => K::Other,
        };
        std::io::Error::new(kind, errno)
    }
}

/// For errors that carry no number of the operating system's.
fn from_kind(kind: std::io::ErrorKind) -> Errno {
    use std::io::ErrorKind as K;
    match kind {
        K::NotFound => Errno::Noent,
        K::PermissionDenied => Errno::Acces,
        K::ConnectionRefused => Errno::Connrefused,
        K::ConnectionReset => Errno::Connreset,
        K::ConnectionAborted => Errno::Connaborted,
        K::NotConnected => Errno::Notconn,
        K::HostUnreachable => Errno::Hostunreach,
        K::NetworkUnreachable => Errno::Netunreach,
        K::NetworkDown => Errno::Netdown,
        K::AddrInUse => Errno::Addrinuse,
        K::AddrNotAvailable => Errno::Addrnotavail,
        K::BrokenPipe => Errno::Pipe,
        K::AlreadyExists => Errno::Exist,
        K::WouldBlock => Errno::Again,
        K::NotADirectory => Errno::Notdir,
        K::IsADirectory => Errno::Isdir,
        K::DirectoryNotEmpty => Errno::Notempty,
        K::ReadOnlyFilesystem => Errno::Rofs,
        K::StorageFull => Errno::Nospc,
        K::QuotaExceeded => Errno::Dquot,
        K::FileTooLarge => Errno::Fbig,
        K::InvalidInput => Errno::Inval,
        K::TimedOut => Errno::Timedout,
        K::Interrupted => Errno::Intr,
        K::Unsupported => Errno::Notsup,
        K::OutOfMemory => Errno::Nomem,
        _ => Errno::Io,
    }
}

/// Name by name: numbers differ between systems, names do not.
#[cfg(all(any(unix, target_os = "wasi"), any(feature = "host-fs", feature = "net")))]
impl From<rustix::io::Errno> for Errno {
    fn from(errno: rustix::io::Errno) -> Errno {
        use rustix::io::Errno as Os;
        macro_rules! same {
            ($($os:ident => $ours:ident),* $(,)?) => {
                match errno { $(Os::$os => Errno::$ours,)* _ => Errno::Io }
            };
        }
        same! {
            TOOBIG => TooBig, ACCESS => Acces, ADDRINUSE => Addrinuse,
            ADDRNOTAVAIL => Addrnotavail, AFNOSUPPORT => Afnosupport, AGAIN => Again,
            ALREADY => Already, BADF => Badf, BUSY => Busy, CONNABORTED => Connaborted,
            CONNREFUSED => Connrefused, CONNRESET => Connreset, DEADLK => Deadlk,
            DESTADDRREQ => Destaddrreq, DOM => Dom, DQUOT => Dquot, EXIST => Exist,
            FAULT => Fault, FBIG => Fbig, HOSTUNREACH => Hostunreach, ILSEQ => Ilseq,
            INPROGRESS => Inprogress, INTR => Intr, INVAL => Inval, IO => Io,
            ISCONN => Isconn, ISDIR => Isdir, LOOP => Loop, MFILE => Mfile, MLINK => Mlink,
            MSGSIZE => Msgsize, NAMETOOLONG => Nametoolong, NETDOWN => Netdown,
            NETRESET => Netreset, NETUNREACH => Netunreach, NFILE => Nfile,
            NOBUFS => Nobufs, NODEV => Nodev, NOENT => Noent, NOLCK => Nolck, NOMEM => Nomem,
            NOSPC => Nospc, NOSYS => Nosys, NOTCONN => Notconn, NOTDIR => Notdir,
            NOTEMPTY => Notempty, NOTSOCK => Notsock, OPNOTSUPP => Notsup, NOTTY => Notty,
            NXIO => Nxio, OVERFLOW => Overflow, PERM => Perm, PIPE => Pipe, PROTO => Proto,
            PROTONOSUPPORT => Protonosupport, PROTOTYPE => Prototype, RANGE => Range,
            ROFS => Rofs, SPIPE => Spipe, SRCH => Srch, STALE => Stale, TIMEDOUT => Timedout,
            TXTBSY => Txtbsy, XDEV => Xdev,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_the_specs() {
        for (index, (errno, _, _)) in Errno::ALL.iter().enumerate() {
            assert_eq!(errno.code() as usize, index);
        }
        assert_eq!(Errno::ALL.len(), 77);
        assert_eq!(Errno::Notcapable.code(), 76);
        assert_eq!(Errno::from_code(77), None);
        assert_eq!(Errno::from_code(-1), None);
    }
}
