//! What of a parked guest the operating system watches.

use mio::unix::SourceFd;
use mio::{Interest as MioInterest, Registry, Token};
use smallvec::SmallVec;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::task::Waker;

use crate::vfs::Interest;
use crate::wasi::WasiCtx;

/// The descriptors registered for one parked guest.
///
/// They are registered when the guest parks and deregistered when it runs on: a descriptor is never
/// in the poll while the guest could close it, so no event can be for another that has got
/// the same number since.
#[derive(Default)]
pub(crate) struct Watched(SmallVec<[(RawFd, MioInterest); 2]>);

impl Watched {
    /// Arms all that the context's frame waits for. `false`: something is ready already.
    ///
    /// # Errors
    ///
    /// If the poll takes no more descriptors.
    pub(crate) fn arm(
        &mut self,
        cx: &mut WasiCtx,
        waker: &Waker,
        registry: &Registry,
        token: Token,
    ) -> io::Result<bool> {
        let mut failed = None;
        let mut at_once = false;
        let armed = cx.frame.arm(&mut cx.fds, waker, &mut |fd, want| {
            let Some(interest) = interest(want) else { return };
            let fd = fd.as_raw_fd();
            let known = self.0.iter_mut().find(|(known, _)| *known == fd);
            let result = match known {
                // Two descriptors of one file, which may wait in two directions.
                Some((_, known)) => {
                    *known = known.add(interest);
                    registry.reregister(&mut SourceFd(&fd), token, *known)
                }
                None => registry
                    .register(&mut SourceFd(&fd), token, interest)
                    .map(|()| self.0.push((fd, interest))),
            };
            match result {
                Ok(()) => {}
                // epoll takes no regular files: those are always ready.
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => at_once = true,
                Err(error) => failed = Some(error),
            }
        });
        match failed {
            Some(error) => {
                self.disarm(registry);
                Err(error)
            }
            None => Ok(armed && !at_once),
        }
    }

    /// Takes them out again.
    pub(crate) fn disarm(&mut self, registry: &Registry) {
        for (fd, _) in self.0.drain(..) {
            // It is open, and was registered: this can't fail.
            let _ = registry.deregister(&mut SourceFd(&fd));
        }
    }
}

fn interest(want: Interest) -> Option<MioInterest> {
    match (want.read, want.write) {
        (true, true) => Some(MioInterest::READABLE | MioInterest::WRITABLE),
        (true, false) => Some(MioInterest::READABLE),
        (false, true) => Some(MioInterest::WRITABLE),
        (false, false) => None,
    }
}
