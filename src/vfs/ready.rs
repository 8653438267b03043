//! Waiting and readiness: what is asked of a file, and what it answers.

use std::time::Duration;

/// One direction of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Until a read or accept would not answer Again.
    pub read: bool,
    /// Until a write would not answer Again.
    pub write: bool,
}

impl Interest {
    /// Readable.
    pub const READ: Interest = Interest { read: true, write: false };
    /// Writable.
    pub const WRITE: Interest = Interest { read: false, write: true };

    /// Either of both.
    pub fn or(self, other: Interest) -> Interest {
        Interest { read: self.read || other.read, write: self.write || other.write }
    }
}

/// What [`File::ready`](super::File::ready) tells of a ready file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Bytes that can be moved at once, as far as is known; 0 when not known.
    pub nbytes: u64,
    /// The other end is gone (`POLLHUP`).
    pub hangup: bool,
}

/// A descriptor of the operating system, lent for as long as it takes to watch it.
#[cfg(any(unix, target_os = "wasi"))]
pub type Fd<'a> = std::os::fd::BorrowedFd<'a>;

/// There are no descriptors on this system, so there is no value of this type.
#[cfg(not(any(unix, target_os = "wasi")))]
#[derive(Debug)]
pub struct Fd<'a>(std::convert::Infallible, std::marker::PhantomData<&'a ()>);

/// How a driver learns that a file which answered Again may be asked once more.
#[derive(Debug)]
pub enum Wait<'a> {
    /// It became ready meanwhile: ask at once.
    Now,
    /// The file has taken the waker and will call it.
    Waker,
    /// The operating system knows: watch this descriptor.
    Fd(Fd<'a>),
    /// It will never be ready.
    Never(std::marker::PhantomData<&'a ()>),
}

impl Wait<'_> {
    /// [`Wait::Never`], spelt without its marker.
    pub const NEVER: Wait<'static> = Wait::Never(std::marker::PhantomData);
}

/// What [`Guest::arm`](crate::Guest::arm) found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    /// Nothing to wait for: step it.
    Now,
    /// Step it when woken, or after this time if there is one.
    ///
    /// The time is one of the guest's own clock, if it sleeps; a clock that stands still
    /// until it is moved (a [`ManualClock`](crate::ManualClock)) is to be moved by as much.
    Until(Option<Duration>),
}
