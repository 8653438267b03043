//! What a guest is given: mounts, network, and what a policy file allows.

pub mod checked;
pub mod environment;
pub mod learn;
pub mod mounts;
#[cfg_attr(not(feature = "net"), path = "no_network.rs")]
pub mod network;
pub mod open;
pub mod policy;
#[cfg(any(feature = "nats", feature = "tls"))]
pub mod reference;
#[cfg(feature = "tls")]
mod secret;
#[cfg(feature = "tls")]
pub mod tls;
