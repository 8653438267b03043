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

/// by itself; th_guest_status tells with what
const EXITED: Status = 1;
/// by the host; th_guest_trap tells why
const TRAPPED: Status = 2;
/// its fuel is used up: step it again
const YIELDED: Status = 3;
/// it waits: step it later
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

/// Makes the guest, and takes the builder, whatever comes of it, unless another call uses the
/// builder. A start section runs here, and may call the guest's files.
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

/// Frees it, parked, running or ended: this is how a guest is cancelled. While another call
/// uses the guest, and from inside a wake, this is TH_USAGE, and the guest is not freed.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_free(guest: *mut CGuest) -> Status {
    status(|| {
        if !guest.is_null() {
            refuse_inside()?;
        }
        Ok(free(guest))
    })
}

/// Runs it until it ends, waits, or has used `fuel` (about one per instruction).
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

/// Blocks until the parked guest may be worth a step. Every wake may be false. What was armed
/// is armed no more. A guest that does not wait is worth a step at once.
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

/// Has `wake` called, at most once and from any thread, when the parked guest can go on by what
/// happened in this process. `after_ns` is the longest it should be left alone (UINT64_MAX:
/// for ever; 0: step it now). `wake` should only pass the news on. Inside it, th_guest_step,
/// th_guest_wait, th_guest_arm and th_guest_free are TH_USAGE for every guest.
///
/// The next th_guest_step, th_guest_wait, th_guest_arm or th_guest_free of this guest ends it:
/// when that has returned, `wake` neither runs nor will be called, and `data` may be freed.
/// Each waits for a `wake` that another thread is in: hold no lock then that `wake` takes. A
/// call that is refused ends nothing.
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

/// The status with which it has exited; 0 before. At any time and from any thread, as are the
/// two below.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_status(guest: *const CGuest) -> u32 {
    guard(|_| 0, || Ok(shared(guest)?.seen.exit_status.load(Ordering::Relaxed)))
}

/// Fuel it has used up to the end of its last step.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_fuel_used(guest: *const CGuest) -> u64 {
    guard(|_| 0, || Ok(shared(guest)?.seen.fuel_used.load(Ordering::Relaxed)))
}

/// Why it was trapped, or NULL. Lives as long as the guest.
#[unsafe(no_mangle)]
pub extern "C" fn th_guest_trap(guest: *const CGuest) -> *const c_char {
    let null = |_| std::ptr::null();
    guard(null, || {
        let trap = shared(guest)?.seen.trap.get();
        Ok(trap.map_or(std::ptr::null(), |trap| trap.as_ptr()))
    })
}
