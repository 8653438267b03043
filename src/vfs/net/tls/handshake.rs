//! A connection that is not secure yet: the end of a dial.

use std::os::fd::AsFd;

use mio::net::TcpStream;
use rustls::pki_types::ServerName;

use super::super::Net;
use super::super::dial::{Target, Transport};
use super::super::https::file::HttpsFile;
use super::super::policy::addr::Host;
use super::super::quota::Taken;
use super::certificate::Certificate;
use super::failure;
use super::file::{Connection, Stream};
use super::session::{TlsSession, Trouble};
use crate::vfs::{Errno, File, Interest, Result, Wait};

/// See the [module](self).
pub(crate) struct Handshake {
    net: Net,
    target: Target,
    stream: TcpStream,
    session: TlsSession,
}

impl Handshake {
    /// Begins it, on a socket that is connected.
    ///
    /// # Errors
    ///
    /// EIO if the authorities to trust can't be read, EINVAL if the host can't be the name of a
    /// certificate.
    pub fn begin(net: &Net, target: &Target, stream: TcpStream) -> Result<Handshake> {
        let name = match &target.host {
            Host::Name(name) => ServerName::try_from(name.as_str().to_owned()),
            Host::Addr(address) => Ok(ServerName::from(address.ip())),
        };
        let name = name.map_err(|_| Errno::Inval)?;
        let failed = |why: &str| {
            net.denied(format!("failed: dial {target}: {why}"));
            Errno::Io
        };
        let configs = net.tls().configs().map_err(failed)?;
        let session = TlsSession::client(configs.of(target.transport), name);
        let session = session.map_err(|error| failed(&error.to_string()))?;
        Ok(Handshake { net: net.clone(), target: target.clone(), stream, session })
    }

    /// Goes on as far as possible.
    ///
    /// # Errors
    ///
    /// EAGAIN while it has to wait; EACCES if the certificate does not hold, reported.
    pub fn proceed(&mut self) -> Result<()> {
        match self.session.handshake(&mut self.stream) {
            Ok(()) => self.check_certificate(),
            Err(trouble) if trouble.is_wait() => Err(Errno::Again),
            Err(trouble) => Err(self.failed(trouble)),
        }
    }

    /// What is asked of a certificate that holds.
    fn check_certificate(&self) -> Result<()> {
        let Target { host, port, .. } = &self.target;
        let own = self.session.peer_certificates().first();
        let own = own.and_then(|own| Certificate::parse(own)).ok_or(Errno::Io)?;
        if !own.may_sign() {
            return Err(self.refused(failure::MAY_NOT_SIGN));
        }
        let mut pins = self.net.tls().pins_of(host, *port).peekable();
        if pins.peek().is_none() {
            return Ok(());
        }
        let key = own.fingerprint();
        if pins.any(|pin| Some(pin) == key.as_ref()) {
            return Ok(());
        }
        Err(self.refused(failure::NOT_PINNED))
    }

    fn refused(&self, why: &str) -> Errno {
        self.net.denied(format!("denied: dial {}: {why}", self.target));
        Errno::Acces
    }

    fn failed(&self, trouble: Trouble) -> Errno {
        let why = failure::of_handshake(&trouble);
        let errno = failure::errno(trouble);
        if let Some(why) = why {
            let word = if errno == Errno::Acces { "denied" } else { "failed" };
            self.net.denied(format!("{word}: dial {}: {why}", self.target));
        }
        errno
    }

    /// The time for it is over.
    pub fn report_timeout(&self) {
        let target = &self.target;
        self.net.denied(format!("failed: dial {target}: the server did not finish the handshake"));
    }

    /// How to learn that it may go on.
    pub fn wait(&self) -> Wait<'_> {
        Wait::FdFor(self.stream.as_fd(), self.session.waits_for(Interest::READ))
    }

    /// What the guest gets.
    pub fn into_file(self, counted: Taken) -> Result<Box<dyn File>> {
        let Handshake { net, target, stream, session } = self;
        let transport = target.transport;
        if transport != Transport::Https {
            let connection = Connection::new(net, target, stream, session, counted);
            return Ok(Box::new(Stream::new(connection)));
        }
        let connection = Connection::new(net.clone(), target.clone(), stream, session, counted);
        Ok(Box::new(HttpsFile::new(connection, &target, net.tls())))
    }
}
