//! tinyhost: run WASI programs inside a C program, without a JIT and without blocking.
//!
//! Load a program once. Build guests of it, step them with a budget of fuel, and free them. You
//! own every object you make, until a call that says it takes the object. Freeing NULL does
//! nothing.
//!
//! One call at a time may use a guest, a builder or a pipe's end, from any thread. A second call,
//! from another thread or from a callback inside the first, returns TH_USAGE and changes nothing.
//! That includes freeing: an object in use is not freed. Any number of calls may use programs and
//! nodes at once, and callbacks may free them. The library can't detect the use of a pointer after
//! its object was freed.
//!
//! Calls that can fail return a th_status; th_last_error() then returns the reason in words. NULL
//! where an object is expected is TH_USAGE. No call throws, unwinds or exits.
//!
//! If guests get directories of the host, the program must ignore or handle SIGPIPE and SIGXFSZ:
//! a write to a pipe without a reader, or beyond RLIMIT_FSIZE, raises them, and by default they
//! end the program. th_node_host ignores those that are at their default, once. A program that
//! sets SIG_DFL after that, or runs on a system that th_node_host doesn't name, must do so itself.
//!
//! This file is made from the Rust sources (capi/tests/header.rs).
//!
//! ---
//!
//! The header ends here. Each function checks its pointers, runs in [`guard`], which catches
//! panics, and returns a status. This is the only crate with `unsafe` in it but for two modules of
//! the library; what every block relies on is the contract above: a pointer is NULL or came
//! from the function that makes such objects and has not been freed, and a buffer is as long as
//! it is said to be. [`object::Object`] ensures that one call at a time uses an object.

mod builder;
mod file;
mod guest;
mod node;
mod object;
mod signals;
mod streams;
mod wake;

use std::cell::UnsafeCell;
use std::ffi::{CStr, CString, c_char};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tinyhost::{Errno, Program};

/// The result of a call: one of the constants below, or of a step.
pub type Status = i32;
/// success
pub const OK: Status = 0;
/// no data yet, or no room; nothing has changed
pub const AGAIN: Status = -1;
/// an argument is invalid, or the object is in use; nothing has changed
pub const USAGE: Status = -2;
/// see th_last_error
pub const FAILED: Status = -3;
/// the other end is closed
pub const CLOSED: Status = -4;
/// a bug of tinyhost; the object must only be freed
pub const PANIC: Status = -5;

/// Bytes of the words of an error, with the NUL at their end. What is longer is cut.
const WORDS_MAX: usize = 1024;

thread_local! {
    /// One place for as long as the thread lives: C may hold on to it. It has no destructor, so
    /// it is still there when destructors of C call in at the thread's end.
    static LAST_ERROR: UnsafeCell<[u8; WORDS_MAX]> = const { UnsafeCell::new([0; WORDS_MAX]) };
}

/// A text for C, whose strings have no NUL in them.
pub(crate) fn c_string(text: &str) -> CString {
    CString::new(text.replace('\0', "?")).unwrap_or_default()
}

/// Stores the message for `th_last_error`.
fn remember(error: impl Display) {
    let mut text = error.to_string().replace('\0', "?");
    if text.len() >= WORDS_MAX {
        let fits = |at: &usize| text.is_char_boundary(*at);
        text.truncate((0..=WORDS_MAX - 4).rev().find(fits).unwrap_or(0));
        text.push_str("...");
    }
    LAST_ERROR.with(|last| {
        // SAFETY: only this thread has the place, and nothing else of it is borrowed here.
        let place = unsafe { &mut *last.get() };
        place[..text.len()].copy_from_slice(text.as_bytes());
        place[text.len()] = 0;
    });
}

/// A failure whose message is stored for the caller.
pub(crate) struct Fail(pub Status);

impl Fail {
    pub(crate) fn new(status: Status, error: impl Display) -> Fail {
        remember(error);
        Fail(status)
    }

    fn null() -> Fail {
        Fail::new(USAGE, "an argument is NULL that must not be")
    }
}

impl From<Errno> for Fail {
    fn from(errno: Errno) -> Fail {
        match errno {
            Errno::Again => Fail(AGAIN),
            Errno::Pipe => Fail::new(CLOSED, errno),
            _ => Fail::new(FAILED, errno),
        }
    }
}

/// Runs a function of the interface and catches a panic, whose message has been printed to
/// stderr by then.
pub(crate) fn guard<T>(
    otherwise: impl FnOnce(Status) -> T,
    f: impl FnOnce() -> Result<T, Fail>,
) -> T {
    // What a panic left half done is only ever freed: the header says so.
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(Ok(value)) => value,
        Ok(Err(Fail(status))) => otherwise(status),
        Err(_) => {
            remember("a bug: tinyhost has panicked");
            otherwise(PANIC)
        }
    }
}

/// [`guard`] for functions that answer a status.
pub(crate) fn status(f: impl FnOnce() -> Result<Status, Fail>) -> Status {
    guard(|status| status, f)
}

/// [`guard`] for functions that make an object: NULL if they can't.
pub(crate) fn object<T>(f: impl FnOnce() -> Result<T, Fail>) -> *mut T {
    guard(|_| std::ptr::null_mut(), || Ok(Box::into_raw(Box::new(f()?))))
}

/// Borrows an object for a call.
pub(crate) fn shared<'a, T>(object: *const T) -> Result<&'a T, Fail> {
    // SAFETY: NULL, or an object of ours that is alive, by the contract in the header. What
    // changes in one is behind an atomic, a lock or a [`Lease`](object::Lease).
    unsafe { object.as_ref() }.ok_or_else(Fail::null)
}

/// Drops an object and its memory; NULL is nothing to drop.
pub(crate) fn drop_object<T>(object: *mut T) {
    if !object.is_null() {
        // SAFETY: `object()` made it with Box::into_raw, and it is dropped once: by the
        // contract, or because the caller holds the only claim to it.
        drop(unsafe { Box::from_raw(object) });
    }
}

/// Refuses a length that no buffer has.
fn length(len: usize) -> Result<(), Fail> {
    match isize::try_from(len) {
        Ok(_) => Ok(()),
        Err(_) => Err(Fail::new(USAGE, format_args!("no buffer has {len} bytes"))),
    }
}

/// The bytes at a pointer.
pub(crate) fn bytes<'a>(start: *const u8, len: usize) -> Result<&'a [u8], Fail> {
    if len == 0 {
        return Ok(&[]);
    }
    if start.is_null() {
        return Err(Fail::null());
    }
    length(len)?;
    // SAFETY: the caller says there are `len` bytes to read at `start`.
    Ok(unsafe { std::slice::from_raw_parts(start, len) })
}

/// A buffer to be filled.
pub(crate) fn bytes_mut<'a>(start: *mut u8, len: usize) -> Result<&'a mut [u8], Fail> {
    if len == 0 {
        return Ok(&mut []);
    }
    if start.is_null() {
        return Err(Fail::null());
    }
    length(len)?;
    // SAFETY: the caller says there is room for `len` bytes at `start`. They need not have
    // been written before as far as C is concerned; they are bytes, and only written to.
    Ok(unsafe { std::slice::from_raw_parts_mut(start, len) })
}

/// A string of C.
pub(crate) fn text<'a>(text: *const c_char) -> Result<&'a CStr, Fail> {
    if text.is_null() {
        return Err(Fail::null());
    }
    // SAFETY: the caller says it is a string that ends with a NUL.
    Ok(unsafe { CStr::from_ptr(text) })
}

/// A string of C that must be UTF-8.
pub(crate) fn utf8<'a>(string: *const c_char) -> Result<&'a str, Fail> {
    text(string)?.to_str().map_err(|error| Fail::new(USAGE, error))
}

/// Whether there is a place for a result.
pub(crate) fn writable<T>(place: *mut T) -> Result<(), Fail> {
    if place.is_null() { Err(Fail::null()) } else { Ok(()) }
}

/// Hands a result out; NULL is not allowed.
pub(crate) fn put<T>(place: *mut T, value: T) -> Result<(), Fail> {
    writable(place)?;
    // SAFETY: the caller says there is room for one at `place`; what is there is not read.
    unsafe { place.write(value) };
    Ok(())
}

/// Returns the error message of this thread's last failed call, at most 1023 bytes. The pointer is
/// the same for as long as the thread lives. The next failed call overwrites the message.
#[unsafe(no_mangle)]
pub extern "C" fn th_last_error() -> *const c_char {
    guard(|_| c"".as_ptr(), || Ok(LAST_ERROR.with(|last| last.get().cast_const().cast())))
}

/// Checks and compiles a module. Returns NULL if it is not a WASI preview1 command. The bytes are
/// not kept.
#[unsafe(no_mangle)]
pub extern "C" fn th_program_new(wasm: *const u8, len: usize) -> *mut Program {
    object(|| Program::new(bytes(wasm, len)?).map_err(|error| Fail::new(FAILED, error)))
}

/// Frees a program. Guests of it are not affected.
#[unsafe(no_mangle)]
pub extern "C" fn th_program_free(program: *mut Program) -> Status {
    status(|| {
        drop_object(program);
        Ok(OK)
    })
}
