//! Running a program to its first read of standard input, or to the end of its initialization.

use std::time::{Duration, Instant};

use super::WarmUp;
use super::frozen::Watch;
use crate::guest::{Guest, Pace, RUN_TIME};
use crate::program::exports::exported_functions;
use crate::program::{Build, Program, Warm};
use crate::step::Step;
use crate::vfs::pipe::Capture;
use crate::vfs::{Access, Errno, File, Filetype, Interest, Ready, Result as Answer, Stat, Wait};
use crate::wasi::reopen::Kept;
use crate::wasi::{CtxBuilder, Waiter};

/// Bytes of standard error that are kept.
const STDERR_MAX: usize = 64 << 10;

/// Bytes that a program may write to standard output before it reads: a prompt or a banner. Each
/// guest begins with them.
const STDOUT_MAX: usize = 4096;

/// Why a program's guests can't start from an image.
pub(super) struct Unfit(pub(super) String);

impl Unfit {
    /// For an error that says so itself.
    pub(super) fn of(error: impl std::fmt::Display) -> Unfit {
        Unfit(error.to_string())
    }
}

/// A program that is to be run once.
pub(super) struct Boot<'a> {
    pub(super) warm_up: &'a WarmUp,
    pub(super) context: &'a dyn Fn() -> CtxBuilder,
}

/// A program that has come to where guests are to go on.
pub(super) struct Booted {
    pub(super) guest: Guest,
    watch: Watch,
    stdout: Capture,
    stderr: Capture,
}

/// Where a program has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Halt {
    /// It is parked in a read of standard input.
    Read,
    /// Its last function has returned.
    Returned,
}

impl Boot<'_> {
    /// Compiles a module of which one guest is run.
    ///
    /// # Errors
    ///
    /// If it is not a program.
    pub(super) fn compile(&self, wasm: &[u8], entry: &[&str]) -> Result<Program, Unfit> {
        let build =
            Build { entry, eager: false, reuse: true, image: None, warmth: None, files: None };
        Program::build(&self.warm_up.config, wasm, build).map_err(Unfit::of)
    }

    /// Whether the program exports what each guest calls first.
    pub(super) fn has_first_call(&self, wasm: &[u8]) -> Result<bool, Unfit> {
        let exports = exported_functions(wasm).map_err(Unfit::of)?;
        Ok(exports.iter().any(|export| export.name == "tinyhost_forked"))
    }

    /// What is to be known of a program that has come to its place: what it has open, and what it
    /// has found out and said.
    ///
    /// # Errors
    ///
    /// If it has something open that can't be opened again.
    pub(super) fn note(&self, booted: &mut Booted, source: &'static str) -> Result<Warm, Unfit> {
        let mut fresh = (self.context)().stdin(NeverReady).build();
        let files = Kept::of(booted.guest.context_mut(), &mut fresh).map_err(Unfit)?;
        if booted.guest.instance.memory().is_none() {
            return Err(Unfit("it exports no memory named 'memory'".to_owned()));
        }
        Ok(Warm {
            source,
            memory_bytes: 0,
            image_bytes: 0,
            cpu: booted.guest.cpu_used(),
            frozen: booted.watch.frozen(),
            stderr: booted.stderr.take(),
            stdout: booted.stdout.take(),
            files,
            begins_with_read: false,
        })
    }

    /// Runs a guest of `program` until it comes to the `place`.
    ///
    /// # Errors
    ///
    /// Why it does not come there.
    pub(super) fn run(&self, program: &Program, place: Halt) -> Result<Booted, Unfit> {
        let watch = Watch::default();
        let stdout = Capture::new(STDOUT_MAX);
        let stderr = Capture::new(STDERR_MAX);
        let cx = (self.context)()
            .stdin(NeverReady)
            .stdout(stdout.clone())
            .stderr(stderr.clone())
            .trace(watch.clone())
            .build();
        let mut booted = Booted { guest: Guest::new(program, cx), watch, stdout, stderr };
        booted.guest.stay();
        let reached = self.drive(&mut booted.guest).map_err(|why| {
            let said = last_line(&booted.stderr.take());
            Unfit(if said.is_empty() { why } else { format!("{why} ({said})") })
        })?;
        if booted.stdout.overflowed() {
            let why = format!("it writes more than {STDOUT_MAX} bytes before it reads its input");
            return Err(Unfit(why));
        }
        match (place, reached) {
            (Halt::Read, Halt::Read) | (Halt::Returned, Halt::Returned) => Ok(booted),
            (Halt::Returned, Halt::Read) => {
                Err(Unfit("it reads its standard input while it is initialized".into()))
            }
            (Halt::Read, Halt::Returned) => {
                Err(Unfit("it ends before it reads its standard input".into()))
            }
        }
    }

    fn drive(&self, guest: &mut Guest) -> Result<Halt, String> {
        let mut pace = Pace::new();
        let mut waited = Duration::ZERO;
        loop {
            let step = guest.slice(&mut pace, Instant::now(), RUN_TIME).step;
            match step {
                Step::Parked if guest.waits_for_stdin() => return Ok(Halt::Read),
                Step::Parked => waited += self.wait(guest, waited)?,
                Step::Yielded if guest.cpu_used() > self.warm_up.cpu_max => {
                    let most = self.warm_up.cpu_max.as_secs_f32();
                    return Err(format!(
                        "it computes for more than {most} s before it reads its standard input"
                    ));
                }
                Step::Yielded => {}
                Step::Exited(_) if guest.has_returned() => return Ok(Halt::Returned),
                Step::Exited(status) => {
                    return Err(format!(
                        "it exits with status {status} before it reads its standard input"
                    ));
                }
                Step::Trapped(trap) => {
                    return Err(format!(
                        "it traps before it reads its standard input: {}",
                        trap.text
                    ));
                }
            }
        }
    }

    /// Waits for something else than standard input. Answers for how long.
    fn wait(&self, guest: &mut Guest, waited: Duration) -> Result<Duration, String> {
        let left = self.warm_up.wait_max.saturating_sub(waited);
        if left.is_zero() {
            return Err("it waits for something else than its standard input".to_owned());
        }
        let began = Instant::now();
        let cant_wait = |error| format!("the host can't wait for its files: {error}");
        let mut waiter = Waiter::new().map_err(cant_wait)?;
        waiter.wait(guest.context_mut(), Some(began + left)).map_err(cant_wait)?;
        Ok(began.elapsed())
    }
}

/// The last line that is not empty, for a report.
fn last_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.lines().rfind(|line| !line.trim().is_empty()).unwrap_or_default();
    line.trim().chars().take(200).collect()
}

/// Standard input that has nothing yet.
struct NeverReady;

impl File for NeverReady {
    fn stat(&mut self) -> Answer<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn access(&self) -> Access {
        Access::READ
    }

    fn read(&mut self, _bufs: &mut [std::io::IoSliceMut<'_>], _offset: u64) -> Answer<usize> {
        Err(Errno::Again)
    }

    fn ready(&mut self, _want: Interest) -> Answer<Ready> {
        Err(Errno::Again)
    }

    fn wait(&mut self, _want: Interest, _waker: &std::task::Waker) -> Wait<'_> {
        Wait::Waker
    }
}
