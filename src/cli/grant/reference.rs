//! A secret of an option, which may be in a variable, a file or a descriptor of the host. No message has
//! a word of it.

use std::path::{Path, PathBuf};

use super::environment::Variable;
use super::mounts::MountSpec;
use crate::cli::failure::{CliResult, Failure, check, plain};

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SecretSource {
    /// It was typed as it is.
    Typed,
    Variable(String),
    File(PathBuf),
    Descriptor,
}

/// The value, with what it refers to in place of the reference, which is all that follows `@env:`,
/// `@file:` or `@fd:` at its beginning or after a blank.
///
/// # Errors
///
/// If what it refers to can't be read.
pub fn resolve(value: &str, option: &str) -> CliResult<(Vec<u8>, SecretSource)> {
    let failed = |why: String| Failure::usage(format!("{option}: {why}"));
    let at = value.rfind(" @").map_or(0, |blank| blank + 1);
    let (before, reference) = value.split_at(at);
    let Some((kind, named)) = reference.strip_prefix('@').and_then(|rest| rest.split_once(':'))
    else {
        return Ok((value.into(), SecretSource::Typed));
    };
    let (read, source) = match kind {
        "env" => {
            let found = std::env::var_os(named).ok_or_else(|| {
                failed(format!("the variable {named} is not set: set it for tinyhost"))
            })?;
            (found.into_encoded_bytes(), SecretSource::Variable(named.to_owned()))
        }
        "file" => (contents(Path::new(named), named, &failed)?, SecretSource::File(named.into())),
        "fd" => {
            let number = named.parse::<u16>().ok().filter(|number| *number > 2);
            let number = number.ok_or_else(|| {
                failed(format!("@fd:{named} is no descriptor: write a number from 3 on"))
            })?;
            let path = PathBuf::from(format!("/dev/fd/{number}"));
            (contents(&path, &format!("descriptor {number}"), &failed)?, SecretSource::Descriptor)
        }
        _ => return Ok((value.into(), SecretSource::Typed)),
    };
    // Files of one line end it.
    let read = read.strip_suffix(b"\n").unwrap_or(&read);
    let read = read.strip_suffix(b"\r").unwrap_or(read);
    Ok(([before.as_bytes(), read].concat(), source))
}

fn contents(path: &Path, shown: &str, failed: &dyn Fn(String) -> Failure) -> CliResult<Vec<u8>> {
    std::fs::read(path).map_err(|error| {
        failed(format!("can't read {shown}: {}: {}", plain(&error), check(&error)))
    })
}

impl SecretSource {
    /// Checks that a guest can't read it where it comes from.
    pub fn check(&self, option: &str, env: &[Variable], mounts: &[MountSpec]) -> CliResult<()> {
        match self {
            SecretSource::Variable(name) if env.iter().any(|variable| variable.typed == *name) => {
                Err(Failure::usage(format!(
                    "--env {name}: the guest would see the value of {option}: leave it out"
                )))
            }
            SecretSource::File(path) => {
                let Ok(path) = path.canonicalize() else { return Ok(()) };
                let holds = |mount: &&MountSpec| {
                    let host = mount.host().and_then(|host| host.canonicalize().ok());
                    host.is_some_and(|host| path.starts_with(host))
                };
                match mounts.iter().find(holds) {
                    None => Ok(()),
                    Some(mount) => Err(Failure::usage(format!(
                        "{option}: the guest can read {} by {}: move the file",
                        path.display(),
                        mount.typed()
                    ))),
                }
            }
            _ => Ok(()),
        }
    }
}
