//! `--tls-ca`, `--tls-pin`: which peers a guest's TLS connections trust. `--secret`: what they are sent.

use tinyhost::vfs::net::{NetConfig, Tls};

use super::environment::Variable;
use super::mounts::MountSpec;
use super::reference::SecretSource;
use super::secret;
use crate::cli::failure::{CliResult, Failure, check, plain};

/// The variable that OpenSSL and others have for the file of authorities to trust.
const VARIABLE: &str = "SSL_CERT_FILE";

/// What was asked for.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    tls: Tls,
    sources: Vec<SecretSource>,
}

impl TlsOptions {
    /// Adds the value of an option, given without its dashes.
    ///
    /// # Errors
    ///
    /// If it means nothing, or a file can't be read.
    pub fn add(&mut self, name: &str, text: &str) -> CliResult<()> {
        if name == "secret" {
            let (secret, source) = secret::read(text)?;
            self.tls = self.tls.clone().secret(secret);
            self.sources.push(source);
            return Ok(());
        }
        let failed = |why: String| Failure::usage(format!("--{name} {text}: {why}"));
        let tls = self.tls.clone();
        self.tls = if name == "tls-ca" {
            let pem = std::fs::read(text).map_err(|error| {
                failed(format!("can't read the file: {}: {}", plain(&error), check(&error)))
            })?;
            tls.trust(text, &pem).map_err(|error| Failure::usage(format!("--{name} {error}")))?
        } else {
            tls.pin(text.parse().map_err(|error| failed(format!("{error}")))?)
        };
        Ok(())
    }

    /// A value on a command line is everyone's to read.
    pub fn warn_of_plain_secrets(&self) {
        if self.sources.contains(&SecretSource::Typed) {
            log::warn!(
                "the value of --secret is on the command line, where other users of this machine \
                 can read it: write @env:NAME, @file:PATH or @fd:NUMBER in its place"
            );
        }
    }

    /// Checks that what a guest is given holds no secret.
    ///
    /// # Errors
    ///
    /// For the first that it could read.
    pub fn check_secrets(&self, env: &[Variable], mounts: &[MountSpec]) -> CliResult<()> {
        self.sources.iter().try_for_each(|source| source.check("--secret", env, mounts))
    }

    /// A network that keeps to it. Without `--tls-ca`, SSL_CERT_FILE names the authorities. It is
    /// set for other programs as well, so it is no mistake until a guest dials.
    pub fn configure(&self, config: NetConfig) -> NetConfig {
        let mut tls = self.tls.clone();
        let named = std::env::var_os(VARIABLE).filter(|name| !name.is_empty());
        if let Some(name) = named.filter(|_| !tls.trusts_own()) {
            let from = format!("{VARIABLE} {}", name.display());
            // What can't be read has no certificate in it.
            tls = tls.trust_unread(&from, &std::fs::read(&name).unwrap_or_default());
        }
        NetConfig { tls, ..config }
    }
}
