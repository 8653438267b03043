//! A TLS session, of a client or a server. It owns no socket and no clock: what carries its records
//! is lent to each call, and says by WouldBlock that it has to wait.

use std::io::{self, BufRead as _, IoSlice, IoSliceMut, Read, Write};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, Connection};

use crate::vfs::Interest;

/// Plaintext that is encrypted and not sent yet: one record's, so that a socket with room takes it
/// whole.
const SENDING_MAX: usize = 16 << 10;

/// Times that records are received in one call without the caller getting a byte of it: a peer
/// can send records without content for ever.
const RECEIVES_MAX: usize = 64;

/// See the [module](self).
pub(crate) struct TlsSession {
    tls: Connection,
    /// Why it can't go on.
    broken: Option<rustls::Error>,
    /// What the other end sends is over without its word that it is.
    cut: bool,
    /// Our own word that it is was given.
    closed: bool,
}

/// What ends a session, or has it wait.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// What carries it says so: WouldBlock, or that the other end is gone.
    Wire(io::Error),
    /// The other end does not keep to the protocol, has no certificate that holds, or says that
    /// ours is at fault.
    Tls(rustls::Error),
    /// The stream ended without close_notify: something may have been cut off.
    Cut,
}

impl Trouble {
    /// It has to wait.
    pub fn is_wait(&self) -> bool {
        matches!(self, Trouble::Wire(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Trouble {
        Trouble::Wire(error)
    }
}

/// Nothing can be done before what carries the records is ready again.
fn blocked() -> Trouble {
    Trouble::Wire(io::ErrorKind::WouldBlock.into())
}

type Result<T> = std::result::Result<T, Trouble>;

impl TlsSession {
    /// The client's side of a session with the server of that name.
    ///
    /// # Errors
    ///
    /// If the configuration does not fit.
    pub fn client(
        config: &Arc<ClientConfig>,
        name: ServerName<'static>,
    ) -> std::result::Result<TlsSession, rustls::Error> {
        Ok(TlsSession::new(ClientConnection::new(config.clone(), name)?.into()))
    }

    /// The server's side of a session with any client that its configuration admits.
    ///
    /// # Errors
    ///
    /// If the configuration does not fit.
    #[cfg(feature = "serve")]
    pub fn server(
        config: &Arc<rustls::ServerConfig>,
    ) -> std::result::Result<TlsSession, rustls::Error> {
        Ok(TlsSession::new(rustls::ServerConnection::new(config.clone())?.into()))
    }

    fn new(mut tls: Connection) -> TlsSession {
        tls.set_buffer_limit(Some(SENDING_MAX));
        TlsSession { tls, broken: None, cut: false, closed: false }
    }

    /// Whether both sides have not agreed yet.
    #[cfg(feature = "serve")]
    pub fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// The version that was agreed on.
    #[cfg(feature = "serve")]
    pub fn version(&self) -> Option<&'static str> {
        Some(match self.tls.protocol_version()? {
            rustls::ProtocolVersion::TLSv1_2 => "TLSv1.2",
            _ => "TLSv1.3",
        })
    }

    /// The name in the other end's certificate, if it has shown one.
    #[cfg(feature = "serve")]
    pub fn peer_subject(&self) -> Option<String> {
        super::certificate::Certificate::parse(self.peer_certificates().first()?)?.subject()
    }

    /// The other end's certificates, its own first, once there are any.
    pub fn peer_certificates(&self) -> &[CertificateDer<'static>] {
        self.tls.peer_certificates().unwrap_or_default()
    }

    /// Whether there is something to be sent.
    pub fn has_unsent(&self) -> bool {
        self.tls.wants_write()
    }

    /// Whether it is over, for good or bad: nothing more can be read or written.
    pub fn is_over(&self) -> bool {
        self.broken.is_some() || self.cut
    }

    /// What to wait for after WouldBlock, of what was `wanted`: something to be read, and room if
    /// there is something to be sent.
    pub fn waits_for(&self, wanted: Interest) -> Interest {
        Interest { read: wanted.read, write: wanted.write || self.has_unsent() }
    }

    /// Advances the handshake, until it is done.
    ///
    /// # Errors
    ///
    /// What ends it, or WouldBlock. What there is to be sent was sent as far as there was room,
    /// an alert with the reason too.
    pub fn handshake(&mut self, wire: &mut (impl Read + Write)) -> Result<()> {
        for _ in 0..RECEIVES_MAX {
            self.send(wire)?;
            if !self.tls.is_handshaking() {
                return Ok(());
            }
            if !self.tls.wants_read() {
                return Err(blocked());
            }
            if !self.receive(wire)? {
                return Err(Trouble::Cut);
            }
        }
        Err(blocked())
    }

    /// Reads what has come. `Ok(0)` is the end, if there was room for something.
    ///
    /// # Errors
    ///
    /// [`Trouble::Cut`] for an end without close_notify.
    pub fn read(
        &mut self,
        wire: &mut (impl Read + Write),
        bufs: &mut [IoSliceMut<'_>],
    ) -> Result<usize> {
        if bufs.iter().all(|buf| buf.is_empty()) {
            return Ok(0);
        }
        if !self.await_plaintext(wire)? {
            return Ok(0);
        }
        let mut count = 0;
        for buf in bufs {
            match self.tls.reader().read(buf) {
                Ok(0) => break,
                Ok(part) => count += part,
                Err(_) => break,
            }
        }
        Ok(count)
    }

    /// Copies what has come, to be read again.
    ///
    /// # Errors
    ///
    /// As [`read`](TlsSession::read).
    pub fn peek(
        &mut self,
        wire: &mut (impl Read + Write),
        bufs: &mut [IoSliceMut<'_>],
    ) -> Result<usize> {
        if !self.await_plaintext(wire)? {
            return Ok(0);
        }
        let mut reader = self.tls.reader();
        let mut there = reader.fill_buf()?;
        let mut count = 0;
        for buf in bufs {
            let part = there.len().min(buf.len());
            buf[..part].copy_from_slice(&there[..part]);
            there = &there[part..];
            count += part;
        }
        Ok(count)
    }

    /// Receives until there is something to be read: `false` at the end.
    ///
    /// # Errors
    ///
    /// As [`read`](TlsSession::read).
    pub fn await_plaintext(&mut self, wire: &mut (impl Read + Write)) -> Result<bool> {
        for _ in 0..RECEIVES_MAX {
            match self.tls.reader().fill_buf() {
                Ok(there) => return Ok(!there.is_empty()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => {
                    self.cut = true;
                    return Err(Trouble::Cut);
                }
            }
            if let Some(error) = &self.broken {
                return Err(Trouble::Tls(error.clone()));
            }
            // What the other end waits for may be there still.
            self.send_some(wire)?;
            match self.receive(wire) {
                // What came before it, in the same piece, is read first.
                Ok(_) | Err(Trouble::Tls(_)) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Err(blocked())
    }

    /// Bytes that can be read without receiving anything.
    pub fn readable(&mut self) -> usize {
        self.tls.reader().fill_buf().map_or(0, <[u8]>::len)
    }

    /// Takes as much as one record holds, once all that was taken before is sent.
    ///
    /// # Errors
    ///
    /// WouldBlock while something is unsent.
    pub fn write(&mut self, wire: &mut impl Write, bufs: &[IoSlice<'_>]) -> Result<usize> {
        if let Some(error) = &self.broken {
            return Err(Trouble::Tls(error.clone()));
        }
        if self.closed {
            return Err(Trouble::Wire(io::ErrorKind::BrokenPipe.into()));
        }
        // What is written before both sides have agreed would be kept, and not bounded.
        if self.tls.is_handshaking() {
            return Err(blocked());
        }
        self.send(wire)?;
        let count = self.tls.writer().write_vectored(bufs)?;
        self.send_some(wire)?;
        Ok(count)
    }

    /// Says that nothing more is sent.
    ///
    /// # Errors
    ///
    /// WouldBlock if that could not be sent yet.
    pub fn close_write(&mut self, wire: &mut impl Write) -> Result<()> {
        if !std::mem::replace(&mut self.closed, true) && self.broken.is_none() {
            self.tls.send_close_notify();
        }
        self.send(wire)
    }

    /// Sends all that there is to be sent.
    ///
    /// # Errors
    ///
    /// WouldBlock if there was not room for all.
    pub fn send(&mut self, wire: &mut impl Write) -> Result<()> {
        while self.tls.wants_write() {
            match self.tls.write_tls(wire) {
                Ok(0) => return Err(Trouble::Wire(io::ErrorKind::WriteZero.into())),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Sends what there is room for.
    fn send_some(&mut self, wire: &mut impl Write) -> Result<()> {
        self.send(wire).or_else(|trouble| if trouble.is_wait() { Ok(()) } else { Err(trouble) })
    }

    /// Receives once; `false` if nothing more comes.
    fn receive(&mut self, wire: &mut (impl Read + Write)) -> Result<bool> {
        let count = loop {
            match self.tls.read_tls(wire) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                result => break result?,
            }
        };
        if let Err(error) = self.tls.process_new_packets() {
            // The alert that says why; the other end may be gone.
            let _ = self.send_some(wire);
            self.broken = Some(error.clone());
            return Err(Trouble::Tls(error));
        }
        Ok(count > 0)
    }
}
