//! `th_guest`: one running program.

use std::ffi::{CString, c_char, c_void};
use std::sync::Arc;
use std::task::{Wake, Waker};

use tinyhost::{Armed, Guest, Program, Step};

use crate::builder::Builder;
use crate::{FAILED, Fail, OK, Status, exclusive, free, guard, object, put, shared, status, take};

const EXITED: Status = 1;
const TRAPPED: Status = 2;
const YIELDED: Status = 3;
const PARKED: Status = 4;

/// A guest, and what is left of it when it has ended.
pub struct CGuest {
    guest: Guest,
    exit_status: u32,
    trap: Option<CString>,
}

#[unsafe(no_mangle)]
pub extern "C" fn th_guest_new(program: *const Program, builder: *mut Builder) -> *mut CGuest {
    object(|| {
        let builder = take(builder)?;
        let fuel_max = builder.fuel_max;
        let mut guest = Guest::new(shared(program)?, builder.build());
        if let Some(fuel) = fuel_max {
            guest.limit_fuel(fuel);
        }
        Ok(CGuest { guest, exit_status: 0, trap: None })
    })
}

#[unsafe(no_mangle)]
pub extern "C" fn th_guest_free(guest: *mut CGuest) {
    free(guest);
}

#[unsafe(no_mangle)]
pub extern "C" fn th_guest_step(guest: *mut CGuest, fuel: u64) -> Status {
    status(|| {
        let guest = exclusive(guest)?;
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

#[unsafe(no_mangle)]
pub extern "C" fn th_guest_wait(guest: *mut CGuest) -> Status {
    status(|| {
        let waited = exclusive(guest)?.guest.wait();
        waited.map(|()| OK).map_err(|error| Fail::new(FAILED, error))
    })
}

/// A C function to be called, and what it is given.
struct Callback {
    wake: extern "C" fn(*mut c_void),
    data: *mut c_void,
}

// SAFETY: the header asks for a function and data that can be used from any thread.
unsafe impl Send for Callback {}
// SAFETY: as above; the data is only ever handed back.
unsafe impl Sync for Callback {}

impl Wake for Callback {
    fn wake(self: Arc<Self>) {
        (self.wake)(self.data);
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn th_guest_arm(
    guest: *mut CGuest,
    wake: Option<extern "C" fn(*mut c_void)>,
    data: *mut c_void,
    after_ns: *mut u64,
) -> Status {
    status(|| {
        let guest = exclusive(guest)?;
        let wake = wake.ok_or_else(|| Fail::new(crate::USAGE, "wake is NULL"))?;
        let waker = Waker::from(Arc::new(Callback { wake, data }));
        let mut watched = false;
        let after = match guest.guest.arm(&waker, &mut |_, _| watched = true) {
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

#[unsafe(no_mangle)]
pub extern "C" fn th_guest_status(guest: *const CGuest) -> u32 {
    guard(|_| 0, || Ok(shared(guest)?.exit_status))
}

#[unsafe(no_mangle)]
pub extern "C" fn th_guest_fuel_used(guest: *const CGuest) -> u64 {
    guard(|_| 0, || Ok(shared(guest)?.guest.fuel_used()))
}

#[unsafe(no_mangle)]
pub extern "C" fn th_guest_trap(guest: *const CGuest) -> *const c_char {
    let null = |_| std::ptr::null();
    guard(null, || Ok(shared(guest)?.trap.as_ref().map_or(std::ptr::null(), |trap| trap.as_ptr())))
}
