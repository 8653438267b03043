//! A header that the host adds to the requests for one peer.

use std::fmt;
use std::sync::Arc;

use super::super::policy::addr::Host;
use super::super::policy::rule::port;

/// Bytes of a value. More is no credential, and servers refuse it.
const VALUE_MAX: usize = 16 << 10;

/// Headers that say what a request is, or whose it is: the host writes them itself, or they are none
/// of its business.
const RESERVED: [&str; 9] = [
    "host",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "keep-alive",
];

/// A header with a value that no guest sees, for requests by `/dev/https` to one peer.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret {
    pub(super) host: Host,
    pub(super) port: u16,
    pub(super) name: Box<str>,
    pub(super) value: Arc<[u8]>,
}

/// Why a secret can't be one. It does not contain the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretError(String);

impl fmt::Display for SecretError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SecretError {}

/// Never the value.
impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}:{} {})", self.host, self.port, self.name)
    }
}

impl Secret {
    /// The header `name` with this value, for the peer `HOST:PORT`.
    ///
    /// # Errors
    ///
    /// If one of them can't be what it is said to be.
    pub fn new(peer: &str, name: &str, value: &[u8]) -> Result<Secret, SecretError> {
        let error = |text: String| Err(SecretError(text));
        let parsed = peer.rsplit_once(':').and_then(|(host, digits)| {
            Some((Host::parse(host)?, port(digits).filter(|port| *port != 0)?))
        });
        let Some((host, port)) = parsed else {
            let shown = peer.escape_debug();
            return error(format!("'{shown}' is no HOST:PORT: write it as api.example.com:443"));
        };
        if name.is_empty() || !name.bytes().all(super::head::is_token) {
            let shown = name.escape_debug();
            return error(format!("'{shown}' is no name of a header: write it as Authorization"));
        }
        if RESERVED.iter().any(|reserved| super::head::is_alike(reserved, name)) {
            return error(format!("the header {name} says how a request is read: choose another"));
        }
        if value.is_empty() {
            return error(format!("the value of {name} is empty: give it one"));
        }
        if value.len() > VALUE_MAX {
            return error(format!("the value of {name} is longer than {VALUE_MAX} bytes"));
        }
        if !value.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\t')) {
            return error(format!(
                "the value of {name} has a byte that no header has, such as a line break"
            ));
        }
        if value.first().is_some_and(u8::is_ascii_whitespace)
            || value.last().is_some_and(u8::is_ascii_whitespace)
        {
            return error(format!("the value of {name} begins or ends with a blank: remove it"));
        }
        Ok(Secret { host, port, name: name.into(), value: value.into() })
    }

    /// Whether it is for that peer.
    pub(in crate::vfs::net) fn is_for(&self, host: &Host, port: u16) -> bool {
        self.host == *host && self.port == port
    }

    /// Whether both would add the same header.
    pub(in crate::vfs::net) fn is_same_header(&self, other: &Secret) -> bool {
        self.is_for(&other.host, other.port) && super::head::is_alike(&self.name, &other.name)
    }

    /// The peer, as the rule that a secret implies.
    pub(in crate::vfs::net) fn rule(&self) -> String {
        format!("https:{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_no_secret_is_refused_without_its_value() {
        let peer = "a.org:443";
        for (peer, name, value) in [
            ("a.org", "A", "hidden"),
            ("a.org:0", "A", "hidden"),
            ("https://a.org:443", "A", "hidden"),
            (peer, "", "hidden"),
            (peer, "A B", "hidden"),
            (peer, "A:", "hidden"),
            (peer, "Host", "hidden"),
            (peer, "Content_Length", "hidden"),
            (peer, "transfer-encoding", "hidden"),
            (peer, "A", ""),
            (peer, "A", "hidden\r\nB: c"),
            (peer, "A", "hidden\0"),
            (peer, "A", " hidden"),
            (peer, "A", "hidden\u{e9}"),
        ] {
            let error = Secret::new(peer, name, value.as_bytes()).unwrap_err();
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
        let secret = Secret::new(peer, "Authorization", b"Bearer hidden").unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(a.org:443 Authorization)");
    }
}
