//! What a guest has of its client.

pub(crate) mod io;
pub(crate) mod link;
pub(crate) mod proxy;
pub(crate) mod stdio;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod wire;
