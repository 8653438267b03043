//! A wire that begins with the header of the PROXY protocol.

mod header;

use std::io::{self, IoSliceMut};
use std::os::fd::RawFd;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::wire::{Stage, Wire};
use header::Header;
pub(crate) use header::ProxiedEnds;

/// Bytes that are read at once while the header is looked for.
const PIECE: usize = 512;

/// See the [module](self). What follows the header is the client's.
pub(crate) struct Proxied {
    wire: Box<dyn Wire>,
    /// A connection without a header is refused, rather than taken for the proxy's own.
    required: bool,
    state: Mutex<State>,
    /// All that was read with the header was passed on: from here on the wire is as it is.
    settled: AtomicBool,
}

#[derive(Default)]
struct State {
    /// What was read, and how much of it was taken.
    read: Vec<u8>,
    taken: usize,
    /// The header is over, or there is none.
    done: bool,
    ends: Option<ProxiedEnds>,
}

impl Proxied {
    /// A wire whose first bytes are a header, or may be.
    pub fn new(wire: Box<dyn Wire>, required: bool) -> Proxied {
        Proxied { wire, required, state: Mutex::default(), settled: AtomicBool::new(false) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What has come begins like this.
    fn decide(&self, state: &mut State, ended: bool) -> io::Result<bool> {
        let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidData, why);
        match header::parse(&state.read).map_err(invalid)? {
            Header::Whole { len, ends } => {
                state.taken = len;
                state.ends = ends;
                Ok(true)
            }
            Header::Partial if !ended => Ok(false),
            // A client that asks only whether a server listens.
            Header::Partial if state.read.is_empty() && self.required => {
                Err(io::ErrorKind::ConnectionAborted.into())
            }
            Header::Partial if header::is_begun(&state.read) => {
                Err(invalid("it is cut off".into()))
            }
            Header::Partial | Header::Other if self.required => {
                Err(invalid("the connection does not begin with one".into()))
            }
            Header::Partial | Header::Other => Ok(true),
        }
    }
}

impl Wire for Proxied {
    fn read(&self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        if self.settled.load(Relaxed) {
            return self.wire.read(bufs);
        }
        let mut state = self.state();
        let rest = &state.read[state.taken..];
        if rest.is_empty() {
            state.read = Vec::new();
            state.taken = 0;
            self.settled.store(true, Relaxed);
            return self.wire.read(bufs);
        }
        let mut count = 0;
        for buf in bufs {
            let part = (rest.len() - count).min(buf.len());
            buf[..part].copy_from_slice(&rest[count..count + part]);
            count += part;
        }
        state.taken += count;
        Ok(count)
    }

    fn write(&self, bytes: &[u8], last: bool) -> io::Result<usize> {
        self.wire.write(bytes, last)
    }

    fn close_write(&self) -> io::Result<()> {
        self.wire.close_write()
    }

    fn short_means_blocked(&self) -> bool {
        self.settled.load(Relaxed) && self.wire.short_means_blocked()
    }

    fn opening(&self) -> Option<Stage> {
        let done = self.settled.load(Relaxed) || self.state().done;
        if done { self.wire.opening() } else { Some(Stage::Header) }
    }

    fn open(&self) -> io::Result<()> {
        let mut state = self.state();
        let mut piece = [0; PIECE];
        while !state.done {
            let count = match self.wire.read(&mut [IoSliceMut::new(&mut piece)]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                count => count?,
            };
            state.read.extend_from_slice(&piece[..count]);
            state.done = self.decide(&mut state, count == 0)?;
        }
        Ok(())
    }

    fn announced(&self) -> Option<ProxiedEnds> {
        if self.settled.load(Relaxed) { None } else { self.state().ends.take() }
    }

    fn has_unsent(&self) -> bool {
        self.wire.has_unsent()
    }

    fn send(&self) -> io::Result<()> {
        self.wire.send()
    }

    fn hangup_discards(&self) -> bool {
        self.wire.hangup_discards()
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        self.wire.variables()
    }

    fn descriptor(&self) -> Option<RawFd> {
        self.wire.descriptor()
    }
}
