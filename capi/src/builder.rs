//! `th_builder`: what a guest is given.

use std::ffi::c_char;

use tinyhost::WasiCtx;
use tinyhost::seeded;
use tinyhost::vfs::namespace::{Namespace, NamespaceBuilder as Mounts};
use tinyhost::vfs::pipe::{Writer, pipe};
use tinyhost::wasi::CtxBuilder as Cx;

use crate::node::{CNode, parts};
use crate::object::{Object, free, lease};
use crate::streams::{CReader, CWriter};
use crate::{Fail, OK, Status, USAGE, object, put, status, text, utf8, writable};

pub type CBuilder = Object<Builder>;

/// Rust builders are passed by value, so they are taken out and put back.
pub struct Builder {
    cx: Option<Cx>,
    mounts: Option<Mounts>,
    pub(crate) fuel_max: Option<u64>,
}

impl Builder {
    fn change(&mut self, change: impl FnOnce(Cx) -> Cx) {
        let cx = self.cx.take().unwrap_or_else(WasiCtx::builder);
        self.cx = Some(change(cx));
    }

    pub(crate) fn build(self) -> WasiCtx {
        let mounts = self.mounts.unwrap_or_else(Namespace::builder);
        self.cx.unwrap_or_else(WasiCtx::builder).namespace(mounts.build()).build()
    }
}

/// Makes a builder of a guest. What it is given is copied or shared.
#[unsafe(no_mangle)]
pub extern "C" fn th_builder_new() -> *mut CBuilder {
    object(|| Ok(CBuilder::new(Builder { cx: None, mounts: None, fuel_max: None })))
}

/// Frees a builder that th_guest_new has not taken.
#[unsafe(no_mangle)]
pub extern "C" fn th_builder_free(builder: *mut CBuilder) -> Status {
    free(builder)
}

/// Adds an argument. The first one is the program's name.
#[unsafe(no_mangle)]
pub extern "C" fn th_builder_arg(builder: *mut CBuilder, arg: *const c_char) -> Status {
    status(|| {
        let (mut builder, arg) = (lease(builder)?, text(arg)?.to_bytes());
        builder.change(|cx| cx.arg(arg).expect("a string of C has no NUL in it"));
        Ok(OK)
    })
}

/// Adds an environment variable. A name that is empty or contains '=' is TH_USAGE.
#[unsafe(no_mangle)]
pub extern "C" fn th_builder_env(
    builder: *mut CBuilder,
    name: *const c_char,
    value: *const c_char,
) -> Status {
    status(|| {
        let (mut builder, name, value) = (lease(builder)?, text(name)?, text(value)?);
        let (name, value) = (name.to_bytes(), value.to_bytes());
        if name.is_empty() || name.contains(&b'=') {
            return Err(Fail::new(USAGE, "the name of a variable is empty or has a '=' in it"));
        }
        builder.change(|cx| cx.env(name, value).expect("a string of C has no NUL in it"));
        Ok(OK)
    })
}

/// Limits the guest's memory, in bytes.
#[unsafe(no_mangle)]
pub extern "C" fn th_builder_memory(builder: *mut CBuilder, bytes_max: usize) -> Status {
    status(|| {
        lease(builder)?.change(|cx| cx.memory_max(bytes_max));
        Ok(OK)
    })
}

/// Limits the guest's fuel over all steps, about one unit per instruction.
#[unsafe(no_mangle)]
pub extern "C" fn th_builder_fuel(builder: *mut CBuilder, fuel_max: u64) -> Status {
    status(|| {
        lease(builder)?.fuel_max = Some(fuel_max);
        Ok(OK)
    })
}

/// Limits the guest's open descriptors.
#[unsafe(no_mangle)]
pub extern "C" fn th_builder_fds(builder: *mut CBuilder, count_max: usize) -> Status {
    status(|| {
        lease(builder)?.change(|cx| cx.fds_max(count_max));
        Ok(OK)
    })
}

/// Makes standard input a pipe with room for `capacity_bytes`, and stores its writing end.
#[unsafe(no_mangle)]
pub extern "C" fn th_builder_stdin(
    builder: *mut CBuilder,
    capacity_bytes: usize,
    feed: *mut *mut CWriter,
) -> Status {
    status(|| {
        let mut builder = lease(builder)?;
        let (reader, writer) = pipe(capacity_bytes);
        hand_out(feed, writer)?;
        builder.change(|cx| cx.stdin(reader));
        Ok(OK)
    })
}

/// Makes standard output a pipe with room for `capacity_bytes`, and stores its reading end.
#[unsafe(no_mangle)]
pub extern "C" fn th_builder_stdout(
    builder: *mut CBuilder,
    capacity_bytes: usize,
    out: *mut *mut CReader,
) -> Status {
    status(|| output(builder, capacity_bytes, out, |cx, writer| cx.stdout(writer)))
}

/// Makes standard error a pipe with room for `capacity_bytes`, and stores its reading end.
#[unsafe(no_mangle)]
pub extern "C" fn th_builder_stderr(
    builder: *mut CBuilder,
    capacity_bytes: usize,
    out: *mut *mut CReader,
) -> Status {
    status(|| output(builder, capacity_bytes, out, |cx, writer| cx.stderr(writer)))
}

/// A pipe from the guest, which `give` takes the writing end of.
fn output(
    builder: *mut CBuilder,
    capacity_bytes: usize,
    out: *mut *mut CReader,
    give: impl FnOnce(Cx, Writer) -> Cx,
) -> Result<Status, Fail> {
    let mut builder = lease(builder)?;
    let (reader, writer) = pipe(capacity_bytes);
    hand_out(out, reader)?;
    builder.change(|cx| give(cx, writer));
    Ok(OK)
}

fn hand_out<T>(place: *mut *mut Object<T>, end: T) -> Result<(), Fail> {
    writable(place)?;
    put(place, Box::into_raw(Box::new(Object::new(end))))
}

/// Makes the guest's random bytes repeatable: the same seed yields the same bytes. Not for secrets.
#[unsafe(no_mangle)]
pub extern "C" fn th_builder_seed(builder: *mut CBuilder, seed: u64) -> Status {
    status(|| {
        lease(builder)?.change(|cx| cx.random(seeded(seed)));
        Ok(OK)
    })
}

/// Mounts a node at a path. The node stays the caller's.
#[unsafe(no_mangle)]
pub extern "C" fn th_builder_mount(
    builder: *mut CBuilder,
    path: *const c_char,
    node: *const CNode,
) -> Status {
    status(|| {
        let (mut builder, path, node) = (lease(builder)?, utf8(path)?, parts(node)?.node);
        let mounts = builder.mounts.take().unwrap_or_else(Namespace::builder);
        // A refused mount takes the builder with it: try on a copy of what there is first.
        let (mounts, refused) = match mounts.clone().mount(path, node) {
            Ok(more) => (more, None),
            Err(error) => (mounts, Some(error)),
        };
        builder.mounts = Some(mounts);
        refused.map_or(Ok(OK), |error| Err(Fail::new(USAGE, error)))
    })
}
