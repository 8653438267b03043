//! One guest: started, stepped, parked, resumed, dropped.
//!
//! The only file that names wasmi's resumable calls.

use std::fmt;
use std::task::Waker;
use std::time::Duration;

use wasmi::{
    AsContextMut, Error, Extern, Func, Instance, ResumableCall, ResumableCallHostTrap,
    ResumableCallOutOfFuel, Store, TrapCode, Val,
};

use crate::program::{Program, is_out_of_memory};
use crate::recycle::Parts;
use crate::vfs::{Interest, Wait};
use crate::wasi::frame::On;
use crate::wasi::{self, Mode, Stop, Suspended, WasiCtx};

/// Fuel for a start section, which can't be interrupted. About a tenth of a second.
const START_SECTION_FUEL: u64 = 50_000_000;

/// Fuel of a step of [`Guest::run`].
const RUN_SLICE: u64 = 10_000_000;

/// A running program: its memory, its descriptors, and where it is.
///
/// A guest is `Send`: between two steps it can be moved to another thread. Dropping it, in
/// whatever state, closes all it held.
pub struct Guest {
    pub(crate) store: Store<WasiCtx>,
    state: State,
    instance: Option<Instance>,
    /// What its instance needs to be used again.
    pub(crate) parts: Option<Box<Parts>>,
    /// Fuel it may still use, all steps together.
    fuel_left: u64,
    fuel_used: u64,
}

enum State {
    /// Not yet begun.
    Ready(Func),
    /// In a call that waits, or that gave way.
    Parked(ResumableCallHostTrap),
    /// Between two instructions.
    OutOfFuel(ResumableCallOutOfFuel),
    /// At its end.
    Over(Step),
}

/// What came of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The guest has ended itself, with this status.
    Exited(u32),
    /// The guest was ended.
    Trapped(Trap),
    /// It has used up its fuel, or gave way: step it again.
    Yielded,
    /// It waits: [`Guest::arm`] says for what. Stepping it again any time is allowed, and
    /// does nothing if it was too early.
    Parked,
}

/// Why a guest was ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trap {
    /// What kind of reason.
    pub cause: Cause,
    /// The reason in words.
    pub text: String,
}

/// Kinds of [`Trap`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// A trap of WebAssembly: unreachable, out of bounds, stack exhausted, ...
    Wasm,
    /// It went on after it was refused memory, and failed.
    Memory,
    /// All the fuel it was given is used.
    Fuel,
    /// It did what can't be done here.
    Host,
}

impl fmt::Display for Trap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Trap {}

impl Guest {
    /// Makes a guest of a program. Nothing of it has run yet but its start section, if it
    /// has one; a failure there is what the first step answers.
    pub fn new(program: &Program, mut cx: WasiCtx) -> Guest {
        let program = &program.shared;
        cx.mode = Mode::Refuse;
        let mut store = Store::new(&program.engine, cx);
        store.limiter(|cx| &mut cx.limits);
        store.set_fuel(START_SECTION_FUEL).expect("fuel is metered");
        let mut guest = Guest {
            store,
            state: State::Over(Step::Exited(0)),
            instance: None,
            parts: None,
            fuel_left: u64::MAX,
            fuel_used: 0,
        };
        let instance = program.linker.instantiate_and_start(&mut guest.store, &program.module);
        guest.count_fuel(START_SECTION_FUEL);
        guest.state = match instance {
            Ok(instance) => {
                guest.instance = Some(instance);
                let memory = instance.get_export(&guest.store, "memory");
                guest.store.data_mut().memory = memory.and_then(Extern::into_memory);
                let start = instance.get_func(&guest.store, "_start");
                State::Ready(start.expect("checked when the program was made"))
            }
            Err(error) => State::Over(guest.end(error)),
        };
        guest.store.data_mut().mode = Mode::Suspend;
        guest
    }

    /// A guest in an instance that was made before and is as good as new.
    pub(crate) fn in_instance(
        mut store: Store<WasiCtx>,
        parts: Box<Parts>,
        mut cx: WasiCtx,
    ) -> Guest {
        cx.mode = Mode::Suspend;
        *store.data_mut() = cx;
        let (state, fuel) = (State::Ready(parts.start), parts.fuel);
        let parts = Some(parts);
        Guest { store, state, instance: None, parts, fuel_left: u64::MAX - fuel, fuel_used: fuel }
    }

    /// Instance and entry of a guest that has not run yet.
    pub(crate) fn unstarted(&self) -> Option<(Instance, Func)> {
        match self.state {
            State::Ready(start) => Some((self.instance?, start)),
            _ => None,
        }
    }

    /// Whether it is parked and waits for its standard input alone.
    pub(crate) fn waits_for_stdin(&self) -> bool {
        let waits = &self.store.data().frame.waits;
        matches!(self.state, State::Parked(_)) && waits[..] == [(On::Fd(0), Interest::READ)]
    }

    /// Ends the guest once it has used this much fuel, about one per instruction.
    pub fn limit_fuel(&mut self, fuel: u64) {
        self.fuel_left = fuel.saturating_sub(self.fuel_used);
    }

    /// Fuel used so far.
    pub fn fuel_used(&self) -> u64 {
        self.fuel_used
    }

    /// What the guest was given.
    pub fn context(&self) -> &WasiCtx {
        self.store.data()
    }

    /// Runs the guest until it ends, has to wait, or has used `fuel`.
    ///
    /// A guest that has ended answers the same again.
    pub fn step(&mut self, fuel: u64) -> Step {
        let state = std::mem::replace(&mut self.state, State::Over(Step::Parked));
        let slice = self.refuel(fuel, &state);
        let answer = match state {
            State::Over(step) => {
                self.state = State::Over(step.clone());
                return step;
            }
            State::Ready(start) => start.call_resumable(&mut self.store, &[], &mut []),
            State::OutOfFuel(call) => call.resume(&mut self.store, &mut []),
            State::Parked(call) => match wasi::retry(self.store.as_context_mut()) {
                Ok(errno) => call.resume(&mut self.store, &[Val::I32(errno)], &mut []),
                Err(stop) => return self.stopped(call, stop),
            },
        };
        self.count_fuel(slice);
        self.arrived(answer)
    }

    /// Sets the fuel of a step, within the limit. An operation that costs more than a
    /// slice (growing memory, copying much of it) is given what it needs.
    fn refuel(&mut self, fuel: u64, state: &State) -> u64 {
        let needed = match state {
            State::OutOfFuel(call) => call.required_fuel(),
            _ => 1,
        };
        let slice = fuel.max(needed).min(self.fuel_left);
        self.store.set_fuel(slice).expect("fuel is metered");
        slice
    }

    fn count_fuel(&mut self, slice: u64) {
        let used = slice.saturating_sub(self.store.get_fuel().unwrap_or(0));
        self.fuel_used += used;
        self.fuel_left -= used.min(self.fuel_left);
    }

    /// What the interpreter came back with.
    fn arrived(&mut self, answer: Result<ResumableCall, Error>) -> Step {
        let step = match answer {
            Ok(ResumableCall::Finished) => Step::Exited(0),
            Ok(ResumableCall::HostTrap(call)) => {
                if call.host_error().downcast_ref::<Suspended>().is_some() {
                    let gave_way = self.store.data().frame.yields;
                    self.state = State::Parked(call);
                    return if gave_way { Step::Yielded } else { Step::Parked };
                }
                self.end(call.into_host_error())
            }
            Ok(ResumableCall::OutOfFuel(call)) if call.required_fuel() > self.fuel_left => {
                Step::Trapped(fuel_trap())
            }
            Ok(ResumableCall::OutOfFuel(_)) if self.fuel_left == 0 => Step::Trapped(fuel_trap()),
            Ok(ResumableCall::OutOfFuel(call)) => {
                self.state = State::OutOfFuel(call);
                return Step::Yielded;
            }
            Err(error) => self.end(error),
        };
        self.state = State::Over(step.clone());
        step
    }

    /// A parked call was run again and did not get through.
    fn stopped(&mut self, call: ResumableCallHostTrap, stop: Stop) -> Step {
        match stop {
            Stop::Exit(code) => {
                let step = Step::Exited(code);
                self.state = State::Over(step.clone());
                step
            }
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

    /// The end that an error of the interpreter means.
    fn end(&self, error: Error) -> Step {
        if let Some(code) = error.i32_exit_status() {
            return Step::Exited(code.cast_unsigned());
        }
        let limits = &self.store.data().limits;
        let trap = |cause, text: String| Step::Trapped(Trap { cause, text });
        match error.as_trap_code() {
            Some(TrapCode::OutOfFuel) => Step::Trapped(fuel_trap()),
            Some(TrapCode::OutOfSystemMemory | TrapCode::GrowthOperationLimited) => {
                trap(Cause::Memory, "the host has no more memory for it".into())
            }
            _ if limits.refused => trap(
                Cause::Memory,
                format!("it needed more than {} bytes of memory", limits.memory_max),
            ),
            Some(code) => trap(Cause::Wasm, trap_text(code).into()),
            None if is_out_of_memory(&error) => trap(Cause::Memory, error.to_string()),
            None => trap(Cause::Host, error.to_string()),
        }
    }

    /// Arms what a parked guest waits for. `waker` is woken by what happens in this
    /// process; `watch` is called for each descriptor of the operating system, to be
    /// watched in the given direction until the guest is stepped or dropped. Any wake may
    /// be false.
    pub fn arm(&mut self, waker: &Waker, watch: &mut dyn FnMut(Wait<'_>, Interest)) -> Armed {
        let cx = self.store.data_mut();
        if !cx.frame.arm(&mut cx.fds, waker, watch) {
            return Armed::Now;
        }
        Armed::Until(wasi::remaining(cx))
    }

    #[cfg(all(unix, feature = "net"))]
    pub(crate) fn context_mut(&mut self) -> &mut WasiCtx {
        self.store.data_mut()
    }

    /// Runs the guest to its end, blocking the thread while it waits.
    ///
    /// # Errors
    ///
    /// If the host can't wait (no descriptors left for a poll).
    pub fn run(&mut self) -> std::io::Result<Step> {
        let mut waiter = None;
        loop {
            match self.step(RUN_SLICE) {
                Step::Yielded => {}
                Step::Parked => {
                    let waiter = match &mut waiter {
                        Some(waiter) => waiter,
                        none => none.insert(wasi::Waiter::new()?),
                    };
                    waiter.wait(self.store.data_mut())?;
                }
                end => return Ok(end),
            }
        }
    }
}

/// What [`Guest::arm`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Armed {
    /// Nothing to wait for: step it.
    Now,
    /// Step it when woken, or after this time if there is one.
    Until(Option<Duration>),
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Ready(_) => "ready",
            State::Parked(_) => "parked",
            State::OutOfFuel(_) => "yielded",
            State::Over(_) => "over",
        };
        f.debug_struct("Guest").field("state", &state).field("fuel", &self.fuel_used).finish()
    }
}

fn fuel_trap() -> Trap {
    Trap { cause: Cause::Fuel, text: "it used up all its fuel".into() }
}

fn trap_text(code: TrapCode) -> &'static str {
    match code {
        TrapCode::UnreachableCodeReached => {
            "unreachable executed (a panic or abort of the program)"
        }
        TrapCode::MemoryOutOfBounds => "memory access out of bounds",
        TrapCode::TableOutOfBounds => "table access out of bounds",
        TrapCode::IndirectCallToNull => "call through a null function pointer",
        TrapCode::IntegerDivisionByZero => "integer division by zero",
        TrapCode::IntegerOverflow => "integer overflow",
        TrapCode::BadConversionToInteger => "conversion of NaN or an infinity to an integer",
        TrapCode::StackOverflow => "call stack exhausted",
        TrapCode::BadSignature => "call through a function pointer of another type",
        _ => "trap",
    }
}
