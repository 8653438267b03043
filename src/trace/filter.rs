//! Which calls are traced.

use std::fmt;
use std::str::FromStr;

use crate::wasi::{SOCKETS, TABLE};

/// Groups of calls; every call is in one of them, and in `net` as well if it is about a
/// socket.
const GROUPS: [&str; 6] = ["fd", "path", "net", "poll", "clock", "proc"];

/// A choice of calls: groups (`fd`, `path`, `net`, `poll`, `clock`, `proc`), names
/// (`path_open`) and `errors`, separated by commas. Groups and names add up; `errors`
/// leaves only calls that fail.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Empty: all.
    named: Vec<&'static str>,
    errors: bool,
}

/// A word of a filter that means nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFilter(String);

impl fmt::Display for BadFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let BadFilter(word) = self;
        write!(f, "unknown group or call '{word}': use {}, errors, ", GROUPS.join(", "))?;
        f.write_str("or the name of a call, such as path_open")
    }
}

impl std::error::Error for BadFilter {}

impl FromStr for Filter {
    type Err = BadFilter;

    fn from_str(text: &str) -> Result<Filter, BadFilter> {
        let mut filter = Filter::default();
        for word in text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
            if word == "errors" {
                filter.errors = true;
                continue;
            }
            let names =
                GROUPS.iter().copied().chain(TABLE.iter().chain(SOCKETS).map(|row| row.name));
            let known = names.into_iter().find(|name| *name == word);
            filter.named.push(known.ok_or_else(|| BadFilter(word.to_owned()))?);
        }
        Ok(filter)
    }
}

impl Filter {
    /// Whether a call of this name is traced, `network` being whether it is about a socket.
    pub(super) fn wants(&self, name: &str, network: bool) -> bool {
        let own = group(name);
        let chosen = |word: &&str| **word == *name || **word == *own || network && **word == *"net";
        self.named.is_empty() || self.named.iter().any(chosen)
    }

    pub(super) fn errors_only(&self) -> bool {
        self.errors
    }
}

/// The group of a call, by its name.
pub(super) fn group(name: &str) -> &'static str {
    let prefix = name.split('_').next().unwrap_or_default();
    match prefix {
        "sock" => "net",
        "fd" | "path" | "poll" | "clock" => {
            GROUPS.iter().find(|group| **group == prefix).expect("it is one of them")
        }
        _ => "proc",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_add_up() {
        let filter: Filter = "path, net,fd_close".parse().unwrap();
        assert!(filter.wants("path_open", false) && filter.wants("fd_close", false));
        assert!(filter.wants("sock_accept", false) && filter.wants("fd_read", true));
        assert!(!filter.wants("fd_read", false) && !filter.wants("random_get", false));
        assert!("".parse::<Filter>().unwrap().wants("random_get", false));
        let errors: Filter = "errors".parse().unwrap();
        assert!(errors.errors_only() && errors.wants("fd_read", false));
        assert!("path,files".parse::<Filter>().is_err());
    }

    #[test]
    fn every_call_is_in_a_group() {
        for row in TABLE.iter().chain(SOCKETS) {
            assert!(GROUPS.contains(&group(row.name)), "{}", row.name);
        }
    }
}
