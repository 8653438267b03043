//! The network, as the options give it to a guest.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use tinyhost::trace::ReportHint;
use tinyhost::vfs::Node;
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::net::{
    self, ListenRule, Listener, Net, NetConfig, Policy, Rule, RuleError, UnixSocket,
};
use tinyhost::vfs::reach::Reach;
use tinyhost::wasi::CtxBuilder;

#[cfg(feature = "tls")]
use super::tls;
use crate::cli::args::units;
use crate::cli::failure::{CliResult, Failure, plain};
use crate::cli::output::say;

/// What may be dialled, and where may be listened.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Rules for dialling, as typed and as read.
    pub net: Vec<(String, Rule)>,
    /// `--net none`: without the rule there is at first.
    none: bool,
    net_listen: Vec<(String, ListenRule)>,
    /// Where sockets of a guest listen.
    pub listen: Vec<SocketAddr>,
    #[cfg(feature = "tls")]
    pub tls: tls::TlsOptions,
}

impl Rules {
    /// Adds the value of an option, given without its dashes.
    ///
    /// # Errors
    ///
    /// If it means nothing.
    pub fn add(&mut self, name: &str, text: &str) -> CliResult<()> {
        let failed = |error| wrong_rule(name, &error);
        match name {
            "net" if text == "none" => self.none = true,
            "net" => self.net.push((text.to_owned(), text.parse().map_err(failed)?)),
            "net-listen" => self.net_listen.push((text.to_owned(), text.parse().map_err(failed)?)),
            #[cfg(feature = "tls")]
            "tls-ca" | "tls-pin" | "secret" => self.tls.add(name, text)?,
            _ => self.listen.push(units::address("--listen", text, 8080)?),
        }
        Ok(())
    }
}

impl Rules {
    /// What a guest may do with the network, a row each.
    pub fn shown(&self, is_run: bool) -> Vec<(&'static str, String)> {
        let joined = |list: Vec<String>| match list.is_empty() {
            true => "nothing".to_owned(),
            false => list.join(" "),
        };
        let first = (is_run && !self.none).then(|| "localhost:1997".to_owned());
        let dials = first.into_iter().chain(self.net.iter().map(|(typed, _)| typed.clone()));
        let listens = self.net_listen.iter().map(|(typed, _)| typed.clone());
        let listens = listens.chain(self.listen.iter().map(ToString::to_string));
        vec![("may dial", joined(dials.collect())), ("may listen", joined(listens.collect()))]
    }
}

/// What may be dialled, and the addresses to listen on. Nothing is opened yet.
pub struct Network {
    pub net: Net,
    listen: Vec<SocketAddr>,
}

impl Network {
    /// The network of `run`, which begins with the rule `localhost:1997`. Denials go to `report`.
    ///
    /// # Errors
    ///
    /// None: there is a network.
    pub fn new(rules: &Rules, report: ReportHint) -> CliResult<Network> {
        let begin = if rules.none { Policy::none() } else { Policy::default() };
        Ok(Network::with(rules, begin, report))
    }

    /// The network of a server, whose guests may dial nothing unless a rule says so: the rule that
    /// `run` begins with would have each of them dial the server itself.
    ///
    /// # Errors
    ///
    /// None: there is a network.
    #[cfg(feature = "serve")]
    pub fn for_server(rules: &Rules, report: ReportHint) -> CliResult<Network> {
        Ok(Network::with(rules, Policy::none(), report))
    }

    fn with(rules: &Rules, mut policy: Policy, report: ReportHint) -> Network {
        for (_, rule) in &rules.net {
            policy.allow(rule.clone());
        }
        for (_, rule) in &rules.net_listen {
            policy.listen(rule.clone());
        }
        let config = NetConfig { policy, report, ..Default::default() };
        #[cfg(feature = "tls")]
        let config = rules.tls.configure(config);
        let net = Net::new(config);
        Network { net, listen: rules.listen.clone() }
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
    pub fn listen(&self, mut cx: CtxBuilder) -> CliResult<CtxBuilder> {
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

/// The option, what is wrong with its value, and a line that points at it.
fn wrong_rule(name: &str, error: &RuleError) -> Failure {
    let (shown, column) = (error.text.escape_debug(), error.column());
    let (what, hint) = (&error.what, &error.hint);
    let caret = error.caret().replace('\n', "\n  ");
    Failure::usage(format!("--{name} '{shown}', column {column}: {what}: {hint}\n  {caret}"))
}
