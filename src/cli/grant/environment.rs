//! `--env`.

use std::env::VarError;

use crate::cli::failure::{Failure, Outcome};

/// `K=V`, or `K` to pass the host's own on; a variable the host does not have is left out.
///
/// # Errors
///
/// For one without a name, and for one of the host's that a guest can't have as it is.
pub fn environment(texts: &[String]) -> Outcome<Vec<(String, String)>> {
    let mut variables: Vec<(String, String)> = Vec::new();
    for text in texts {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => match std::env::var(text) {
                Err(VarError::NotUnicode(_)) => {
                    return Err(Failure::usage(format!(
                        "--env {text}: its value is not UTF-8: write --env {text}=VALUE"
                    )));
                }
                value => (text.as_str(), value.ok()),
            },
        };
        if key.is_empty() {
            return Err(Failure::usage(format!(
                "--env '{text}' has no name: write --env NAME=VALUE, or --env NAME"
            )));
        }
        // The last one said wins, as in env(1).
        variables.retain(|(there, _)| there != key);
        variables.extend(value.map(|value| (key.to_owned(), value)));
    }
    Ok(variables)
}
