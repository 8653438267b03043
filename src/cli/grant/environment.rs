//! `--env`.

use std::env::VarError;

use crate::cli::failure::{CliResult, Failure};

/// A variable of a guest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Variable {
    pub name: String,
    /// `None` for one to pass on that the host does not have.
    value: Option<String>,
    /// How it was typed.
    pub typed: String,
}

/// Reads `NAME=VALUE`, or `NAME` to pass the host's own on.
///
/// # Errors
///
/// For one without a name, and for one of the host's that a guest can't have as it is.
pub fn variable(text: &str) -> CliResult<Variable> {
    let (name, value) = match text.split_once('=') {
        Some((name, value)) => (name, Some(value.to_owned())),
        None => match std::env::var(text) {
            Err(VarError::NotUnicode(_)) => {
                return Err(Failure::usage(format!(
                    "--env {text}: the value on the host is not UTF-8: write --env {text}=VALUE"
                )));
            }
            value => (text, value.ok()),
        },
    };
    if name.is_empty() {
        return Err(Failure::usage(format!(
            "invalid --env '{text}': the name is missing: write --env NAME=VALUE, or --env NAME"
        )));
    }
    Ok(Variable { name: name.to_owned(), value, typed: text.to_owned() })
}

/// Names and values; the last one given for a name counts, as in env(1).
pub fn environment(variables: &[Variable]) -> Vec<(String, String)> {
    let last = |index: usize, name: &str| variables[index + 1..].iter().all(|v| v.name != name);
    let kept = variables.iter().enumerate().filter(|(index, v)| last(*index, &v.name));
    kept.filter_map(|(_, v)| Some((v.name.clone(), v.value.clone()?))).collect()
}
