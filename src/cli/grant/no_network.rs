//! In place of `network.rs` where tinyhost is built without one: its options are refused with that reason.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tinyhost::trace::ReportHint;
use tinyhost::vfs::Node;
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::reach::Reach;
use tinyhost::wasi::CtxBuilder;

use crate::cli::failure::{CliResult, Failure};

/// Rules that can't be kept.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub net: Vec<(String, ())>,
    pub listen: Vec<String>,
}

impl Rules {
    /// Refuses all but `--net none`.
    ///
    /// # Errors
    ///
    /// For any other rule.
    pub fn add(&mut self, name: &str, text: &str) -> CliResult<()> {
        match (name, text) {
            ("net", "none") => Ok(()),
            _ => Err(Failure::usage(format!(
                "--{name} {text}: this tinyhost is built without the network: leave it out, or \
                 build with --features net"
            ))),
        }
    }
}

impl Rules {
    /// What a guest may do with the network, a row each.
    pub fn shown(&self, _is_run: bool) -> Vec<(&'static str, String)> {
        vec![("network", "none: this tinyhost was built without it".to_owned())]
    }
}

/// There is none.
pub struct Network;

impl Network {
    /// # Errors
    ///
    /// None: no rule was accepted.
    pub fn new(_rules: &Rules, _report: ReportHint) -> CliResult<Network> {
        Ok(Network)
    }

    /// `/dev` without it.
    pub fn dev(&self) -> Dev {
        Dev::new()
    }

    /// # Errors
    ///
    /// Always.
    pub fn unix(&self, _path: &Path, _reach: Reach) -> io::Result<Arc<dyn Node>> {
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this tinyhost is built without the \
         network",
        ))
    }

    /// # Errors
    ///
    /// None: nothing was asked for.
    pub fn listen(&self, cx: CtxBuilder) -> CliResult<CtxBuilder> {
        Ok(cx)
    }
}
