//! Simulated sockets, with the edge-triggered events of a real poll.

use std::collections::VecDeque;
use std::io::{self, IoSliceMut};
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Rng;
use crate::serve::client::wire::Wire;
use crate::serve::conn::session::{PollInterest, Readiness};

/// What is between a client and the server.
#[derive(Clone)]
pub struct Cable(Arc<Mutex<State>>);

pub struct State {
    rng: Rng,
    /// Reads may be short though there is more, as those of a TLS session.
    layered: bool,
    pub to_server: VecDeque<u8>,
    pub client_shut: bool,
    pub to_client: VecDeque<u8>,
    pub room: usize,
    pub server_shut: bool,
    /// The client has reset it.
    pub reset: bool,
    /// The server has closed its end.
    pub closed: bool,
    /// It did so with something unread, and what was on its way to the client was lost.
    pub lost: usize,
    /// Bytes came that the server was not told of before it closed.
    pub unseen: bool,
    watched: Option<PollInterest>,
    event: Readiness,
}

impl Cable {
    pub fn new(seed: u64, layered: bool, room: usize) -> Cable {
        Cable(Arc::new(Mutex::new(State {
            rng: Rng(seed),
            layered,
            to_server: VecDeque::new(),
            client_shut: false,
            to_client: VecDeque::new(),
            room,
            server_shut: false,
            reset: false,
            closed: false,
            lost: 0,
            unseen: false,
            watched: None,
            event: Readiness::default(),
        })))
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server's end.
    pub fn wire(&self) -> Box<dyn Wire> {
        Box::new(ServerEnd(self.clone()))
    }

    pub fn watch(&self, wanted: PollInterest) {
        let mut state = self.state();
        if state.watched != Some(wanted) {
            state.watched = Some(wanted);
            state.event.readable |= !state.to_server.is_empty() || state.client_shut;
            state.event.read_closed |= state.client_shut;
            state.event.writable |=
                wanted == PollInterest::Both && state.to_client.len() < state.room;
            state.event.hangup |= state.reset;
        }
    }

    /// What the poll would report.
    pub fn event(&self) -> Option<Readiness> {
        let mut state = self.state();
        let watched = state.watched?;
        let mut event = std::mem::take(&mut state.event);
        event.writable &= watched == PollInterest::Both || event.hangup;
        let any = event.readable || event.writable || event.read_closed || event.hangup;
        any.then_some(event)
    }

    // The client's end.

    pub fn send(&self, bytes: &[u8]) {
        let mut state = self.state();
        if !state.closed && !bytes.is_empty() {
            state.to_server.extend(bytes);
            state.event.readable = true;
        }
    }

    pub fn shut(&self) {
        let mut state = self.state();
        state.client_shut = true;
        state.event.readable = true;
        state.event.read_closed = true;
        // Both directions are over now, or one.
        state.event.hangup |= state.server_shut;
    }

    pub fn reset(&self) {
        let mut state = self.state();
        state.reset = true;
        state.to_server.clear();
        state.to_client.clear();
        state.event = Readiness { readable: true, writable: true, read_closed: true, hangup: true };
    }

    pub fn take(&self, count: usize) -> Vec<u8> {
        let mut state = self.state();
        let was_full = state.to_client.len() >= state.room;
        let count = count.min(state.to_client.len());
        state.event.writable |= was_full && count > 0;
        state.to_client.drain(..count).collect()
    }

    /// Nothing more comes from the server.
    pub fn is_over(&self) -> bool {
        let state = self.state();
        state.to_client.is_empty() && (state.server_shut || state.closed)
    }
}

struct ServerEnd(Cable);

impl Wire for ServerEnd {
    fn read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        let mut state = self.0.state();
        if state.reset {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if state.to_server.is_empty() {
            return if state.client_shut { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let asked: usize = bufs.iter().map(|buf| buf.len()).sum();
        let mut count = asked.min(state.to_server.len());
        if state.layered && count > 1 {
            count = 1 + state.rng.below(count);
        }
        let count = count.min(asked);
        let mut left = count;
        for buf in bufs {
            let part = left.min(buf.len());
            for (to, from) in buf.iter_mut().zip(state.to_server.drain(..part)) {
                *to = from;
            }
            left -= part;
        }
        Ok(count)
    }

    fn write(&self, bytes: &[u8], _last: bool) -> io::Result<usize> {
        let mut state = self.0.state();
        if state.reset {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        assert!(!state.server_shut, "nothing is sent after the end was");
        let count = bytes.len().min(state.room.saturating_sub(state.to_client.len()));
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        state.to_client.extend(&bytes[..count]);
        Ok(count)
    }

    fn close_write(&self) -> io::Result<()> {
        let mut state = self.0.state();
        assert!(!state.server_shut, "the end is sent once");
        state.server_shut = true;
        state.event.hangup |= state.client_shut;
        Ok(())
    }

    fn short_means_blocked(&self) -> bool {
        !self.0.state().layered
    }

    fn descriptor(&self) -> Option<RawFd> {
        unreachable!("the simulator asks no poll")
    }
}

impl Drop for ServerEnd {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.closed = true;
        state.unseen = state.event.readable;
        if !state.to_server.is_empty() && !state.reset {
            // A reset overtakes what was sent before it.
            state.lost = state.to_client.len();
            state.to_client.clear();
        }
    }
}
