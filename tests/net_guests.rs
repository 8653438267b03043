//! The network as stock programs in four languages see it, through `tinyhost run`.

#![cfg(all(unix, feature = "serve"))]

mod net_util;
mod util;

use util::busy;

mod net_guests {
    mod calls;
    mod clients;
    mod docs;
    mod names;
    mod program;
    mod servers;
    mod timeouts;
    mod web;
}
