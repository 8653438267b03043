//! `poll_oneoff`: waiting for several things at once, and sleeping.

use super::abi::{self, About, EVENT_SIZE, Eventtype, Rights, SUBSCRIPTION_SIZE, Subscription};
use super::fd::Need;
use super::frame::On;
use super::proc::ClockId;
use super::{Call, Stop, Sys};
use crate::errno::Errno;
use crate::vfs::{Filetype, Interest, Ready, charge};

/// Subscriptions in one call; EINVAL beyond. More than a guest can have descriptors.
pub const SUBSCRIPTIONS_MAX: u32 = 1 << 14;

/// Fuel for looking at one: a clock is read, or the system is asked about a descriptor.
const SUBSCRIPTION_FUEL: u64 = 200;

/// What has become of a subscription.
enum Fate {
    /// It has happened, or is in error.
    Event { kind: Eventtype, error: Option<Errno>, ready: Ready },
    /// Not before this time of the guest's monotonic clock, ns.
    At(u64),
    /// When the descriptor is ready.
    Waiting { fd: u32, want: Interest },
}

/// Each subscription is looked at; if nothing has happened, the guest is parked until the
/// earliest time or the first descriptor, and all are looked at again.
pub(super) fn poll_oneoff(c: &mut Call<'_>, subs: u32, out: u32, count: u32, nevents: u32) -> Sys {
    if count == 0 || count > SUBSCRIPTIONS_MAX {
        return Err(Errno::Inval.into());
    }
    c.mem.check(subs, count * SUBSCRIPTION_SIZE as u32)?;
    c.mem.check(out, count * EVENT_SIZE as u32)?;
    c.mem.check(nevents, 4)?;
    // All are read before anything is written, so that a bad one leaves no events behind.
    (0..count).try_for_each(|index| subscription(c, subs, index).map(drop))?;
    c.worked(u64::from(count) * SUBSCRIPTION_FUEL);
    let start = c.start();
    let mut events = 0;
    let mut earliest = u64::MAX;
    for index in 0..count {
        let subscription = subscription(c, subs, index)?;
        match look(c, subscription.about, start) {
            Fate::Event { kind, error, ready } => {
                let event =
                    abi::event(subscription.userdata, error, kind, ready.nbytes, ready.hangup);
                // Written behind those that were read already only if the two overlap,
                // which is the guest's own doing.
                c.mem.put(out + events * EVENT_SIZE as u32, event)?;
                events += 1;
            }
            Fate::At(time) => earliest = earliest.min(time),
            Fate::Waiting { fd, want } => {
                // It is looked for among those there are.
                c.worked(charge::WATCH + c.cx.frame.waits.len() as u64);
                c.cx.frame.wait(On::Fd(fd), want);
            }
        }
    }
    if events > 0 {
        c.cx.frame.again();
        return Ok(c.mem.put_u32(nevents, events)?);
    }
    c.cx.frame.deadline = (earliest < u64::MAX).then_some(earliest);
    Err(Stop::Park)
}

fn subscription(c: &Call<'_>, subs: u32, index: u32) -> Result<Subscription, Errno> {
    Subscription::decode(c.mem.array(subs + index * SUBSCRIPTION_SIZE as u32)?)
}

fn look(c: &mut Call<'_>, about: About, start: u64) -> Fate {
    match about {
        About::Clock { id, timeout, absolute } => clock(c, id, timeout, absolute, start),
        About::Fd { kind, fd } => {
            let want = match kind {
                Eventtype::FdWrite => Interest::WRITE,
                _ => Interest::READ,
            };
            match readiness(c, fd, want) {
                Err(Errno::Again) => Fate::Waiting { fd, want },
                Ok(ready) => Fate::Event { kind, error: None, ready },
                Err(error) => Fate::Event { kind, error: Some(error), ready: Ready::default() },
            }
        }
    }
}

/// The one readiness function, for every kind of descriptor.
fn readiness(c: &mut Call<'_>, fd: u32, want: Interest) -> Result<Ready, Errno> {
    let direction = if want.read { Rights::FD_READ } else { Rights::FD_WRITE };
    let right = Rights::POLL_FD_READWRITE | direction;
    let descriptor = c.cx.fds.get(fd, Need::Any, right)?;
    if descriptor.filetype != Filetype::RegularFile {
        return descriptor.file.ready(want);
    }
    // A regular file is always ready; what is left of it is known.
    let size = descriptor.file.stat()?.size;
    let nbytes = if want.read { size.saturating_sub(descriptor.offset) } else { 0 };
    Ok(Ready { nbytes, hangup: false })
}

fn clock(c: &mut Call<'_>, id: u32, timeout: u64, absolute: bool, start: u64) -> Fate {
    let event = |error| Fate::Event { kind: Eventtype::Clock, error, ready: Ready::default() };
    let id = match ClockId::parse(id) {
        Ok(id) => id,
        Err(error) => return event(Some(error)),
    };
    let now = c.cx.clock.monotonic();
    let due = match (absolute, id) {
        (false, _) => start.saturating_add(timeout),
        (true, ClockId::Monotonic) => timeout,
        (true, ClockId::Realtime) => {
            now.saturating_add(timeout.saturating_sub(c.cx.clock.realtime()))
        }
    };
    if due <= now { event(None) } else { Fate::At(due) }
}
