//! Link-local addresses, which mean something with their interface only.
//!
//! Each test has a network of its own, in which the loopback interface has the addresses `fe80::1` and
//! `fe80::2`: the test's program is run again in it, for that test.
#![cfg(all(target_os = "linux", feature = "serve", feature = "sockets"))]

#[allow(dead_code, reason = "the tests of sockets use all of it")]
#[path = "sockets/guest.rs"]
mod guest;
mod net_util;
mod util;

use util::busy;

mod net_zones {
    mod names;
    mod own_network;
    mod program;
    mod sockets;
}
