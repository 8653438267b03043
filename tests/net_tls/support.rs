//! A guest's network that trusts an authority made for the test.

use std::net::SocketAddr;

use tinyhost::vfs::net::{NetConfig, Tls};

use crate::net_util::{World, config};
use crate::tls_util::Authority;

/// Rules that allow all of this machine.
pub const LOCAL: &[&str] = &["tls:localhost:*", "tls:127.0.0.1:*"];

pub fn trusting(authority: &Authority) -> NetConfig {
    let tls = Tls::default().trust("test", authority.pem().as_bytes()).unwrap();
    NetConfig { tls, ..config(LOCAL, &[]) }
}

/// One that may dial this machine by TLS, and trusts that authority.
pub fn world(authority: &Authority) -> World {
    World::new(trusting(authority))
}

/// The name that leads there.
pub fn name(at: SocketAddr) -> String {
    format!("tls/localhost/{}", at.port())
}
