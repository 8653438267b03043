//! `--proxy-protocol` and `--proxy-from`.

use tinyhost::serve::{ProxyProtocol, TrustedProxy};

use crate::cli::args::{ServeArgs, units};
use crate::cli::failure::{CliResult, Failure};

/// The proxies that say whose connections they pass on, if there are to be some.
///
/// # Errors
///
/// For a word that means nothing, and for proxies without their protocol.
pub fn wanted(args: &ServeArgs) -> CliResult<Option<ProxyProtocol>> {
    let required = match args.proxy_protocol.as_deref() {
        Some("") => false,
        Some("required") => true,
        Some(other) => {
            let hint = "write --proxy-protocol or --proxy-protocol=required";
            return Err(units::invalid("--proxy-protocol", other, hint));
        }
        None if args.proxy_from.is_empty() => return Ok(None),
        None => {
            return Err(Failure::usage(
                "--proxy-from has no effect without --proxy-protocol: add it, or leave it out",
            ));
        }
    };
    let parse = |text: &String| {
        text.parse::<TrustedProxy>()
            .map_err(|why| units::invalid("--proxy-from", text, &why.to_string()))
    };
    let mut from = args.proxy_from.iter().map(parse).collect::<CliResult<Vec<_>>>()?;
    if from.is_empty() {
        from = TrustedProxy::of_this_machine();
    }
    Ok(Some(ProxyProtocol { required, from }))
}
