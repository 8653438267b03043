//! A message as a connection of one job.

use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::serve::client::link::{Dirty, Link};
use crate::serve::client::wire::Wire;
use crate::serve::conn::protocol::{After, Exchange, Job, Next, Protocol};
use crate::serve::conn::session::Session;
use crate::serve::conn::{Conn, Timeouts};
use crate::serve::door::Local;
use crate::serve::observe::outcome::Outcome;
use crate::wasi::Strings;

/// A message that a guest is to be run for.
pub(crate) struct Delivery {
    /// What its source knows it by.
    pub id: u64,
    pub payload: Arc<[u8]>,
    /// Variables of its guest.
    pub env: Strings,
    /// Bytes of a reply.
    pub reply_max: usize,
}

/// What becomes of a message: kept with its session, and then reported to its source.
pub(crate) struct MessageEnd {
    /// What its source knows it by.
    pub id: u64,
    pub outcome: Outcome,
    pub why: String,
    reply: Arc<ReplyWire>,
}

impl MessageEnd {
    /// Of a message whose guest has not run. The wire is its session's.
    fn new(id: u64) -> (MessageEnd, Box<dyn Wire>) {
        let reply = Arc::new(ReplyWire::default());
        let outcome = Outcome::Stopped;
        (MessageEnd { id, outcome, why: String::new(), reply: reply.clone() }, Box::new(reply))
    }

    /// What its guest wrote.
    pub fn take_reply(&self) -> Vec<u8> {
        std::mem::take(&mut *self.reply.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The session of a message, between those addresses of the host and its source. It is over when its
/// guest has ended.
pub(crate) fn session(
    delivery: Delivery,
    (peer, local): (SocketAddr, SocketAddr),
    key: usize,
    dirty: Arc<Dirty>,
    times: Timeouts,
    now: Instant,
) -> Box<Session> {
    let (message, wire) = MessageEnd::new(delivery.id);
    let link = Link::new(wire, peer.into(), key, dirty);
    let conn = Conn::new(Box::new(MessageProtocol(Some(delivery))), times, now);
    let mut session = Session::new(link, conn, Local::Inet(local), now, None);
    session.message = Some(Box::new(message));
    Box::new(session)
}

/// Collects what a guest writes. Its length is bounded by that of a reply.
#[derive(Default)]
pub(crate) struct ReplyWire(Mutex<Vec<u8>>);

impl Wire for Arc<ReplyWire> {
    fn read(&self, _bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Ok(0)
    }

    fn write(&self, bytes: &[u8], _last: bool) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn close_write(&self) -> io::Result<()> {
        Ok(())
    }

    fn descriptor(&self) -> Option<RawFd> {
        None
    }
}

/// A message is one job: the guest reads it as a line.
struct MessageProtocol(Option<Delivery>);

impl Protocol for MessageProtocol {
    fn next(&mut self, exchange: Exchange<'_>) -> Next {
        let Some(delivery) = self.0.take() else { return Next::End };
        exchange.stdin.reserve(delivery.payload.len() + 1);
        exchange.stdin.extend_from_slice(&delivery.payload);
        // Most programs read a line, and some ignore one without its end.
        exchange.stdin.push(b'\n');
        Next::Job(Job { reply_max: delivery.reply_max, env: delivery.env, ..Job::default() })
    }

    fn ended(&mut self, _outcome: Outcome, _output: &mut Vec<u8>) -> After {
        After::Close
    }
}
