//! Messages of a NATS server.
//!
//! The protocol is text: <https://docs.nats.io/reference/reference-protocols/nats-protocol>. That of
//! JetStream is requests with JSON on top of it: <https://docs.nats.io/reference/reference-protocols/nats_api_reference>.
//!
//! [`machine`] is the whole of it without a socket and a clock: [`parse`] cuts what comes into operations,
//! [`subscription`] and [`stream`] are the two ways to have messages, [`outgoing`] writes. [`driver`]
//! gives it bytes and time on a worker's poll.

mod address;
pub(crate) mod driver;
mod header;
mod item;
mod json;
pub(crate) mod machine;
mod outgoing;
mod parse;
mod pulls;
mod setup;
mod stream;
mod subscription;

use std::hash::{BuildHasher, Hasher, RandomState};

pub use address::{NatsConfig, NatsIntake, NatsLogin};

/// A number that can't be guessed, as the keys of a hash table can't be.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
