//! Every function of preview1, a row each. Linker, trace and the exhaustive tests follow from it.
//!
//! The socket calls that other hosts have added under the same module name are a table of their own
//! ([`SOCKETS`](super::SOCKETS)), made in the same way.

use wasmi::{Caller, Linker};

use super::enter::enter;
use super::syscall::{Kind, Param, Row, plain, work};
use super::{MODULE, WasiCtx, file, open, path, poll, proc, readdir, sock, write};

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
        pub static TABLE: &[Row] = &[$(
            syscalls!(@row $module, $name as $name ($($param : $kind),*) -> $result),
        )*];

        /// Adds every function of preview1 to a linker, for guests whose context `get`
        /// finds in the store's data. The socket calls of other hosts are not among them: a linker
        /// has one function of a name, and which of theirs it has to be depends on the module
        /// (`add_sockets_to_linker`).
        ///
        /// Use this with your own wasmi `Linker` and `Store`. A [`Program`](crate::Program) does it
        /// itself. The context's [`Mode`](super::Mode) decides what a call that has to wait does: block the
        /// thread, or return to the caller of `call_resumable`, which continues with [`retry`](super::retry).
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
            $(syscalls!(
                @link linker, get, TABLE, stringify!($name), $name($($param: $kind),*) -> $result
            );)*
            Ok(())
        }
    };
    // Imported as `$name`; `$own` is the function, and tells rows of one name apart.
    (@row $module:ident, $own:ident as $name:ident ($($param:ident : $kind:ident),*) -> $result:ident) => {
        Row {
            name: stringify!($name),
            params: &[$(Param { name: plain(stringify!($param)), kind: Kind::$kind },)*],
            returns: syscalls!(@returns $result),
            work: work(&[$(Kind::$kind),*]),
            run: |call, args| {
                let mut _args = args.iter();
                $module::$own(call, $(syscalls!(@decode $kind _args $param),)*)
            },
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
    (@link $linker:ident, $get:ident, $table:ident, $import:expr, $own:ident($($param:ident: $kind:ident),*) -> errno) => {
        $linker.func_wrap(MODULE, $import,
            move |caller: Caller<'_, T>, $($param: wasm!($kind)),*| -> Result<i32, wasmi::Error> {
                enter(caller, $get, &$table[Index::$own as usize], &[$(syscalls!(@raw $kind $param)),*])
            })?;
    };
    (@link $linker:ident, $get:ident, $table:ident, $import:expr, $own:ident($($param:ident: $kind:ident),*) -> never) => {
        $linker.func_wrap(MODULE, $import,
            move |caller: Caller<'_, T>, $($param: wasm!($kind)),*| -> Result<(), wasmi::Error> {
                enter(caller, $get, &$table[Index::$own as usize], &[$(syscalls!(@raw $kind $param)),*])
                    .map(drop)
            })?;
    };
}

#[cfg(all(unix, feature = "sockets"))]
pub(super) use {syscalls, wasm};

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
    write::fd_pwrite(fd: Fd, iovs: Ciovs, iovs_len: Size, offset: U64, nwritten: Out) -> errno;
    file::fd_read(fd: Fd, iovs: Iovs, iovs_len: Size, nread: Out) -> errno;
    readdir::fd_readdir(fd: Fd, buf: Out, buf_len: Size, cookie: U64, bufused: Out) -> errno;
    file::fd_renumber(fd: Fd, to: Fd) -> errno;
    file::fd_seek(fd: Fd, offset: I64, whence: U32, newoffset: Out) -> errno;
    file::fd_sync(fd: Fd) -> errno;
    file::fd_tell(fd: Fd, offset: Out) -> errno;
    write::fd_write(fd: Fd, iovs: Ciovs, iovs_len: Size, nwritten: Out) -> errno;
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
