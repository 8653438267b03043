//! Work that the server fetches: messages of a server that it dials.
//!
//! A door waits for connections, and a connection has one job at a time. Here it is the other way
//! round: one connection, dialled by the worker, brings many jobs that run at once, a guest each, and
//! takes their replies in whatever order they come. To the rest of the worker such a job is a
//! connection whose [wire](message::ReplyWire) is the message: limits, scheduling, counting and the log
//! are those of all jobs.
//!
//! ```text
//!   nats/driver   a socket on the worker's poll: dials, reads, writes, waits and dials again
//!   nats/machine  what the bytes mean. It knows no socket and no clock
//!      |   ^
//!      |   +------ finished: outcome, reply
//!      +---------> Delivery: a session with a MessageProtocol, run by the worker
//! ```

#[cfg_attr(not(feature = "nats"), allow(dead_code, reason = "there are no messages"))]
pub(crate) mod message;
#[cfg_attr(not(feature = "nats"), path = "no_nats.rs")]
pub(crate) mod nats;

use std::time::Instant;

use mio::Registry;

use crate::serve::observe::reporter::Reporter;

/// What a driver needs of its worker.
#[cfg_attr(not(feature = "nats"), allow(dead_code, reason = "nothing takes a turn"))]
pub(crate) struct DriverTurn<'a> {
    pub registry: &'a Registry,
    pub reporter: &'a Reporter,
    pub scratch: &'a mut [u8],
    pub now: Instant,
}
