//! A source behind a proxy, whose connections say whose they are (the PROXY protocol).

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use mio::{Registry, Token};

use super::{Accepted, Source};
use crate::serve::client::proxy::Proxied;
use crate::serve::observe::metrics::Refusal;
use crate::vfs::Peer;
use crate::vfs::net::Cidr;

/// Who says whose connections it passes on, by the header of the PROXY protocol (versions 1 and 2).
#[derive(Clone, Debug)]
pub struct ProxyProtocol {
    /// Each connection must come from a trusted proxy and begin with a header. If this is not set,
    /// a connection of a trusted proxy may begin without one: it is the proxy's own then. One from
    /// elsewhere is its client's own, and what looks like a header in it is what it sends.
    pub required: bool,
    /// The proxies that are trusted.
    pub from: Vec<TrustedProxy>,
}

/// A proxy that is trusted to say which client it connects for: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`, or
/// `unix` for those that connect to a Unix socket.
///
/// ```
/// use tinyhost::serve::TrustedProxy;
///
/// assert!("10.0.0.0/8".parse::<TrustedProxy>().is_ok());
/// let error = "10.0.0.1/8".parse::<TrustedProxy>().unwrap_err();
/// assert_eq!(error.to_string(), "the address has bits beyond its mask: write 10.0.0.0/8");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxy(Kind);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Kind {
    Unix,
    Inet(Cidr),
}

/// Why a text does not name proxies, and what to write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxyError(String);

impl fmt::Display for TrustedProxyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TrustedProxyError {}

impl TrustedProxy {
    /// The proxies on this machine: of the loopback addresses, and of Unix sockets.
    pub fn of_this_machine() -> Vec<TrustedProxy> {
        ["127.0.0.0/8", "::1", "unix"].map(|text| text.parse().expect("it is one")).to_vec()
    }

    fn is(&self, peer: &Peer) -> bool {
        match (&self.0, peer) {
            (Kind::Unix, Peer::Unix(_)) => true,
            (Kind::Inet(range), Peer::Inet(addr)) => range.covers(&addr.ip().into()),
            _ => false,
        }
    }
}

impl fmt::Display for TrustedProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Unix => f.write_str("unix"),
            Kind::Inet(range) => write!(f, "{range}"),
        }
    }
}

impl FromStr for TrustedProxy {
    type Err = TrustedProxyError;

    fn from_str(text: &str) -> Result<TrustedProxy, TrustedProxyError> {
        if text == "unix" {
            return Ok(TrustedProxy(Kind::Unix));
        }
        let fail = |why: &str| TrustedProxyError(why.to_owned());
        let (base, bits) = match text.split_once('/') {
            Some((base, bits)) => (base, Some(bits)),
            None => (text, None),
        };
        let base: IpAddr = base
            .parse()
            .map_err(|_| fail("write an address or a range, such as 10.0.0.0/8, or unix"))?;
        let Some(bits) = bits else { return Ok(TrustedProxy(Kind::Inet(Cidr::one(base.into())))) };
        let widest = if base.is_ipv4() { 32 } else { 128 };
        let digits = bits.bytes().all(|byte| byte.is_ascii_digit());
        let number = bits.parse().ok().filter(|_| digits);
        match number.and_then(|bits| Cidr::new(base, bits)) {
            Some(Ok(range)) => Ok(TrustedProxy(Kind::Inet(range))),
            Some(Err(meant)) => {
                let meant = meant.to_string().replace(['[', ']'], "");
                Err(fail(&format!("the address has bits beyond its mask: write {meant}")))
            }
            None => Err(fail(&format!("write a mask from 0 to {widest}"))),
        }
    }
}

/// See the [module](self).
pub(crate) struct Behind {
    pub source: Box<dyn Source>,
    pub proxies: Arc<ProxyProtocol>,
}

impl Source for Behind {
    fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        self.source.register(registry, token)
    }

    fn accept(&mut self) -> io::Result<Accepted> {
        let mut accepted = self.source.accept()?;
        let ProxyProtocol { required, from } = &*self.proxies;
        if from.iter().any(|proxy| proxy.is(&accepted.peer)) {
            accepted.wire = Box::new(Proxied::new(accepted.wire, *required));
        } else if *required {
            accepted.refusal = Some(Refusal::Untrusted);
        }
        Ok(accepted)
    }
}
