//! In place of `certificate.rs` where tinyhost is built without TLS: who asks for it is told so.

use tinyhost::serve::Config;

use crate::cli::args::Serve;
use crate::cli::failure::{Failure, Outcome};

/// # Errors
///
/// If it was asked for.
pub fn wanted(args: &mut Serve) -> Outcome<Option<()>> {
    let asked = [&args.tls_cert, &args.tls_key, &args.tls_client_ca];
    if asked.iter().all(|option| option.is_none()) {
        return Ok(None);
    }
    Err(Failure::usage(
        "--tls-cert: this tinyhost is built without TLS: leave it out, or build with --features tls",
    ))
}

/// Nothing was asked for.
pub fn add(_config: &mut Config, _certificate: Option<()>) {}
