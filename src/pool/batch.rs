//! Restoring instances with one question to the kernel for many of them.
//!
//! To ask which pages of a memory were touched takes the kernel as long as a short guest runs. But
//! most guests of a program touch the same pages. So the pages that earlier guests have touched are
//! put back, and the instance is kept aside. When a batch of instances is there, the kernel is asked
//! for the number of page faults of the process. If that has not changed since before the first of
//! their guests ran, none of them has touched any other page, as the first touch of a page is a
//! fault. If it has changed, each instance is asked about.
//!
//! So whatever a guest has written is put back before another guest runs there, in both cases.

use crate::instance::Instance;
use crate::instance::pages::Pages;

/// Instances of a batch. What more of them touch would not stay in the processor's cache.
const BATCH: usize = 16;

/// Batches after which the pages of all instances are given back: what one guest has touched would
/// otherwise be put back after each later one.
const BATCHES_BETWEEN_RELEASES: u32 = 256;

/// Guests after which a batch is tried again where the last one had faults: other threads have
/// theirs, too, and then a batch is work in vain.
const PAUSE_MIN: u32 = 16;
const PAUSE_MAX: u32 = 1024;

/// Instances of which only what is known was put back.
pub(super) struct Batch {
    #[expect(clippy::vec_box, reason = "an instance is large, and is moved from list to list")]
    instances: Vec<Box<Instance>>,
    /// Page faults before the first of its guests. `None` if they aren't counted.
    faults: Option<u64>,
    /// Changes with `faults`. A guest is of the batch if it was the same when it began.
    number: u64,
    /// Batches without a fault since pages were given back.
    batches: u32,
    /// Guests that are not to be taken, and how many those were after the last fault.
    pause: u32,
    last_pause: u32,
}

impl Batch {
    /// An empty one for a new pool.
    pub(super) fn new(pages: Option<&Pages>) -> Batch {
        let faults = pages.and_then(Pages::faults);
        Batch { instances: Vec::new(), faults, number: 0, batches: 0, pause: 0, last_pause: 0 }
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn len(&self) -> usize {
        self.instances.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.len() >= BATCH
    }

    /// Puts back what is known of an instance and keeps it. Answers how many bytes that were, or the
    /// instance if more has to be found out about it.
    pub(super) fn take(
        &mut self,
        mut instance: Box<Instance>,
        pages: &Pages,
    ) -> Result<usize, Box<Instance>> {
        if self.pause > 0 {
            self.pause -= 1;
            if self.pause == 0 {
                self.begin(pages);
            }
            return Err(instance);
        }
        let counted = self.faults.is_some() && instance.batch == self.number;
        match if counted { instance.restore_known() } else { None } {
            Some(bytes) => {
                self.instances.push(instance);
                Ok(bytes)
            }
            None => Err(instance),
        }
    }

    fn begin(&mut self, pages: &Pages) {
        self.faults = pages.faults();
        self.number += 1;
    }

    /// Ends the batch: moves its instances to `idle`. Answers how many bytes had to be put back.
    #[expect(clippy::vec_box, reason = "an instance is large, and is moved from list to list")]
    pub(super) fn settle(&mut self, pages: &mut Pages, idle: &mut Vec<Box<Instance>>) -> usize {
        if self.len() == 0 {
            return 0;
        }
        self.batches += 1;
        let release = self.batches == BATCHES_BETWEEN_RELEASES;
        let same = pages.faults() == self.faults;
        if same && !release {
            self.last_pause = 0;
            idle.append(&mut self.instances);
            return 0;
        }
        if release {
            self.batches = 0;
            self.instances.iter_mut().for_each(|instance| instance.forget_known());
        } else {
            self.last_pause = (self.last_pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
            self.pause = self.last_pause;
        }
        let mut bytes_restored = 0;
        for mut instance in self.instances.drain(..) {
            if let Some(bytes) = instance.restore(pages) {
                bytes_restored += bytes;
                idle.push(instance);
            }
        }
        // Last, as that may have had faults of its own.
        self.begin(pages);
        bytes_restored
    }
}
