//! `serve --tls-cert`: real clients of a server that speaks TLS.

#![cfg(all(unix, feature = "serve", feature = "tls"))]

mod tls_util;
mod util;

use util::busy;

mod serve_tls {
    mod clients;
    mod handshakes;
    mod support;
}
