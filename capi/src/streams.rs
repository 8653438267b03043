//! `th_reader`, `th_writer`: the caller's ends of a guest's standard streams.

use tinyhost::vfs::pipe::{Reader, Writer};

use crate::{CLOSED, Fail, OK, Status, bytes, bytes_mut, exclusive, free, put, status};

/// Writes up to `len` bytes and tells how many were taken: TH_AGAIN if it is full,
/// TH_CLOSED if nobody will read.
#[unsafe(no_mangle)]
pub extern "C" fn th_writer_write(
    writer: *mut Writer,
    start: *const u8,
    len: usize,
    written: *mut usize,
) -> Status {
    status(|| {
        put(written, 0)?;
        let n = exclusive(writer)?.write(bytes(start, len)?)?;
        put(written, n)?;
        Ok(OK)
    })
}

/// Closes it, which is the guest's end of input.
#[unsafe(no_mangle)]
pub extern "C" fn th_writer_free(writer: *mut Writer) {
    free(writer);
}

/// Reads up to `len` bytes: TH_AGAIN if there is nothing yet, TH_CLOSED at the end.
#[unsafe(no_mangle)]
pub extern "C" fn th_reader_read(
    reader: *mut Reader,
    start: *mut u8,
    len: usize,
    got: *mut usize,
) -> Status {
    status(|| {
        put(got, 0)?;
        let n = exclusive(reader)?.read(bytes_mut(start, len)?)?;
        put(got, n)?;
        if n == 0 && len > 0 { Err(Fail(CLOSED)) } else { Ok(OK) }
    })
}

/// Closes it: what the guest still writes fails with EPIPE.
#[unsafe(no_mangle)]
pub extern "C" fn th_reader_free(reader: *mut Reader) {
    free(reader);
}
