//! The context of a guest: what it is given, and the host's state of it between calls.

use std::fmt;
use std::sync::{Arc, LazyLock};

use wasmi::Memory;

use super::abi::{Fdflags, Rights};
use super::fd::{Descriptor, Fds};
use super::frame::{Frame, WaitTarget};
use super::limits::{MemoryBudget, MemoryLimiter};
use super::trace::Trace;
use crate::clock::{Clock, SystemClock};
use crate::errno::Errno;
use crate::random::{Random, default_random};
use crate::vfs::charge::{self, Party};
use crate::vfs::stat::STREAMS;
use crate::vfs::stdio::{Empty, Preceded};
use crate::vfs::{Access, File, Filetype, Interest, Namespace, Open};
#[cfg(all(unix, feature = "sockets"))]
use crate::vfs::{Node, dev::Dev, net::Net};

/// The network of a node, if that is a `/dev` with one.
#[cfg(all(unix, feature = "sockets"))]
fn network_of(node: &dyn Node) -> Option<&Net> {
    let node: &dyn std::any::Any = node;
    node.downcast_ref::<Dev>()?.net()
}

/// Identities of two standard streams: a table numbers its streams, and they come first.
const STDIN: (u64, u64) = (STREAMS, 1);
const STDOUT: (u64, u64) = (STREAMS, 2);

/// The namespace of a guest that has ended.
static NO_FILES: LazyLock<Namespace> = LazyLock::new(Namespace::default);

/// Descriptors that a guest can have open by default.
pub const FDS_DEFAULT: usize = 1024;

/// The WASI state of one guest: arguments, environment, descriptors, clocks, limits. It lives in
/// the data of the guest's store.
///
/// A context serves one instance, whose memory it remembers. Don't use it for a second one.
pub struct WasiCtx {
    pub(crate) args: Strings,
    pub(crate) env: Strings,
    pub(crate) fds: Fds,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Box<dyn Random>,
    pub(crate) trace: Option<Box<dyn Trace>>,
    /// Sees failing calls only, so that the others stay on the fast path.
    pub(crate) on_error: Option<Box<dyn Trace>>,
    pub(crate) limits: MemoryLimiter,
    pub(crate) memory: Option<Memory>,
    /// The memory once more, if no trace watches the calls. Its presence selects the fast path.
    pub(crate) unwatched_memory: Option<Memory>,
    pub(crate) frame: Frame,
    pub(crate) mode: Mode,
    /// Work of calls that has not been charged yet, in bytes moved or work that takes as long.
    pub(crate) uncharged: u64,
    /// Fuel used beyond what the store had.
    pub(crate) fuel_owed: u64,
    /// The guest's share of what many guests share.
    pub(crate) party: Party,
    /// Its files. The network of its `/dev` is that of its sockets, too.
    pub(crate) namespace: Namespace,
}

/// What a call that has to wait does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Blocks the thread until it can proceed. For guests run with wasmi's `call`.
    InPlace,
    /// Returns a host error, see [`is_parked`](super::is_parked). For guests run with wasmi's
    /// `call_resumable`.
    Suspend,
}

/// A list of NUL-terminated strings, laid out as `args_get` and `environ_get` return them. Cheap to
/// clone.
#[derive(Clone, Default, Debug)]
pub struct Strings {
    /// An empty list allocates nothing.
    bytes: Option<Arc<Vec<u8>>>,
    pub(crate) count: u32,
}

impl Strings {
    /// Appends the concatenation of `text` as one string.
    ///
    /// # Errors
    ///
    /// If the string contains a NUL byte, or the list no longer fits the memory of a guest.
    pub fn push(&mut self, text: &[&[u8]]) -> Result<(), BadString> {
        let len: usize = text.iter().map(|part| part.len()).sum();
        let fits = u32::try_from(self.bytes().len() + len + 1).is_ok() && self.count < u32::MAX;
        if !fits || text.iter().any(|part| part.contains(&0)) {
            return Err(BadString(String::from_utf8_lossy(&text.concat()).into_owned()));
        }
        let bytes = Arc::make_mut(self.bytes.get_or_insert_default());
        text.iter().for_each(|part| bytes.extend_from_slice(part));
        bytes.push(0);
        self.count += 1;
        Ok(())
    }

    /// All of them, each with its NUL.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.bytes.as_deref().map_or(&[], Vec::as_slice)
    }
}

#[cfg(all(unix, feature = "serve"))]
impl Strings {
    /// The arguments of a program, of which its name is the first.
    pub(crate) fn arguments(name: &str, args: &[String]) -> Result<Strings, BadString> {
        let mut strings = Strings::default();
        strings.push(&[name.as_bytes()])?;
        args.iter().try_for_each(|arg| strings.push(&[arg.as_bytes()]))?;
        Ok(strings)
    }

    /// An environment.
    pub(crate) fn environment(variables: &[(String, String)]) -> Result<Strings, BadString> {
        let mut strings = Strings::default();
        for (key, value) in variables {
            strings.push(&[key.as_bytes(), b"=", value.as_bytes()])?;
        }
        Ok(strings)
    }

    /// Appends another list. Both together must fit the memory of a guest.
    pub(crate) fn append(&mut self, others: &Strings) {
        if others.count > 0 {
            Arc::make_mut(self.bytes.get_or_insert_default()).extend_from_slice(others.bytes());
            self.count += others.count;
        }
    }
}

/// The error for an argument or variable that contains a NUL byte. Holds the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadString(pub String);

impl fmt::Display for BadString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "argument or variable {:?} contains a NUL byte: leave it out", self.0)
    }
}

impl std::error::Error for BadString {}

/// Builds a [`WasiCtx`].
pub struct CtxBuilder {
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
    /// Starts from a context without arguments, environment and files. Its standard input is at
    /// its end, and its standard output and error discard what is written.
    pub fn builder() -> CtxBuilder {
        CtxBuilder {
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

    /// The calls of this thread are this guest's from here on.
    pub(crate) fn serve(&self) {
        charge::serve(self.party);
        if self.party.ends.is_some() {
            charge::set_environ(self.env.bytes.clone());
        }
    }

    /// Closes every file, including one that is being opened.
    pub(crate) fn close(&mut self) {
        self.fds.close_all();
        self.frame = Frame::default();
        // Its listeners end with it.
        if !self.namespace.is_as_new() {
            self.namespace = NO_FILES.clone();
        }
    }

    /// The network that was mounted for the guest.
    ///
    /// # Errors
    ///
    /// EACCES if it has none.
    #[cfg(all(unix, feature = "sockets"))]
    pub(crate) fn network(&self) -> Result<Net, Errno> {
        let mut nodes = self.namespace.preopens().iter().map(|preopen| &preopen.place.node);
        nodes.find_map(|node| network_of(&**node)).cloned().ok_or(Errno::Acces)
    }

    /// Whether the call under way waits for nothing but standard input, by whatever number. A time
    /// at which it ends in any case is nothing else to wait for.
    pub(crate) fn waits_for_stdin(&self) -> bool {
        let [(WaitTarget::Fd(fd), Interest::READ)] = self.frame.waits[..] else { return false };
        self.fds.at(fd).is_some_and(|descriptor| descriptor.identity == STDIN)
    }

    /// Makes it that of a guest that waits for standard input, if there is nothing to be read yet.
    /// Answers whether it waits.
    pub(crate) fn wait_for_stdin(&mut self) -> bool {
        self.frame.prepare_rerun();
        for (fd, _) in self.fds.keys() {
            let Ok(descriptor) = self.fds.any(fd) else { continue };
            if descriptor.identity == STDIN {
                let waits = matches!(descriptor.file.ready(Interest::READ), Err(Errno::Again));
                if waits {
                    self.frame.wait(WaitTarget::Fd(fd), Interest::READ);
                }
                return waits;
            }
        }
        false
    }

    /// Writes to standard output what comes before all that the guest writes.
    pub(crate) fn precede_stdout(&mut self, bytes: &[u8]) {
        for (fd, _) in self.fds.keys() {
            let Ok(descriptor) = self.fds.any(fd) else { continue };
            if descriptor.identity == STDOUT {
                let file = std::mem::replace(&mut descriptor.file, Box::new(Empty));
                descriptor.file = Box::new(Preceded::new(file, bytes));
                return;
            }
        }
    }

    /// The trace of type `T` set with [`CtxBuilder::trace`], alone or in a [`Tee`](super::Tee), or
    /// with [`CtxBuilder::on_error`].
    pub fn trace<T: Trace>(&self) -> Option<&T> {
        let given = [&self.trace, &self.on_error];
        given.into_iter().flatten().find_map(|trace| super::trace::find(&**trace))
    }

    /// The open descriptors with their numbers. For reports.
    pub fn descriptors(&self) -> impl Iterator<Item = (usize, &Descriptor)> {
        self.fds.iter()
    }

    /// Whether the guest was refused memory.
    pub fn memory_refused(&self) -> bool {
        self.limits.refused.is_some()
    }

    /// Whether the guest was refused a descriptor.
    pub fn fds_refused(&self) -> bool {
        self.fds.refused
    }

    /// An empty context for an idle instance. Making it allocates nothing.
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
            namespace: NO_FILES.clone(),
        }
    }

    /// The most memory the guest has had at once, in bytes.
    pub fn memory_peak(&self) -> usize {
        self.limits.peak
    }

    /// The limiter for your own store: `store.limiter(|app| app.wasi.limiter())` enforces
    /// [`CtxBuilder::memory_max`] there. The store of a [`Guest`](crate::Guest) already has it.
    pub fn limiter(&mut self) -> &mut MemoryLimiter {
        &mut self.limits
    }
}

impl CtxBuilder {
    /// Adds an argument. The first one is the program's name.
    ///
    /// # Errors
    ///
    /// If it contains a NUL byte.
    pub fn arg(mut self, arg: impl AsRef<[u8]>) -> Result<CtxBuilder, BadString> {
        self.args.push(&[arg.as_ref()])?;
        Ok(self)
    }

    /// Adds an environment variable.
    ///
    /// # Errors
    ///
    /// If it contains a NUL byte.
    pub fn env(
        mut self,
        key: impl AsRef<[u8]>,
        value: impl AsRef<[u8]>,
    ) -> Result<CtxBuilder, BadString> {
        self.env.push(&[key.as_ref(), b"=", value.as_ref()])?;
        Ok(self)
    }

    /// Sets all arguments. Cheaper than [`arg`](CtxBuilder::arg) for many guests with the same ones.
    pub fn args(mut self, args: Strings) -> CtxBuilder {
        self.args = args;
        self
    }

    /// Sets the environment. Cheaper than [`env`](CtxBuilder::env) for many guests with the same one.
    pub fn envs(mut self, env: Strings) -> CtxBuilder {
        self.env = env;
        self
    }

    /// Sets standard input. By default it is at its end.
    pub fn stdin(mut self, file: impl File + 'static) -> CtxBuilder {
        self.stdio[0] = Some(Box::new(file));
        self
    }

    /// Sets standard output. By default what is written is discarded.
    pub fn stdout(mut self, file: impl File + 'static) -> CtxBuilder {
        self.stdio[1] = Some(Box::new(file));
        self
    }

    /// Sets standard error. By default what is written is discarded.
    pub fn stderr(mut self, file: impl File + 'static) -> CtxBuilder {
        self.stdio[2] = Some(Box::new(file));
        self
    }

    /// Sets the files the guest sees. Its mount points are preopened from descriptor 3 on.
    pub fn namespace(mut self, namespace: Namespace) -> CtxBuilder {
        self.namespace = namespace;
        self
    }

    /// Adds a socket, preopened after the directories, for `sock_accept`.
    pub fn socket(mut self, name: &str, file: Box<dyn File>) -> CtxBuilder {
        self.sockets.push((name.into(), file));
        self
    }

    /// Sets the clocks the guest sees. By default [`SystemClock`].
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> CtxBuilder {
        self.clock = clock;
        self
    }

    /// Sets the source of `random_get`. By default that is the operating system. Without the
    /// feature `os-random` there is no default, and `random_get` fails with EIO. `/dev/random` has
    /// its own source, see [`Dev::random`](crate::vfs::dev::Dev::random).
    pub fn random(mut self, random: impl Random + 'static) -> CtxBuilder {
        self.random = Box::new(random);
        self
    }

    /// Sets a trace, which sees each call of the guest.
    pub fn trace(mut self, trace: impl Trace + 'static) -> CtxBuilder {
        self.trace = Some(Box::new(trace));
        self
    }

    /// Sets a trace that sees only the calls that fail. The other calls cost no more for it.
    pub fn on_error(mut self, trace: impl Trace + 'static) -> CtxBuilder {
        self.on_error = Some(Box::new(trace));
        self
    }

    /// Limits memory and tables together, in bytes. Beyond it the guest's `memory.grow` fails.
    pub fn memory_max(mut self, bytes: usize) -> CtxBuilder {
        self.limits.memory_max = bytes;
        self
    }

    /// Sets a budget of memory that the guest shares with others.
    pub fn memory_budget(mut self, budget: Arc<MemoryBudget>) -> CtxBuilder {
        self.limits.share(budget);
        self
    }

    /// Limits open descriptors. Beyond it opening fails with EMFILE. By default
    /// [`FDS_DEFAULT`]; preopened files always fit.
    pub fn fds_max(mut self, count: usize) -> CtxBuilder {
        self.fds_max = count;
        self
    }

    /// Sets what a call that has to wait does. A [`Guest`](crate::Guest) sets this itself.
    pub fn mode(mut self, mode: Mode) -> CtxBuilder {
        self.mode = mode;
        self
    }

    /// Ends the guest with status 0 when it writes to standard output and the reader is gone, as
    /// SIGPIPE ends a program in a shell pipeline. This belongs to the stream and not to the number
    /// 1: it follows the stream through `fd_renumber`. By default the write fails with EPIPE.
    pub fn exit_on_broken_pipe(mut self) -> CtxBuilder {
        self.exit_on_broken_pipe = true;
        self
    }

    /// Builds the context.
    pub fn build(self) -> WasiCtx {
        // What is opened here is opened for no guest yet.
        charge::serve(Party::NOBODY);
        // The table's own cap is for the guest; what is preopened must fit in any case.
        let preopened = 3 + self.namespace.preopens().len() + self.sockets.len();
        let mut fds = Fds::new(self.fds_max.max(preopened));
        let names =
            [("<stdin>", Access::READ), ("<stdout>", Access::WRITE), ("<stderr>", Access::WRITE)];
        for (number, (file, (path, access))) in self.stdio.into_iter().zip(names).enumerate() {
            let mut descriptor = match file {
                Some(file) => Descriptor::stream(file, path),
                None => Descriptor::stream(Box::new(Empty), path).only(access),
            };
            descriptor.ends_at_broken_pipe = self.exit_on_broken_pipe && number == 1;
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
            namespace: self.namespace,
        }
    }
}
