//! `--bind` and `--metrics`: where to listen.

use std::net::{Ipv6Addr, SocketAddr};

use tinyhost::serve::{Bind, ServerSocket};
use tinyhost::vfs::reach::{Planted, Reach};

use super::inherited::HandedOver;
use crate::cli::args::{ServeArgs, units};
use crate::cli::failure::{CliResult, Failure, plain};

/// The port the demo was given at; where `/dev/localhost:1997` leads.
const PORT: u16 = 1997;

/// The port in an example of `--metrics`.
const METRICS_PORT: u16 = 9797;

/// Where a server is to listen.
pub struct Binds {
    /// For its clients.
    pub clients: Vec<Bind>,
    /// For those who ask how it is.
    pub metrics: Option<Bind>,
}

impl Binds {
    /// What was typed, and the sockets that were handed over.
    ///
    /// # Errors
    ///
    /// For what is no place to listen at, and if a socket that was handed over is not there, or left
    /// over.
    pub fn new(binds: &[String], metrics: Option<&str>, mut from: HandedOver) -> CliResult<Binds> {
        let metrics = metrics.map(|text| one("--metrics", text, &mut from)).transpose()?;
        let mut clients = Vec::new();
        for text in binds {
            match text.strip_prefix("fd:") {
                Some(name) => {
                    clients.extend(from.named("--bind", name)?.into_iter().map(Bind::Open));
                }
                None => clients.push(place("--bind", text, PORT)?),
            }
        }
        // All are served, unless some of them are asked for by name.
        if !binds.iter().any(|text| text.starts_with("fd:")) {
            let rest = from.rest().into_iter().map(Bind::Open);
            clients.splice(0..0, rest);
        }
        from.finish()?;
        Ok(Binds { clients, metrics })
    }

    /// Where it listens.
    pub fn shown(&self) -> String {
        match self.clients.is_empty() {
            true => format!("127.0.0.1:{PORT} [::1]:{PORT}"),
            false => self.clients.iter().map(shown).collect::<Vec<_>>().join(" "),
        }
    }

    /// Listens at the usual addresses if nothing was typed or handed over.
    ///
    /// # Errors
    ///
    /// If they are taken.
    pub fn or_default(mut self) -> CliResult<Binds> {
        if self.clients.is_empty() {
            self.clients = default_listeners()?;
        }
        Ok(self)
    }

    /// A guest that can change the directory of a socket could have it made anywhere.
    ///
    /// # Errors
    ///
    /// If one can.
    pub fn out_of(&self, reach: &Reach) -> CliResult<()> {
        for bind in self.clients.iter().chain(&self.metrics) {
            let Bind::Unix { path, .. } = bind else { continue };
            // A directory that is not there is reported when it is listened there.
            let reached = match reach.locate(path) {
                Ok(place) => place.reached,
                Err(error) => Planted::is_cause(&error),
            };
            if reached {
                return Err(Failure::usage(format!(
                    "unix:{}: the directory of this socket is mounted for guests: choose another",
                    path.display()
                )));
            }
        }
        Ok(())
    }
}

/// A place as it is typed.
pub fn shown(bind: &Bind) -> String {
    match bind {
        Bind::Tcp(addr) => addr.to_string(),
        Bind::Unix { path, mode: None } => format!("unix:{}", path.display()),
        Bind::Unix { path, mode: Some(mode) } => format!("unix:{},mode={mode:04o}", path.display()),
        Bind::Open(_) => "a socket that was handed over".to_owned(),
    }
}

/// One socket of a name, or a place.
fn one(option: &str, text: &str, from: &mut HandedOver) -> CliResult<Bind> {
    let Some(name) = text.strip_prefix("fd:") else { return place(option, text, METRICS_PORT) };
    let mut named = from.named(option, name)?;
    match (named.pop(), named.is_empty()) {
        (Some(listener), true) => Ok(Bind::Open(listener)),
        _ => Err(Failure::usage(format!(
            "{option} fd:{name}: several sockets have this name, and it takes one: give each a \
             FileDescriptorName= of its own"
        ))),
    }
}

fn place(option: &str, text: &str, port: u16) -> CliResult<Bind> {
    if text.starts_with("unix:") {
        return text.parse().map_err(|why| units::invalid(option, text, &format!("{why}")));
    }
    if text.starts_with('/') || text.starts_with("./") {
        return Err(units::invalid(option, text, &format!("write unix:{text}")));
    }
    units::address(option, text, port).map(Bind::Tcp)
}

/// Both loopback addresses; a machine without IPv6 has only one.
fn default_listeners() -> CliResult<Vec<Bind>> {
    let bind = |addr: SocketAddr| {
        tinyhost::vfs::net::listen(addr).map(|socket| Bind::Open(ServerSocket::from(socket)))
    };
    let failed = |error: std::io::Error| {
        Failure::not_started(format!("{error} with --bind ADDR:PORT (port 0 takes a free one)"))
    };
    let mut listeners = vec![bind(([127, 0, 0, 1], PORT).into()).map_err(failed)?];
    match bind((Ipv6Addr::LOCALHOST, PORT).into()) {
        Ok(listener) => listeners.push(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => return Err(failed(error)),
        Err(error) => log::info!("{}", plain(&error)),
    }
    Ok(listeners)
}

/// Whether work comes from elsewhere than connections.
#[cfg(feature = "nats")]
pub fn fetches(args: &ServeArgs) -> bool {
    args.from.is_some()
}

#[cfg(not(feature = "nats"))]
pub fn fetches(_args: &ServeArgs) -> bool {
    false
}
