//! `--from nats://...` and its login.

use tinyhost::serve::{NatsConfig, NatsLogin, ServeConfig, Unit};

use crate::cli::args::ServeArgs;
use crate::cli::failure::{CliResult, Failure};
use crate::cli::grant::policy::Grant;
use crate::cli::grant::reference;

/// Where messages come from, if they are to come. The guests must not see the login.
///
/// # Errors
///
/// If it means nothing, or does not go with the other options.
pub fn wanted(args: &ServeArgs, unit: Unit, grant: &Grant) -> CliResult<Option<NatsConfig>> {
    let Some(text) = &args.from else {
        return match args.from_auth {
            Some(_) => {
                Err(Failure::usage("--from-auth has no effect without --from: leave it out"))
            }
            None => Ok(None),
        };
    };
    // What was typed may have a password in it.
    let mut config =
        NatsConfig::parse(text).map_err(|why| Failure::usage(format!("invalid --from: {why}")))?;
    let other = match unit {
        Unit::Line if args.keep_open && args.bind.is_empty() => {
            return Err(Failure::usage(
                "--keep-open has no effect with --from: leave it out, or add --bind for lines",
            ));
        }
        Unit::Line => None,
        Unit::Connection => Some("--per connection"),
        Unit::Http => Some("--http"),
        Unit::Scgi => Some("--scgi"),
    };
    if let Some(other) = other {
        return Err(Failure::usage(format!(
            "{other} can't be combined with --from, as each message has a guest: leave it out"
        )));
    }
    if let Some(login) = &args.from_auth {
        if config.login.is_some() {
            return Err(Failure::usage(
                "--from-auth can't be combined with a login in --from: leave one of them out",
            ));
        }
        let (value, source) = reference::resolve(login, "--from-auth")?;
        source.check("--from-auth", &grant.env, &grant.mounts)?;
        let value = String::from_utf8(value)
            .map_err(|_| Failure::usage("--from-auth: the login is not UTF-8"))?;
        if value.is_empty() {
            return Err(Failure::usage(
                "--from-auth: the login is empty: write USER:PASSWORD, a token, @env:NAME or \
                 @file:PATH",
            ));
        }
        config.login = Some(NatsLogin::parse(&value));
    }
    Ok(Some(config))
}

/// Has the server fetch them.
pub fn add(config: &mut ServeConfig, from: Option<NatsConfig>) {
    config.from = from;
}
