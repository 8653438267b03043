//! A wire inside TLS.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustls::ServerConfig;

use super::proxy::ProxiedEnds;
use super::wire::{Stage, Wire};
use crate::vfs::net::tls::session::{TlsSession, Trouble};

/// A TLS session on a wire. Its guest sees the stream inside.
pub(crate) struct Secure {
    wire: Box<dyn Wire>,
    session: Mutex<TlsSession>,
}

impl Secure {
    /// A wire whose client speaks first.
    ///
    /// # Errors
    ///
    /// If the configuration does not fit, which it was checked for.
    pub fn new(wire: Box<dyn Wire>, config: &Arc<ServerConfig>) -> io::Result<Secure> {
        let session = TlsSession::server(config).map_err(io::Error::other)?;
        Ok(Secure { wire, session: Mutex::new(session) })
    }

    fn session(&self) -> MutexGuard<'_, TlsSession> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Its records, on the wire below.
struct Records<'a>(&'a dyn Wire);

impl Read for Records<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.0.read(&mut [IoSliceMut::new(buf)])
    }
}

impl Write for Records<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes, false)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl From<Trouble> for io::Error {
    fn from(trouble: Trouble) -> io::Error {
        match trouble {
            Trouble::Wire(error) => error,
            Trouble::Tls(error) => io::Error::new(io::ErrorKind::InvalidData, error),
            // What was cut off may have been the end of a line.
            Trouble::Cut => io::ErrorKind::UnexpectedEof.into(),
        }
    }
}

impl Wire for Secure {
    fn read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(self.session().read(&mut Records(&*self.wire), bufs)?)
    }

    fn write(&self, bytes: &[u8], _last: bool) -> io::Result<usize> {
        Ok(self.session().write(&mut Records(&*self.wire), &[IoSlice::new(bytes)])?)
    }

    fn close_write(&self) -> io::Result<()> {
        // If there is no room for it, the client finds the end of the wire without it.
        let _ = self.session().close_write(&mut Records(&*self.wire));
        self.wire.close_write()
    }

    fn short_means_blocked(&self) -> bool {
        false
    }

    fn opening(&self) -> Option<Stage> {
        let below = self.wire.opening();
        below.or_else(|| self.session().is_handshaking().then_some(Stage::Handshake))
    }

    fn open(&self) -> io::Result<()> {
        // The header of a proxy precedes the handshake.
        if self.wire.opening().is_some() {
            return self.wire.open();
        }
        Ok(self.session().handshake(&mut Records(&*self.wire))?)
    }

    fn announced(&self) -> Option<ProxiedEnds> {
        self.wire.announced()
    }

    fn has_unsent(&self) -> bool {
        self.session().has_unsent()
    }

    fn send(&self) -> io::Result<()> {
        Ok(self.session().send(&mut Records(&*self.wire))?)
    }

    fn hangup_discards(&self) -> bool {
        self.wire.hangup_discards()
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let session = self.session();
        let version = session.version().map(|version| ("SSL_PROTOCOL", version.to_owned()));
        let subject = session.peer_subject().map(|subject| ("SSL_CLIENT_S_DN", subject));
        version.into_iter().chain(subject).collect()
    }

    fn descriptor(&self) -> Option<RawFd> {
        self.wire.descriptor()
    }
}
