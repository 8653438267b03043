//! In place of `network.rs` where tinyhost is built without one: who asks for it is told so.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tinyhost::trace::Report;
use tinyhost::vfs::Node;
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::reach::Reach;
use tinyhost::wasi::Builder;

use super::policy::Allowed;
use crate::cli::failure::{Failure, Outcome};

/// There is none.
pub struct Network;

/// # Errors
///
/// None: that there are no rules is for [`Network::new`] to say.
pub fn rule(_option: &str, _text: &str) -> Outcome<()> {
    Ok(())
}

/// # Errors
///
/// None.
pub fn address(_text: &str) -> Outcome<()> {
    Ok(())
}

impl Network {
    /// # Errors
    ///
    /// If the options ask for any.
    pub fn new(allowed: &Allowed, _report: Report) -> Outcome<Network> {
        let net = allowed.net.iter().find(|rule| *rule != "none");
        let asked = [("--net", net), ("--net-listen", allowed.net_listen.first())];
        let asked = asked.into_iter().chain([("--listen", allowed.listen.first())]);
        match asked.into_iter().find_map(|(option, value)| Some((option, value?))) {
            None => Ok(Network),
            Some((option, value)) => Err(Failure::usage(format!(
                "{option} {value}: this tinyhost was built without a network: leave it out, or \
                 build with --features net"
            ))),
        }
    }

    /// `/dev` without it.
    pub fn dev(&self) -> Dev {
        Dev::new()
    }

    /// # Errors
    ///
    /// Always.
    pub fn unix(&self, _path: &Path, _reach: Reach) -> io::Result<Arc<dyn Node>> {
        Err(io::Error::new(io::ErrorKind::Unsupported, "it was built without a network"))
    }

    /// # Errors
    ///
    /// None: nothing was asked for.
    pub fn listen(&self, cx: Builder) -> Outcome<Builder> {
        Ok(cx)
    }
}
