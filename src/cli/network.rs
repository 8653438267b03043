//! The network, as the options give it to a guest.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;

use tinyhost::vfs::Node;
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::net::{Config, Listener, Net, Policy, RuleError, UnixSocket};
use tinyhost::wasi::Builder;

use super::policy::Allowed;
use super::{Failure, Outcome, plain};

/// What may be dialled, and where is listened. Nothing is opened yet.
pub struct Network {
    pub net: Net,
    listen: Vec<SocketAddr>,
}

impl Network {
    /// What `--net`, `--net-listen` and `--listen` mean.
    ///
    /// # Errors
    ///
    /// If one of them means nothing.
    pub fn new(allowed: &Allowed) -> Outcome<Network> {
        let texts = |list: &'_ [String]| list.to_vec();
        let (net, listen) = (texts(&allowed.net), texts(&allowed.net_listen));
        let rules = (net.iter().map(String::as_str), listen.iter().map(String::as_str));
        let policy = Policy::from_rules(rules.0, rules.1).map_err(|error: RuleError| {
            Failure::usage(format!("{error}\n  {}", error.caret().replace('\n', "\n  ")))
        })?;
        let net = Net::new(Config { policy, ..Default::default() });
        let listen = allowed.listen.iter().map(|text| address(text)).collect::<Outcome<_>>()?;
        Ok(Network { net, listen })
    }

    /// `/dev` with it.
    pub fn dev(&self) -> Dev {
        Dev::with_net(self.net.clone())
    }

    /// A socket of the host, as a file.
    pub fn unix(&self, path: &Path) -> io::Result<Arc<dyn Node>> {
        Ok(Arc::new(UnixSocket::new(path, &self.net)?))
    }

    /// Listens, and has a guest find the sockets.
    ///
    /// # Errors
    ///
    /// If that is not possible at one of the addresses.
    pub fn listen(&self, mut cx: Builder) -> Outcome<Builder> {
        for at in &self.listen {
            let failed = |error: io::Error| {
                Failure::not_started(format!("can't listen on {at}: {}", plain(&error)))
            };
            let socket = TcpListener::bind(at).map_err(failed)?;
            let listener = Listener::new(socket, &self.net).map_err(failed)?;
            if at.port() == 0 {
                eprintln!("tinyhost: listening on {}", listener.local_addr().map_err(failed)?);
            }
            cx = cx.socket(&at.to_string(), Box::new(listener));
        }
        Ok(cx)
    }
}

fn address(text: &str) -> Outcome<SocketAddr> {
    text.parse().map_err(|_| {
        Failure::usage(format!(
            "--listen '{text}' is no address: write --listen 127.0.0.1:8080 or --listen [::1]:8080"
        ))
    })
}
