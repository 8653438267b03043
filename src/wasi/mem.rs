//! Guest memory, through checked accesses only.
//!
//! Every pointer and length comes from the guest; whatever does not lie wholly within its
//! memory is EFAULT, and nothing is touched.

use std::io::{IoSlice, IoSliceMut};

use smallvec::{SmallVec, smallvec};

use super::abi::IOVEC_SIZE;
use crate::errno::Errno;

/// Vectors in one call; `IOV_MAX` of Linux, EINVAL beyond, as readv(2) answers.
pub const IOVECS_MAX: u32 = 1024;

/// Bytes moved in one go at the most: more is a short count of a reading call, and a writing call
/// gives way before it goes on. Keeps one call of one guest from holding up all others.
pub const IO_BYTES_MAX: usize = 16 << 20;

/// The linear memory of the calling guest.
pub struct Mem<'a>(pub(crate) &'a mut [u8]);

/// The buffers of a scatter or gather call, without allocation for the usual few.
pub type Bufs<T> = SmallVec<[T; 4]>;

fn range(ptr: u32, len: u32) -> Result<std::ops::Range<usize>, Errno> {
    let start = usize::try_from(ptr).map_err(|_| Errno::Fault)?;
    let len = usize::try_from(len).map_err(|_| Errno::Fault)?;
    Ok(start..start.checked_add(len).ok_or(Errno::Fault)?)
}

impl Mem<'_> {
    /// All of it.
    pub fn all(&self) -> &[u8] {
        self.0
    }

    /// `len` bytes at `ptr`.
    pub fn bytes(&self, ptr: u32, len: u32) -> Result<&[u8], Errno> {
        self.0.get(range(ptr, len)?).ok_or(Errno::Fault)
    }

    /// `len` bytes at `ptr`, to be written.
    pub fn bytes_mut(&mut self, ptr: u32, len: u32) -> Result<&mut [u8], Errno> {
        self.0.get_mut(range(ptr, len)?).ok_or(Errno::Fault)
    }

    /// A record of a size known at compile time.
    pub fn array<const N: usize>(&self, ptr: u32) -> Result<&[u8; N], Errno> {
        let start = usize::try_from(ptr).map_err(|_| Errno::Fault)?;
        self.0.get(start..).and_then(<[u8]>::first_chunk).ok_or(Errno::Fault)
    }

    /// Writes a record.
    pub fn put<const N: usize>(&mut self, ptr: u32, record: [u8; N]) -> Result<(), Errno> {
        let start = usize::try_from(ptr).map_err(|_| Errno::Fault)?;
        let place = self.0.get_mut(start..).and_then(<[u8]>::first_chunk_mut);
        *place.ok_or(Errno::Fault)? = record;
        Ok(())
    }

    /// Writes a `size` or pointer.
    pub fn put_u32(&mut self, ptr: u32, value: u32) -> Result<(), Errno> {
        self.put(ptr, value.to_le_bytes())
    }

    /// Writes a `timestamp` or `filesize`.
    pub fn put_u64(&mut self, ptr: u32, value: u64) -> Result<(), Errno> {
        self.put(ptr, value.to_le_bytes())
    }

    /// Makes sure that a result of `len` bytes will fit, before anything is done that
    /// would be lost if it did not.
    pub fn check(&self, ptr: u32, len: u32) -> Result<(), Errno> {
        self.bytes(ptr, len).map(drop)
    }

    /// Text, such as a path; EILSEQ if it is not UTF-8.
    pub fn text(&self, ptr: u32, len: u32) -> Result<&str, Errno> {
        std::str::from_utf8(self.bytes(ptr, len)?).map_err(|_| Errno::Ilseq)
    }

    /// Gives `each` place and length of the vectors, all of them checked, without their first
    /// `skip` bytes, empty ones left out, cut at `IO_BYTES_MAX`. Answers how many bytes all of
    /// them have.
    #[inline]
    fn iovecs(
        &self,
        iovs: u32,
        len: u32,
        mut skip: usize,
        mut each: impl FnMut(usize, usize),
    ) -> Result<u64, Errno> {
        if len > IOVECS_MAX {
            return Err(Errno::Inval);
        }
        let records = usize::try_from(len).map_err(|_| Errno::Inval)? * IOVEC_SIZE;
        let records = u32::try_from(records).map_err(|_| Errno::Inval)?;
        let mut room = IO_BYTES_MAX;
        let mut whole = 0;
        for record in self.bytes(iovs, records)?.as_chunks::<IOVEC_SIZE>().0 {
            let [a, b, c, d, e, f, g, h] = *record;
            let range = range(u32::from_le_bytes([a, b, c, d]), u32::from_le_bytes([e, f, g, h]))?;
            if range.end > self.0.len() {
                return Err(Errno::Fault);
            }
            whole += range.len() as u64;
            let skipped = range.len().min(skip);
            skip -= skipped;
            let len = (range.len() - skipped).min(room);
            if len > 0 {
                each(range.start + skipped, len);
                room -= len;
            }
        }
        Ok(whole)
    }

    /// The buffers of a writing call that has written `done` bytes already, at most
    /// `IO_BYTES_MAX` of them, and how many bytes it writes in all. More than can be counted
    /// is EINVAL, as writev(2) answers.
    #[inline]
    pub fn gather(
        &self,
        iovs: u32,
        len: u32,
        done: u32,
    ) -> Result<(Bufs<IoSlice<'_>>, u32), Errno> {
        let mut bufs = Bufs::new();
        let skip = usize::try_from(done).map_err(|_| Errno::Inval)?;
        let each = |at, len| bufs.push(IoSlice::new(&self.0[at..at + len]));
        let whole = self.iovecs(iovs, len, skip, each)?;
        let whole = u32::try_from(whole).map_err(|_| Errno::Inval)?;
        Ok((bufs, whole))
    }

    /// The buffers of a reading call, in the guest's order. Where buffers overlap, only
    /// those before the first overlap are given: reading less than was asked is always
    /// allowed, and no two of them may alias.
    pub fn scatter(&mut self, iovs: u32, len: u32) -> Result<Bufs<IoSliceMut<'_>>, Errno> {
        let mut wanted = Bufs::<(usize, usize)>::new();
        self.iovecs(iovs, len, 0, |at, len| wanted.push((at, len)))?;
        if let [(at, len)] = wanted[..] {
            return Ok(smallvec![IoSliceMut::new(&mut self.0[at..at + len])]);
        }
        wanted.truncate(before_overlap(&wanted));
        Ok(split(self.0, &wanted))
    }
}

/// How many ranges there are before the first that overlaps one before it. A guest chooses them,
/// so it is not tried with each pair of them.
fn before_overlap(wanted: &[(usize, usize)]) -> usize {
    let mut by_address: Bufs<usize> = (0..wanted.len()).collect();
    by_address.sort_unstable_by_key(|&i| wanted[i].0);
    let disjoint = |count: usize| {
        let mut end = 0;
        by_address.iter().filter(|&&i| i < count).all(|&i| {
            let (at, len) = wanted[i];
            at >= std::mem::replace(&mut end, at + len)
        })
    };
    if disjoint(wanted.len()) {
        return wanted.len();
    }
    let mut clean = 0;
    let mut not = wanted.len();
    while clean + 1 < not {
        let middle = usize::midpoint(clean, not);
        if disjoint(middle) { clean = middle } else { not = middle }
    }
    clean
}

/// Disjoint ranges of `memory`, as slices in the order of `wanted`.
fn split<'m>(memory: &'m mut [u8], wanted: &[(usize, usize)]) -> Bufs<IoSliceMut<'m>> {
    let mut by_address: Bufs<usize> = (0..wanted.len()).collect();
    by_address.sort_unstable_by_key(|&i| wanted[i].0);
    let mut slices: Bufs<Option<IoSliceMut<'m>>> = wanted.iter().map(|_| None).collect();
    let mut rest = memory;
    let mut consumed = 0;
    for i in by_address {
        let (at, len) = wanted[i];
        let (_, from_here) = std::mem::take(&mut rest).split_at_mut(at - consumed);
        let (slice, behind) = from_here.split_at_mut(len);
        slices[i] = Some(IoSliceMut::new(slice));
        rest = behind;
        consumed = at + len;
    }
    slices.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A memory of 64 bytes with the given iovecs at 0.
    fn memory(iovs: &[(u32, u32)]) -> Vec<u8> {
        let mut bytes: Vec<u8> =
            iovs.iter().flat_map(|(p, l)| [p.to_le_bytes(), l.to_le_bytes()].concat()).collect();
        bytes.resize(64, 0);
        bytes
    }

    #[test]
    fn the_last_byte_is_in_and_the_next_is_out() {
        let mut bytes = [0; 64];
        let mut mem = Mem(&mut bytes);
        assert!(mem.bytes(63, 1).is_ok());
        assert_eq!(mem.bytes(63, 2), Err(Errno::Fault));
        assert_eq!(mem.bytes(64, 0), Ok(&[][..]));
        assert_eq!(mem.bytes(65, 0), Err(Errno::Fault));
        assert_eq!(mem.bytes(u32::MAX, u32::MAX), Err(Errno::Fault));
        assert!(mem.put_u32(60, 1).is_ok());
        assert_eq!(mem.put_u32(61, 1), Err(Errno::Fault));
        assert_eq!(mem.array::<8>(57), Err(Errno::Fault));
    }

    #[test]
    fn scatter_keeps_the_guests_order() {
        let mut bytes = memory(&[(40, 2), (0, 0), (30, 3), (50, 1)]);
        let mut mem = Mem(&mut bytes);
        let mut bufs = mem.scatter(0, 4).unwrap();
        assert_eq!(bufs.iter().map(|b| b.len()).collect::<Vec<_>>(), [2, 3, 1]);
        for (i, buf) in bufs.iter_mut().enumerate() {
            buf.fill(i as u8 + 1);
        }
        drop(bufs);
        assert_eq!((bytes[41], bytes[32], bytes[50], bytes[33]), (1, 2, 3, 0));
    }

    #[test]
    fn scatter_stops_at_an_overlap() {
        let mut bytes = memory(&[(40, 8), (32, 8), (47, 2)]);
        assert_eq!(Mem(&mut bytes).scatter(0, 3).unwrap().len(), 2);
        let mut bytes = memory(&[(40, 8), (40, 8)]);
        assert_eq!(Mem(&mut bytes).scatter(0, 2).unwrap().len(), 1);
    }

    #[test]
    fn gather_goes_on_where_a_call_has_come_to() {
        let mut bytes = memory(&[(40, 3), (0, 0), (34, 2), (50, 4)]);
        bytes[40..43].copy_from_slice(b"abc");
        bytes[34..36].copy_from_slice(b"de");
        bytes[50..54].copy_from_slice(b"fghi");
        let mem = Mem(&mut bytes);
        for done in 0..=12 {
            let (bufs, whole) = mem.gather(0, 4, done).unwrap();
            let rest: Vec<u8> = bufs.iter().flat_map(|buf| buf.to_vec()).collect();
            assert_eq!(rest, b"abcdefghi"[9.min(done as usize)..]);
            assert!(bufs.iter().all(|buf| !buf.is_empty()));
            assert_eq!(whole, 9);
        }
    }

    #[test]
    fn more_than_can_be_counted_is_refused() {
        let mut bytes = vec![0; (64 << 10) + (4 << 20)];
        let vectors = [(1_u32 << 16).to_le_bytes(), (4_u32 << 20).to_le_bytes()].concat();
        bytes[..8 << 10].copy_from_slice(&vectors.repeat(1024));
        let mem = Mem(&mut bytes);
        assert_eq!(mem.gather(0, 1023, 0).map(|(_, whole)| whole), Ok(1023 << 22));
        assert_eq!(mem.gather(0, 1024, 0).unwrap_err(), Errno::Inval);
    }

    #[test]
    fn hostile_iovecs() {
        let mut bytes = memory(&[(60, 5)]);
        let mut mem = Mem(&mut bytes);
        assert_eq!(mem.gather(0, 1, 0).unwrap_err(), Errno::Fault);
        assert_eq!(mem.scatter(0, 1).unwrap_err(), Errno::Fault);
        assert_eq!(mem.gather(60, 1, 0).unwrap_err(), Errno::Fault);
        assert_eq!(mem.gather(0, 1 << 26, 0).unwrap_err(), Errno::Inval);
        // 2^29 records are 2^32 bytes: the product must not wrap.
        assert_eq!(mem.gather(0, 1 << 29, 0).unwrap_err(), Errno::Inval);
    }
}
