//! An instance of a program: its store, its entry point, and how it is restored.

#[cfg(all(target_os = "linux", feature = "recycle"))]
mod allocator;
#[cfg_attr(not(all(target_os = "linux", feature = "recycle")), path = "no_pages.rs")]
pub(crate) mod pages;

use std::ops::Range;
use std::sync::Arc;

use wasmi::{Extern, Global, Memory, Store, Val};

use crate::program::image::Image;
use crate::program::{EntryPoint, Program, Shared, Warmth, complete, end_of, install};
use crate::step::{Cause, Step, Trap};
use crate::wasi::WasiCtx;
#[cfg(all(target_os = "linux", feature = "recycle"))]
pub use allocator::GuestAllocator;
#[cfg(all(target_os = "linux", feature = "recycle"))]
pub(crate) use allocator::release_free_memory;
use pages::Pages;

/// Memory an idle instance may keep resident; with more, all is given back to the kernel.
const RESIDENT_MAX: usize = 1 << 20;

/// Memory that is put back after each guest without asking the kernel whether it was written to.
const KNOWN_MAX: usize = 64 << 10;

/// Runs after which all pages are released in any case: what one guest has touched would otherwise
/// be zeroed after each later guest.
const RUNS_BETWEEN_RELEASES: u32 = 64;

/// An instance of a program, with or without a guest in it. It is large, as it has a context in it, and is
/// moved several times for each guest: so it is always in a box.
pub(crate) struct Instance {
    pub(crate) store: Store<WasiCtx>,
    program: Arc<Shared>,
    /// The functions to call, or the last step of a guest whose instance can't be made.
    pub(crate) entry: Result<EntryPoint, Step>,
    /// Its exports, if it could be made.
    exports: Option<wasmi::Instance>,
    /// Its state when it was new. `None` if it can't be restored.
    snapshot: Option<Box<Snapshot>>,
    /// The batch of its pool in which its guest began.
    pub(crate) batch: u64,
}

/// The state of a new instance.
struct Snapshot {
    memory: Memory,
    memory_bytes: usize,
    globals: Vec<(Global, Val)>,
    /// Memory and tables as its limits count them.
    memory_used: usize,
    /// Times that it was [restored](Instance::restore).
    runs: u32,
    /// What was put back then: pages that were there already when the next guest began. `None` if
    /// they are too many to be put back unasked, or not known.
    known: Option<Vec<Range<usize>>>,
    /// What holds the contents of its memory until it is written to.
    backing: Backing,
}

/// What a memory consists of where no guest has written to it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Backing {
    /// Pages of its own.
    Own,
    /// Pages of the image's file, which all instances share.
    File,
}

impl Instance {
    /// A new instance, for one guest.
    pub(crate) fn new(program: &Program, cx: WasiCtx) -> Box<Instance> {
        let mut instance = Instance::instantiate(program, cx);
        instance.lay_image(None);
        instance
    }

    fn instantiate(program: &Program, cx: WasiCtx) -> Box<Instance> {
        let mut instance = Instance::unmade(program, cx);
        instance.make();
        instance
    }

    /// A store with a context and nothing else in it. It becomes an instance by
    /// [`fill`](Instance::fill).
    pub(crate) fn unmade(program: &Program, mut cx: WasiCtx) -> Box<Instance> {
        let program = program.shared.clone();
        cx.limits.stack = program.stack_bytes;
        let mut store = Store::new(&program.engine, cx);
        store.limiter(|cx| &mut cx.limits);
        let entry = Ok(EntryPoint::NONE);
        Box::new(Instance { store, program, entry, exports: None, snapshot: None, batch: 0 })
    }

    /// Makes what [`unmade`](Instance::unmade) has put off. Answers what to call.
    ///
    /// # Errors
    ///
    /// The guest's last step, if it can't be made.
    pub(crate) fn fill(&mut self) -> Result<EntryPoint, Step> {
        self.make();
        self.lay_image(None);
        self.entry.clone()
    }

    fn make(&mut self) {
        let Instance { store, program, .. } = self;
        let made = program.linker.instantiate_and_start(&mut *store, &program.module);
        let made = made.and_then(|exports| {
            complete(&program.hooks, store, exports, pages::PAGING)?;
            Ok(exports)
        });
        self.exports = made.as_ref().ok().copied();
        self.entry = match made {
            Ok(exports) => {
                install(&program.hooks, store, exports, pages::PAGING);
                let memory = exports.get_export(&*store, "memory");
                store.data_mut().memory = memory.and_then(Extern::into_memory);
                Ok(EntryPoint::of(program, store, exports))
            }
            Err(error) => Err(end_of(&error, &store.data().limits, false)),
        };
    }

    /// A new instance that can be restored if the program allows it. Only pages of its memory that
    /// are not zero are resident, and of a large image only those that are written to.
    pub(crate) fn reusable(program: &Program, cx: WasiCtx, pages: &Pages) -> Box<Instance> {
        let mut instance = Instance::instantiate(program, cx);
        let backing = instance.lay_image(Some(pages));
        instance.snapshot =
            backing.and_then(|backing| instance.take_snapshot(backing)).map(Box::new);
        instance
    }

    /// Gives the memory of a new instance its contents, if it does not have them, and with `pages`
    /// takes from it what is zero. `None` if it can't be restored later.
    fn lay_image(&mut self, pages: Option<&Pages>) -> Option<Backing> {
        let image = &self.program.recipe.as_ref()?.image;
        if !image.is_beside && pages.is_none() || self.entry.is_err() {
            return None;
        }
        let memory = self.store.data().memory?;
        let bytes = memory.data_mut(&mut self.store);
        match lay(image, bytes, pages) {
            Ok(backing) => backing,
            Err(error) => {
                let text = format!("the host can't give it its memory's contents: {error}");
                self.entry = Err(Step::Trapped(Trap { cause: Cause::Host, text }));
                None
            }
        }
    }

    /// Records the state of a new instance, before anything has run in it.
    fn take_snapshot(&mut self, backing: Backing) -> Option<Snapshot> {
        let globals = self.named_globals()?;
        let globals = globals.into_iter().map(|(_, global)| (global, global.get(&self.store)));
        let globals = globals.collect();
        let memory = self.store.data().memory?;
        let memory_used = self.store.data().limits.used;
        let memory_bytes = memory.data(&self.store).len();
        Some(Snapshot { memory, memory_bytes, globals, memory_used, runs: 0, known: None, backing })
    }

    /// The mutable globals, with their indices.
    fn named_globals(&self) -> Option<Vec<(u32, Global)>> {
        let recipe = self.program.recipe.as_ref()?;
        let exports = self.exports?;
        let global =
            |index: &u32| Some((*index, exports.get_global(&self.store, &recipe.global(*index))?));
        recipe.globals().iter().map(global).collect()
    }

    /// Makes the context ready for what the program has open where it begins. Answers what to call.
    ///
    /// # Errors
    ///
    /// The guest's last step, if it can't be begun.
    pub(crate) fn begin(&mut self) -> Result<EntryPoint, Step> {
        let entry = self.entry.clone()?;
        let host = |text| Step::Trapped(Trap { cause: Cause::Host, text });
        self.program.files.reopen(self.store.data_mut()).map_err(host)?;
        if let Some(Warmth::Warm(warm)) = &self.program.warmth {
            warm.prepare(self.store.data_mut()).map_err(host)?;
        }
        Ok(entry)
    }

    /// The memory of its calls.
    pub(crate) fn memory(&self) -> Option<&[u8]> {
        let memory = self.store.data().memory?;
        Some(memory.data(&self.store))
    }

    /// The mutable globals with their values, by their indices.
    pub(crate) fn global_values(&self) -> Option<Vec<(u32, Val)>> {
        let globals = self.named_globals()?.into_iter();
        Some(globals.map(|(index, global)| (index, global.get(&self.store))).collect())
    }

    /// Whether it is one of this program.
    pub(crate) fn is_of(&self, program: &Program) -> bool {
        Arc::ptr_eq(&self.program, &program.shared)
    }

    /// Restores the state of a new instance, and says how many bytes of its memory were put back.
    /// `None` if that fails: the program doesn't allow it, its memory has grown, or a system call
    /// fails.
    pub(crate) fn restore(&mut self, pages: &mut Pages) -> Option<usize> {
        let Instance { store, program, snapshot, .. } = self;
        let snapshot = snapshot.as_mut()?;
        *store.data_mut() = WasiCtx::blank();
        let image = &program.recipe.as_ref()?.image;
        let memory = snapshot.memory.data_mut(&mut *store);
        if memory.len() != snapshot.memory_bytes {
            return None;
        }
        let in_file = snapshot.backing == Backing::File;
        let touched = pages.touched(memory, in_file).ok()?;
        snapshot.runs += 1;
        snapshot.known = None;
        let resident: usize = touched.iter().map(ExactSizeIterator::len).sum();
        if resident > RESIDENT_MAX || snapshot.runs % RUNS_BETWEEN_RELEASES == 0 {
            if in_file {
                pages.drop_copies(memory).ok()?;
            } else {
                pages.release(memory).ok()?;
                image.write(memory).ok()?;
            }
        } else {
            for range in touched {
                image.put_back(memory, range.clone()).ok()?;
            }
            snapshot.known = (resident <= KNOWN_MAX).then(|| touched.to_vec());
        }
        for (global, value) in &snapshot.globals {
            global.set(&mut *store, value.clone()).ok()?;
        }
        Some(resident)
    }

    /// Restores the state of a new instance like [`restore`](Instance::restore), if its guest has
    /// written to no page but those of earlier ones. That is for the caller to find out, before
    /// another guest runs in it. How many bytes were put back; `None` if this one can't be restored
    /// so.
    pub(crate) fn restore_known(&mut self) -> Option<usize> {
        let Instance { store, program, snapshot, .. } = self;
        let snapshot = snapshot.as_mut()?;
        let known = snapshot.known.as_ref()?;
        *store.data_mut() = WasiCtx::blank();
        let image = &program.recipe.as_ref()?.image;
        let memory = snapshot.memory.data_mut(&mut *store);
        if memory.len() != snapshot.memory_bytes {
            return None;
        }
        for range in known {
            image.put_back(memory, range.clone()).ok()?;
        }
        for (global, value) in &snapshot.globals {
            global.set(&mut *store, value.clone()).ok()?;
        }
        Some(known.iter().map(ExactSizeIterator::len).sum())
    }

    /// Has its pages be looked for again, and given back, when it is restored the next time.
    pub(crate) fn forget_known(&mut self) {
        if let Some(snapshot) = &mut self.snapshot {
            snapshot.known = None;
            snapshot.runs = RUNS_BETWEEN_RELEASES - 1;
        }
    }

    /// Bytes of memory and tables it keeps when it is put back, as limits count them.
    pub(crate) fn memory_kept(&self) -> usize {
        self.snapshot.as_ref().map_or(0, |snapshot| snapshot.memory_used)
    }

    /// Puts a context into a restored instance. Its limits must have counted the memory.
    pub(crate) fn set_context(&mut self, mut cx: WasiCtx) {
        cx.memory = self.snapshot.as_ref().map(|snapshot| snapshot.memory);
        *self.store.data_mut() = cx;
    }

    /// What it exports under a name.
    pub(crate) fn export(&self, name: &str) -> Option<Extern> {
        self.exports?.get_export(&self.store, name)
    }

    /// The mutable globals of a program that can be recycled.
    #[cfg(test)]
    pub(crate) fn globals(&self) -> Vec<Global> {
        let globals = self.named_globals().expect("it can be recycled");
        globals.into_iter().map(|(_, global)| global).collect()
    }
}

/// Gives a memory its contents. What holds them is said if they can be restored.
fn lay(image: &Image, bytes: &mut [u8], pages: Option<&Pages>) -> std::io::Result<Option<Backing>> {
    if map_image(image, bytes) {
        return Ok(Some(Backing::File));
    }
    let Some(pages) = pages else {
        image.write(bytes)?;
        return Ok(None);
    };
    // After a failure no page can be assumed to be zero.
    let released = pages.release(bytes).is_ok();
    if !released {
        bytes.fill(0);
    }
    image.write(bytes)?;
    Ok(released.then_some(Backing::Own))
}

/// Puts the image's file in place of a memory, if it has one and the kernel does that.
#[cfg(all(target_os = "linux", feature = "recycle"))]
fn map_image(image: &Image, bytes: &mut [u8]) -> bool {
    image.file().is_some_and(|file| allocator::map_file(bytes, file))
}

#[cfg(not(all(target_os = "linux", feature = "recycle")))]
fn map_image(_image: &Image, _bytes: &mut [u8]) -> bool {
    false
}

/// Memories of tests have mappings of their own, as in the program.
#[cfg(all(test, target_os = "linux", feature = "recycle"))]
#[global_allocator]
static MEMORIES: GuestAllocator = GuestAllocator;
