//! Which certificates hold.

use std::io::Read;

use tinyhost::Errno;
use tinyhost::vfs::net::{NetConfig, Tls};

use super::support::{LOCAL, name, trusting, world};
use crate::net_util::{World, config, read_to_end};
use crate::tls_util::{self, Authority, BOTH, Identity, bad_certificates, finish, serve_one};
use rustls::version::{TLS12, TLS13};

/// A server that has this certificate and greets.
fn greeting(identity: &Identity) -> std::net::SocketAddr {
    use std::io::Write;
    let config = tls_util::config(identity, BOTH);
    let (at, _) = serve_one(config, |mut session| {
        if session.write_all(b"hello").is_ok() {
            finish(session);
        }
    });
    at
}

#[test]
fn a_certificate_that_holds_opens_the_stream() {
    let authority = Authority::new("test");
    let world = world(&authority);
    for host in ["localhost", "127.0.0.1"] {
        let at = greeting(&authority.server());
        let mut file = world.dial(&format!("tls/{host}/{}", at.port())).unwrap();
        assert_eq!(read_to_end(&mut *file), b"hello");
    }
    assert_eq!(world.denials(), [""; 0]);
}

#[test]
fn each_bad_certificate_is_refused_with_the_check_that_failed() {
    let authority = Authority::new("test");
    for (identity, why) in bad_certificates(&authority) {
        let world = world(&authority);
        let at = greeting(&identity);
        assert_eq!(world.dial(&name(at)).err(), Some(Errno::Acces), "{why}");
        let denials = world.denials();
        let start = format!("denied: dial tls:localhost:{}: ", at.port());
        assert_eq!(denials.len(), 1, "{denials:?}");
        assert!(denials[0].starts_with(&start) && denials[0].contains(why), "{denials:?}");
    }
}

#[test]
fn without_its_authority_a_server_is_unknown() {
    let world = World::new(config(LOCAL, &[]));
    let at = greeting(&Authority::new("test").server());
    assert_eq!(world.dial(&name(at)).err(), Some(Errno::Acces));
    assert!(world.denials()[0].contains("(trust one with --tls-ca FILE)"));
}

#[test]
fn both_versions_are_spoken_and_no_older_one() {
    let authority = Authority::new("test");
    for version in [&TLS12, &TLS13] {
        let world = world(&authority);
        let config = tls_util::config(&authority.server(), &[version]);
        let (at, server) = serve_one(config, |mut session| {
            let mut byte = [0];
            session.read_exact(&mut byte).unwrap();
            session.conn.protocol_version()
        });
        let mut file = world.dial(&name(at)).unwrap();
        crate::net_util::write_all(&mut *file, b"x");
        assert_eq!(server.join().unwrap(), Some(version.version));
    }
}

#[test]
fn a_pinned_key_is_asked_for_besides_a_certificate_that_holds() {
    use rustls::pki_types::pem::PemObject;
    let authority = Authority::new("test");
    let (own, other) = (authority.server(), authority.server());
    let pin = |identity: &Identity| {
        let key = rcgen::KeyPair::from_pem(&identity.pem.1).unwrap();
        let spki = rcgen::PublicKeyData::subject_public_key_info(&key);
        let hash = rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
        let hash = hash.tls13().unwrap().common.hash_provider.hash(&spki);
        let text = base64(hash.as_ref());
        assert!(
            rustls::pki_types::CertificateDer::from_pem_slice(identity.pem.0.as_bytes()).is_ok()
        );
        format!("sha256/{text}")
    };
    let dial = |pins: &[String]| {
        let mut tls = Tls::default().trust("test", authority.pem().as_bytes()).unwrap();
        let at = greeting(&own);
        for text in pins {
            tls = tls.pin(text.replace("PORT", &at.port().to_string()).parse().unwrap());
        }
        let world = World::new(NetConfig { tls, ..config(LOCAL, &[]) });
        (world.dial(&name(at)).err(), world.denials().concat())
    };
    assert_eq!(dial(&[pin(&own)]).0, None);
    assert_eq!(dial(&[pin(&other), pin(&own)]).0, None);
    assert_eq!(dial(&[format!("localhost:PORT={}", pin(&own))]).0, None);
    assert_eq!(dial(&[format!("other.test:PORT={}", pin(&other))]).0, None, "another peer's");
    let (errno, why) = dial(&[pin(&other)]);
    assert_eq!(errno, Some(Errno::Acces));
    assert!(why.contains("not the one that --tls-pin names"), "{why}");
    assert_eq!(dial(&[format!("localhost:PORT={}", pin(&other))]).0, Some(Errno::Acces));
    // It takes the place of no other check.
    let selfmade = Identity::self_signed(&["localhost"]);
    let at = greeting(&selfmade);
    let tls = trusting(&authority).tls.pin(pin(&selfmade).parse().unwrap());
    let world = World::new(NetConfig { tls, ..config(LOCAL, &[]) });
    assert_eq!(world.dial(&name(at)).err(), Some(Errno::Acces));
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let all =
            part.iter().fold(0, |all, byte| all << 8 | u32::from(*byte)) << (8 * (3 - part.len()));
        for digit in 0..4 {
            let value = (all >> (18 - 6 * digit)) as usize & 63;
            text.push(if digit <= part.len() { DIGITS[value].into() } else { '=' });
        }
    }
    text
}

#[test]
fn a_session_that_is_resumed_is_checked_again() {
    use std::io::Write;
    // One configuration serves several clients, so that the second may resume the first's session.
    let authority = Authority::new("test");
    let identity = authority.server();
    let config = std::sync::Arc::new(tls_util::config(&identity, BOTH));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    let server = std::thread::spawn(move || {
        let mut kinds = Vec::new();
        for _ in 0..2 {
            let (stream, _) = listener.accept().unwrap();
            let connection = rustls::ServerConnection::new(config.clone()).unwrap();
            let mut session = rustls::StreamOwned::new(connection, stream);
            session.write_all(b"hello").unwrap();
            kinds.push(session.conn.handshake_kind());
            finish(session);
        }
        kinds
    });
    let world = world(&authority);
    for _ in 0..2 {
        let mut file = world.for_guest().dial(&name(at)).unwrap();
        assert_eq!(read_to_end(&mut *file), b"hello");
    }
    let kinds = server.join().unwrap();
    assert_eq!(kinds[1], Some(rustls::HandshakeKind::Resumed), "{kinds:?}");
}

#[test]
fn a_server_is_told_why_its_certificate_is_refused() {
    let authority = Authority::new("test");
    let config = tls_util::config(&Authority::new("another").server(), BOTH);
    let (at, server) =
        serve_one(config, |mut session| session.read(&mut [0; 1]).unwrap_err().to_string());
    assert_eq!(world(&authority).dial(&name(at)).err(), Some(Errno::Acces));
    let error = server.join().unwrap();
    assert!(error.contains("received fatal alert"), "{error}");
}
