//! One guest: started, stepped, parked, resumed, dropped.
//!
//! Only this and `unwind.rs` name wasmi's resumable calls.

pub(crate) mod capture;
pub(crate) mod interrupt;
pub(crate) mod running;
mod slice;
pub(crate) mod unwind;

use std::fmt;
use std::task::Waker;

use wasmi::{
    AsContextMut, Error, Func, ResumableCall, ResumableCallHostTrap, ResumableCallOutOfFuel, Val,
};

use self::running::Tag;
#[cfg(all(unix, feature = "serve"))]
pub(crate) use self::slice::FIRST_FUEL;
pub(crate) use self::slice::{Pace, RUN_TIME};
use crate::instance::Instance;
use crate::program::{EntryPoint, Program, Warmth, end_of};
use crate::step::{End, Step, fuel_trap};
use crate::vfs::{Armed, Fd, Interest};
use crate::wasi::{self, Mode, Stop, Suspended, WasiCtx};

/// A running program: an instance, its descriptors, and the point it has reached.
///
/// A guest is `Send`: between two steps you can move it to another thread. Dropping a guest in
/// any state cancels it and closes its files.
///
/// ```
/// use tinyhost::{Cause, Guest, Program, Step, WasiCtx};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let hello = Program::new(std::fs::read("fixtures/hello.wasm")?)?;
/// let mut guest = Guest::new(&hello, WasiCtx::builder().build());
/// assert_eq!(guest.run()?, Step::Exited(0)); // to its end
///
/// let spin = Program::new(std::fs::read("fixtures/spin.wasm")?)?;
/// let mut guest = Guest::new(&spin, WasiCtx::builder().build());
/// assert_eq!(guest.step(100_000), Step::Yielded); // one slice of an endless loop
/// guest.limit_fuel(1_000_000);
/// assert!(matches!(guest.run()?, Step::Trapped(trap) if trap.cause == Cause::Fuel));
/// # Ok(())
/// # }
/// ```
pub struct Guest {
    pub(crate) instance: Box<Instance>,
    state: State,
    /// The functions to call after this one has returned.
    then: EntryPoint,
    /// How many results this one has: none, or the status to exit with.
    results: usize,
    /// Fuel left of the guest's limit, over all steps.
    fuel_left: u64,
    fuel_used: u64,
    cpu: slice::Cpu,
    /// The client that it runs for.
    tag: Tag,
    /// What follows when its last function has returned.
    on_return: OnReturn,
}

/// What follows when a guest's last function has returned.
#[derive(Clone, Copy, PartialEq, Eq)]
enum OnReturn {
    /// It exits.
    Exit,
    /// It stays as it is, for an image to be made of it.
    Stay,
    /// It has returned.
    Stayed,
}

enum State {
    /// It begins with a read of standard input, which has nothing yet. Its instance is made when
    /// there is something: what it is until then is its program's image.
    Asleep,
    /// Before a function is called.
    Ready(Func),
    /// In a call that waits or has yielded.
    Parked(ResumableCallHostTrap),
    /// Out of fuel, between two instructions.
    OutOfFuel(ResumableCallOutOfFuel),
    /// Ended with this result.
    Ended(Step),
}

impl Guest {
    /// Makes a guest of `program` with the context `cx`. Nothing of it runs yet: the first step
    /// runs the module's start section, if it has one. If the instance can't be made, such as for
    /// want of memory, the first step returns the reason as [`Step::Trapped`].
    pub fn new(program: &Program, cx: WasiCtx) -> Guest {
        Guest::from_instance(Instance::new(program, cx))
    }

    /// A guest in an instance that is new or has been restored.
    pub(crate) fn from_instance(mut instance: Box<Instance>) -> Guest {
        instance.store.data_mut().mode = Mode::Suspend;
        let (state, then, results) = match instance.begin() {
            Ok(mut then) => match then.next() {
                Some((first, results)) => (State::Ready(first), then, results),
                None => (State::Asleep, then, 0),
            },
            Err(end) => (State::Ended(end), EntryPoint::NONE, 0),
        };
        let mut guest = Guest {
            instance,
            state,
            then,
            results,
            fuel_left: u64::MAX,
            fuel_used: 0,
            cpu: slice::Cpu::default(),
            tag: Tag::NONE,
            on_return: OnReturn::Exit,
        };
        if let State::Ended(_) = guest.state {
            guest.close();
        }
        guest
    }

    /// Whether guests of a program begin with a read of standard input, so that one can be
    /// [asleep](Guest::asleep). A trace would miss the call.
    pub(crate) fn may_sleep(program: &Program, cx: &WasiCtx) -> bool {
        matches!(program.warmth(), Some(Warmth::Warm(warm)) if warm.begins_with_read)
            && cx.trace.is_none()
    }

    /// A guest whose instance is made when there is something on its standard input. It must be one
    /// that [may sleep](Guest::may_sleep).
    pub(crate) fn asleep(program: &Program, cx: WasiCtx) -> Guest {
        Guest::from_instance(Instance::unmade(program, cx))
    }

    /// Makes the instance of a guest that was asleep, if it has something to read. Answers its last
    /// step if that fails.
    fn wake(&mut self) -> Option<Step> {
        let cx = self.instance.store.data_mut();
        cx.frame.yields = false;
        if cx.wait_for_stdin() {
            self.state = State::Asleep;
            return Some(Step::Parked);
        }
        cx.frame = wasi::frame::Frame::default();
        match self.instance.fill() {
            Ok(mut then) => {
                let (first, results) = then.next().expect("an entry has a function");
                (self.then, self.results) = (then, results);
                self.state = State::Ready(first);
                None
            }
            Err(end) => Some(self.finish(end)),
        }
    }

    /// The instance, for reuse. A call under way is dropped.
    pub(crate) fn into_instance(self) -> Box<Instance> {
        self.instance
    }

    /// Keeps the guest as it is when its last function returns, with all its files.
    pub(crate) fn stay(&mut self) {
        self.on_return = OnReturn::Stay;
    }

    /// Whether its last function has returned, after [`stay`](Guest::stay).
    pub(crate) fn has_returned(&self) -> bool {
        self.on_return == OnReturn::Stayed
    }

    /// Whether the guest is parked and waits for nothing but its standard input.
    pub fn waits_for_stdin(&self) -> bool {
        matches!(self.state, State::Parked(_)) && self.context().waits_for_stdin()
    }

    /// Ends the guest once it has used `fuel` in all, with [`Cause::Fuel`](crate::Cause::Fuel).
    ///
    /// Fuel is an upper bound of the instructions executed, plus about one unit for each
    /// nanosecond that the host spends in the guest's calls. wasmi charges for all instructions
    /// of a function, a loop or a branch of an `if` on entry, and for a loop again on each
    /// iteration, whether they are reached or not. An interpreter compiled to wasm, which is one
    /// loop around a large switch, therefore pays for every case on each iteration: hundreds of
    /// units for each instruction executed. To limit the time a guest computes, use
    /// [`limit_cpu`](Guest::limit_cpu).
    pub fn limit_fuel(&mut self, fuel: u64) {
        self.fuel_left = fuel.saturating_sub(self.fuel_used);
    }

    /// Sets the client that [`Running`](running::Running) reports.
    #[cfg(all(unix, feature = "serve"))]
    pub(crate) fn set_client(&mut self, client: crate::vfs::Peer) {
        self.tag = Tag::of(client);
    }

    /// Fuel that the guest has used so far.
    pub fn fuel_used(&self) -> u64 {
        self.fuel_used
    }

    /// Bytes of memory that the guest added to what its instance keeps when it is restored.
    #[cfg(all(unix, feature = "serve"))]
    pub(crate) fn memory_grown(&self) -> usize {
        self.context().limits.used - self.instance.memory_kept()
    }

    /// The guest's context: its descriptors, and what it has used.
    pub fn context(&self) -> &WasiCtx {
        self.instance.store.data()
    }

    /// A [step](Guest::step) that doesn't measure CPU time.
    pub(crate) fn step_untimed(&mut self, fuel: u64) -> Step {
        if matches!(self.state, State::Asleep)
            && let Some(step) = self.wake()
        {
            return step;
        }
        let state = std::mem::replace(&mut self.state, State::Ended(Step::Parked));
        let slice = self.refuel(fuel, &state);
        let _noted = self.tag.note();
        let store = &mut self.instance.store;
        let mut status = Val::I32(0);
        let results = &mut std::slice::from_mut(&mut status)[..self.results];
        let answer = match state {
            State::Ended(step) => {
                self.state = State::Ended(step.clone());
                return step;
            }
            State::Asleep => unreachable!("it was woken"),
            State::Ready(start) => start.call_resumable(store, &[], results),
            State::OutOfFuel(call) => call.resume(store, results),
            State::Parked(call) => match wasi::run_again(store.as_context_mut(), |cx| cx) {
                Ok(errno) => call.resume(store, &[Val::I32(errno)], results),
                Err(stop) => return self.stay_parked(call, stop),
            },
        };
        self.count_fuel(slice);
        self.handle_result(answer, &status)
    }

    /// Sets the fuel of a step, within the guest's limit. An operation that costs more than a
    /// slice (growing memory, copying much of it) gets what it needs, or it would never run.
    fn refuel(&mut self, fuel: u64, state: &State) -> u64 {
        let needed = match state {
            State::OutOfFuel(call) => call.required_fuel(),
            _ => 1,
        };
        let slice = fuel.max(needed).min(self.fuel_left);
        self.instance.store.set_fuel(slice).expect("fuel is metered");
        slice
    }

    fn count_fuel(&mut self, slice: u64) {
        let owed = std::mem::take(&mut self.instance.store.data_mut().fuel_owed);
        let used =
            slice.saturating_sub(self.instance.store.get_fuel().unwrap_or(0)).saturating_add(owed);
        self.fuel_used = self.fuel_used.saturating_add(used);
        self.fuel_left -= used.min(self.fuel_left);
    }

    /// Turns what the interpreter returned into a step.
    fn handle_result(&mut self, answer: Result<ResumableCall, Error>, status: &Val) -> Step {
        let step = match answer {
            Ok(ResumableCall::Finished) => match self.then.next() {
                Some((then, results)) => {
                    self.state = State::Ready(then);
                    self.results = results;
                    return Step::Yielded;
                }
                None => {
                    let step = Step::Exited(status.i32().unwrap_or(0).cast_unsigned());
                    if self.on_return != OnReturn::Exit {
                        self.on_return = OnReturn::Stayed;
                        self.state = State::Ended(step.clone());
                        return step;
                    }
                    step
                }
            },
            Ok(ResumableCall::HostTrap(call)) => {
                if call.host_error().downcast_ref::<Suspended>().is_some() {
                    let gave_way = self.instance.store.data().frame.yields;
                    self.state = State::Parked(call);
                    return if gave_way { Step::Yielded } else { Step::Parked };
                }
                self.end_step(call.into_host_error())
            }
            Ok(ResumableCall::OutOfFuel(call)) if call.required_fuel().max(1) > self.fuel_left => {
                Step::Trapped(fuel_trap())
            }
            Ok(ResumableCall::OutOfFuel(call)) => {
                self.state = State::OutOfFuel(call);
                return Step::Yielded;
            }
            Err(error) => self.end_step(error),
        };
        self.finish(step)
    }

    /// Closes all files. A guest that has not ended must not be stepped after that.
    pub(crate) fn close(&mut self) {
        self.instance.store.data_mut().close();
    }

    /// Ends the guest. Its files are closed now and not when it is dropped, as with a process:
    /// the reader of a pipe the guest wrote to must find end of file.
    fn finish(&mut self, step: Step) -> Step {
        self.close();
        self.state = State::Ended(step.clone());
        step
    }

    /// Handles a parked call that was run again and did not complete.
    fn stay_parked(&mut self, call: ResumableCallHostTrap, stop: Stop) -> Step {
        self.instance.store.data_mut().frame.yields = matches!(stop, Stop::Yield);
        match stop {
            Stop::Exit(code) => self.finish(Step::Exited(code)),
            Stop::Yield => {
                self.state = State::Parked(call);
                Step::Yielded
            }
            Stop::Park | Stop::Errno(_) => {
                self.state = State::Parked(call);
                Step::Parked
            }
        }
    }

    /// Turns an error of the interpreter into the guest's last step.
    fn end_step(&self, error: Error) -> Step {
        end_of(&error, &self.context().limits, true)
    }

    /// Registers for what a parked guest waits for, so that an event loop knows when to step it.
    /// If you step the guest once a frame, you need not call this.
    ///
    /// `waker` is woken by events within this process, such as a write to a pipe. `watch` is
    /// called for each file descriptor of the operating system that the guest waits for: watch it
    /// in the given direction until the guest is stepped or dropped. A wake may be spurious.
    /// Returns [`Armed::Now`] if the guest doesn't wait.
    ///
    /// ```
    /// use std::sync::{Arc, atomic::{AtomicU32, Ordering::Relaxed}};
    /// use tinyhost::{Armed, Guest, Program, Step, WasiCtx, vfs::pipe::pipe};
    ///
    /// /// Counts its wakes; an event loop would be sent a message.
    /// struct Count(AtomicU32);
    /// impl std::task::Wake for Count {
    ///     fn wake(self: Arc<Self>) {
    ///         self.0.fetch_add(1, Relaxed);
    ///     }
    /// }
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let program = Program::new(std::fs::read("fixtures/promptreply.wasm")?)?;
    /// let (stdin, mut feed) = pipe(4096);
    /// let mut guest = Guest::new(&program, WasiCtx::builder().stdin(stdin).build());
    /// assert_eq!(guest.step(1_000_000), Step::Parked); // it reads a line
    /// let count = Arc::new(Count(AtomicU32::new(0)));
    /// assert_eq!(guest.arm(&count.clone().into(), &mut |_, _| {}), Armed::Until(None));
    /// feed.write(b"a line\n")?; // wakes it
    /// assert_eq!(count.0.load(Relaxed), 1);
    /// assert_eq!(guest.step(1_000_000), Step::Exited(0));
    /// # Ok(())
    /// # }
    /// ```
    pub fn arm(&mut self, waker: &Waker, watch: &mut dyn FnMut(Fd<'_>, Interest)) -> Armed {
        if !self.is_waiting() {
            return Armed::Now;
        }
        self.instance.store.data_mut().arm(waker, watch)
    }

    pub(crate) fn context_mut(&mut self) -> &mut WasiCtx {
        self.instance.store.data_mut()
    }

    /// Blocks the thread until the parked guest may be able to run. Returns at once if the guest
    /// doesn't wait. The wake may be spurious: step the guest and see.
    ///
    /// # Errors
    ///
    /// If the host can't wait, such as when it has no file descriptors left for a poll.
    pub fn wait(&mut self) -> std::io::Result<()> {
        if !self.is_waiting() {
            return Ok(());
        }
        self.instance.store.data_mut().wait()
    }

    /// Whether the guest is in a call that waits. For any other state no wake would come.
    fn is_waiting(&self) -> bool {
        matches!(self.state, State::Parked(_) | State::Asleep)
            && !self.instance.store.data().frame.yields
    }

    /// Runs the guest to its end. Blocks the thread while the guest waits.
    ///
    /// # Errors
    ///
    /// If the host can't wait, such as when it has no file descriptors left for a poll.
    pub fn run(&mut self) -> std::io::Result<Step> {
        match self.run_until(None) {
            End::Exited(status) => Ok(Step::Exited(status)),
            End::Trapped(trap) => Ok(Step::Trapped(trap)),
            End::Failed(error) => Err(error),
            End::TimedOut => unreachable!("there is no time at which it would be up"),
        }
    }
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Ready(_) => "ready",
            State::Parked(_) | State::Asleep => "parked",
            State::OutOfFuel(_) => "yielded",
            State::Ended(_) => "over",
        };
        f.debug_struct("Guest").field("state", &state).field("fuel", &self.fuel_used).finish()
    }
}
