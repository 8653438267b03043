//! An instance of a program: its store, its entry point, and how it is restored.

#[cfg(all(target_os = "linux", feature = "recycle"))]
mod allocator;
#[cfg_attr(not(all(target_os = "linux", feature = "recycle")), path = "no_pages.rs")]
pub(crate) mod pages;

use std::sync::Arc;

use wasmi::{Extern, Global, Memory, Store, Val};

use crate::program::{Entry, Program, Shared, end_of, install};
use crate::step::Step;
use crate::wasi::WasiCtx;
#[cfg(all(target_os = "linux", feature = "recycle"))]
pub use allocator::GuestAllocator;
#[cfg(all(target_os = "linux", feature = "recycle"))]
pub(crate) use allocator::release_free_memory;
use pages::Pages;

/// Memory an idle instance may keep resident; with more, all is given back to the kernel.
const RESIDENT_MAX: usize = 1 << 20;

/// Runs after which all pages are released in any case: what one guest has touched would otherwise
/// be zeroed after each later guest.
const RUNS_BETWEEN_RELEASES: u32 = 64;

/// An instance of a program, with or without a guest in it.
pub(crate) struct Instance {
    pub(crate) store: Store<WasiCtx>,
    program: Arc<Shared>,
    /// The functions to call, or the last step of a guest whose instance can't be made.
    pub(crate) entry: Result<Entry, Step>,
    /// Its exports, if it could be made.
    exports: Option<wasmi::Instance>,
    /// Its state when it was new. `None` if it can't be restored.
    snapshot: Option<Box<Snapshot>>,
}

/// The state of a new instance.
struct Snapshot {
    memory: Memory,
    memory_bytes: usize,
    globals: Vec<(Global, Val)>,
    /// Memory and tables as its limits count them.
    memory_used: usize,
    /// Guests that have run in it.
    runs: u32,
}

impl Instance {
    /// A new instance, for one guest.
    pub(crate) fn new(program: &Program, mut cx: WasiCtx) -> Instance {
        let program = program.shared.clone();
        cx.limits.stack = program.stack_bytes;
        let mut store = Store::new(&program.engine, cx);
        store.limiter(|cx| &mut cx.limits);
        let made = program.linker.instantiate_and_start(&mut store, &program.module);
        let exports = made.as_ref().ok().copied();
        let entry = match made {
            Ok(exports) => {
                install(&program.hooks, &mut store, exports);
                let memory = exports.get_export(&store, "memory");
                store.data_mut().memory = memory.and_then(Extern::into_memory);
                Ok(Entry::of(&program.hooks, &store, exports))
            }
            Err(error) => Err(end_of(&error, &store.data().limits, false)),
        };
        Instance { store, program, entry, exports, snapshot: None }
    }

    /// A new instance that can be restored if the program allows it. Only pages of its memory that
    /// are not zero are resident.
    pub(crate) fn reusable(program: &Program, cx: WasiCtx, pages: &Pages) -> Instance {
        let mut instance = Instance::new(program, cx);
        instance.snapshot = instance.take_snapshot(pages).map(Box::new);
        instance
    }

    /// Records the state of a new instance, before anything has run in it.
    fn take_snapshot(&mut self, pages: &Pages) -> Option<Snapshot> {
        let recipe = self.program.recipe.as_ref()?;
        let exports = self.exports?;
        let store = &mut self.store;
        let global = |index: &u32| {
            let global = exports.get_global(&*store, &recipe.global(*index))?;
            Some((global, global.get(&*store)))
        };
        let globals = recipe.globals().iter().map(global).collect::<Option<_>>()?;
        let memory = store.data().memory?;
        let memory_used = store.data().limits.used;
        let bytes = memory.data_mut(&mut *store);
        // After a failure no page can be assumed to be zero.
        let released = pages.release(bytes);
        if released.is_err() {
            bytes.fill(0);
        }
        recipe.image.write(bytes);
        let memory_bytes = bytes.len();
        released.ok()?;
        Some(Snapshot { memory, memory_bytes, globals, memory_used, runs: 0 })
    }

    /// Whether it is one of this program.
    pub(crate) fn is_of(&self, program: &Program) -> bool {
        Arc::ptr_eq(&self.program, &program.shared)
    }

    /// Restores the state of a new instance. `None` if that fails: the program doesn't allow it, its
    /// memory has grown, or a system call fails.
    pub(crate) fn restore(mut self, pages: &mut Pages) -> Option<Instance> {
        let Instance { store, program, snapshot, .. } = &mut self;
        let snapshot = snapshot.as_mut()?;
        *store.data_mut() = WasiCtx::blank();
        let image = &program.recipe.as_ref()?.image;
        let memory = snapshot.memory.data_mut(&mut *store);
        if memory.len() != snapshot.memory_bytes {
            return None;
        }
        let touched = pages.touched(memory).ok()?;
        snapshot.runs += 1;
        let resident: usize = touched.iter().map(ExactSizeIterator::len).sum();
        if resident > RESIDENT_MAX || snapshot.runs % RUNS_BETWEEN_RELEASES == 0 {
            pages.release(memory).ok()?;
        } else {
            touched.iter().for_each(|range| image.zero_around(memory, range.clone()));
        }
        image.write(memory);
        for (global, value) in &snapshot.globals {
            global.set(&mut *store, value.clone()).ok()?;
        }
        Some(self)
    }

    /// Bytes of memory and tables it keeps when it is put back, as limits count them.
    pub(crate) fn memory_kept(&self) -> usize {
        self.snapshot.as_ref().map_or(0, |snapshot| snapshot.memory_used)
    }

    /// Puts a context into a restored instance. Its limits must have counted the memory.
    pub(crate) fn with_context(mut self, mut cx: WasiCtx) -> Instance {
        cx.memory = self.snapshot.as_ref().map(|snapshot| snapshot.memory);
        *self.store.data_mut() = cx;
        self
    }

    /// What it exports under a name.
    pub(crate) fn export(&self, name: &str) -> Option<Extern> {
        self.exports?.get_export(&self.store, name)
    }

    /// The mutable globals of a program that can be recycled.
    #[cfg(test)]
    pub(crate) fn globals(&self) -> Vec<Global> {
        let recipe = self.program.recipe.as_ref().expect("it can be recycled");
        let exports = self.exports.expect("it could be made");
        let find = |index: &u32| exports.get_global(&self.store, &recipe.global(*index));
        recipe.globals().iter().map(|index| find(index).expect("exported")).collect()
    }
}
