//! What a guest is given, and what the host remembers of it between calls.

use std::fmt;
use std::sync::{Arc, LazyLock};

use wasmi::Memory;

use super::abi::{Fdflags, Rights};
use super::fd::{Descriptor, Fds};
use super::frame::Frame;
use super::limits::{MemoryBudget, MemoryLimiter};
use super::trace::Trace;
use crate::clock::{Clock, SystemClock};
use crate::random::{Random, default_random};
use crate::vfs::charge::Party;
use crate::vfs::stdio::Empty;
use crate::vfs::{Access, File, Filetype, Namespace, Open};

/// Descriptors a guest can have open unless told otherwise.
pub const FDS_DEFAULT: usize = 1024;

/// The WASI state of one guest. Lives in the data of its store.
///
/// One context serves one instance: it remembers that instance's memory.
pub struct WasiCtx {
    pub(crate) args: Strings,
    pub(crate) env: Strings,
    pub(crate) fds: Fds,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Box<dyn Random>,
    pub(crate) trace: Option<Box<dyn Trace>>,
    /// Told only of calls that fail, so that those that don't cost nothing more.
    pub(crate) on_error: Option<Box<dyn Trace>>,
    pub(crate) limits: MemoryLimiter,
    pub(crate) memory: Option<Memory>,
    /// The memory once more, if nobody watches the calls: all that one has to know.
    pub(crate) unwatched_memory: Option<Memory>,
    pub(crate) frame: Frame,
    pub(crate) mode: Mode,
    /// Bytes moved by calls since they were last charged for, and work that takes as long as
    /// moving so many.
    pub(crate) uncharged: u64,
    /// Fuel it has used beyond what its store had.
    pub(crate) fuel_owed: u64,
    /// For whom it takes of what many guests share.
    pub(crate) party: Party,
}

/// What a call does that has to wait.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Waits in place, blocking the thread: for plain `call`.
    InPlace,
    /// Hands control back through a host error: for `call_resumable`.
    Suspend,
}

/// NUL-terminated strings in one piece, as `args_get` hands them out.
#[derive(Clone, Default, Debug)]
pub struct Strings {
    pub(crate) bytes: Vec<u8>,
    pub(crate) count: u32,
}

impl Strings {
    /// Adds one.
    ///
    /// # Errors
    ///
    /// If it has a NUL in it, which no guest could see past, or all together no longer
    /// fit a guest's memory.
    pub fn push(&mut self, text: &[&[u8]]) -> Result<(), BadString> {
        let len: usize = text.iter().map(|part| part.len()).sum();
        let fits = u32::try_from(self.bytes.len() + len + 1).is_ok() && self.count < u32::MAX;
        if !fits || text.iter().any(|part| part.contains(&0)) {
            return Err(BadString(String::from_utf8_lossy(&text.concat()).into_owned()));
        }
        text.iter().for_each(|part| self.bytes.extend_from_slice(part));
        self.bytes.push(0);
        self.count += 1;
        Ok(())
    }
}

#[cfg(all(unix, feature = "serve"))]
impl Strings {
    /// Adds others, which together fit a guest's memory.
    pub(crate) fn append(&mut self, others: &Strings) {
        self.bytes.extend_from_slice(&others.bytes);
        self.count += others.count;
    }
}

/// An argument or variable that can't be handed to a guest: it contains a NUL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadString(pub String);

impl fmt::Display for BadString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "argument or variable {:?} contains a NUL byte: leave it out", self.0)
    }
}

impl std::error::Error for BadString {}

/// Builds a [`WasiCtx`].
pub struct Builder {
    args: Strings,
    env: Strings,
    stdio: [Option<Box<dyn File>>; 3],
    namespace: Namespace,
    sockets: Vec<(String, Box<dyn File>)>,
    clock: Arc<dyn Clock>,
    random: Box<dyn Random>,
    trace: Option<Box<dyn Trace>>,
    on_error: Option<Box<dyn Trace>>,
    limits: MemoryLimiter,
    fds_max: usize,
    mode: Mode,
    exit_on_broken_pipe: bool,
}

impl WasiCtx {
    /// A context with no arguments, no environment, no files and silent standard streams.
    pub fn builder() -> Builder {
        Builder {
            args: Strings::default(),
            env: Strings::default(),
            stdio: [None, None, None],
            namespace: Namespace::default(),
            sockets: Vec::new(),
            clock: Arc::new(SystemClock),
            random: default_random(),
            trace: None,
            on_error: None,
            limits: MemoryLimiter::default(),
            fds_max: FDS_DEFAULT,
            mode: Mode::InPlace,
            exit_on_broken_pipe: false,
        }
    }

    /// Closes every file, one that is still being opened included.
    pub(crate) fn close(&mut self) {
        self.fds.close_all();
        self.frame = Frame::default();
    }

    /// The trace of type `T` that was given with [`Builder::trace`] (perhaps in a
    /// [`Tee`](super::Tee)) or [`Builder::on_error`].
    pub fn trace<T: Trace>(&self) -> Option<&T> {
        let given = [&self.trace, &self.on_error];
        given.into_iter().flatten().find_map(|trace| super::trace::find(&**trace))
    }

    /// The descriptors that are open, by number: for reports.
    pub fn descriptors(&self) -> impl Iterator<Item = (usize, &Descriptor)> {
        self.fds.iter()
    }

    /// Whether the guest asked for more memory than it can have, and was refused.
    pub fn memory_refused(&self) -> bool {
        self.limits.refused.is_some()
    }

    /// Whether it wanted more descriptors than it can have, and was refused.
    pub fn fds_refused(&self) -> bool {
        self.fds.refused
    }

    /// A context of nobody, with nothing in it, that costs nothing to make.
    pub(crate) fn blank() -> WasiCtx {
        static CLOCK: LazyLock<Arc<dyn Clock>> = LazyLock::new(|| Arc::new(SystemClock));
        WasiCtx {
            args: Strings::default(),
            env: Strings::default(),
            fds: Fds::new(0),
            clock: CLOCK.clone(),
            random: default_random(),
            trace: None,
            on_error: None,
            limits: MemoryLimiter::default(),
            memory: None,
            unwatched_memory: None,
            frame: Frame::default(),
            mode: Mode::Suspend,
            uncharged: 0,
            fuel_owed: 0,
            party: Party::NOBODY,
        }
    }

    /// The most memory the guest has had, in bytes.
    pub fn memory_peak(&self) -> usize {
        self.limits.peak
    }

    /// The limiter of memory, for a store of your own: `store.limiter(|app|
    /// app.wasi.limiter())` makes [`Builder::memory_max`] hold there. A
    /// [`crate::Guest`]'s store has it already.
    pub fn limiter(&mut self) -> &mut MemoryLimiter {
        &mut self.limits
    }
}

impl Builder {
    /// Adds an argument; the first one is the program's name.
    ///
    /// # Errors
    ///
    /// If it contains a NUL.
    pub fn arg(mut self, arg: impl AsRef<[u8]>) -> Result<Builder, BadString> {
        self.args.push(&[arg.as_ref()])?;
        Ok(self)
    }

    /// Adds a variable of the environment.
    ///
    /// # Errors
    ///
    /// If it contains a NUL.
    pub fn env(
        mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<Builder, BadString> {
        self.env.push(&[key.as_ref(), b"=", value.as_ref()])?;
        Ok(self)
    }

    /// The arguments, made before: cheaper for many guests alike.
    pub fn args(mut self, args: Strings) -> Builder {
        self.args = args;
        self
    }

    /// The environment, made before: cheaper for many guests alike.
    pub fn envs(mut self, env: Strings) -> Builder {
        self.env = env;
        self
    }

    /// Standard input; without one it is at its end.
    pub fn stdin(mut self, file: impl File + 'static) -> Builder {
        self.stdio[0] = Some(Box::new(file));
        self
    }

    /// Standard output; without one it is thrown away.
    pub fn stdout(mut self, file: impl File + 'static) -> Builder {
        self.stdio[1] = Some(Box::new(file));
        self
    }

    /// Standard error; without one it is thrown away.
    pub fn stderr(mut self, file: impl File + 'static) -> Builder {
        self.stdio[2] = Some(Box::new(file));
        self
    }

    /// What the guest finds preopened, from descriptor 3 on.
    pub fn namespace(mut self, namespace: Namespace) -> Builder {
        self.namespace = namespace;
        self
    }

    /// A socket preopened behind the directories, for `sock_accept`.
    pub fn socket(mut self, name: &str, file: Box<dyn File>) -> Builder {
        self.sockets.push((name.into(), file));
        self
    }

    /// The clocks the guest sees.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Builder {
        self.clock = clock;
        self
    }

    /// Where its random bytes come from (`random_get`; `/dev/random` has a source of its
    /// own, see [`Dev::random`](crate::vfs::dev::Dev::random)). Unless told otherwise that
    /// is the operating system, or with the feature `os-random` left out nothing: EIO.
    pub fn random(mut self, random: impl Random + 'static) -> Builder {
        self.random = Box::new(random);
        self
    }

    /// Who is told of each call.
    pub fn trace(mut self, trace: impl Trace + 'static) -> Builder {
        self.trace = Some(Box::new(trace));
        self
    }

    /// Who is told of each call that fails, and of no other.
    pub fn on_error(mut self, trace: impl Trace + 'static) -> Builder {
        self.on_error = Some(Box::new(trace));
        self
    }

    /// Bytes of memory (tables included) it can have at the most.
    pub fn memory_max(mut self, bytes: usize) -> Builder {
        self.limits.memory_max = bytes;
        self
    }

    /// What it takes its memory from, together with others.
    pub fn memory_budget(mut self, budget: Arc<MemoryBudget>) -> Builder {
        self.limits.share(budget);
        self
    }

    /// Descriptors it can have open at once.
    pub fn fds_max(mut self, count: usize) -> Builder {
        self.fds_max = count;
        self
    }

    /// What a call does that has to wait; a [`crate::Guest`] sets its own.
    pub fn mode(mut self, mode: Mode) -> Builder {
        self.mode = mode;
        self
    }

    /// Ends the guest, with status 0 and without a word, when it writes to a standard
    /// output whose reader is gone: what SIGPIPE does for a program in a shell pipeline. That is
    /// a matter of the stream, under whatever number the guest has it, and not of what else
    /// it gives the number 1. Otherwise the guest gets EPIPE.
    pub fn exit_on_broken_pipe(mut self) -> Builder {
        self.exit_on_broken_pipe = true;
        self
    }

    /// The context.
    pub fn build(self) -> WasiCtx {
        // The table's own cap is for the guest; what is preopened must fit in any case.
        let preopened = 3 + self.namespace.preopens().len() + self.sockets.len();
        let mut fds = Fds::new(self.fds_max.max(preopened));
        let names =
            [("<stdin>", Access::READ), ("<stdout>", Access::WRITE), ("<stderr>", Access::WRITE)];
        for (file, (path, access)) in self.stdio.into_iter().zip(names) {
            let mut descriptor = match file {
                Some(file) => Descriptor::stream(file, path),
                None => Descriptor::stream(Box::new(Empty), path).only(access),
            };
            descriptor.ends_at_broken_pipe = self.exit_on_broken_pipe && path == "<stdout>";
            fds.insert(descriptor).expect("room was made");
        }
        for preopen in self.namespace.preopens() {
            let opened = crate::vfs::namespace::open_directory(
                &preopen.place,
                Open { read: true, ..Open::default() },
            );
            let descriptor = Descriptor {
                file: super::preopen::file(opened),
                filetype: Filetype::Directory,
                place: Some(preopen.place.clone()),
                offset: 0,
                flags: Fdflags::NONE,
                access: Access::NONE,
                base: Rights::DIRECTORY,
                inheriting: Rights::INHERITING,
                preopen: Some(preopen.name.clone()),
                identity: (0, 0),
                path: preopen.name.to_string().into(),
                ends_at_broken_pipe: false,
            };
            fds.insert(descriptor).expect("room was made");
        }
        // libc looks for directories from 3 up to the first EBADF, so sockets come last.
        for (name, file) in self.sockets {
            fds.insert(Descriptor::stream(file, name)).expect("room was made");
        }
        WasiCtx {
            args: self.args,
            env: self.env,
            fds,
            clock: self.clock,
            random: self.random,
            trace: self.trace,
            on_error: self.on_error,
            limits: self.limits,
            memory: None,
            unwatched_memory: None,
            frame: Frame::default(),
            mode: self.mode,
            uncharged: 0,
            fuel_owed: 0,
            party: Party::new(),
        }
    }
}
