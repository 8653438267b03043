//! TLS as stock programs in several languages see it, through `tinyhost run`.

#![cfg(all(unix, feature = "tls"))]

mod tls_util;
mod util;
#[path = "net_guests/web.rs"]
mod web;

use util::busy;

/// What `web` needs of the other tests' network.
mod net_util {
    pub use crate::busy::LIMIT;
}

mod tls_guests {
    mod clients;
    mod https;
    mod leaks;
    mod options;
    mod servers;
    mod streams;
}
