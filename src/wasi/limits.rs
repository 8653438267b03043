//! What a guest may take of the host's memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use wasmi::errors::{MemoryError, TableError};
use wasmi::{Caller, ResourceLimiter};
// wasmi gives out the trait, but not the error in its signatures.
use wasmi_core::LimiterError;

/// Bytes an element of a table costs the host.
const ELEMENT_BYTES: usize = 16;

/// Bytes moved that cost one unit of fuel.
pub(super) const BYTES_PER_FUEL: u64 = 16;

/// Instances, tables and memories of one store; a guest needs one instance.
const INSTANCES_MAX: usize = 1000;

/// Bytes of a guest that no [`MemoryBudget`] counts, so that a guest that needs little has it,
/// however much the others take: 4 MiB of memory, and the 3 MiB that the usual stacks can
/// come to.
const UNCOUNTED: usize = (4 << 20) + UNCOUNTED_STACK;
const UNCOUNTED_STACK: usize = 3 << 20;

/// Memory that many guests may have together, beyond 4 MiB of each, which are not counted.
/// Stacks are counted with what they can come to, if that is more than 3 MiB.
///
/// ```
/// use std::sync::Arc;
/// use tinyhost::{Guest, Program, WasiCtx, wasi::MemoryBudget};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hog = Program::new(std::fs::read("fixtures/hog.wasm")?)?;
/// let budget = Arc::new(MemoryBudget::new(8 << 20));
/// let cx = || WasiCtx::builder().memory_budget(budget.clone()).build();
/// let (mut one, mut other) = (Guest::new(&hog, cx()), Guest::new(&hog, cx()));
/// one.run()?; // takes all there is
/// assert!(one.context().memory_peak() > 11 << 20);
/// other.run()?; // has its own 4 MiB, and what was too little for the first
/// assert!((3 << 20..5 << 20).contains(&other.context().memory_peak()));
/// drop(one); // gives back
/// assert!(budget.used() < 1 << 20);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct MemoryBudget {
    max: usize,
    used: AtomicUsize,
}

impl MemoryBudget {
    /// A budget of so many bytes.
    pub fn new(bytes: usize) -> MemoryBudget {
        MemoryBudget { max: bytes, used: AtomicUsize::new(0) }
    }

    /// Bytes that are counted now.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

/// What one guest has of a budget.
#[derive(Debug)]
struct Share {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl Share {
    /// Has it be so many bytes, if there are as many left.
    fn set(&mut self, bytes: usize) -> bool {
        let MemoryBudget { max, used } = &*self.budget;
        let changed = used.fetch_update(Relaxed, Relaxed, |used| {
            let used = (used - self.bytes).saturating_add(bytes);
            (used <= *max || bytes <= self.bytes).then_some(used)
        });
        if changed.is_ok() {
            self.bytes = bytes;
        }
        changed.is_ok()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Why a guest did not get more memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryRefusal {
    /// For its own limit.
    Own,
    /// For the budget of all.
    Shared,
}

/// Counts and bounds memories and tables, all together.
#[derive(Debug)]
pub struct MemoryLimiter {
    /// Bytes at the most.
    pub memory_max: usize,
    /// Bytes now.
    pub(crate) used: usize,
    /// The most there were.
    pub(crate) peak: usize,
    /// The guest asked for more than it may have.
    pub(crate) refused: Option<MemoryRefusal>,
    share: Option<Share>,
    /// Bytes its stacks can come to.
    pub(crate) stack: usize,
    /// Bytes the last growth was to add, should it fail after all.
    added: usize,
}

impl Default for MemoryLimiter {
    fn default() -> MemoryLimiter {
        MemoryLimiter {
            memory_max: usize::MAX,
            used: 0,
            peak: 0,
            refused: None,
            share: None,
            stack: 0,
            added: 0,
        }
    }
}

impl MemoryLimiter {
    /// Counts what an instance has that was made before, if it may have that much. Little of it
    /// is resident, but all can be touched without being asked for.
    pub(crate) fn count_existing(&mut self, used: usize) -> bool {
        let fits = used <= self.memory_max && self.count(used);
        if fits {
            self.used = used;
            self.peak = used;
        }
        fits
    }

    /// Has its share be what that much memory takes of it, if there is as much.
    fn count(&mut self, used: usize) -> bool {
        let stack = self.stack.max(UNCOUNTED_STACK);
        let counted = used.saturating_add(stack).saturating_sub(UNCOUNTED);
        self.share.as_mut().is_none_or(|share| share.set(counted))
    }

    /// Has it take its memory from what all have together.
    pub(super) fn share(&mut self, budget: Arc<MemoryBudget>) {
        self.share = Some(Share { budget, bytes: 0 });
    }

    /// Why it was refused memory, in words.
    pub(crate) fn refusal(&self) -> String {
        match &self.share {
            Some(share) if self.refused == Some(MemoryRefusal::Shared) => {
                format!("all guests together needed more than {} bytes of memory", share.budget.max)
            }
            _ => format!("it needed more than {} bytes of memory", self.memory_max),
        }
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        self.added = desired.saturating_sub(current);
        let used = self.used.saturating_add(self.added);
        if used > self.memory_max {
            self.refused = Some(MemoryRefusal::Own);
            return false;
        }
        if !self.count(used) {
            self.refused = Some(MemoryRefusal::Shared);
            return false;
        }
        self.used = used;
        self.peak = self.peak.max(used);
        true
    }

    /// Counts a growth that was allowed and then failed no longer.
    fn undo_growth(&mut self) {
        self.used = self.used.saturating_sub(std::mem::take(&mut self.added));
        self.count(self.used);
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        let declared = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(declared && self.grow(current, desired))
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> Result<bool, LimiterError> {
        let bytes = |elements: usize| elements.saturating_mul(ELEMENT_BYTES);
        let declared = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(declared && self.grow(bytes(current), bytes(desired)))
    }

    fn memory_grow_failed(&mut self, _error: &MemoryError) -> Result<(), LimiterError> {
        self.undo_growth();
        Ok(())
    }

    fn table_grow_failed(&mut self, _error: &TableError) -> Result<(), LimiterError> {
        self.undo_growth();
        Ok(())
    }

    fn instances(&self) -> usize {
        INSTANCES_MAX
    }

    fn tables(&self) -> usize {
        INSTANCES_MAX
    }

    fn memories(&self) -> usize {
        INSTANCES_MAX
    }
}

/// Takes fuel for the bytes a call moved. What there is too little for, it answers: a call can
/// cost more than a slice.
#[cold]
pub(super) fn charge<T>(caller: &mut Caller<'_, T>, moved: u64) -> u64 {
    // Without metering there is nothing to charge.
    let Ok(fuel) = caller.get_fuel() else { return 0 };
    let due = moved / BYTES_PER_FUEL;
    let _ = caller.set_fuel(fuel.saturating_sub(due));
    due.saturating_sub(fuel)
}
