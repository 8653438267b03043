//! `wasi_snapshot_preview1`: one row per syscall, and the way in.
//!
//! Linker, trace and the exhaustive tests are all derived from [`TABLE`]. A row's function
//! decodes its arguments, checks them against the guest's memory and descriptors, asks the
//! [filesystem](crate::vfs) and encodes the answer; it never calls the system itself.

pub mod abi;
mod ctx;
mod enter;
mod fd;
mod file;
pub(crate) mod frame;
mod limits;
mod mem;
mod open;
mod path;
mod poll;
mod proc;
mod readdir;
mod resume;
mod sock;
mod trace;
mod wait;
#[cfg(all(unix, feature = "net"))]
pub(crate) mod watch;

use wasmi::{Caller, Linker};

use crate::Errno;
use crate::vfs::Interest;
pub use ctx::{BadString, Builder, FDS_DEFAULT, Mode, Strings, WasiCtx};
use enter::enter;
pub use fd::Descriptor;
use frame::On;
pub use frame::{ARGS_MAX, Args};
use limits::BYTES_PER_FUEL;
#[cfg(all(unix, feature = "serve"))]
pub(crate) use limits::Refused;
pub use limits::{Limits, MemoryBudget};
pub use mem::Mem;
pub use poll::SUBSCRIPTIONS_MAX;
pub use resume::{Retried, is_parked, retry};
pub(crate) use resume::{Suspended, run_again};
pub(crate) use trace::join;
pub use trace::{Outcome, Seen, Tee, Trace};
pub(crate) use wait::Waiter;
#[cfg(all(unix, feature = "net"))]
pub(crate) use wait::{left, remaining, sooner};

/// The import module all functions are in.
pub const MODULE: &str = "wasi_snapshot_preview1";

/// Why a call did not end with success.
pub(crate) enum Stop {
    /// The guest is told.
    Errno(Errno),
    /// What it waits for is in the frame; the call is to be run again.
    Park,
    /// The guest gives way to others; the call is to be run again.
    Yield,
    /// The guest has ended itself.
    Exit(u32),
}

impl From<Errno> for Stop {
    fn from(errno: Errno) -> Stop {
        Stop::Errno(errno)
    }
}

/// What a syscall function answers.
pub(crate) type Sys = Result<(), Stop>;

/// A call: the guest's memory, and its context.
pub(crate) struct Call<'a> {
    pub mem: Mem<'a>,
    pub cx: &'a mut WasiCtx,
}

impl Call<'_> {
    /// The one place where blocking and NONBLOCK part: an Again from descriptor `fd`
    /// parks the guest, or is its answer if the descriptor says so.
    pub fn or_park<T>(
        &mut self,
        fd: u32,
        want: Interest,
        answer: Result<T, Errno>,
    ) -> Result<T, Stop> {
        match answer {
            Err(Errno::Again) if !self.cx.fds.any(fd)?.flags.has(abi::Fdflags::NONBLOCK) => {
                self.cx.frame.wait(On::Fd(fd), want);
                Err(Stop::Park)
            }
            other => Ok(other?),
        }
    }

    /// Notes work done for the guest, for which it is charged fuel: a call can take as long as
    /// thousands of instructions, and a slice of fuel must not be hours of calls.
    pub fn worked(&mut self, fuel: u64) {
        self.cx.moved += fuel * BYTES_PER_FUEL;
    }

    /// When this call was first made, in the guest's monotonic ns.
    pub fn start(&mut self) -> u64 {
        let clock = &self.cx.clock;
        *self.cx.frame.start.get_or_insert_with(|| clock.monotonic())
    }
}

/// What a parameter means; its wasm type follows from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A descriptor.
    Fd,
    /// A pointer to where a result goes.
    Out,
    /// A pointer to something else.
    Ptr,
    /// The start of a path; its length is the next parameter.
    Path,
    /// Vectors to read into; their number is the next parameter.
    Iovs,
    /// Vectors to write from; their number is the next parameter.
    Ciovs,
    /// A length or count.
    Size,
    /// A 32-bit number, flags or enumeration.
    U32,
    /// A 64-bit number or flags.
    U64,
    /// A signed 64-bit offset.
    I64,
}

impl Kind {
    /// Whether it is an `i64` in wasm; all others are `i32`.
    pub fn is_wide(self) -> bool {
        matches!(self, Kind::U64 | Kind::I64)
    }
}

/// A parameter, by the spec's name.
#[derive(Debug)]
pub struct Param {
    /// The spec's name.
    pub name: &'static str,
    /// What it means.
    pub kind: Kind,
}

/// A syscall.
pub struct Row {
    /// The spec's name.
    pub name: &'static str,
    /// Its parameters.
    pub params: &'static [Param],
    /// `false` for `proc_exit`, which has no result.
    pub returns: bool,
    /// What it costs in any case, see [`Call::worked`].
    work: u64,
    run: fn(&mut Call<'_>, &[u64]) -> Sys,
}

/// Fuel for any call, and for each path that is walked. A unit of fuel is about a nanosecond.
const CALL_FUEL: u64 = 50;
const PATH_FUEL: u64 = 2000;

const fn work(params: &[Kind]) -> u64 {
    let (mut work, mut at) = (CALL_FUEL * BYTES_PER_FUEL, 0);
    while at < params.len() {
        if matches!(params[at], Kind::Path) {
            work += PATH_FUEL * BYTES_PER_FUEL;
        }
        at += 1;
    }
    work
}

/// A name that is a word of Rust's is written `r#in`.
const fn plain(name: &'static str) -> &'static str {
    match name.as_bytes() {
        [b'r', b'#', ..] => name.split_at(2).1,
        _ => name,
    }
}

/// The Rust type a wasm argument of each [`Kind`] comes in.
macro_rules! wasm {
    (U64) => {
        u64
    };
    (I64) => {
        i64
    };
    ($other:ident) => {
        u32
    };
}

macro_rules! syscalls {
    ($($module:ident :: $name:ident ( $($param:ident : $kind:ident),* ) -> $result:ident;)*) => {
        #[allow(non_camel_case_types, clippy::enum_variant_names)]
        enum Index { $($name,)* }

        /// Every function of preview1.
        pub static TABLE: &[Row] = &[$(Row {
            name: stringify!($name),
            params: &[$(Param { name: plain(stringify!($param)), kind: Kind::$kind },)*],
            returns: syscalls!(@returns $result),
            work: work(&[$(Kind::$kind),*]),
            run: |call, args| {
                let mut _args = args.iter();
                $module::$name(call, $(syscalls!(@decode $kind _args $param),)*)
            },
        },)*];

        /// Adds every function of preview1 to a linker, for guests whose context `get`
        /// finds in the store's data.
        ///
        /// This is for those who own a wasmi `Linker` and `Store`; a [`crate::Program`] has
        /// done it already. A call that has to wait does what the context's [`Mode`] says:
        /// under wasmi's plain `call` it waits in place, under `call_resumable` it hands
        /// control back, and [`retry`] goes on with it.
        ///
        /// ```
        /// use tinyhost::vfs::pipe::Capture;
        /// use tinyhost::wasi::{self, WasiCtx};
        /// use tinyhost::wasmi::{Engine, Linker, Module, Store};
        ///
        /// struct App { wasi: WasiCtx, frames: u64 }
        ///
        /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
        /// let engine = Engine::default();
        /// let module = Module::new(&engine, std::fs::read("fixtures/hello.wasm")?)?;
        /// let mut linker = Linker::new(&engine);
        /// wasi::add_to_linker(&mut linker, |app: &mut App| &mut app.wasi)?;
        ///
        /// let stdout = Capture::new(4096);
        /// let wasi = WasiCtx::builder().stdout(stdout.clone()).build();
        /// let mut store = Store::new(&engine, App { wasi, frames: 0 });
        /// let instance = linker.instantiate_and_start(&mut store, &module)?;
        /// instance.get_typed_func::<(), ()>(&store, "_start")?.call(&mut store, ())?;
        /// assert_eq!(stdout.take(), b"hello, world\n");
        /// # Ok(())
        /// # }
        /// ```
        ///
        /// # Errors
        ///
        /// If one of the names is defined there already.
        pub fn add_to_linker<T: 'static>(
            linker: &mut Linker<T>,
            get: impl Fn(&mut T) -> &mut WasiCtx + Copy + Send + Sync + 'static,
        ) -> Result<(), wasmi::Error> {
            $(syscalls!(@link linker, get, $name($($param: $kind),*) -> $result);)*
            Ok(())
        }
    };
    (@returns errno) => { true };
    (@returns never) => { false };
    (@decode I64 $args:ident $param:ident) => { syscalls!(@next $args).cast_signed() };
    (@decode U64 $args:ident $param:ident) => { syscalls!(@next $args) };
    // What came in as an i32 goes out as one: the upper half was always zero.
    (@decode $kind:ident $args:ident $param:ident) => { (syscalls!(@next $args) & 0xffff_ffff) as u32 };
    (@next $args:ident) => { $args.next().copied().unwrap_or_default() };
    (@raw I64 $param:ident) => { $param.cast_unsigned() };
    (@raw $kind:ident $param:ident) => { u64::from($param) };
    (@link $linker:ident, $get:ident, $name:ident($($param:ident: $kind:ident),*) -> errno) => {
        $linker.func_wrap(MODULE, stringify!($name),
            move |caller: Caller<'_, T>, $($param: wasm!($kind)),*| -> Result<i32, wasmi::Error> {
                enter(caller, $get, Index::$name as usize, &[$(syscalls!(@raw $kind $param)),*])
            })?;
    };
    (@link $linker:ident, $get:ident, $name:ident($($param:ident: $kind:ident),*) -> never) => {
        $linker.func_wrap(MODULE, stringify!($name),
            move |caller: Caller<'_, T>, $($param: wasm!($kind)),*| -> Result<(), wasmi::Error> {
                enter(caller, $get, Index::$name as usize, &[$(syscalls!(@raw $kind $param)),*])
                    .map(drop)
            })?;
    };
}

syscalls! {
    proc::args_get(argv: Out, argv_buf: Out) -> errno;
    proc::args_sizes_get(argc: Out, argv_buf_size: Out) -> errno;
    proc::environ_get(environ: Out, environ_buf: Out) -> errno;
    proc::environ_sizes_get(environc: Out, environ_buf_size: Out) -> errno;
    proc::clock_res_get(id: U32, resolution: Out) -> errno;
    proc::clock_time_get(id: U32, precision: U64, time: Out) -> errno;
    file::fd_advise(fd: Fd, offset: U64, len: U64, advice: U32) -> errno;
    file::fd_allocate(fd: Fd, offset: U64, len: U64) -> errno;
    file::fd_close(fd: Fd) -> errno;
    file::fd_datasync(fd: Fd) -> errno;
    file::fd_fdstat_get(fd: Fd, stat: Out) -> errno;
    file::fd_fdstat_set_flags(fd: Fd, flags: U32) -> errno;
    file::fd_fdstat_set_rights(fd: Fd, fs_rights_base: U64, fs_rights_inheriting: U64) -> errno;
    file::fd_filestat_get(fd: Fd, buf: Out) -> errno;
    file::fd_filestat_set_size(fd: Fd, size: U64) -> errno;
    file::fd_filestat_set_times(fd: Fd, atim: U64, mtim: U64, fst_flags: U32) -> errno;
    file::fd_pread(fd: Fd, iovs: Iovs, iovs_len: Size, offset: U64, nread: Out) -> errno;
    file::fd_prestat_get(fd: Fd, buf: Out) -> errno;
    file::fd_prestat_dir_name(fd: Fd, path: Out, path_len: Size) -> errno;
    file::fd_pwrite(fd: Fd, iovs: Ciovs, iovs_len: Size, offset: U64, nwritten: Out) -> errno;
    file::fd_read(fd: Fd, iovs: Iovs, iovs_len: Size, nread: Out) -> errno;
    readdir::fd_readdir(fd: Fd, buf: Out, buf_len: Size, cookie: U64, bufused: Out) -> errno;
    file::fd_renumber(fd: Fd, to: Fd) -> errno;
    file::fd_seek(fd: Fd, offset: I64, whence: U32, newoffset: Out) -> errno;
    file::fd_sync(fd: Fd) -> errno;
    file::fd_tell(fd: Fd, offset: Out) -> errno;
    file::fd_write(fd: Fd, iovs: Ciovs, iovs_len: Size, nwritten: Out) -> errno;
    path::path_create_directory(fd: Fd, path: Path, path_len: Size) -> errno;
    path::path_filestat_get(fd: Fd, flags: U32, path: Path, path_len: Size, buf: Out) -> errno;
    path::path_filestat_set_times(fd: Fd, flags: U32, path: Path, path_len: Size, atim: U64, mtim: U64, fst_flags: U32) -> errno;
    path::path_link(old_fd: Fd, old_flags: U32, old_path: Path, old_path_len: Size, new_fd: Fd, new_path: Path, new_path_len: Size) -> errno;
    open::path_open(fd: Fd, dirflags: U32, path: Path, path_len: Size, oflags: U32, fs_rights_base: U64, fs_rights_inheriting: U64, fdflags: U32, opened_fd: Out) -> errno;
    path::path_readlink(fd: Fd, path: Path, path_len: Size, buf: Out, buf_len: Size, bufused: Out) -> errno;
    path::path_remove_directory(fd: Fd, path: Path, path_len: Size) -> errno;
    path::path_rename(fd: Fd, old_path: Path, old_path_len: Size, new_fd: Fd, new_path: Path, new_path_len: Size) -> errno;
    path::path_symlink(old_path: Path, old_path_len: Size, fd: Fd, new_path: Path, new_path_len: Size) -> errno;
    path::path_unlink_file(fd: Fd, path: Path, path_len: Size) -> errno;
    poll::poll_oneoff(r#in: Ptr, out: Out, nsubscriptions: Size, nevents: Out) -> errno;
    proc::proc_exit(rval: U32) -> never;
    proc::proc_raise(sig: U32) -> errno;
    proc::sched_yield() -> errno;
    proc::random_get(buf: Out, buf_len: Size) -> errno;
    sock::sock_accept(fd: Fd, flags: U32, result_fd: Out) -> errno;
    sock::sock_recv(fd: Fd, ri_data: Iovs, ri_data_len: Size, ri_flags: U32, ro_datalen: Out, ro_flags: Out) -> errno;
    sock::sock_send(fd: Fd, si_data: Ciovs, si_data_len: Size, si_flags: U32, so_datalen: Out) -> errno;
    sock::sock_shutdown(fd: Fd, how: U32) -> errno;
}
