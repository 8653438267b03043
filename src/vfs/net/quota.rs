//! Counted resources: whoever holds a [`Taken`] has one, and dropping it gives it back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::vfs::{Errno, Result};

/// So many of something, and no more.
#[derive(Debug)]
pub(crate) struct Quota {
    left: AtomicU32,
}

/// One of them.
#[derive(Debug)]
pub(crate) struct Taken(Arc<Quota>);

impl Quota {
    pub fn new(limit: u32) -> Arc<Quota> {
        Arc::new(Quota { left: AtomicU32::new(limit) })
    }

    /// One more, or ENFILE: EMFILE is the guest's own table of descriptors being full.
    pub fn take(self: &Arc<Quota>) -> Result<Taken> {
        let one_less = |left: u32| left.checked_sub(1);
        match self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
            Ok(_) => Ok(Taken(self.clone())),
            Err(_) => Err(Errno::Nfile),
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.0.left.fetch_add(1, Ordering::Relaxed);
    }
}
