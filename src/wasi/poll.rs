//! `poll_oneoff`: waiting for several things at once, and sleeping.

use super::abi::{self, About, EVENT_SIZE, Eventtype, Rights, SUBSCRIPTION_SIZE, Subscription};
use super::fd::Need;
use super::frame::WaitTarget;
use super::proc::ClockId;
use super::{Call, Stop, Sys};
use crate::errno::Errno;
use crate::vfs::{Filetype, Interest, Ready, charge};

/// Subscriptions in one call; EINVAL beyond. More than a guest can have descriptors.
pub const SUBSCRIPTIONS_MAX: u32 = 1 << 14;

/// Fuel for looking at one: a clock is read, or the system is asked about a descriptor.
const SUBSCRIPTION_FUEL: u64 = 200;

/// What a check of a subscription found.
enum Status {
    /// Its event has occurred, or it is in error.
    Event { kind: Eventtype, error: Option<Errno>, ready: Ready },
    /// Nothing before this time of the guest's monotonic clock, in ns.
    At(u64),
    /// Nothing until the descriptor is ready.
    Waiting { fd: u32, want: Interest },
}

/// Checks each subscription. If none has an event, the guest is parked until the earliest
/// deadline or the first ready descriptor, and the call is run again.
pub(super) fn poll_oneoff(c: &mut Call<'_>, subs: u32, out: u32, count: u32, nevents: u32) -> Sys {
    if count == 0 || count > SUBSCRIPTIONS_MAX {
        return Err(Errno::Inval.into());
    }
    c.mem.check(subs, count * SUBSCRIPTION_SIZE as u32)?;
    c.mem.check(out, count * EVENT_SIZE as u32)?;
    c.mem.check(nevents, 4)?;
    // All are read before anything is written, so that a bad one leaves no events.
    (0..count).try_for_each(|index| subscription(c, subs, index).map(drop))?;
    c.charge_fuel(u64::from(count) * SUBSCRIPTION_FUEL);
    let start = c.start();
    let mut events = 0;
    let mut earliest = u64::MAX;
    for index in 0..count {
        let subscription = subscription(c, subs, index)?;
        match check(c, subscription.about, start) {
            Status::Event { kind, error, ready } => {
                let event =
                    abi::event(subscription.userdata, error, kind, ready.nbytes, ready.hangup);
                // If the guest's arrays overlap, this writes over subscriptions that were read.
                c.mem.put(out + events * EVENT_SIZE as u32, event)?;
                events += 1;
            }
            Status::At(time) => earliest = earliest.min(time),
            Status::Waiting { fd, want } => {
                // It is looked for among those there are.
                c.charge_fuel(charge::WATCH + c.cx.frame.waits.len() as u64);
                c.cx.frame.wait(WaitTarget::Fd(fd), want);
            }
        }
    }
    if events > 0 {
        c.cx.frame.prepare_rerun();
        return Ok(c.mem.put_u32(nevents, events)?);
    }
    c.cx.frame.deadline = (earliest < u64::MAX).then_some(earliest);
    Err(Stop::Park)
}

fn subscription(c: &Call<'_>, subs: u32, index: u32) -> Result<Subscription, Errno> {
    Subscription::decode(c.mem.array(subs + index * SUBSCRIPTION_SIZE as u32)?)
}

fn check(c: &mut Call<'_>, about: About, start: u64) -> Status {
    match about {
        About::Clock { id, timeout, absolute } => clock(c, id, timeout, absolute, start),
        About::Fd { kind, fd } => {
            let want = match kind {
                Eventtype::FdWrite => Interest::WRITE,
                _ => Interest::READ,
            };
            match readiness(c, fd, want) {
                Err(Errno::Again) => Status::Waiting { fd, want },
                Ok(ready) => Status::Event { kind, error: None, ready },
                Err(error) => Status::Event { kind, error: Some(error), ready: Ready::default() },
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

fn clock(c: &mut Call<'_>, id: u32, timeout: u64, absolute: bool, start: u64) -> Status {
    let event = |error| Status::Event { kind: Eventtype::Clock, error, ready: Ready::default() };
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
    if due <= now { event(None) } else { Status::At(due) }
}
