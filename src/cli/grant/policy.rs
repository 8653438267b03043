//! What a guest may have: options, and the lines of a `--policy FILE`.
//!
//! One directive a line, named as its option: `dir ./data::/data::ro`, `net example.org:443`.
//! Empty lines and those that begin with `#` mean nothing.

use super::environment::{self, Variable};
use super::mounts::{self, MountSpec};
use super::network::Rules;
use crate::cli::args::Given;
use crate::cli::failure::{CliResult, Failure, check, plain};

/// Directives with a value.
const KNOWN: &[&str] = &[
    "dir",
    "mount",
    "env",
    "net",
    "net-listen",
    "listen",
    #[cfg(feature = "tls")]
    "tls-ca",
    #[cfg(feature = "tls")]
    "tls-pin",
    #[cfg(feature = "tls")]
    "secret",
];

/// All directives, for a message.
#[cfg(feature = "tls")]
const NAMES: &str = "dir, mount, no-dev, env, net, net-listen, listen, tls-ca, tls-pin or secret";
#[cfg(not(feature = "tls"))]
const NAMES: &str = "dir, mount, no-dev, env, net, net-listen or listen";

/// What a guest may have, each part read once.
#[derive(Clone, Debug, Default)]
pub struct Grant {
    /// Those of `--dir` come first.
    pub mounts: Vec<MountSpec>,
    pub no_dev: bool,
    pub env: Vec<Variable>,
    pub rules: Rules,
}

impl Grant {
    /// Reads options, then the policy among them.
    ///
    /// # Errors
    ///
    /// For the first that means nothing.
    pub fn new(given: Given) -> CliResult<Grant> {
        let mut grant = Grant { no_dev: given.no_dev, ..Grant::default() };
        let lists = [
            ("dir", given.dir),
            ("mount", given.mount),
            ("env", given.env),
            ("net", given.net),
            ("net-listen", given.net_listen),
            ("listen", given.listen),
        ];
        #[cfg(feature = "tls")]
        let lists = lists.into_iter().chain(given.tls);
        for (name, list) in lists {
            list.iter().try_for_each(|text| grant.add(name, text))?;
        }
        #[cfg(feature = "tls")]
        grant.rules.tls.warn_of_plain_secrets();
        if let Some(path) = given.policy {
            grant.add_file(&path)?;
        }
        #[cfg(feature = "tls")]
        grant.rules.tls.check_secrets(&grant.env, &grant.mounts)?;
        grant.mounts.sort_by_key(|mount| !mount.is_dir_option());
        mounts::check(&grant.mounts)?;
        Ok(grant)
    }

    /// The variables of a guest.
    pub fn environment(&self) -> Vec<(String, String)> {
        environment::environment(&self.env)
    }

    fn add_file(&mut self, path: &str) -> CliResult<()> {
        let fail = |text: String| Failure::usage(format!("--policy {path}: {text}"));
        let text = std::fs::read_to_string(path).map_err(|error| {
            fail(format!("can't read the file: {}: {}", plain(&error), check(&error)))
        })?;
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (directive, value) = line.split_once(' ').unwrap_or((line, ""));
            self.directive(directive, value.trim())
                .map_err(|why| fail(format!("line {}: {why}", number + 1)))?;
        }
        Ok(())
    }

    /// Adds one line of such a file.
    ///
    /// # Errors
    ///
    /// Why it means nothing.
    pub fn directive(&mut self, directive: &str, value: &str) -> Result<(), String> {
        if directive == "no-dev" && value.is_empty() {
            self.no_dev = true;
            return Ok(());
        }
        if !KNOWN.contains(&directive) {
            let line = format!("{directive} {value}");
            let line = line.trim_end();
            return Err(format!("unknown directive in '{line}': write {NAMES}"));
        }
        if value.is_empty() {
            let behind = format!("write it as for --{directive}");
            return Err(format!("'{directive}' has no value: {behind}"));
        }
        let option = format!("--{directive}");
        self.add(directive, value).map_err(|failure| failure.text.replacen(&option, directive, 1))
    }

    /// Adds the value of an option, given without its dashes.
    fn add(&mut self, name: &str, value: &str) -> CliResult<()> {
        match name {
            "dir" => self.mounts.push(mounts::dir(value)?),
            "mount" => self.mounts.push(mounts::mount(value)?),
            "env" => self.env.push(environment::variable(value)?),
            _ => self.rules.add(name, value)?,
        }
        Ok(())
    }
}
