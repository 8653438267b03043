//! `--secret 'HOST:PORT HEADER=VALUE'`. No message has a word of the value.

use tinyhost::vfs::net::Secret;

use super::reference::{self, SecretSource};
use crate::cli::failure::{CliResult, Failure};

const FORM: &str = "write --secret 'HOST:PORT HEADER=VALUE', as \
                    --secret 'api.example.com:443 Authorization=Bearer @env:TOKEN'";

/// Reads the value of the option, and what it names.
///
/// # Errors
///
/// If it means nothing, or what it names can't be read.
pub fn read(text: &str) -> CliResult<(Secret, SecretSource)> {
    let parts = text.trim().split_once(char::is_whitespace);
    let parts = parts.and_then(|(peer, rest)| Some((peer, rest.trim_start().split_once('=')?)));
    let Some((peer, (name, value))) = parts else {
        return Err(Failure::usage(format!("--secret: a part is missing: {FORM}")));
    };
    let (value, source) = reference::resolve(value, &format!("--secret {name}"))?;
    let secret = Secret::new(peer, name.trim_end(), &value);
    Ok((secret.map_err(|error| Failure::usage(format!("--secret: {error}")))?, source))
}
