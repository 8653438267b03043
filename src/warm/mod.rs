//! Warm programs: run once to their first read of standard input, and started from there.
//!
//! An image is a module that begins at that point (`program/capture`), and beside it what its memory
//! holds (`program/image.rs`). It comes of a module that was initialized by an export made for that
//! (`initialized.rs`), or of any other that was stopped in its read (`capture.rs`). Guests, pools and
//! servers run it like any other program.

mod boot;
mod capture;
mod exports;
mod frozen;
mod initialized;
#[cfg(test)]
mod tests;

use std::time::Duration;

use boot::{Boot, Unfit};
use exports::Plan;

use crate::program::capture::CaptureError;
use crate::program::image::Image;
use crate::program::recipe::obstacle;
use crate::program::{Build, Program, ProgramConfig, ProgramError, Warm, Warmth, survey};
use crate::wasi::CtxBuilder;

/// How a program is brought to its first read, for [`Program::warm`].
#[derive(Clone, Debug)]
pub struct WarmUp {
    /// Options of the program.
    pub config: ProgramConfig,
    /// The export to call for each guest, of a module that is initialized by an export of its own
    /// (`_initialize`, `wizer-initialize`). If not set it is `_start`, or the only one there is.
    pub call: Option<String>,
    /// CPU time that the start may take.
    pub cpu_max: Duration,
    /// How long the start may wait for something else than its standard input.
    pub wait_max: Duration,
}

impl Default for WarmUp {
    /// A start may take 30 seconds of CPU time, and may wait for 5 seconds.
    fn default() -> WarmUp {
        WarmUp {
            config: ProgramConfig::default(),
            call: None,
            cpu_max: Duration::from_secs(30),
            wait_max: Duration::from_secs(5),
        }
    }
}

impl Program {
    /// Checks and compiles a module, and runs it once, up to its first read of standard input or to
    /// the end of its initialization. Guests of the program go on from there: their memory is what
    /// it was, and their standard input is their own.
    ///
    /// `context` makes the context of the run, with the arguments, variables and mounts of all
    /// guests; its standard streams are replaced. It is called more than once. What the program
    /// finds out before it reads is the same for all guests: see [`Warm::frozen`].
    ///
    /// If that is not possible, the program is an ordinary one, whose guests start at their
    /// beginning. [`Program::warmth`] has the reason. A guest that reads again when its input is
    /// used up waits; only a server takes that for its end.
    ///
    /// ```
    /// use tinyhost::vfs::pipe::{Capture, pipe};
    /// use tinyhost::{Pool, Program, Step, WarmUp, WasiCtx, Warmth};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let wasm = std::fs::read("fixtures/promptreply.wasm")?; // reads a line and sends it back
    /// let program = Program::warm(&WarmUp::default(), wasm, &WasiCtx::builder)?;
    /// assert!(matches!(program.warmth(), Some(Warmth::Warm(_))));
    ///
    /// let mut pool = Pool::new(&program);
    /// for line in [b"one\n", b"two\n"] {
    ///     let ((stdin, mut feed), stdout) = (pipe(64), Capture::new(64));
    ///     feed.write(line)?;
    ///     let cx = WasiCtx::builder().stdin(stdin).stdout(stdout.clone()).build();
    ///     let mut guest = pool.spawn(cx); // it is in its read already
    ///     assert_eq!(guest.run()?, Step::Exited(0));
    ///     assert_eq!(stdout.take(), line);
    ///     pool.recycle(guest);
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// If the bytes are not a WASI preview1 program, or it is not known what to call of it.
    pub fn warm(
        warm_up: &WarmUp,
        wasm: impl AsRef<[u8]>,
        context: &dyn Fn() -> CtxBuilder,
    ) -> Result<Program, ProgramError> {
        let wasm = wasm.as_ref();
        let obstacle = obstacle(&survey(wasm)?);
        let plan = Plan::of(wasm, warm_up.call.as_deref())?;
        let boot = Boot { warm_up, context };
        let started = match obstacle {
            Some(what) => Err(Unfit(format!("{what}, so its instances can't be put back"))),
            None => start(&boot, wasm, &plan),
        };
        let why = match started {
            Ok(program) => return Ok(program),
            Err(Unfit(why)) => why,
        };
        let entry: Vec<&str> = plan.cold.iter().map(String::as_str).collect();
        let reuse = warm_up.config.reuse;
        let warmth = Some(Warmth::Cold(why));
        let build = Build { entry: &entry, eager: reuse, reuse, image: None, warmth, files: None };
        Program::build(&warm_up.config, wasm, build)
    }
}

/// What a program has come to, as a program of its own.
struct Reached {
    warm: Warm,
    /// The module that goes on from there.
    module: Vec<u8>,
    /// What its memory holds there.
    memory: Vec<u8>,
}

/// Why no image can be made.
fn unfit(error: CaptureError) -> Unfit {
    Unfit(error.to_string())
}

/// Brings a program to where its guests are to start, and makes the program that starts there.
fn start(boot: &Boot<'_>, wasm: &[u8], plan: &Plan) -> Result<Program, Unfit> {
    let reached = if plan.first.is_empty() {
        capture::start(boot, wasm)?
    } else {
        initialized::start(boot, wasm, plan)?
    };
    let Reached { mut warm, module, memory } = reached;
    let image = Image::of_memory(&memory);
    warm.memory_bytes = memory.len();
    warm.image_bytes = image.bytes();
    drop(memory);
    let config = &boot.warm_up.config;
    let build = Build {
        entry: &["_start"],
        eager: config.reuse,
        reuse: true,
        image: Some(image),
        warmth: Some(Warmth::Warm(warm)),
        // They are among what is kept of the start.
        files: Some(crate::wasi::reopen::Kept::default()),
    };
    Program::build(config, &module, build).map_err(Unfit::of)
}
