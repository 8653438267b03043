//! `th_guest`: one running program.

use std::ffi::{CString, c_char, c_void};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;

use tinyhost::{Armed, Guest, Program, Step};

use crate::builder::CBuilder;
use crate::object::{Object, consume, free, lease};
use crate::wake::{Callback, Target, refuse_inside};
use crate::{FAILED, Fail, OK, Status, c_string, guard, object, put, shared, status};

/// it has exited; th_guest_status returns the status
const EXITED: Status = 1;
/// it trapped, or the host ended it; th_guest_trap returns the reason
const TRAPPED: Status = 2;
/// it has used the fuel of this step, or yielded; step it again
const YIELDED: Status = 3;
/// it waits; step it later
const PARKED: Status = 4;

pub type CGuest = Object<Running, Seen>;

/// The guest itself, for one call at a time.
pub struct Running {
    guest: Guest,
    callback: Arc<Callback>,
    /// The same, as files know it.
    waker: Waker,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.callback.disarm();
    }
}

/// What is known of it, for any call at any time.
#[derive(Default)]
pub struct Seen {
    exit_status: AtomicU32,
    fuel_used: AtomicU64,
    trap: OnceLock<CString>,
}

impl Seen {
    /// Notes what a step came to.
    fn note(&self, guest: &Guest, step: Step) -> Status {
        self.fuel_used.store(guest.fuel_used(), Ordering::Relaxed);
        match step {
            Step::Exited(code) => {
                self.exit_status.store(code, Ordering::Relaxed);
                EXITED
            }
            Step::Trapped(trap) => {
                self.trap.get_or_init(|| c_string(&trap.text));
                TRAPPED
            }
            Step::Yielded => YIELDED,
            Step::Parked => PARKED,
        }
    }
}

/// Makes a guest. Takes the builder, also on failure, unless another call uses the builder. The
/// module's start section runs here, and may call the guest's files.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_new(program: *const Program, builder: *mut CBuilder) -> *mut CGuest {
    object(|| {
        consume(builder, |builder| {
            let fuel_max = builder.fuel_max;
            // A callback may free the program meanwhile.
            let program = shared(program)?.clone();
            let mut guest = Guest::new(&program, builder.build());
            if let Some(fuel) = fuel_max {
                guest.limit_fuel(fuel);
            }
            let callback = Arc::new(Callback::default());
            let waker = Waker::from(callback.clone());
            let fuel_used = guest.fuel_used();
            let made = CGuest::new(Running { guest, callback, waker });
            made.seen.fuel_used.store(fuel_used, Ordering::Relaxed);
            Ok(made)
        })?
    })
}

/// Frees a guest in any state, which cancels it. While another call uses the guest, and from
/// inside a wake, this returns TH_USAGE and the guest is not freed.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_free(guest: *mut CGuest) -> Status {
    status(|| {
        if !guest.is_null() {
            refuse_inside()?;
        }
        Ok(free(guest))
    })
}

/// Runs the guest until it ends, waits, or has used `fuel` (about one unit per instruction).
/// Returns TH_EXITED, TH_TRAPPED, TH_YIELDED or TH_PARKED.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_step(guest: *mut CGuest, fuel: u64) -> Status {
    status(|| {
        refuse_inside()?;
        let mut running = lease(guest)?;
        running.callback.disarm();
        let step = running.guest.step(fuel);
        Ok(shared(guest)?.seen.note(&running.guest, step))
    })
}

/// Blocks until the parked guest may be able to run, and disarms it. The wake may be spurious.
/// Returns at once if the guest doesn't wait.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_wait(guest: *mut CGuest) -> Status {
    status(|| {
        refuse_inside()?;
        let mut running = lease(guest)?;
        // The files know one waiter at a time.
        running.callback.disarm();
        running.guest.wait().map(|()| OK).map_err(|error| Fail::new(FAILED, error))
    })
}

/// Arms a parked guest: `wake` is called, at most once and from any thread, when an event in this
/// process lets the guest run. Step the guest after `after_ns` nanoseconds even without a wake
/// (UINT64_MAX: never; 0: step it now). `wake` should only notify your loop. Inside it,
/// th_guest_step, th_guest_wait, th_guest_arm and th_guest_free return TH_USAGE for every guest.
///
/// The next th_guest_step, th_guest_wait, th_guest_arm or th_guest_free of this guest disarms it:
/// once that has returned, `wake` does not run and will not be called, and you may free `data`.
/// Each of them waits for a `wake` that runs on another thread, so don't hold a lock that `wake`
/// takes. A call that returns TH_USAGE disarms nothing.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_arm(
    guest: *mut CGuest,
    wake: Option<extern "C" fn(data: *mut c_void)>,
    data: *mut c_void,
    after_ns: *mut u64,
) -> Status {
    status(|| {
        refuse_inside()?;
        let mut running = lease(guest)?;
        let wake = wake.ok_or_else(|| Fail::new(crate::USAGE, "wake is NULL"))?;
        put(after_ns, 0)?;
        running.callback.disarm();
        running.callback.arm(Target { wake, data });
        let mut watched = false;
        let Running { guest, waker, .. } = &mut *running;
        let after = match guest.arm(waker, &mut |_, _| watched = true) {
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

/// Returns the exit status of the guest, or 0 before it has exited. This and the two functions
/// below can be called at any time and from any thread.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_status(guest: *const CGuest) -> u32 {
    guard(|_| 0, || Ok(shared(guest)?.seen.exit_status.load(Ordering::Relaxed)))
}

/// Returns the fuel used up to the end of the last step.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_fuel_used(guest: *const CGuest) -> u64 {
    guard(|_| 0, || Ok(shared(guest)?.seen.fuel_used.load(Ordering::Relaxed)))
}

/// Returns why the guest was ended, or NULL. The string lives as long as the guest.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_trap(guest: *const CGuest) -> *const c_char {
    let null = |_| std::ptr::null();
    guard(null, || {
        let trap = shared(guest)?.seen.trap.get();
        Ok(trap.map_or(std::ptr::null(), |trap| trap.as_ptr()))
    })
}
