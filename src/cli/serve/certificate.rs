//! `--tls-cert`, `--tls-key`, `--tls-client-ca`.

use std::sync::Arc;

use tinyhost::serve::{Identity, ServeConfig};

use crate::cli::args::ServeArgs;
use crate::cli::failure::{CliResult, Failure, check, plain};

/// Files that make an identity, and what they made at the start.
pub struct Certificate {
    files: Arc<Files>,
    identity: Identity,
}

struct Files {
    certificate: String,
    key: String,
    client_ca: Option<String>,
}

/// Reads what was asked for, if anything was.
///
/// # Errors
///
/// If a part is missing, or the files are not what they should be.
pub fn wanted(args: &mut ServeArgs) -> CliResult<Option<Certificate>> {
    let (certificate, key) = (args.tls_cert.take(), args.tls_key.take());
    let client_ca = args.tls_client_ca.take();
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (None, None) if client_ca.is_none() => return Ok(None),
        (None, _) => {
            return Err(Failure::usage("--tls-cert is missing: give the server's certificate"));
        }
        (_, None) => {
            return Err(Failure::usage("--tls-key is missing: give the key of --tls-cert"));
        }
    };
    let files = Arc::new(Files { certificate, key, client_ca });
    let identity = files.load().map_err(Failure::usage)?;
    Ok(Some(Certificate { files, identity }))
}

/// Has the server speak TLS, and load the files again when it is asked to.
pub fn add(config: &mut ServeConfig, certificate: Option<Certificate>) {
    let Some(Certificate { files, identity }) = certificate else { return };
    config.tls = Some(identity);
    config.reload_tls = Some(Arc::new(move || files.load()));
}

impl Files {
    fn load(&self) -> Result<Identity, String> {
        let certificate = read("--tls-cert", &self.certificate)?;
        let key = read("--tls-key", &self.key)?;
        let client_ca = self.client_ca.as_ref();
        let client_ca = client_ca.map(|path| read("--tls-client-ca", path)).transpose()?;
        Identity::new(&certificate, &key, client_ca.as_deref())
            .map_err(|why| format!("--tls-cert {}: {why}", self.certificate))
    }
}

fn read(option: &str, path: &str) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| {
        format!("{option} {path}: can't read the file: {}: {}", plain(&error), check(&error))
    })
}
