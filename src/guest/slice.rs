//! Running a guest for a slice of time.
//!
//! The interpreter can be stopped only by fuel, and what a unit of fuel takes differs: a guest
//! that touches new memory takes twenty times as long for it as one that adds numbers, and an
//! interpreter compiled to wasm a hundredth of that, for wasmi charges a loop for all the cases
//! in it at each turn. So a guest runs for quanta of fuel, between which the clock is read. A
//! quantum grows while it is over soon, and shrinks when it takes long.

use std::time::{Duration, Instant};

use super::interrupt::Interrupt;
use super::{Guest, State};
use crate::step::{End, Step, cpu_trap};

/// Fuel of the first quantum of a guest of which nothing is known: the usual line is answered
/// with a third of it.
pub(crate) const FIRST_FUEL: u64 = 30_000;

/// The largest quantum. A guest that has made its quanta grow with fuel that takes no time can
/// go on with fuel that does: this much of that is a millisecond or two.
const FUEL_MAX: u64 = 1_000_000;

/// The smallest quantum.
const FUEL_MIN: u64 = 1_500;

/// A quantum that takes less is doubled. Coming back from the interpreter takes a hundredth of it.
const QUANTUM_TIME: Duration = Duration::from_micros(50);

/// Time between two looks at whether the time of [`Guest::run_until`] is up.
pub(crate) const RUN_TIME: Duration = Duration::from_millis(1);

/// How much fuel a guest is given at once.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Pace {
    quantum: u64,
}

impl Pace {
    pub fn new() -> Pace {
        Pace { quantum: FIRST_FUEL }
    }

    /// A quantum was used up, which took this long.
    fn used_up(&mut self, took: Duration) {
        if took < QUANTUM_TIME {
            self.quantum = (self.quantum * 2).min(FUEL_MAX);
        } else if took > QUANTUM_TIME * 2 {
            // It can be long by chance, for something else had the processor: so the next is not
            // made short all at once.
            let fuel = u128::from(self.quantum) * QUANTUM_TIME.as_nanos() / took.as_nanos();
            let fuel = u64::try_from(fuel).unwrap_or(FUEL_MIN);
            self.quantum = fuel.max(self.quantum / 8).max(FUEL_MIN);
        }
    }
}

/// CPU time of a guest.
#[derive(Debug)]
pub(super) struct Cpu {
    used: Duration,
    max: Duration,
}

impl Default for Cpu {
    fn default() -> Cpu {
        Cpu { used: Duration::ZERO, max: Duration::MAX }
    }
}

/// What came of a slice.
pub(crate) struct Slice {
    pub step: Step,
    /// The time after it.
    pub end_time: Instant,
    /// The guest was interrupted: it would have computed further.
    #[cfg_attr(not(all(unix, feature = "net")), expect(dead_code, reason = "the scheduler's"))]
    pub used_up: bool,
}

impl Guest {
    /// Ends the guest once it has used `time` of CPU time, with [`Cause::Cpu`](crate::Cause::Cpu).
    /// The limit is checked between two steps, and at least every millisecond in
    /// [`run`](Guest::run), [`run_until`](Guest::run_until) and a scheduler. A guest can exceed it
    /// by that much, or by one long call.
    pub fn limit_cpu(&mut self, time: Duration) {
        self.cpu.max = time;
    }

    /// CPU time that the guest has used, its calls included. [`run`](Guest::run),
    /// [`run_until`](Guest::run_until), a scheduler and a server always count it.
    /// [`step`](Guest::step) counts it only after [`limit_cpu`](Guest::limit_cpu), to save reading
    /// the clock.
    pub fn cpu_used(&self) -> Duration {
        self.cpu.used
    }

    /// Adds time that the caller has measured.
    #[cfg(all(unix, feature = "serve"))]
    pub(crate) fn count_cpu(&mut self, time: Duration) {
        self.cpu.used = self.cpu.used.saturating_add(time);
    }

    /// Runs the guest until it ends, has to wait, or has used `fuel`.
    ///
    /// A guest that has ended answers the same again.
    pub fn step(&mut self, fuel: u64) -> Step {
        if self.cpu.max == Duration::MAX {
            return self.step_untimed(fuel);
        }
        let began = cpu_time();
        let step = self.step_untimed(fuel);
        self.account(began, step)
    }

    /// Counts the CPU time of a step that has begun then, and ends a guest that has used up its
    /// own.
    fn account(&mut self, began: Duration, step: Step) -> Step {
        let took = cpu_time().saturating_sub(began);
        self.cpu.used = self.cpu.used.saturating_add(took);
        if self.cpu.used >= self.cpu.max && !step.is_end() {
            return self.finish(Step::Trapped(cpu_trap()));
        }
        step
    }

    /// Runs the guest until it ends, waits or gives way, or `time` has passed since `began`,
    /// which is now.
    pub(crate) fn slice(&mut self, pace: &mut Pace, began: Instant, time: Duration) -> Slice {
        let cpu = cpu_time();
        let mut now = began;
        let (step, used_up) = loop {
            let step = self.step_untimed(pace.quantum);
            let after = Instant::now();
            let used_up = matches!(self.state, State::OutOfFuel(_));
            if used_up {
                pace.used_up(after.saturating_duration_since(now));
            }
            now = after;
            if !used_up || now.saturating_duration_since(began) >= time {
                break (step, used_up);
            }
        };
        Slice { step: self.account(cpu, step), end_time: now, used_up }
    }

    /// Runs the guest to its end like [`run`](Guest::run), but stops at `until` and returns
    /// [`End::TimedOut`]. Call it again to continue.
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use tinyhost::{End, Guest, Program, WasiCtx};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let spin = Program::new(std::fs::read("fixtures/spin.wasm")?)?;
    /// let mut guest = Guest::new(&spin, WasiCtx::builder().build());
    /// let end = guest.run_until(Some(Instant::now() + Duration::from_millis(20)));
    /// assert!(matches!(end, End::TimedOut));
    /// # Ok(())
    /// # }
    /// ```
    pub fn run_until(&mut self, until: Option<Instant>) -> End {
        self.run_until_interrupted(until, &Interrupt::default())
    }
}

/// CPU time of this thread, which excludes other processes and waits for a disk.
#[cfg(all(unix, any(feature = "net", feature = "host-fs")))]
fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let secs = u64::try_from(time.tv_sec).unwrap_or_default();
    let nanos = u64::try_from(time.tv_nsec).unwrap_or_default();
    Duration::from_secs(secs) + Duration::from_nanos(nanos)
}

/// Without a clock of CPU time, the time that passes.
#[cfg(not(all(unix, any(feature = "net", feature = "host-fs"))))]
fn cpu_time() -> Duration {
    use crate::clock::Clock;
    Duration::from_nanos(crate::clock::SystemClock.monotonic())
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::{Cause, Program, WasiCtx};

    const SHORT: Duration = Duration::from_micros(5);

    /// A loop that is charged for a thousand instructions and runs five.
    fn dispatch() -> Guest {
        let skipped = "(drop (i32.const 1))".repeat(500);
        let wat = format!(
            r#"(module (memory (export "memory") 1) (func (export "_start") (loop $turn
                 (block $case (br_if $case (i32.const 1)) {skipped}) (br $turn))))"#
        );
        let program = Program::new(wat::parse_str(wat).unwrap()).unwrap();
        Guest::new(&program, WasiCtx::builder().build())
    }

    #[test]
    fn a_slice_lasts_its_time_whatever_fuel_that_is() {
        let (mut guest, mut pace) = (dispatch(), Pace::new());
        let (began, time) = (Instant::now(), Duration::from_millis(50));
        let slice = guest.slice(&mut pace, began, time);
        assert_eq!((slice.step, slice.used_up), (Step::Yielded, true));
        assert!(slice.end_time >= began + time);
        // No machine is so busy that it has no more than some microseconds of them.
        assert!(guest.fuel_used() > FUEL_MAX, "{}", guest.fuel_used());
    }

    #[test]
    fn cpu_time_is_a_limit_of_steps_too() {
        let mut guest = dispatch();
        guest.limit_cpu(Duration::from_millis(5));
        let end = (0..1_000_000).map(|_| guest.step(1_000_000)).find(Step::is_end);
        let Some(Step::Trapped(trap)) = end else { panic!("{end:?}") };
        assert_eq!(trap.cause, Cause::Cpu);
        assert!(guest.cpu_used() >= Duration::from_millis(5));
    }

    #[test]
    fn quanta_grow_while_they_are_short_and_shrink_when_they_are_long() {
        let mut pace = Pace::new();
        pace.used_up(SHORT);
        assert_eq!(pace.quantum, FIRST_FUEL * 2);
        pace.used_up(QUANTUM_TIME * 3 / 2);
        assert_eq!(pace.quantum, FIRST_FUEL * 2, "good as it is");
        (0..20).for_each(|_| pace.used_up(SHORT));
        assert_eq!(pace.quantum, FUEL_MAX, "what comes next may not be as cheap");
        pace.used_up(QUANTUM_TIME * 4);
        assert_eq!(pace.quantum, FUEL_MAX / 4, "as much as fits");
        pace.used_up(Duration::from_secs(1));
        assert_eq!(pace.quantum, FUEL_MAX / 32, "not all at once");
        (0..20).for_each(|_| pace.used_up(Duration::from_secs(1)));
        assert_eq!(pace.quantum, FUEL_MIN, "and not to nothing");
    }
}
