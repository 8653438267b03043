//! For each function arguments with which it succeeds, so that one of them can be made
//! wrong at a time.

use std::io::{IoSlice, IoSliceMut};

use tinyhost::WasiCtx;
use tinyhost::vfs::{File, Filetype, Interest, Result, Stat, mem};
use tinyhost::wasi::Kind;

use super::libc::*;
use super::{Calls, mounted, row};

/// Descriptors of the guest that [`guest`] makes.
pub const ROOT: u64 = 3;
pub const SOCKET: u64 = 4;
pub const FILE_FD: u64 = 5;
pub const DIR_FD: u64 = 6;
pub const CLOSED: u64 = 7;

/// An argument.
#[derive(Clone)]
pub enum Arg {
    /// A number.
    N(u64),
    /// A pointer to these bytes.
    In(Vec<u8>),
    /// A pointer to room for as many.
    Out(u32),
}

/// A socket that is always ready.
struct Socket;

impl File for Socket {
    fn stat(&mut self) -> Result<Stat> {
        Ok(Stat::of(Filetype::SocketStream))
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> Result<usize> {
        bufs.iter_mut().for_each(|buf| buf.fill(b'r'));
        Ok(bufs.iter().map(|buf| buf.len()).sum())
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> Result<usize> {
        Ok(bufs.iter().map(|buf| buf.len()).sum())
    }

    fn accept(&mut self) -> Result<Box<dyn File>> {
        Ok(Box::new(Socket))
    }

    fn peek(&mut self, bufs: &mut [IoSliceMut<'_>]) -> Result<usize> {
        self.read(bufs, 0)
    }

    fn shutdown(&mut self, _how: Interest) -> Result<()> {
        Ok(())
    }
}

/// With two arguments and variables, a tree in memory, a socket, an open file and an open
/// directory.
pub fn guest() -> Calls {
    let builder = WasiCtx::builder().arg("program").and_then(|b| b.arg("one"));
    let builder = builder.and_then(|b| b.env("K", "V")).and_then(|b| b.env("LONG", "value"));
    let namespace = mounted(&[("/", &mem::tree(Some(1 << 20)))]);
    let builder = builder.expect("no NUL").namespace(namespace);
    let mut calls = Calls::new(builder.socket("socket", Box::new(Socket)).build());
    calls.make(3, "file", b"0123456789");
    calls.mkdir(3, "dir").expect("mkdir");
    calls.symlink("file", 3, "link").expect("symlink");
    assert_eq!(calls.open(3, "file", 0, ALL).map(u64::from), Ok(FILE_FD));
    assert_eq!(calls.open(3, "dir", DIRECTORY, READ).map(u64::from), Ok(DIR_FD));
    calls.memory().fill(super::UNTOUCHED);
    calls
}

/// Where the buffers of a vector are.
pub const BUFFER: u32 = 0x2000;

/// Two vectors, one of them empty.
pub fn iovecs() -> Vec<u8> {
    [BUFFER, 8, 0, 0].iter().flat_map(|number| number.to_le_bytes()).collect()
}

/// A clock that is due at once, and a descriptor that is ready.
pub fn subscriptions() -> Vec<u8> {
    let mut two = vec![0; 2 * 48];
    two[48 + 8] = 1;
    two[48 + 16] = FILE_FD as u8;
    two
}

/// Arguments with which a function succeeds; `None` for `proc_exit`, which never does.
pub fn arguments(name: &str) -> Option<Vec<Arg>> {
    use Arg::{In, N, Out};
    let path = |text: &str| [In(text.into()), N(text.len() as u64)];
    let vectors = || [In(iovecs()), N(2)];
    let args = match name {
        "args_get" => vec![Out(8), Out(12)],
        "environ_get" => vec![Out(8), Out(15)],
        "args_sizes_get" | "environ_sizes_get" => vec![Out(4), Out(4)],
        "clock_res_get" => vec![N(1), Out(8)],
        "clock_time_get" => vec![N(0), N(1), Out(8)],
        "fd_advise" => vec![N(FILE_FD), N(0), N(1), N(0)],
        "fd_allocate" => vec![N(FILE_FD), N(0), N(20)],
        "fd_close" | "fd_datasync" | "fd_sync" => vec![N(FILE_FD)],
        "fd_fdstat_get" => vec![N(FILE_FD), Out(24)],
        "fd_fdstat_set_flags" => vec![N(FILE_FD), N(APPEND)],
        "fd_fdstat_set_rights" => vec![N(FILE_FD), N(FD_READ), N(0)],
        "fd_filestat_get" => vec![N(FILE_FD), Out(64)],
        "fd_filestat_set_size" => vec![N(FILE_FD), N(5)],
        "fd_filestat_set_times" => vec![N(FILE_FD), N(1), N(2), N(ATIM | MTIM)],
        "fd_pread" | "fd_pwrite" => [&[N(FILE_FD)], &vectors()[..], &[N(1), Out(4)]].concat(),
        "fd_read" | "fd_write" => [&[N(FILE_FD)], &vectors()[..], &[Out(4)]].concat(),
        "fd_prestat_get" => vec![N(ROOT), Out(8)],
        "fd_prestat_dir_name" => vec![N(ROOT), Out(1), N(1)],
        "fd_readdir" => vec![N(ROOT), Out(200), N(200), N(0), Out(4)],
        "fd_renumber" => vec![N(FILE_FD), N(DIR_FD)],
        "fd_seek" => vec![N(FILE_FD), N(3), N(0), Out(8)],
        "fd_tell" => vec![N(FILE_FD), Out(8)],
        "path_create_directory" => [&[N(ROOT)], &path("new")[..]].concat(),
        "path_filestat_get" => [&[N(ROOT), N(1)], &path("file")[..], &[Out(64)]].concat(),
        "path_filestat_set_times" => {
            [&[N(ROOT), N(1)], &path("file")[..], &[N(1), N(2), N(ATIM | MTIM)]].concat()
        }
        "path_link" => [&[N(ROOT), N(1)], &path("file")[..], &[N(ROOT)], &path("new")[..]].concat(),
        "path_open" => {
            let how = [N(CREAT), N(ALL), N(0), N(0), Out(4)];
            [&[N(ROOT), N(1)], &path("new")[..], &how].concat()
        }
        "path_readlink" => [&[N(ROOT)], &path("link")[..], &[Out(4), N(4), Out(4)]].concat(),
        "path_remove_directory" => [&[N(ROOT)], &path("dir")[..]].concat(),
        "path_rename" => [&[N(ROOT)], &path("file")[..], &[N(ROOT)], &path("new")[..]].concat(),
        "path_symlink" => [&path("text")[..], &[N(ROOT)], &path("new")].concat(),
        "path_unlink_file" => [&[N(ROOT)], &path("file")[..]].concat(),
        "poll_oneoff" => vec![In(subscriptions()), Out(64), N(2), Out(4)],
        "proc_raise" => vec![N(0)],
        "sched_yield" => vec![],
        "random_get" => vec![Out(16), N(16)],
        "sock_accept" => vec![N(SOCKET), N(0), Out(4)],
        "sock_recv" => [&[N(SOCKET)], &vectors()[..], &[N(0), Out(4), Out(2)]].concat(),
        "sock_send" => [&[N(SOCKET)], &vectors()[..], &[N(0), Out(4)]].concat(),
        "sock_shutdown" => vec![N(SOCKET), N(3)],
        _ => return None,
    };
    for (param, arg) in row(name).params.iter().zip(&args) {
        let pointer =
            matches!(param.kind, Kind::Out | Kind::Ptr | Kind::Path | Kind::Iovs | Kind::Ciovs);
        assert_eq!(pointer, !matches!(arg, N(_)), "{name} {}", param.name);
    }
    Some(args)
}

/// The arguments as numbers, what they point to laid out in memory; `place` may say
/// where one of them is to point.
pub fn lay_out(
    calls: &mut Calls,
    args: &[Arg],
    place: impl Fn(usize, u32) -> Option<u32>,
) -> Vec<u64> {
    let mut next = 0x400;
    let mut raw = Vec::new();
    for (index, arg) in args.iter().enumerate() {
        let len = match arg {
            Arg::N(number) => {
                raw.push(*number);
                continue;
            }
            Arg::In(bytes) => bytes.len() as u32,
            Arg::Out(len) => *len,
        };
        let at = place(index, len).unwrap_or(next);
        next += 0x200;
        if let Arg::In(bytes) = arg {
            // As much of it as there is memory for.
            let end = super::MEMORY_LEN.saturating_sub(at).min(len) as usize;
            calls.put(at.min(super::MEMORY_LEN), &bytes[..end]);
        }
        raw.push(at.into());
    }
    raw
}

/// The function's answer with these arguments, of which some numbers are replaced.
pub fn answer(calls: &mut Calls, name: &str, replace: &[(usize, u64)]) -> Result<()> {
    let args = arguments(name).expect("it has arguments");
    let mut raw = lay_out(calls, &args, |_, _| None);
    replace.iter().for_each(|(index, value)| raw[*index] = *value);
    calls.call(name, &raw)
}
