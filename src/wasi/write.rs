//! `fd_write`, `fd_pwrite` and, by way of the first, `sock_send`.
//!
//! A write that blocks is whole: on a descriptor without NONBLOCK it is complete, or the guest is
//! parked until it is, as with write(2) on Unix. Programs rely on that and ignore the count. A
//! short count means NONBLOCK, a time that is over (`SO_SNDTIMEO`), an error after a part was taken (the next call answers it), or a
//! file that answered 0: it takes no more.
//!
//! How much has been taken is in the frame while the guest waits. The call goes on after it when
//! it is run again, so no byte is written twice. A datagram is one message and is never divided.

use std::io::IoSlice;

use super::abi::{Fdflags, Rights};
use super::fd::{Descriptor, Need};
use super::file::offset_in_range;
use super::mem::IO_BYTES_MAX;
use super::{Call, Stop, Sys};
use crate::errno::Errno;
use crate::vfs::{Filetype, Interest};

/// Parts that a file takes in one run of the call; then other guests have their turn. A file
/// that takes less than it is offered has a reason to take little at once.
const PARTS_MAX: usize = 8;

/// What a call writes, and where.
#[derive(Clone, Copy)]
struct Write {
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    /// The offset of `fd_pwrite`. Without it, the descriptor's own, or the end with APPEND.
    at: Option<u64>,
}

pub(super) fn fd_write(c: &mut Call<'_>, fd: u32, iovs: u32, iovs_len: u32, nwritten: u32) -> Sys {
    write(c, Write { fd, iovs, iovs_len, at: None }, nwritten)
}

pub(super) fn fd_pwrite(
    c: &mut Call<'_>,
    fd: u32,
    iovs: u32,
    iovs_len: u32,
    offset: u64,
    nwritten: u32,
) -> Sys {
    let descriptor = c.cx.fds.positioned(fd, Rights::FD_WRITE)?;
    if !descriptor.base.has(Rights::FD_SEEK) {
        return Err(Errno::Notcapable.into());
    }
    write(c, Write { fd, iovs, iovs_len, at: Some(offset) }, nwritten)
}

/// Nearly every write is taken whole at the first try, and is done here.
#[inline(always)]
fn write(c: &mut Call<'_>, what: Write, nwritten: u32) -> Sys {
    c.vectors(what.iovs_len);
    let descriptor = c.cx.fds.get(what.fd, Need::Any, Rights::FD_WRITE)?;
    c.mem.check(nwritten, 4)?;
    let done = c.cx.frame.progress;
    let (bufs, whole) = c.mem.gather(what.iovs, what.iovs_len, done)?;
    what.at.map_or(Ok(0), offset_in_range)?;
    if u64::from(whole) > IO_BYTES_MAX as u64 && descriptor.filetype == Filetype::SocketDgram {
        return Err(Errno::Msgsize.into());
    }
    let syncs = descriptor.flags & (Fdflags::DSYNC | Fdflags::SYNC) != Fdflags::NONE;
    let answer = descriptor.put(&bufs, what.at, done);
    drop(bufs);
    let taken = match answer {
        Ok(taken) if taken as u64 == u64::from(whole) => {
            c.cx.uncharged += taken as u64;
            whole
        }
        answer => write_rest(c, what, whole, answer)?,
    };
    if syncs {
        let answer = c.cx.fds.any(what.fd)?.sync_if_flagged();
        // The bytes are written: a call that waits for the sync must not write them again.
        c.cx.frame.progress = taken;
        c.park_on_again(what.fd, answer)?;
    }
    Ok(c.mem.put_u32(nwritten, taken)?)
}

/// Offers the rest until all is taken; how much was. `answer` is that of the first offer in this
/// run of the call.
#[cold]
#[inline(never)]
fn write_rest(
    c: &mut Call<'_>,
    what: Write,
    whole: u32,
    mut answer: Result<usize, Errno>,
) -> Result<u32, Stop> {
    let before = c.cx.frame.progress;
    let mut done = before;
    let mut parts = 0;
    loop {
        let descriptor = c.cx.fds.any(what.fd)?;
        let nonblock = descriptor.flags.has(Fdflags::NONBLOCK);
        match answer {
            Ok(taken) => {
                let left = whole.saturating_sub(done);
                let part = u32::try_from(taken).unwrap_or(u32::MAX).min(left);
                done += part;
                c.cx.uncharged += u64::from(part);
                // A file that takes nothing and doesn't say Again would be asked for ever.
                if part == 0 || done == whole || descriptor.filetype == Filetype::SocketDgram {
                    return Ok(done);
                }
            }
            Err(Errno::Again) => {
                return match c.wait_for(what.fd, Interest::WRITE) {
                    Stop::Errno(_) if done > 0 => Ok(done),
                    stop => {
                        c.cx.frame.progress = done;
                        Err(stop)
                    }
                };
            }
            // As SIGPIPE does, whatever was written before.
            Err(Errno::Pipe) if descriptor.ends_at_broken_pipe => return Err(Stop::Exit(0)),
            Err(error) if done == 0 => return Err(error.into()),
            Err(_) => return Ok(done),
        }
        // A socket reports its error once: it is left to the next call, which can return it.
        if descriptor.filetype.is_socket()
            && descriptor.file.ready(Interest::WRITE).is_ok_and(|ready| ready.hangup)
        {
            return Ok(done);
        }
        parts += 1;
        if parts >= PARTS_MAX || (done - before) as usize >= IO_BYTES_MAX {
            if nonblock {
                return Ok(done);
            }
            c.cx.frame.progress = done;
            return Err(Stop::Yield);
        }
        let (bufs, _) = c.mem.gather(what.iovs, what.iovs_len, done)?;
        answer = descriptor.put(&bufs, what.at, done);
    }
}

impl Descriptor {
    /// Writes what comes after the `done` bytes that a call has written before.
    #[inline(always)]
    fn put(&mut self, bufs: &[IoSlice<'_>], at: Option<u64>, done: u32) -> Result<usize, Errno> {
        // An empty datagram is a message as well.
        if bufs.is_empty() && self.filetype != Filetype::SocketDgram {
            return Ok(0);
        }
        if let Some(at) = at {
            // On Linux pwrite appends to a file opened for appending, whatever the offset
            // (pwrite(2), "BUGS"); POSIX and the public testsuite want the offset kept.
            return self.file.write(bufs, at + u64::from(done));
        }
        if self.flags.has(Fdflags::APPEND) {
            let (taken, end) = self.file.append(bufs)?;
            self.offset = end;
            return Ok(taken);
        }
        let taken = self.file.write(bufs, self.offset)?;
        self.offset += taken as u64;
        Ok(taken)
    }

    /// DSYNC and SYNC are the descriptor's, so they work on every backend. Where there is no
    /// disk they mean nothing, as on Unix: what a pipe took it has.
    fn sync_if_flagged(&mut self) -> Result<(), Errno> {
        if matches!(self.filetype, Filetype::RegularFile | Filetype::BlockDevice) {
            self.file.sync(!self.flags.has(Fdflags::SYNC))
        } else {
            Ok(())
        }
    }
}
