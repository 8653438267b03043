//! The socket calls of other hosts, in each dialect, against real sockets.
#![cfg(all(unix, feature = "sockets"))]

#[path = "util/busy.rs"]
mod busy;
mod net_util;
mod sockets {
    mod connect;
    mod datagrams;
    mod dns;
    pub mod guest;
    mod hostile;
    mod names;
    mod options;
    mod program;
    mod serve;
    mod timeouts;
}
