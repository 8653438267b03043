//! A source whose connections speak TLS, and the certificate they are shown.

use std::fmt;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use mio::{Registry, Token};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

use super::{Accepted, Source};
use crate::serve::client::tls::Secure;
use crate::vfs::net::tls::provider;

/// A server's certificate with its key, and whether clients need one of their own.
#[derive(Clone)]
pub struct Identity(Arc<ServerConfig>);

impl Identity {
    /// The certificates in `chain`, the server's own first, and the key of that, both as PEM text.
    /// With `client_ca` only clients are served that have a certificate of one of these
    /// authorities.
    ///
    /// # Errors
    ///
    /// What is wrong with one of them, or that they don't belong together.
    pub fn new(chain: &[u8], key: &[u8], client_ca: Option<&[u8]>) -> Result<Identity, String> {
        let chain = certificates(chain).map_err(|why| format!("the certificate: {why}"))?;
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| "the key: there is no private key in it: give PEM text".to_owned())?;
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let builder = match client_ca {
            None => builder.with_no_client_auth(),
            Some(pem) => {
                let bad = |why: String| format!("the authorities of clients: {why}");
                let mut roots = RootCertStore::empty();
                for certificate in certificates(pem).map_err(bad)? {
                    roots.add(certificate).map_err(|error| bad(error.to_string()))?;
                }
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(roots.into(), provider()).build();
                builder.with_client_cert_verifier(verifier.map_err(|error| bad(error.to_string()))?)
            }
        };
        let config = builder.with_single_cert(chain, key).map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => {
                "the key is not that of the certificate".to_owned()
            }
            error => error.to_string(),
        })?;
        Ok(Identity(Arc::new(config)))
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity")
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    match all {
        Ok(all) if all.is_empty() => Err("there is none in it: give PEM text".to_owned()),
        Ok(all) => Ok(all),
        Err(error) => Err(error.to_string()),
    }
}

/// The identity that new connections are shown. It can be replaced at any time.
pub(crate) struct Current(Mutex<Identity>);

impl Current {
    pub fn new(identity: Identity) -> Current {
        Current(Mutex::new(identity))
    }

    pub fn replace(&self, identity: Identity) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = identity;
    }

    fn get(&self) -> Identity {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// See the [module](self).
pub(crate) struct TlsDoor {
    pub source: Box<dyn Source>,
    pub identity: Arc<Current>,
}

impl Source for TlsDoor {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.source.register(registry, token)
    }

    fn accept(&mut self) -> io::Result<Accepted> {
        let accepted = self.source.accept()?;
        let wire = Box::new(Secure::new(accepted.wire, &self.identity.get().0)?);
        Ok(Accepted { wire, ..accepted })
    }
}
