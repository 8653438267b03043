//! The host's standard streams, and the streams of a guest that has none.

pub(crate) mod held;
mod preceded;
#[cfg(all(unix, feature = "net"))]
mod socket;
#[cfg(all(any(unix, target_os = "wasi"), any(feature = "net", feature = "host-fs")))]
#[cfg_attr(
    target_os = "wasi",
    allow(clippy::needless_borrows_for_generic_args, reason = "a stream is not owned there")
)]
mod stream;
mod tail;

use std::io::{IoSlice, IoSliceMut};

use super::{Access, Errno, File, Filetype, Result, Stat};
pub(crate) use preceded::Preceded;
#[cfg(all(any(unix, target_os = "wasi"), any(feature = "net", feature = "host-fs")))]
pub use stream::Stream;
pub use tail::Tail;

/// A stream that is at its end, and takes and forgets what is written. A guest that was given
/// no standard streams has it as each of them, in the one direction that stream is for.
pub struct Empty;

impl File for Empty {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn read(&mut self, _bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        Ok(0)
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        Ok(bufs.iter().map(|buf| buf.len()).sum())
    }
}

/// A descriptor the host's caller closed: everything is EBADF, as for any program that is
/// started so.
pub struct Closed;

impl File for Closed {
    fn stat(&mut self) -> Result<Stat> {
        Err(Errno::Badf)
    }

    fn access(&self) -> Access {
        Access::NONE
    }
}
