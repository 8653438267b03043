//! A guest that waits for its standard input, as a module that goes on from there.

use wasmi::{Extern, Val};

use super::Guest;
use super::unwind::Unwound;
use crate::program::capture::{
    CaptureError, Continuation, Data, Instrumented, READS, State, Stopped, Value, image,
};
use crate::program::seal::{self, seal};
use crate::program::{Build, Program, ProgramConfig};
use crate::wasi::WasiCtx;
use crate::wasi::reopen::Kept;

/// A program whose guests can be captured while they wait for their standard input.
///
/// What a guest has computed so far becomes a module of its own, an *image*. A guest of the image
/// begins with the read that the captured one waited in. An image needs nothing of tinyhost: any
/// WASI preview1 host can run it. What the guest has opened is not part of it.
///
/// Guests of [`program`](Capturable::program) run slower than others by two instructions for each
/// call under which standard input may be read. Guests of an image don't.
///
/// ```
/// use tinyhost::vfs::pipe::{Capture, pipe};
/// use tinyhost::{Capturable, ProgramConfig, Guest, Program, Step, WasiCtx};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let wasm = std::fs::read("fixtures/promptreply.wasm")?;
/// let capturable = Capturable::new(&ProgramConfig::default(), wasm)?;
/// let (stdin, _feed) = pipe(4096);
/// let mut guest = Guest::new(capturable.program(), WasiCtx::builder().stdin(stdin).build());
/// while guest.step(1_000_000) != Step::Parked {} // until it waits for a line
/// let image = Program::new(capturable.capture(guest)?)?;
///
/// let (stdin, mut feed) = pipe(4096);
/// feed.write(b"a line\n")?;
/// let stdout = Capture::new(4096);
/// let cx = WasiCtx::builder().stdin(stdin).stdout(stdout.clone()).build();
/// assert_eq!(Guest::new(&image, cx).run()?, Step::Exited(0));
/// assert_eq!(stdout.take(), b"a line\n");
/// # Ok(())
/// # }
/// ```
pub struct Capturable {
    wasm: Vec<u8>,
    instrumented: Instrumented,
    program: Program,
}

/// What a guest has open.
#[derive(Debug, Clone)]
pub struct OpenDescriptor {
    kept: Kept,
    is_usual: bool,
}

impl OpenDescriptor {
    /// Whether it is what a new guest has: its streams, and the directories it was given.
    pub fn is_usual(&self) -> bool {
        self.is_usual
    }
}

/// A captured guest.
pub(crate) struct Captured {
    /// The module that goes on from there.
    pub(crate) module: Vec<u8>,
    /// The contents of its memory.
    pub(crate) memory: Vec<u8>,
}

impl Capturable {
    /// Checks and compiles a module for guests that are to be captured. They are few, so
    /// [`ProgramConfig::reuse`] is not looked at.
    ///
    /// # Errors
    ///
    /// If the module is not a program, or its state is more than memory, globals and stack.
    pub fn new(
        config: &ProgramConfig,
        wasm: impl Into<Vec<u8>>,
    ) -> Result<Capturable, CaptureError> {
        let wasm = wasm.into();
        // The module itself may be an image, and its guests have something open.
        let files = Some(seal::open(&wasm).map_err(CaptureError::Program)?);
        let mut instrumented = Instrumented::of(&wasm)?;
        let build = Build {
            entry: &["_start"],
            eager: false,
            reuse: false,
            image: None,
            warmth: None,
            files,
        };
        let module = std::mem::take(&mut instrumented.wasm);
        let program = Program::build(config, &module, build).map_err(CaptureError::Program)?;
        Ok(Capturable { wasm, instrumented, program })
    }

    /// The program to make guests of.
    pub fn program(&self) -> &Program {
        &self.program
    }

    /// Whether a guest can be captured where it is, as far as that can be known before, and what it
    /// has open. `fresh` is a context with the same mounts, in which nothing has run. (References
    /// that its functions hold are found only when it is captured.)
    ///
    /// # Errors
    ///
    /// If it doesn't wait for its standard input alone, or has something open that can't be opened
    /// again.
    pub fn check(
        &self,
        guest: &mut Guest,
        mut fresh: WasiCtx,
    ) -> Result<OpenDescriptor, CaptureError> {
        self.check_place(guest)?;
        let (kept, is_usual) =
            Kept::named(guest.context_mut(), &mut fresh).map_err(CaptureError::Open)?;
        Ok(OpenDescriptor { kept, is_usual })
    }

    fn check_place(&self, guest: &Guest) -> Result<(), CaptureError> {
        let row = guest.context().frame.row;
        let of_this = guest.instance.is_of(&self.program);
        if !of_this || !guest.waits_for_stdin() || !READS.contains(&row.name) {
            return Err(CaptureError::NotReading);
        }
        Ok(())
    }

    /// The image of a guest of [`program`](Capturable::program): a complete module. Its descriptors are
    /// not part of it, and the guest is over.
    ///
    /// # Errors
    ///
    /// If it doesn't wait for its standard input alone, or its state can't be recorded.
    pub fn capture(&self, guest: Guest) -> Result<Vec<u8>, CaptureError> {
        Ok(self.capture_with(guest, Data::Within)?.module)
    }

    /// The same, with what it had open. A [`Program`] of it opens that for each guest, and fails if
    /// the image is not what was written. Another host can run it if that
    /// [is usual](OpenDescriptor::is_usual).
    ///
    /// # Errors
    ///
    /// As [`capture`](Capturable::capture).
    pub fn capture_opened(
        &self,
        guest: Guest,
        opened: &OpenDescriptor,
    ) -> Result<Vec<u8>, CaptureError> {
        Ok(seal(&self.capture(guest)?, &opened.kept))
    }

    /// The image of a guest, and its memory.
    pub(crate) fn capture_with(
        &self,
        mut guest: Guest,
        data: Data,
    ) -> Result<Captured, CaptureError> {
        self.check_place(&guest)?;
        let row = guest.context().frame.row;
        let args = guest.context().frame.args;
        // What it writes of its stack is not its own.
        guest.context_mut().limits.memory_max = usize::MAX;
        let names = &self.instrumented.names;
        let flag = guest.instance.export(&names.flag).and_then(Extern::into_global);
        let flag = flag.ok_or(CaptureError::Frames)?;
        flag.set(&mut guest.instance.store, Val::I32(1)).map_err(|_| CaptureError::Frames)?;
        let Unwound::Returned { in_start } = guest.unwind(0) else {
            return Err(CaptureError::Frames);
        };
        let store = &guest.instance.store;
        let value = |name: &str| {
            let global = guest.instance.export(name)?.into_global()?;
            Some(global.get(store))
        };
        let memory = |name: &str| guest.instance.export(name)?.into_memory();
        let written = value(&names.written).and_then(|value| value.i32());
        let written = written.and_then(|written| usize::try_from(written).ok());
        let frames = memory(&names.frames).zip(written);
        let frames = frames.and_then(|(frames, written)| frames.data(store).get(..written));
        let mut globals = Vec::with_capacity(names.globals.len());
        for (index, name) in &names.globals {
            let value = value(name).ok_or(CaptureError::Frames)?;
            globals.push((*index, Value::of(&value)));
        }
        let memory = context_memory(&guest).ok_or(CaptureError::Frames)?;
        let stopped = Stopped {
            instrumented: &self.instrumented,
            written: frames.ok_or(CaptureError::Frames)?,
            call: row.name,
            args: &args,
            in_start,
        };
        let state = State { memory, globals: &globals, next: Continuation::Stopped(stopped) };
        let module = image(&self.wasm, &state, data)?;
        Ok(Captured { module, memory: memory.to_vec() })
    }
}

fn context_memory(guest: &Guest) -> Option<&[u8]> {
    let memory = guest.context().memory?;
    Some(memory.data(&guest.instance.store))
}

impl std::fmt::Debug for Capturable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Capturable").finish_non_exhaustive()
    }
}
