//! In place of `tls.rs` where tinyhost is built without TLS: who asks for it is told so.

use tinyhost::vfs::net::Config;

use super::environment::Variable;
use super::mounts::Mount;
use crate::cli::failure::{Failure, Outcome};

/// Nothing can be asked for.
#[derive(Clone, Debug, Default)]
pub struct Options;

impl Options {
    /// Refuses all.
    ///
    /// # Errors
    ///
    /// Always.
    pub fn add(&mut self, name: &str, _text: &str) -> Outcome<()> {
        Err(Failure::usage(format!(
            "--{name}: this tinyhost is built without TLS: leave it out, or build with \
             --features tls"
        )))
    }

    /// There are none.
    pub fn warn_of_plain_secrets(&self) {}

    /// # Errors
    ///
    /// None: there are none.
    pub fn check_secrets(&self, _env: &[Variable], _mounts: &[Mount]) -> Outcome<()> {
        Ok(())
    }

    /// The network as it is.
    pub fn configure(&self, config: Config) -> Config {
        config
    }
}
