//! The order of checks: EBADF, ENOTDIR or ENOTSOCK, ENOTCAPABLE, EINVAL, and only then what
//! is in memory.

use tinyhost::Errno;
use tinyhost::wasi::{Kind, Row, TABLE};

use crate::calls::Calls;
use crate::calls::baseline::{CLOSED, DIR_FD, FILE_FD, ROOT, SOCKET, arguments, guest, lay_out};
use crate::calls::libc::*;

/// Every function that has a descriptor, and the index of that.
fn with_descriptor() -> impl Iterator<Item = (&'static Row, usize)> {
    TABLE.iter().flat_map(|row| {
        let is_fd = |(_, param): &(usize, &tinyhost::wasi::Param)| param.kind == Kind::Fd;
        row.params.iter().enumerate().filter(is_fd).map(move |(index, _)| (row, index))
    })
}

/// The worst arguments there are, but for one descriptor.
fn worst(calls: &mut Calls, row: &Row, index: usize, fd: u64) -> Result {
    let mut raw = vec![u64::MAX; row.params.len()];
    // The others of its descriptors are good.
    let good = lay_out(calls, &arguments(row.name).expect("arguments"), |_, _| None);
    for (at, param) in row.params.iter().enumerate().filter(|(_, p)| p.kind == Kind::Fd) {
        assert_eq!(param.kind, Kind::Fd);
        raw[at] = good[at];
    }
    raw[index] = fd;
    calls.call(row.name, &raw)
}

#[test]
fn a_closed_descriptor_comes_first() {
    for (row, index) in with_descriptor() {
        for fd in [CLOSED, 1000, 1 << 20, 1 << 31, u64::from(u32::MAX)] {
            let answer = worst(&mut guest(), row, index, fd);
            assert_eq!(answer, Err(Errno::Badf), "{} {fd:#x}", row.name);
        }
    }
}

#[test]
fn then_the_wrong_kind_of_descriptor() {
    for (row, index) in with_descriptor() {
        let directory = row.name.starts_with("path_") || row.name == "fd_readdir";
        let expected = match row.name {
            _ if directory => Errno::Notdir,
            name if name.starts_with("sock_") => Errno::Notsock,
            _ => continue,
        };
        for fd in [0, 1, 2, FILE_FD, SOCKET] {
            if directory || fd != SOCKET {
                let answer = worst(&mut guest(), row, index, fd);
                assert_eq!(answer, Err(expected), "{} {fd}", row.name);
            }
        }
        if !directory {
            assert_eq!(
                worst(&mut guest(), row, index, DIR_FD),
                Err(Errno::Notsock),
                "{}",
                row.name
            );
            // A program that was given no files takes 3 for closed.
            assert_eq!(worst(&mut guest(), row, index, ROOT), Err(Errno::Badf), "{}", row.name);
        }
    }
}

/// What needs no right.
const FREE: [&str; 5] =
    ["fd_close", "fd_renumber", "fd_fdstat_get", "fd_prestat_get", "fd_prestat_dir_name"];

#[test]
fn then_rights_that_are_missing() {
    for (row, index) in with_descriptor().filter(|(row, _)| !FREE.contains(&row.name)) {
        let calls = &mut guest();
        let args = lay_out(calls, &arguments(row.name).expect("arguments"), |_, _| None);
        let fd = args[index];
        calls.call("fd_fdstat_set_rights", &[fd, 0, 0]).expect("rights can be given up");
        let answer = worst(calls, row, index, fd);
        assert_eq!(answer, Err(Errno::Notcapable), "{}", row.name);
    }
}

#[test]
fn then_arguments_and_memory_last() {
    for (row, index) in with_descriptor() {
        let calls = &mut guest();
        let good = lay_out(calls, &arguments(row.name).expect("arguments"), |_, _| None);
        let answer = worst(calls, row, index, good[index]);
        let expected = match row.name {
            "fd_close" | "fd_sync" | "fd_datasync" => Ok(()),
            "fd_allocate" => Err(Errno::Fbig),
            // The spec: rights that were not there can't be set.
            "fd_fdstat_set_rights" => Err(Errno::Notcapable),
            "fd_renumber" => Ok(()),
            // Their arguments are pointers and lengths only; a vector's count comes second.
            "fd_fdstat_get"
            | "fd_filestat_get"
            | "fd_prestat_get"
            | "fd_prestat_dir_name"
            | "fd_tell"
            | "fd_readdir" => Err(Errno::Fault),
            "fd_read" | "fd_write" | "fd_pread" | "fd_pwrite" => Err(Errno::Fault),
            "path_create_directory"
            | "path_readlink"
            | "path_remove_directory"
            | "path_rename"
            | "path_symlink"
            | "path_unlink_file" => Err(Errno::Fault),
            _ => Err(Errno::Inval),
        };
        assert_eq!(answer, expected, "{}", row.name);
    }
}

#[test]
fn rights_can_be_given_up_and_not_regained() {
    let mut calls = guest();
    let set = |calls: &mut Calls, base: u64, inheriting: u64| {
        calls.call("fd_fdstat_set_rights", &[FILE_FD, base, inheriting])
    };
    assert_eq!(set(&mut calls, FD_READ | FD_SEEK, 0), Ok(()));
    assert_eq!(set(&mut calls, FD_READ | FD_WRITE, 0), Err(Errno::Notcapable));
    assert_eq!(set(&mut calls, FD_READ, 1), Err(Errno::Notcapable));
    assert_eq!(set(&mut calls, FD_READ | 1 << 30, 0), Err(Errno::Notcapable));
    assert_eq!(calls.write(FILE_FD as u32, b"x"), Err(Errno::Notcapable));
    assert_eq!(calls.read(FILE_FD as u32, 3).as_deref(), Ok(&b"012"[..]));
    // What a directory may not hand on, nothing opened through it has.
    let dir = [ROOT, ALL & READ & !FD_READ & !FD_SEEK & !0x20, FD_READ | FD_SEEK];
    let base = fdstat(&mut calls, ROOT).0;
    calls.call("fd_fdstat_set_rights", &[ROOT, base, dir[2]]).expect("fewer");
    let fd = calls.open(ROOT as u32, "file", 0, ALL).expect("open");
    assert_eq!(fdstat(&mut calls, fd.into()).0, FD_READ | FD_SEEK);
    assert_eq!(calls.write(fd, b"x"), Err(Errno::Notcapable));
}

/// Rights and inheriting rights of a descriptor.
fn fdstat(calls: &mut Calls, fd: u64) -> (u64, u64) {
    let out = crate::calls::OUT;
    calls.call("fd_fdstat_get", &[fd, out.into()]).expect("fdstat");
    (calls.u64_at(out + 8), calls.u64_at(out + 16))
}
