//! What C's pointers lead to: objects that one call at a time may use.
//!
//! C can come back in while a call is under way: from a callback of a file, from a release,
//! from a wake, from another thread. Each object knows whether a call is using it. A second
//! call is refused, and no second `&mut` to the object is ever made.

use std::cell::UnsafeCell;
use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU8, Ordering};

use crate::{Fail, OK, PANIC, Status, USAGE, drop_object, shared, status};

/// No call uses it.
const IDLE: u8 = 0;
/// A call uses it, or frees it.
const IN_USE: u8 = 1;
/// A call has panicked in it: all that is left to do is to free it.
const BROKEN: u8 = 2;

/// An object that C holds a pointer to. `seen` is the part that any call may read at any time.
pub struct Object<T, S = ()> {
    state: AtomicU8,
    value: UnsafeCell<ManuallyDrop<T>>,
    pub(crate) seen: S,
}

impl<T, S: Default> Object<T, S> {
    pub(crate) fn new(value: T) -> Object<T, S> {
        let value = UnsafeCell::new(ManuallyDrop::new(value));
        Object { state: AtomicU8::new(IDLE), value, seen: S::default() }
    }
}

impl<T, S> Object<T, S> {
    /// Marks it as in use, if its state is one of `from`.
    fn claim(&self, from: &[u8]) -> Result<(), Fail> {
        let claim = |from: &u8| {
            self.state.compare_exchange(*from, IN_USE, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        if from.iter().any(claim) {
            return Ok(());
        }
        match self.state.load(Ordering::Relaxed) {
            BROKEN => Err(Fail::new(PANIC, "tinyhost has panicked in this object: only free it")),
            _ => Err(Fail::new(
                USAGE,
                "the object is in use by a call that has not returned (in another thread, or \
                 around the callback that makes this one)",
            )),
        }
    }
}

/// An object while a call uses it.
pub(crate) struct Lease<'a, T, S>(&'a Object<T, S>);

impl<T, S> Deref for Lease<'_, T, S> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the state is IN_USE by this lease alone, so nobody changes the value.
        unsafe { &*self.0.value.get() }
    }
}

impl<T, S> DerefMut for Lease<'_, T, S> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: the state is IN_USE by this lease alone, so nobody else has the value.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T, S> Drop for Lease<'_, T, S> {
    fn drop(&mut self) {
        let after = if std::thread::panicking() { BROKEN } else { IDLE };
        self.0.state.store(after, Ordering::Release);
    }
}

/// Borrows an object for a call; refused while another call uses it.
pub(crate) fn lease<'a, T, S>(object: *mut Object<T, S>) -> Result<Lease<'a, T, S>, Fail> {
    let object: &Object<T, S> = shared(object)?;
    object.claim(&[IDLE])?;
    Ok(Lease(object))
}

/// An object whose value is gone; its memory goes with this.
struct Shell<T, S>(*mut Object<T, S>);

impl<T, S> Drop for Shell<T, S> {
    fn drop(&mut self) {
        // The state is IN_USE for good, so nobody else comes here. The value is ManuallyDrop.
        drop_object(self.0);
    }
}

/// Takes an object for good and hands its value to `f`. Until `f` has returned, calls from
/// its callbacks still find the object there, in use, and are refused.
pub(crate) fn consume<T, S, R>(
    object: *mut Object<T, S>,
    f: impl FnOnce(T) -> R,
) -> Result<R, Fail> {
    let held = shared(object)?;
    held.claim(&[IDLE, BROKEN])?;
    // SAFETY: the state is IN_USE from here to the end, so the value is taken once.
    let value = unsafe { ManuallyDrop::take(&mut *held.value.get()) };
    let _shell = Shell(object);
    Ok(f(value))
}

/// Frees an object that no call uses; NULL is nothing to free.
pub(crate) fn free<T, S>(object: *mut Object<T, S>) -> Status {
    status(|| {
        if !object.is_null() {
            consume(object, drop)?;
        }
        Ok(OK)
    })
}
