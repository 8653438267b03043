//! The network, as the options give it to a guest.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tinyhost::trace::Report;
use tinyhost::vfs::Node;
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::net::{self, Config, Listener, Net, Policy, RuleError, UnixSocket};
use tinyhost::vfs::reach::Reach;
use tinyhost::wasi::Builder;

use super::policy::Allowed;
use crate::cli::args::units;
use crate::cli::failure::{Failure, Outcome, plain};
use crate::cli::output::say;

/// What may be dialled, and where is listened. Nothing is opened yet.
pub struct Network {
    pub net: Net,
    listen: Vec<SocketAddr>,
}

impl Network {
    /// What `--net`, `--net-listen` and `--listen` mean. Denials are told to `report`.
    ///
    /// # Errors
    ///
    /// If one of them means nothing.
    pub fn new(allowed: &Allowed, report: Report) -> Outcome<Network> {
        Network::with(allowed, &[], report)
    }

    /// The same for a server, whose guests may dial nothing unless a rule says so: the rule that
    /// `run` begins with would have each of them dial the server itself.
    ///
    /// # Errors
    ///
    /// If one of them means nothing.
    pub fn for_server(allowed: &Allowed, report: Report) -> Outcome<Network> {
        Network::with(allowed, &["none"], report)
    }

    fn with(allowed: &Allowed, before: &[&str], report: Report) -> Outcome<Network> {
        let (net, listen) = (&allowed.net, &allowed.net_listen);
        net.iter().try_for_each(|text| rule("--net", text))?;
        listen.iter().try_for_each(|text| rule("--net-listen", text))?;
        let net = before.iter().copied().chain(net.iter().map(String::as_str));
        let listen = listen.iter().map(String::as_str);
        let policy = Policy::from_rules(net, listen).map_err(Failure::usage)?;
        let net = Net::new(Config { policy, report, ..Default::default() });
        let listen = allowed.listen.iter().map(|text| address(text)).collect::<Outcome<_>>()?;
        Ok(Network { net, listen })
    }

    /// `/dev` with it.
    pub fn dev(&self) -> Dev {
        Dev::with_net(self.net.clone())
    }

    /// A socket of the host, as a file.
    pub fn unix(&self, path: &Path, reach: Reach) -> io::Result<Arc<dyn Node>> {
        Ok(Arc::new(UnixSocket::reached(path, &self.net, reach)?))
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
            let socket = net::listen(*at).map_err(Failure::not_started)?;
            let listener = Listener::new(socket, &self.net).map_err(failed)?;
            if at.port() == 0 {
                let at = listener.local_addr().map_err(failed)?;
                say(&format!("tinyhost: listening on {at}\n"));
            }
            cx = cx.socket(&at.to_string(), Box::new(listener));
        }
        Ok(cx)
    }
}

/// Whether a rule means something.
///
/// # Errors
///
/// If not: the option, what is wrong with its value, and a line that points at it.
pub fn rule(option: &str, text: &str) -> Outcome<()> {
    let list = [text];
    let (net, listen) = if option == "--net" { (&list[..], &[][..]) } else { (&[][..], &list[..]) };
    let parsed = Policy::from_rules(net.iter().copied(), listen.iter().copied());
    parsed.map(drop).map_err(|error: RuleError| {
        let (shown, column) = (error.text.escape_debug(), error.column());
        let (what, hint) = (&error.what, &error.hint);
        let caret = error.caret().replace('\n', "\n  ");
        Failure::usage(format!("{option} '{shown}', column {column}: {what}: {hint}\n  {caret}"))
    })
}

/// The address of a `--listen`.
///
/// # Errors
///
/// If it is none.
pub fn address(text: &str) -> Outcome<SocketAddr> {
    units::address("--listen", text, 8080)
}
