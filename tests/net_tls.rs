//! `/dev/tls`: whose certificates are taken, and what becomes of peers that misbehave.

#![cfg(all(unix, feature = "tls"))]

#[path = "util/busy.rs"]
mod busy;
mod net_util;
mod tls_util;

mod net_tls {
    mod certificates;
    mod https;
    mod limits;
    mod peers;
    mod streams;
    mod support;
}
