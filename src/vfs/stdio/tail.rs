//! The last of what a program said.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::sync::{Arc, Mutex, PoisonError};

/// The last bytes that were written to a stream: what a program said before it ended. A clone is
/// the same.
#[derive(Clone, Debug, Default)]
pub struct Tail(Arc<Mutex<VecDeque<u8>>>);

/// Bytes that are kept.
const TAIL_BYTES: usize = 4096;

impl Tail {
    /// What was written last, as text.
    pub fn text(&self) -> String {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&kept.iter().copied().collect::<Vec<u8>>()).into_owned()
    }

    /// Keeps the first `written` bytes of these, or the last of them.
    #[cfg_attr(
        not(any(feature = "net", feature = "host-fs")),
        allow(dead_code, reason = "no stream")
    )]
    pub(super) fn keep(&self, bufs: &[IoSlice<'_>], mut written: usize) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for buf in bufs {
            let taken = &buf[..buf.len().min(written)];
            written -= taken.len();
            kept.extend(&taken[taken.len().saturating_sub(TAIL_BYTES)..]);
        }
        let beyond = kept.len().saturating_sub(TAIL_BYTES);
        kept.drain(..beyond);
    }
}
