//! `th_reader`, `th_writer`: the caller's ends of a guest's standard streams.

use tinyhost::vfs::pipe::{Reader, Writer};

use crate::object::{Object, free, lease};
use crate::{CLOSED, Fail, OK, Status, bytes, bytes_mut, put, status};

pub type CReader = Object<Reader>;
pub type CWriter = Object<Writer>;

/// Writes up to `len` bytes, and stores how many were taken. TH_AGAIN if the pipe is full,
/// TH_CLOSED if the reading end is closed.
#[unsafe(no_mangle)]
pub extern "C" fn th_writer_write(
    writer: *mut CWriter,
    start: *const u8,
    len: usize,
    written: *mut usize,
) -> Status {
    status(|| {
        put(written, 0)?;
        let n = lease(writer)?.write(bytes(start, len)?)?;
        put(written, n)?;
        Ok(OK)
    })
}

/// Closes the pipe, which ends the guest's input.
#[unsafe(no_mangle)]
pub extern "C" fn th_writer_free(writer: *mut CWriter) -> Status {
    free(writer)
}

/// Reads up to `len` bytes, and stores how many. TH_AGAIN if the pipe is empty, TH_CLOSED at the
/// end.
#[unsafe(no_mangle)]
pub extern "C" fn th_reader_read(
    reader: *mut CReader,
    start: *mut u8,
    len: usize,
    got: *mut usize,
) -> Status {
    status(|| {
        put(got, 0)?;
        let n = lease(reader)?.read(bytes_mut(start, len)?)?;
        put(got, n)?;
        if n == 0 && len > 0 { Err(Fail(CLOSED)) } else { Ok(OK) }
    })
}

/// Closes the pipe. The guest's further writes fail with EPIPE.
#[unsafe(no_mangle)]
pub extern "C" fn th_reader_free(reader: *mut CReader) -> Status {
    free(reader)
}
