//! What a guest may take of the host's memory.

use wasmi::errors::{MemoryError, TableError};
use wasmi::{Caller, ResourceLimiter};
// wasmi gives out the trait, but not the error in its signatures.
use wasmi_core::LimiterError;

/// Bytes an element of a table costs the host.
const ELEMENT_BYTES: usize = 16;

/// Bytes moved that cost one unit of fuel.
const BYTES_PER_FUEL: u64 = 16;

/// Instances, tables and memories of one store; a guest needs one instance.
const INSTANCES_MAX: usize = 1000;

/// Counts and bounds memories and tables, all together.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Bytes at the most.
    pub memory_max: usize,
    /// Bytes now.
    pub(crate) used: usize,
    /// The most there were.
    pub(crate) peak: usize,
    /// The guest asked for more than the limit and was refused.
    pub(crate) refused: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory_max: usize::MAX, used: 0, peak: 0, refused: false }
    }
}

impl Limits {
    /// Counts what an instance has that was made before.
    pub(crate) fn assume(&mut self, used: usize) {
        (self.used, self.peak) = (used, used);
    }

    fn grow(&mut self, current: usize, desired: usize) -> bool {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.memory_max {
            self.refused = true;
            return false;
        }
        self.used = used;
        self.peak = self.peak.max(used);
        true
    }
}

impl ResourceLimiter for Limits {
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
        Ok(())
    }

    fn table_grow_failed(&mut self, _error: &TableError) -> Result<(), LimiterError> {
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

/// Takes fuel for the bytes a call moved.
#[cold]
pub(super) fn charge<T>(caller: &mut Caller<'_, T>, moved: u64) {
    // Without metering there is nothing to charge.
    if let Ok(fuel) = caller.get_fuel() {
        let _ = caller.set_fuel(fuel.saturating_sub(moved / BYTES_PER_FUEL));
    }
}
