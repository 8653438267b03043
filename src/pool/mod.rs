//! Reuse of instances.
//!
//! Making an instance costs far more than a short run in it: its whole memory is filled
//! with zeros. So a [`Pool`] makes an instance new again after each run instead: its mutable
//! globals are set to what they were, the pages of its memory that the kernel says were
//! touched are zeroed, and the data segments are written again. Nothing a guest can see or
//! change is left out; which modules that holds for is checked when the program is made
//! (`program/recipe.rs`). All others, and systems without the kernel's help (Linux 6.7 or later),
//! get a fresh instance for each guest. Where guests touch the same few pages, the kernel is asked for
//! many of them at once (`batch.rs`).

mod ahead;
mod batch;
#[cfg(test)]
mod tests;

pub use ahead::Ahead;

use batch::Batch;

use crate::guest::Guest;
use crate::instance::Instance;
use crate::instance::pages::Pages;
use crate::program::Program;
use crate::vfs::Namespace;
use crate::wasi::WasiCtx;

/// Instances kept for the next guests of a pool.
const IDLE_MAX: usize = 256;

/// Namespaces kept for the next guests of a pool.
const NAMESPACES_MAX: usize = 16;

/// A pool of instances of one program, for one thread. Make guests with [`spawn`](Pool::spawn) and
/// return them with [`recycle`](Pool::recycle).
pub struct Pool {
    program: Program,
    /// The one used last is the next.
    #[expect(clippy::vec_box, reason = "an instance is large, and is moved from list to list")]
    idle: Vec<Box<Instance>>,
    /// Those that may be idle, but are not known to be restored.
    batch: Batch,
    /// The fewest that were idle at once since they were last [trimmed](Pool::trim).
    spare: usize,
    /// `None` if nothing can be recycled.
    pages: Option<Pages>,
    /// Bytes of memory put back so far.
    restored_bytes: u64,
    /// Namespaces of guests that have ended, as good as new.
    namespaces: Vec<Namespace>,
}

impl Pool {
    /// An empty pool.
    pub fn new(program: &Program) -> Pool {
        let recipe = program.shared.recipe.as_ref();
        let pages = recipe.and_then(|_| Pages::open());
        let batch = Batch::new(pages.as_ref());
        let program = program.clone();
        Pool {
            program,
            idle: Vec::new(),
            batch,
            spare: 0,
            pages,
            restored_bytes: 0,
            namespaces: Vec::new(),
        }
    }

    /// Empties the pool and uses another program from now on. Keeps what it has of the system,
    /// which it may not get a second time.
    #[cfg(all(unix, feature = "serve"))]
    pub(crate) fn replace_program(&mut self, program: &Program) {
        let pages = self.pages.take();
        let restored_bytes = self.restored_bytes;
        *self = Pool::new(program);
        self.restored_bytes = restored_bytes;
        self.pages = self.pages.take().or(pages).filter(|_| program.shared.recipe.is_some());
        self.batch = Batch::new(self.pages.as_ref());
    }

    /// The program of this pool.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Whether this pool reuses instances. If not, [`recycle`](Pool::recycle) drops each guest.
    pub fn recycles(&self) -> bool {
        self.pages.is_some()
    }

    /// A namespace of a guest that has ended, if it is [reusable](crate::vfs::namespace::NamespaceBuilder), or
    /// a new one.
    #[cfg(all(unix, feature = "serve"))]
    pub(crate) fn namespace(&mut self, make: &dyn Fn() -> Namespace) -> Namespace {
        self.namespaces.pop().unwrap_or_else(make)
    }

    /// Makes a guest. It behaves in every respect like one of [`Guest::new`], is made faster, and
    /// only memory that it touches is resident.
    pub fn spawn(&mut self, mut cx: WasiCtx) -> Guest {
        let Some(pages) = &mut self.pages else { return Guest::new(&self.program, cx) };
        cx.limits.stack = self.program.shared.stack_bytes;
        if self.idle.is_empty() && self.batch.is_full() {
            self.restored_bytes += self.batch.settle(pages, &mut self.idle) as u64;
        }
        // A guest that may not have that much memory must fail as it does elsewhere.
        let fits = |instance: &mut Box<Instance>| cx.limits.count_existing(instance.memory_kept());
        let mut instance = match self.idle.pop_if(fits) {
            Some(mut instance) => {
                instance.set_context(cx);
                instance
            }
            None => Instance::reusable(&self.program, cx, pages),
        };
        instance.batch = self.batch.number();
        self.spare = self.spare.min(self.idle.len() + self.batch.len());
        Guest::from_instance(instance)
    }

    /// Like [`spawn`](Pool::spawn), for a guest that may wait long before it runs: if its program
    /// begins with a read of standard input ([`Program::warm`]), it takes no memory until there is
    /// something to read.
    pub fn spawn_asleep(&mut self, cx: WasiCtx) -> Guest {
        if Guest::may_sleep(&self.program, &cx) {
            Guest::asleep(&self.program, cx)
        } else {
            self.spawn(cx)
        }
    }

    /// Takes a guest back in any state and closes its files. A guest whose instance can't be
    /// restored, or that is of another program, is dropped.
    pub fn recycle(&mut self, mut guest: Guest) {
        guest.close();
        let namespace = std::mem::take(&mut guest.context_mut().namespace);
        if namespace.is_as_new() && self.namespaces.len() < NAMESPACES_MAX {
            self.namespaces.push(namespace);
        }
        let Some(pages) = &mut self.pages else { return };
        let instance = guest.into_instance();
        if self.idle.len() + self.batch.len() >= IDLE_MAX || !instance.is_of(&self.program) {
            return;
        }
        let bytes = match self.batch.take(instance, pages) {
            Ok(bytes) => bytes,
            Err(mut instance) => {
                let Some(bytes) = instance.restore(pages) else { return };
                self.idle.push(instance);
                bytes
            }
        };
        self.restored_bytes += bytes as u64;
    }

    /// Bytes of memory put back into instances so far: what their guests had changed.
    pub fn restored_bytes(&self) -> u64 {
        self.restored_bytes
    }

    /// The number of instances kept for the next guests.
    pub fn idle(&self) -> usize {
        self.idle.len() + self.batch.len()
    }

    /// Drops the instances that were not needed since the last call of this, except one. Call it
    /// now and then, and the pool keeps about as many as are in use at once.
    pub fn trim(&mut self) {
        if let Some(pages) = &mut self.pages {
            self.restored_bytes += self.batch.settle(pages, &mut self.idle) as u64;
        }
        self.idle.drain(..self.spare.saturating_sub(1).min(self.idle.len()));
        self.idle.shrink_to(self.idle.len() * 2);
        self.spare = self.idle.len();
    }

    /// Returns unused memory of the whole process to the operating system. Takes milliseconds if
    /// there is much of it. Does nothing without [`GuestAllocator`](crate::GuestAllocator).
    pub fn release_memory() {
        #[cfg(all(target_os = "linux", feature = "recycle"))]
        crate::instance::release_free_memory();
    }
}

impl std::fmt::Debug for Pool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Pool").field("recycles", &self.recycles()).finish_non_exhaustive()
    }
}
