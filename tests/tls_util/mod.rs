//! Authorities, certificates good and bad, and servers that speak TLS as a test wants it.

#![allow(dead_code, reason = "each test file uses its own part of it")]

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, date_time_ymd,
};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion};

use crate::busy::LIMIT;

/// A server's end of a session.
pub type Session = StreamOwned<ServerConnection, TcpStream>;

/// Signs certificates.
pub struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key.
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: PrivateKeyDer<'static>,
    /// Both as text, in this order.
    pub pem: (String, String),
}

impl Clone for Identity {
    fn clone(&self) -> Identity {
        let (chain, key) = (self.chain.clone(), self.key.clone_key());
        Identity { chain, key, pem: self.pem.clone() }
    }
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // It may sign a handshake, too, so that a server can be given it in place of its own.
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names, changed by `change`.
    pub fn signs(&self, names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params(names, change).signed_by(&key, &self.0).unwrap();
        Identity::new(&certificate, &key)
    }

    /// A certificate of a server on this machine.
    pub fn server(&self) -> Identity {
        self.signs(&["localhost", "127.0.0.1"], |_| {})
    }
}

fn params(names: &[&str], change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    change(&mut params);
    params
}

impl Identity {
    fn new(certificate: &rcgen::Certificate, key: &KeyPair) -> Identity {
        Identity {
            chain: vec![certificate.der().clone()],
            key: key.serialize_der().try_into().unwrap(),
            pem: (certificate.pem(), key.serialize_pem()),
        }
    }

    /// Signed by none but itself.
    pub fn self_signed(names: &[&str]) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params(names, |_| {}).self_signed(&key).unwrap();
        Identity::new(&certificate, &key)
    }

    /// An authority's own certificate, in place of a server's.
    pub fn of_authority(authority: &Authority) -> Identity {
        Identity {
            chain: vec![authority.0.der().clone()],
            key: authority.0.key().serialize_der().try_into().unwrap(),
            pem: (authority.0.pem(), authority.0.key().serialize_pem()),
        }
    }
}

/// Ways in which a certificate is bad, and what has to be said of each.
pub fn bad_certificates(authority: &Authority) -> Vec<(Identity, &'static str)> {
    let local = &["localhost", "127.0.0.1"];
    vec![
        (authority.signs(&["other.test"], |_| {}), "for another name (other.test)"),
        (authority.signs(&[], |_| {}), "for no name"),
        (authority.signs(local, |p| p.not_after = date_time_ymd(2020, 1, 1)), "has expired ("),
        (authority.signs(local, |p| p.not_before = date_time_ymd(2400, 1, 1)), "not yet valid ("),
        (Identity::self_signed(local), "unknown issuer"),
        (Authority::new("unknown to all").server(), "unknown issuer"),
        (
            authority.signs(local, |p| {
                p.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            }),
            "wrong key usage: the certificate is not one of a server",
        ),
        (
            authority.signs(local, |p| p.key_usages = vec![KeyUsagePurpose::KeyEncipherment]),
            "wrong key usage: the certificate does not allow its key to sign",
        ),
        (Identity::of_authority(authority), "an authority's own"),
    ]
}

/// What servers have in common.
pub fn config(identity: &Identity, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .unwrap()
}

pub const BOTH: &[&SupportedProtocolVersion] = &[&TLS12, &TLS13];

/// Serves one client with TLS by `serve`, which gets the session before its handshake.
pub fn serve_one<T: Send + 'static>(
    config: ServerConfig,
    serve: impl FnOnce(Session) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let config = Arc::new(config);
    serve_raw(move |stream| serve(StreamOwned::new(ServerConnection::new(config).unwrap(), stream)))
}

/// Serves one client, without a handshake.
pub fn serve_raw<T: Send + 'static>(
    serve: impl FnOnce(TcpStream) -> T + Send + 'static,
) -> (SocketAddr, JoinHandle<T>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let thread = thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(LIMIT)).unwrap();
        stream.set_write_timeout(Some(LIMIT)).unwrap();
        stream.set_nodelay(true).unwrap();
        serve(stream)
    });
    (at, thread)
}

/// Sends the end, and waits for the client's: a socket closed with something unread is reset.
pub fn finish(mut session: Session) {
    session.conn.send_close_notify();
    let _ = session.flush();
    while session.conn.wants_write() && session.conn.write_tls(&mut session.sock).is_ok() {}
    let _ = session.sock.shutdown(std::net::Shutdown::Write);
    let mut rest = [0; 4096];
    while !matches!(session.sock.read(&mut rest), Ok(0) | Err(_)) {}
}

/// Reads up to the end of an HTTP head, which it returns.
pub fn read_head(session: &mut impl Read) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        match session.read(&mut byte) {
            Ok(0) => break,
            Ok(_) => head.push(byte[0]),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&head).into_owned()
}
