//! `--policy FILE`: what a guest may have, as a file.
//!
//! One directive a line, named as its option: `dir ./data::/data::ro`, `net example.org:443`.
//! Empty lines and those that begin with `#` mean nothing.

use super::environment::environment;
use super::mounts;
use super::network;
use crate::cli::failure::{Failure, Outcome, check, plain};

/// Options that say what a guest may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    pub dir: Vec<String>,
    pub mount: Vec<String>,
    pub no_dev: bool,
    pub env: Vec<String>,
    pub net: Vec<String>,
    pub net_listen: Vec<String>,
    pub listen: Vec<String>,
    /// Something that was used has no directive.
    pub left_out: bool,
}

impl Allowed {
    /// Adds what a policy file allows.
    ///
    /// # Errors
    ///
    /// If it can't be read, or a line means nothing; the line is named.
    pub fn add(&mut self, path: &str) -> Outcome<()> {
        let fail = |text: String| Failure::usage(format!("--policy {path}: {text}"));
        let text = std::fs::read_to_string(path)
            .map_err(|error| fail(format!("{}: {}", plain(&error), check(&error))))?;
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

    /// One line of such a file.
    pub fn directive(&mut self, directive: &str, value: &str) -> Result<(), String> {
        let list = match directive {
            "no-dev" if value.is_empty() => {
                self.no_dev = true;
                return Ok(());
            }
            "dir" => &mut self.dir,
            "mount" => &mut self.mount,
            "env" => &mut self.env,
            "net" => &mut self.net,
            "net-listen" => &mut self.net_listen,
            "listen" => &mut self.listen,
            _ => {
                let known = "dir, mount, no-dev, env, net, net-listen or listen";
                let line = format!("{directive} {value}");
                let line = line.trim_end();
                return Err(format!("'{line}' begins with no directive: write {known}"));
            }
        };
        if value.is_empty() {
            let behind = format!("write it as behind --{directive}");
            return Err(format!("'{directive}' has no value: {behind}"));
        }
        // Here, where its place is known.
        let wrong = |failure: Failure| failure.text.trim_start_matches("--").to_owned();
        let (option, one) = (format!("--{directive}"), [value.to_owned()]);
        match directive {
            "dir" => mounts::dir(value).map(drop),
            "mount" => mounts::mount(value).map(drop),
            "env" => environment(&one).map(drop),
            "listen" => network::address(value).map(drop),
            _ => network::rule(&option, value),
        }
        .map_err(wrong)?;
        list.push(value.to_owned());
        Ok(())
    }
}
