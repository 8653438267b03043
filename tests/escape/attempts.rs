//! Every way to use a path.

use crate::calls::Calls;
use crate::calls::libc::*;

/// A call with a path of the guest's choice.
pub struct Attempt {
    pub what: &'static str,
    pub run: fn(&mut Calls, u32, &[u8]) -> Result,
}

macro_rules! attempts {
    ($($what:literal: $run:expr;)*) => {
        &[$(Attempt { what: $what, run: $run },)*]
    };
}

/// Those that follow a link at the end of the path.
pub const FOLLOWING: &[Attempt] = attempts! {
    "open for nothing": |c, fd, path| c.openat(fd, path, 1, 0, 0, 0).map(drop);
    "open to read": |c, fd, path| c.openat(fd, path, 1, 0, READ, 0).map(drop);
    "open to write": |c, fd, path| c.openat(fd, path, 1, 0, ALL, 0).map(drop);
    "open to append": |c, fd, path| c.openat(fd, path, 1, 0, ALL, APPEND).map(drop);
    "open CREAT": |c, fd, path| c.openat(fd, path, 1, CREAT, ALL, 0).map(drop);
    "open TRUNC": |c, fd, path| c.openat(fd, path, 1, TRUNC, ALL, 0).map(drop);
    "open CREAT TRUNC": |c, fd, path| c.openat(fd, path, 1, CREAT | TRUNC, ALL, 0).map(drop);
    "open DIRECTORY": |c, fd, path| c.openat(fd, path, 1, DIRECTORY, READ, 0).map(drop);
    "filestat_get": |c, fd, path| c.stat(fd, path).map(drop);
    "filestat_set_times": |c, fd, path| c.utimes(fd, path, 1, (1, 1));
    "link from": |c, fd, path| c.link((fd, path), 1, (fd, "a/made"));
};

/// Those that mean the name itself.
pub const NAMING: &[Attempt] = attempts! {
    "open without following": |c, fd, path| c.openat(fd, path, 0, 0, READ, 0).map(drop);
    "open CREAT without following": |c, fd, path| c.openat(fd, path, 0, CREAT, ALL, 0).map(drop);
    "open CREAT EXCL": |c, fd, path| c.openat(fd, path, 1, CREAT | EXCL, ALL, 0).map(drop);
    "filestat_get of the link": |c, fd, path| c.statat(fd, path, 0).map(drop);
    "filestat_set_times of the link": |c, fd, path| c.utimes(fd, path, 0, (1, 1));
    "link from the link": |c, fd, path| c.link((fd, path), 0, (fd, "a/made"));
    "link to": |c, fd, path| c.link((fd, "a/file"), 0, (fd, path));
    "readlink": |c, fd, path| c.readlink(fd, path, 100).map(drop);
    "create_directory": |c, fd, path| c.mkdir(fd, path);
    "remove_directory": |c, fd, path| c.rmdir(fd, path);
    "rename from": |c, fd, path| c.rename((fd, path), (fd, "a/made"));
    "rename to": |c, fd, path| c.rename((fd, "a/file"), (fd, path));
    "symlink at": |c, fd, path| c.symlink("text", fd, path);
    "unlink_file": |c, fd, path| c.unlink(fd, path);
};

pub fn all() -> impl Iterator<Item = &'static Attempt> {
    FOLLOWING.iter().chain(NAMING)
}
