//! Waiting and readiness of files.

use std::time::Duration;

/// The directions to wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// Until a read or accept would not return EAGAIN.
    pub read: bool,
    /// Until a write would not return EAGAIN.
    pub write: bool,
}

impl Interest {
    /// Readable.
    pub const READ: Interest = Interest { read: true, write: false };
    /// Writable.
    pub const WRITE: Interest = Interest { read: false, write: true };

    /// The directions of both.
    pub fn or(self, other: Interest) -> Interest {
        Interest { read: self.read || other.read, write: self.write || other.write }
    }
}

/// The result of [`File::ready`](super::File::ready) for a ready file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ready {
    /// Bytes that can be read or written at once; 0 if not known.
    pub nbytes: u64,
    /// The peer has hung up (`POLLHUP`).
    pub hangup: bool,
}

/// A descriptor of the operating system, lent for as long as it takes to watch it.
#[cfg(any(unix, target_os = "wasi"))]
pub type Fd<'a> = std::os::fd::BorrowedFd<'a>;

/// This system has no descriptors, so this type has no values.
#[cfg(not(any(unix, target_os = "wasi")))]
#[derive(Debug)]
pub struct Fd<'a>(std::convert::Infallible, std::marker::PhantomData<&'a ()>);

/// How to learn that a file which returned EAGAIN may be tried again.
#[derive(Debug)]
pub enum Wait<'a> {
    /// Try again at once: the file became ready meanwhile.
    Now,
    /// The file keeps the waker and will wake it.
    Waker,
    /// Watch this descriptor of the operating system, for what is waited for.
    Fd(Fd<'a>),
    /// Watch this descriptor for these directions, whatever is waited for: what a guest reads can
    /// need something to be sent first.
    FdFor(Fd<'a>, Interest),
    /// It will never be ready.
    Never(std::marker::PhantomData<&'a ()>),
}

impl Wait<'_> {
    /// [`Wait::Never`], spelt without its marker.
    pub const NEVER: Wait<'static> = Wait::Never(std::marker::PhantomData);
}

/// The result of [`Guest::arm`](crate::Guest::arm).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    /// The guest need not wait: step it.
    Now,
    /// Step the guest when it is woken, or after this time if there is one.
    ///
    /// If the guest sleeps, the time is one of its own clock. Advance a
    /// [`ManualClock`](crate::ManualClock) by that much.
    Until(Option<Duration>),
}
