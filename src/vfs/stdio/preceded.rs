//! A stream that something is written to before all else.

use std::io::{IoSlice, IoSliceMut};
use std::task::Waker;

use crate::vfs::{Access, Errno, File, Interest, Ready, Result, Stat, Wait};

/// A stream, before which some bytes have to be written to it: what its guest would have written had
/// it been started at its beginning.
pub(crate) struct Preceded {
    file: Box<dyn File>,
    bytes: Vec<u8>,
    at: usize,
}

impl Preceded {
    /// Writes as many of the `bytes` as the stream takes now. The rest goes before what is written
    /// next.
    pub(crate) fn new(file: Box<dyn File>, bytes: &[u8]) -> Preceded {
        let mut preceded = Preceded { file, bytes: bytes.to_vec(), at: 0 };
        let _ = preceded.advance();
        preceded
    }

    fn advance(&mut self) -> Result<()> {
        while self.at < self.bytes.len() {
            let (count, _) = self.file.append(&[IoSlice::new(&self.bytes[self.at..])])?;
            if count == 0 {
                return Err(Errno::Again);
            }
            self.at += count;
        }
        Ok(())
    }
}

impl File for Preceded {
    fn stat(&mut self) -> Result<Stat> {
        self.file.stat()
    }

    fn access(&self) -> Access {
        self.file.access()
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> Result<usize> {
        self.file.read(bufs, offset)
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], offset: u64) -> Result<usize> {
        self.advance()?;
        self.file.write(bufs, offset)
    }

    fn append(&mut self, bufs: &[IoSlice<'_>]) -> Result<(usize, u64)> {
        self.advance()?;
        self.file.append(bufs)
    }

    fn ready(&mut self, want: Interest) -> Result<Ready> {
        self.file.ready(want)
    }

    fn wait(&mut self, want: Interest, waker: &Waker) -> Wait<'_> {
        self.file.wait(want, waker)
    }

    fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }

    fn shutdown(&mut self, how: Interest) -> Result<()> {
        self.advance()?;
        self.file.shutdown(how)
    }
}
