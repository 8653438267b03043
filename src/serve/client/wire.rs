//! What carries a connection's bytes: a socket, or something around one.

use std::io::{self, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsRawFd, RawFd};

use mio::net::{TcpStream, UnixStream};

use super::proxy::ProxiedEnds;

/// What has to be done before a wire is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A proxy says whose connection it is.
    Header,
    /// Both sides agree on TLS.
    Handshake,
}

/// A stream of bytes in both directions that never blocks.
///
/// This is where what lies below a protocol goes: a TLS session or the header of the PROXY
/// protocol is a wire around a wire, and no protocol knows of it.
pub(crate) trait Wire: Send + Sync {
    /// Reads what has come; `Ok(0)` is its end.
    ///
    /// # Errors
    ///
    /// WouldBlock if nothing has come; any other says that the other end is gone.
    fn read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize>;

    /// Sends as much as there is room for. Of what is the `last`, the end may be kept back until
    /// [`close_write`](Wire::close_write), to go out in one packet with it.
    ///
    /// # Errors
    ///
    /// WouldBlock if there is no room; any other says that the other end is gone.
    fn write(&self, bytes: &[u8], last: bool) -> io::Result<usize>;

    /// Shuts down the sending direction.
    ///
    /// # Errors
    ///
    /// If the other end is gone, which an event reports as well.
    fn close_write(&self) -> io::Result<()>;

    /// Whether moving fewer bytes than were asked for means that the next call would block and an
    /// event will say when it doesn't, as with a socket. It saves a call each time.
    fn short_means_blocked(&self) -> bool {
        true
    }

    /// What has to be done before a byte of the client's passes, if anything is left.
    fn opening(&self) -> Option<Stage> {
        None
    }

    /// Advances that. `Ok` says that this stage is over; another one may follow.
    ///
    /// # Errors
    ///
    /// WouldBlock if it has to wait: for room, too, if it [has something
    /// unsent](Wire::has_unsent). Any other says that it can't be done.
    fn open(&self) -> io::Result<()> {
        Ok(())
    }

    /// Whose connection this is, if a proxy has said so. The second answer is `None`.
    fn announced(&self) -> Option<ProxiedEnds> {
        None
    }

    /// Whether it holds something that it took and could not send yet.
    fn has_unsent(&self) -> bool {
        false
    }

    /// Sends that.
    ///
    /// # Errors
    ///
    /// As [`write`](Wire::write).
    fn send(&self) -> io::Result<()> {
        Ok(())
    }

    /// Whether a hangup that the poll reports means that what the client has sent is lost, too. A
    /// Unix socket reports one when its client has closed it, and all that was sent can be read.
    fn hangup_discards(&self) -> bool {
        true
    }

    /// Variables that its guests have because of it.
    fn variables(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// The descriptor whose events say that more can be read or written. One that never has to wait
    /// needs none.
    fn descriptor(&self) -> Option<RawFd>;
}

impl Wire for TcpStream {
    fn read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&mut &*self).read_vectored(bufs)
    }

    /// A reply and the end of the stream in one packet cost half of what they do in two, on
    /// either side.
    #[cfg(target_os = "linux")]
    fn write(&self, bytes: &[u8], last: bool) -> io::Result<usize> {
        use rustix::net::{SendFlags, send};
        if !last {
            return (&mut &*self).write(bytes);
        }
        Ok(send(self, bytes, SendFlags::MORE | SendFlags::NOSIGNAL)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn write(&self, bytes: &[u8], _last: bool) -> io::Result<usize> {
        (&mut &*self).write(bytes)
    }

    fn close_write(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.as_raw_fd())
    }
}

impl Wire for UnixStream {
    fn read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&mut &*self).read_vectored(bufs)
    }

    fn write(&self, bytes: &[u8], _last: bool) -> io::Result<usize> {
        (&mut &*self).write(bytes)
    }

    fn close_write(&self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    fn hangup_discards(&self) -> bool {
        false
    }

    fn descriptor(&self) -> Option<RawFd> {
        Some(self.as_raw_fd())
    }
}
