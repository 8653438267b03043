//! TLS that the host speaks for a guest: the guest sees the stream inside.
//!
//! ```text
//! handshake.rs   an open under way: until the certificate holds
//! file.rs        an open connection, as a guest reads and writes it
//! session.rs     the protocol, for either side; it owns no socket and no clock
//! failure.rs     what went wrong, in words
//! subject.rs     the name of a certificate's subject, as text
//! certificate.rs what of a certificate the protocol's library does not look at
//! ```

mod certificate;
mod failure;
pub(super) mod file;
pub(super) mod handshake;
pub(crate) mod session;
#[cfg(feature = "serve")]
mod subject;

use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::dial::Transport;
use super::https::Secret;
use super::policy::addr::Host;
use super::policy::rule::{Rule, port};
use certificate::Fingerprint;

/// Which peers a guest's TLS connections trust. A clone shares the sessions that can be resumed.
///
/// The authorities that browsers trust (Mozilla's list, as of the build) are those that are trusted
/// at first.
#[derive(Clone, Default)]
pub struct Tls {
    trusted: Vec<Trusted>,
    pins: Vec<(Option<(Host, u16)>, Fingerprint)>,
    secrets: Vec<Secret>,
    configs: Arc<OnceLock<Result<Configs, String>>>,
}

/// Authorities, as the text of a file.
#[derive(Clone)]
struct Trusted {
    /// Where they come from, for messages.
    from: String,
    pem: Arc<[u8]>,
}

/// What connections have in common, by what is spoken inside them.
struct Configs {
    stream: Arc<ClientConfig>,
    https: Arc<ClientConfig>,
}

impl Configs {
    fn of(&self, transport: Transport) -> &Arc<ClientConfig> {
        if transport == Transport::Https { &self.https } else { &self.stream }
    }
}

/// Why TLS can't be set up as asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsError(pub(crate) String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

impl Tls {
    /// Trusts the authorities in `pem`, the text of a file named `from`, in place of those that
    /// browsers trust. Called again, it adds to them.
    ///
    /// # Errors
    ///
    /// If there is no certificate in it, or one that can't be read.
    pub fn trust(mut self, from: &str, pem: &[u8]) -> Result<Tls, TlsError> {
        let trusted = Trusted { from: from.to_owned(), pem: pem.into() };
        trusted.add_to(&mut RootCertStore::empty()).map_err(TlsError)?;
        self.trusted.push(trusted);
        self.configs = Arc::default();
        Ok(self)
    }

    /// As [`trust`](Tls::trust), for what was not asked for in so many words (SSL_CERT_FILE): it is
    /// read when a guest first dials, and what is wrong with it is reported then.
    #[must_use]
    pub fn trust_unread(mut self, from: &str, pem: &[u8]) -> Tls {
        self.trusted.push(Trusted { from: from.to_owned(), pem: pem.into() });
        self.configs = Arc::default();
        self
    }

    /// Whether [`trust`](Tls::trust) or its kin was called.
    pub fn trusts_own(&self) -> bool {
        !self.trusted.is_empty()
    }

    /// Demands, besides a certificate that holds, this key of it. Of several pins for a peer, one
    /// has to match.
    #[must_use]
    pub fn pin(mut self, pin: Pin) -> Tls {
        self.pins.push((pin.peer, pin.key));
        self
    }

    /// Adds a header to the requests that guests make by `/dev/https` to its peer, and allows those
    /// requests. The last one of a name counts.
    #[must_use]
    pub fn secret(mut self, secret: Secret) -> Tls {
        self.secrets.retain(|known| !known.is_same_header(&secret));
        self.secrets.push(secret);
        self
    }

    /// The headers that are added for a peer.
    pub(super) fn secrets_for<'t>(
        &'t self,
        host: &'t Host,
        port: u16,
    ) -> impl Iterator<Item = &'t Secret> {
        self.secrets.iter().filter(move |secret| secret.is_for(host, port))
    }

    /// Rules that allow what secrets are for.
    pub(super) fn rules(&self) -> impl Iterator<Item = Rule> {
        self.secrets.iter().filter_map(|secret| secret.rule().parse().ok())
    }

    fn configs(&self) -> Result<&Configs, &str> {
        self.configs.get_or_init(|| self.make()).as_ref().map_err(String::as_str)
    }

    fn make(&self) -> Result<Configs, String> {
        let mut roots = RootCertStore::empty();
        for trusted in &self.trusted {
            trusted.add_to(&mut roots)?;
        }
        if self.trusted.is_empty() {
            roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
        }
        let wrong = |error: &dyn fmt::Display| format!("TLS can't be set up: {error}");
        let provider = provider();
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone());
        let verifier = verifier.build().map_err(|error| wrong(&error))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| wrong(&error))?
            .with_webpki_verifier(verifier)
            .with_no_client_auth();
        let mut https = config.clone();
        https.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Configs { stream: Arc::new(config), https: Arc::new(https) })
    }

    /// The keys of which a peer must have one, if any are named.
    fn pins_of<'t>(&'t self, host: &'t Host, port: u16) -> impl Iterator<Item = &'t Fingerprint> {
        let is_for = move |peer: &Option<(Host, u16)>| {
            peer.as_ref().is_none_or(|(of, at)| of == host && *at == port)
        };
        self.pins.iter().filter(move |(peer, _)| is_for(peer)).map(|(_, key)| key)
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let trusted: Vec<_> = self.trusted.iter().map(|trusted| &trusted.from).collect();
        f.debug_struct("Tls")
            .field("trusted", &trusted)
            .field("pins", &self.pins)
            .field("secrets", &self.secrets)
            .finish()
    }
}

/// The cryptography of all of it.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    PROVIDER.get_or_init(|| Arc::new(rustls::crypto::ring::default_provider())).clone()
}

impl Trusted {
    fn add_to(&self, roots: &mut RootCertStore) -> Result<(), String> {
        let from = &self.from;
        let before = roots.len();
        for (index, certificate) in CertificateDer::pem_slice_iter(&self.pem).enumerate() {
            let number = index + 1;
            let bad = |why: String| format!("{from}: certificate {number} can't be read: {why}");
            let certificate = certificate.map_err(|error| bad(error.to_string()))?;
            roots.add(certificate).map_err(|error| bad(error.to_string()))?;
        }
        if roots.len() == before {
            let form = "-----BEGIN CERTIFICATE-----";
            return Err(format!("{from}: there is no certificate in it: give PEM text ({form})"));
        }
        Ok(())
    }
}

/// A key that a peer must have: `sha256/BASE64` for every peer, `HOST:PORT=sha256/BASE64` for one.
/// It is the SHA-256 of the public key's encoding (SubjectPublicKeyInfo), as in curl's
/// `--pinnedpubkey`. Made by [`str::parse`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    peer: Option<(Host, u16)>,
    key: Fingerprint,
}

impl FromStr for Pin {
    type Err = TlsError;

    fn from_str(text: &str) -> Result<Pin, TlsError> {
        const FORM: &str = "write sha256/ and the base64 of the key's hash (44 characters), or \
                            HOST:PORT=sha256/...";
        let bad = |what: &str| TlsError(format!("{what}: {FORM}"));
        let (peer, key) = match text.find("sha256/") {
            None => return Err(bad("the hash is missing")),
            Some(0) => (None, text),
            Some(at) => {
                let (peer, key) = text.split_at(at);
                let peer = peer.strip_suffix('=').and_then(|peer| {
                    let (host, digits) = peer.rsplit_once(':')?;
                    Some((Host::parse(host)?, port(digits).filter(|port| *port != 0)?))
                });
                (Some(peer.ok_or_else(|| bad("this is no HOST:PORT"))?), key)
            }
        };
        let key = Fingerprint::parse(&key["sha256/".len()..]);
        Ok(Pin { peer, key: key.ok_or_else(|| bad("this is no hash of 32 bytes in base64"))? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_is_a_hash_for_all_peers_or_for_one() {
        let hash = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let pin: Pin = format!("sha256/{hash}").parse().unwrap();
        let one: Pin = format!("a.org:443=sha256/{hash}").parse().unwrap();
        assert_eq!((pin.peer, &pin.key), (None, &one.key));
        assert_eq!(one.peer, Some((Host::parse("a.org").unwrap(), 443)));
        for no in [
            "",
            hash,
            "sha256/",
            "sha256/AAAA",
            "sha1/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFV=",
            "sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFUA",
            "a.org=sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "a.org:0=sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
            "a.org:443 sha256/47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
        ] {
            assert!(no.parse::<Pin>().is_err(), "{no}");
        }
    }

    #[test]
    fn what_is_no_certificate_is_not_trusted() {
        let error = Tls::default().trust("ca.pem", b"").unwrap_err().to_string();
        assert!(error.starts_with("ca.pem: there is no certificate in it"), "{error}");
        let text = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let error = Tls::default().trust("ca.pem", text).unwrap_err().to_string();
        assert!(error.starts_with("ca.pem: certificate 1 can't be read: "), "{error}");
    }

    #[test]
    fn the_public_authorities_are_trusted_at_first() {
        assert!(Tls::default().configs().is_ok());
    }
}
