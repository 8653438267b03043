//! `th_guest`: one running program.

use std::ffi::{CString, c_char, c_void};
use std::sync::Arc;
use std::task::Waker;

use tinyhost::{Armed, Guest, Program, Step};

use crate::builder::Builder;
use crate::wake::{Callback, Target};
use crate::{FAILED, Fail, OK, Status, exclusive, guard, object, put, shared, status, take};

/// by itself; th_guest_status tells with what
const EXITED: Status = 1;
/// by the host; th_guest_trap tells why
const TRAPPED: Status = 2;
/// its fuel is used up: step it again
const YIELDED: Status = 3;
/// it waits: step it later
const PARKED: Status = 4;

/// A guest, and what is left of it when it has ended.
pub struct CGuest {
    guest: Guest,
    callback: Arc<Callback>,
    /// The same, as files know it.
    waker: Waker,
    exit_status: u32,
    trap: Option<CString>,
}

/// Makes the guest, and takes the builder, whatever comes of it.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_new(program: *const Program, builder: *mut Builder) -> *mut CGuest {
    object(|| {
        let builder = take(builder)?;
        let fuel_max = builder.fuel_max;
        let mut guest = Guest::new(shared(program)?, builder.build());
        if let Some(fuel) = fuel_max {
            guest.limit_fuel(fuel);
        }
        let callback = Arc::new(Callback::default());
        let waker = Waker::from(callback.clone());
        Ok(CGuest { guest, callback, waker, exit_status: 0, trap: None })
    })
}

/// Frees it wherever it is: parked, running, ended. This is how a guest is cancelled.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_free(guest: *mut CGuest) {
    let nothing = |_| ();
    guard(nothing, || {
        if !guest.is_null() {
            let guest = take(guest)?;
            // In the middle of its wake it goes without waiting for that.
            let _ = guest.callback.disarm();
        }
        Ok(())
    });
}

/// Runs it until it ends, waits, or has used `fuel` (about one per instruction).
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_step(guest: *mut CGuest, fuel: u64) -> Status {
    status(|| {
        let guest = exclusive(guest)?;
        guest.callback.disarm()?;
        Ok(match guest.guest.step(fuel) {
            Step::Exited(code) => {
                guest.exit_status = code;
                EXITED
            }
            Step::Trapped(trap) => {
                guest.trap.get_or_insert_with(|| CString::new(trap.text).unwrap_or_default());
                TRAPPED
            }
            Step::Yielded => YIELDED,
            Step::Parked => PARKED,
        })
    })
}

/// Blocks until the parked guest may be worth a step. Every wake may be false. What was armed
/// is armed no more.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_wait(guest: *mut CGuest) -> Status {
    status(|| {
        let guest = exclusive(guest)?;
        // The files know one waiter at a time.
        guest.callback.disarm()?;
        guest.guest.wait().map(|()| OK).map_err(|error| Fail::new(FAILED, error))
    })
}

/// Has `wake` called, at most once and from any thread, when the parked guest can go on by what
/// happened in this process. `after_ns` is the longest it should be left alone (UINT64_MAX:
/// for ever; 0: step it now). `wake` may call nothing of this library.
///
/// The next th_guest_step, th_guest_wait, th_guest_arm or th_guest_free of this guest ends it:
/// when that has returned, `wake` neither runs nor will be called, and `data` may be freed.
/// Each waits for a `wake` that another thread is in: hold no lock then that `wake` takes.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_arm(
    guest: *mut CGuest,
    wake: Option<extern "C" fn(data: *mut c_void)>,
    data: *mut c_void,
    after_ns: *mut u64,
) -> Status {
    status(|| {
        let guest = exclusive(guest)?;
        let wake = wake.ok_or_else(|| Fail::new(crate::USAGE, "wake is NULL"))?;
        put(after_ns, 0)?;
        guest.callback.disarm()?;
        guest.callback.arm(Target { wake, data });
        let mut watched = false;
        let after = match guest.guest.arm(&guest.waker, &mut |_, _| watched = true) {
            Armed::Now => 0,
            Armed::Until(time) => {
                time.map_or(u64::MAX, |time| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
            }
        };
        // A descriptor of the system wakes nobody here: it is asked again soon.
        put(after_ns, if watched { after.min(5_000_000) } else { after })?;
        Ok(OK)
    })
}

/// The status with which it has exited; 0 before.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_status(guest: *const CGuest) -> u32 {
    guard(|_| 0, || Ok(shared(guest)?.exit_status))
}

/// Fuel it has used so far.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_fuel_used(guest: *const CGuest) -> u64 {
    guard(|_| 0, || Ok(shared(guest)?.guest.fuel_used()))
}

/// Why it was trapped, or NULL. Lives as long as the guest.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_trap(guest: *const CGuest) -> *const c_char {
    let null = |_| std::ptr::null();
    guard(null, || Ok(shared(guest)?.trap.as_ref().map_or(std::ptr::null(), |trap| trap.as_ptr())))
}
