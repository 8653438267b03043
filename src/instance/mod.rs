//! An instance between two guests.

#[cfg(all(target_os = "linux", feature = "recycle"))]
mod allocator;
#[cfg_attr(not(all(target_os = "linux", feature = "recycle")), path = "no_pages.rs")]
pub(crate) mod pages;

use std::sync::Arc;

use wasmi::{Global, Memory, Store, Val};

use crate::guest::Guest;
use crate::program::{Entry, Program, Shared};
use crate::wasi::WasiCtx;
#[cfg(all(target_os = "linux", feature = "recycle"))]
pub use allocator::GuestAllocator;
#[cfg(all(target_os = "linux", feature = "recycle"))]
pub(crate) use allocator::give_back;
use pages::Pages;

/// Memory an idle instance may keep resident; with more, all is given back to the kernel.
const RESIDENT_MAX: usize = 1 << 20;

/// So often is it given back in any case: what one guest has touched would otherwise be
/// zeroed after each of those that come after it.
const RUNS_BETWEEN_RELEASES: u32 = 64;

/// An instance as good as new, without a guest.
pub(crate) struct Instance {
    store: Store<WasiCtx>,
    parts: Box<Parts>,
}

/// What is to be known of an instance to make it new again.
pub(crate) struct Parts {
    program: Arc<Shared>,
    pub(crate) entry: Entry,
    pub(crate) memory: Memory,
    /// How it was when it was new.
    memory_bytes: usize,
    globals: Vec<(Global, Val)>,
    /// Memory and tables as its limits count them.
    pub(crate) memory_used: usize,
    runs: u32,
}

impl Parts {
    #[cfg(test)]
    pub(crate) fn globals(&self) -> impl Iterator<Item = Global> {
        self.globals.iter().map(|(global, _)| *global)
    }
}

/// A guest with an instance of its own, none of its memory resident but what is not zero.
/// If the program can't be recycled, or the kernel doesn't play along, it is just a guest.
pub(crate) fn fresh(program: &Program, cx: WasiCtx, pages: &Pages) -> Guest {
    let mut guest = Guest::new(program, cx);
    guest.parts = parts(&mut guest, &program.shared, pages).map(Box::new);
    guest
}

fn parts(guest: &mut Guest, program: &Arc<Shared>, pages: &Pages) -> Option<Parts> {
    let recipe = program.recipe.as_ref()?;
    let (instance, entry) = guest.unstarted()?;
    let store = &mut guest.store;
    let global = |index: &u32| {
        let global = instance.get_global(&*store, &recipe.global(*index))?;
        Some((global, global.get(&*store)))
    };
    let globals = recipe.globals().iter().map(global).collect::<Option<_>>()?;
    let memory = store.data().memory?;
    let memory_used = store.data().limits.used;
    let bytes = memory.data_mut(&mut *store);
    // A failure can leave anything behind: then nothing may be assumed of what is zero.
    let released = pages.release(bytes);
    if released.is_err() {
        bytes.fill(0);
    }
    recipe.image.write(bytes);
    let memory_bytes = bytes.len();
    released.ok()?;
    let program = program.clone();
    Some(Parts { program, entry, memory, memory_bytes, globals, memory_used, runs: 0 })
}

impl Instance {
    /// What is left of a guest, if it can be made new again.
    pub(crate) fn of(guest: Guest, program: &Program) -> Option<Instance> {
        // Whatever it was in the middle of is dropped here.
        let (store, parts) = (guest.store, guest.parts?);
        Arc::ptr_eq(&parts.program, &program.shared).then_some(Instance { store, parts })
    }

    /// Puts everything back. `None` if that can't be done: its memory has grown, or the
    /// kernel fails us.
    pub(crate) fn renewed(mut self, pages: &mut Pages) -> Option<Instance> {
        let Instance { store, parts } = &mut self;
        *store.data_mut() = WasiCtx::blank();
        let image = &parts.program.recipe.as_ref()?.image;
        let memory = parts.memory.data_mut(&mut *store);
        if memory.len() != parts.memory_bytes {
            return None;
        }
        let touched = pages.touched(memory).ok()?;
        parts.runs += 1;
        let resident: usize = touched.iter().map(ExactSizeIterator::len).sum();
        if resident > RESIDENT_MAX || parts.runs % RUNS_BETWEEN_RELEASES == 0 {
            pages.release(memory).ok()?;
        } else {
            touched.iter().for_each(|range| image.zero_around(memory, range.clone()));
        }
        image.write(memory);
        for (global, value) in &parts.globals {
            global.set(&mut *store, value.clone()).ok()?;
        }
        Some(self)
    }

    pub(crate) fn memory_used(&self) -> usize {
        self.parts.memory_used
    }

    /// A guest in it, as a fresh one would be. Its limits know what it has.
    pub(crate) fn into_guest(self, mut cx: WasiCtx) -> Guest {
        cx.memory = Some(self.parts.memory);
        Guest::in_instance(self.store, self.parts, cx)
    }
}
