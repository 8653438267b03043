//! Limits on a guest's memory, and charging fuel for calls.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use wasmi::errors::{MemoryError, TableError};
use wasmi::{Caller, ResourceLimiter};
// wasmi gives out the trait, but not the error in its signatures.
use wasmi_core::LimiterError;

/// Bytes an element of a table costs the host.
const ELEMENT_BYTES: usize = 16;

/// Bytes moved that cost one unit of fuel: memory moves some 10 GB in a second.
pub(super) const BYTES_PER_FUEL: u64 = 8;

/// Instances, tables and memories of one store; a guest needs one instance.
const INSTANCES_MAX: usize = 1000;

/// Bytes of a guest that no [`MemoryBudget`] counts: 4 MiB of memory, and 3 MiB for stacks of the
/// default size. A small guest gets them however much the others take.
const UNCOUNTED: usize = (4 << 20) + UNCOUNTED_STACK;
const UNCOUNTED_STACK: usize = 3 << 20;

/// A limit on the memory of many guests together. The first 4 MiB of each guest are not counted.
/// Stacks are counted at their largest size, as far as that exceeds 3 MiB.
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
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> MemoryBudget {
        MemoryBudget { max: bytes, used: AtomicUsize::new(0) }
    }

    /// Bytes counted now.
    pub fn used(&self) -> usize {
        self.used.load(Relaxed)
    }
}

/// One guest's share of a budget.
#[derive(Debug)]
struct Share {
    budget: Arc<MemoryBudget>,
    bytes: usize,
}

impl Share {
    /// Sets the share to `bytes`. `false` if the budget has too few left.
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

/// Why a guest was refused memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemoryRefusal {
    /// It reached its own limit.
    Own,
    /// All guests together reached the budget.
    Shared,
}

/// Limits the bytes of a store's memories and tables together. See
/// [`WasiCtx::limiter`](super::WasiCtx::limiter).
#[derive(Debug)]
pub struct MemoryLimiter {
    /// The limit in bytes.
    pub memory_max: usize,
    /// Bytes now.
    pub(crate) used: usize,
    /// The largest `used` so far.
    pub(crate) peak: usize,
    /// Set if the guest was refused memory.
    pub(crate) refused: Option<MemoryRefusal>,
    share: Option<Share>,
    /// The largest size of its stacks in bytes.
    pub(crate) stack: usize,
    /// Bytes of the last growth, to be undone if it fails after it was allowed.
    added: usize,
    /// Bytes that were allowed, for growths to come.
    reserved: usize,
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
            reserved: 0,
        }
    }
}

impl MemoryLimiter {
    /// Counts the memory of an existing instance. `false` if that is more than allowed. Little of
    /// it is resident, but the guest can touch all of it without growing.
    pub(crate) fn count_existing(&mut self, used: usize) -> bool {
        let fits = used <= self.memory_max && self.count(used);
        if fits {
            self.used = used;
            self.peak = used;
        }
        fits
    }

    /// Sets the share for that much memory. `false` if the budget has too little left.
    fn count(&mut self, used: usize) -> bool {
        let stack = self.stack.max(UNCOUNTED_STACK);
        let counted = used.saturating_add(stack).saturating_sub(UNCOUNTED);
        self.share.as_mut().is_none_or(|share| share.set(counted))
    }

    /// Counts its memory in a shared budget as well.
    pub(super) fn share(&mut self, budget: Arc<MemoryBudget>) {
        self.share = Some(Share { budget, bytes: 0 });
    }

    /// The reason for the last refusal, in words.
    pub(crate) fn refusal(&self) -> String {
        match &self.share {
            Some(share) if self.refused == Some(MemoryRefusal::Shared) => {
                format!(
                    "all guests together exceeded the limit of {} bytes of \
                 memory",
                    share.budget.max
                )
            }
            _ => format!("exceeded the memory limit of {} bytes", self.memory_max),
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

    /// Counts a growth that is made in several. `false` if it is more than allowed.
    pub(crate) fn reserve(&mut self, bytes: usize) -> bool {
        let allowed = self.grow(0, bytes);
        self.reserved = if allowed { bytes } else { 0 };
        allowed
    }

    /// Takes back what is reserved and not used.
    pub(crate) fn give_back_reserved(&mut self) {
        self.added = std::mem::take(&mut self.reserved);
        self.undo_growth();
    }

    /// Takes back the count of a growth that was allowed and then failed.
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
        let added = desired.saturating_sub(current);
        if let Some(left) = self.reserved.checked_sub(added).filter(|_| self.reserved > 0) {
            self.reserved = left;
            self.added = added;
            return Ok(true);
        }
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

/// Takes the fuel for the work of calls from the store. Returns what the store had too little
/// for: a call can cost more than a slice.
#[cold]
pub(super) fn charge<T>(caller: &mut Caller<'_, T>, moved: u64) -> u64 {
    // Without metering there is nothing to charge.
    let Ok(fuel) = caller.get_fuel() else { return 0 };
    let due = moved / BYTES_PER_FUEL;
    let _ = caller.set_fuel(fuel.saturating_sub(due));
    due.saturating_sub(fuel)
}
