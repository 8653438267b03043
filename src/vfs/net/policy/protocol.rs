//! How much of a connection a guest may use: its bytes, the stream inside TLS, or requests.

use std::fmt;

/// What a guest speaks on a connection to a peer. Each allows the ones after it: a guest that may
/// send any byte can speak TLS itself, and inside TLS it can write requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RuleProtocol {
    /// Any bytes, by TCP or UDP.
    Plain,
    /// Any bytes inside TLS, which the host speaks: the peer's certificate proves its name.
    Tls,
    /// One HTTP/1.1 request inside TLS, whose head the host checks.
    Https,
}

impl RuleProtocol {
    /// What a rule or a network name begins with.
    pub(in crate::vfs::net) fn prefix(self) -> &'static str {
        match self {
            RuleProtocol::Plain => "",
            RuleProtocol::Tls => "tls:",
            RuleProtocol::Https => "https:",
        }
    }

    /// The protocol that a rule names, and the rest of it. `tls:443` is port 443 of a host of that
    /// name, and `https://a` is a URL.
    pub(in crate::vfs::net) fn split(text: &str) -> (RuleProtocol, &str) {
        let is_ports = |rest: &str| rest.chars().all(|c| c.is_ascii_digit() || "-*".contains(c));
        for protocol in [RuleProtocol::Tls, RuleProtocol::Https] {
            match text.strip_prefix(protocol.prefix()) {
                Some(rest) if !is_ports(rest) && !rest.starts_with("//") => {
                    return (protocol, rest);
                }
                _ => {}
            }
        }
        (RuleProtocol::Plain, text)
    }
}

/// As rules begin: `tls:`, `https:`, and nothing for [`RuleProtocol::Plain`].
impl fmt::Display for RuleProtocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.prefix())
    }
}
