//! The bytes of a file, kept only where something was written.

use std::collections::TryReserveError;
use std::io::IoSliceMut;

use crate::vfs::charge;

/// Bytes in one piece. Small enough that growing never copies much, large enough that the
/// list of pieces of a 4 GiB file is only 1.5 MB.
const CHUNK: usize = 64 * 1024;

/// A file's bytes in chunks. A chunk that is missing, or shorter than [`CHUNK`], goes on
/// as zeros: a hole costs nothing, and a small file no more than itself.
#[derive(Default)]
pub(super) struct Content {
    len: u64,
    chunks: Vec<Vec<u8>>,
}

/// Which chunk, and where in it. Offsets are below [`super::FILE_MAX`], so both fit.
fn position(at: u64) -> (usize, usize) {
    let chunk = CHUNK as u64;
    let index = usize::try_from(at / chunk).expect("FILE_MAX has few chunks");
    (index, (at % chunk) as usize)
}

impl Content {
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Fills `bufs` in order; stops at the end.
    pub fn read(&self, bufs: &mut [IoSliceMut<'_>], offset: u64) -> usize {
        let mut total = 0;
        for buf in bufs {
            let at = offset.saturating_add(total as u64);
            let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
            let n = left.min(buf.len());
            self.copy_out(&mut buf[..n], at);
            total += n;
            if n < buf.len() {
                break;
            }
        }
        total
    }

    fn copy_out(&self, mut out: &mut [u8], mut at: u64) {
        while !out.is_empty() {
            let (index, within) = position(at);
            let n = out.len().min(CHUNK - within);
            let (now, rest) = out.split_at_mut(n);
            let stored = self.chunks.get(index).and_then(|chunk| chunk.get(within..));
            let stored = stored.unwrap_or_default();
            let have = stored.len().min(n);
            now[..have].copy_from_slice(&stored[..have]);
            now[have..].fill(0);
            at += n as u64;
            out = rest;
        }
    }

    /// Writes and says how much; less than all of it only if the host is out of memory.
    pub fn write(&mut self, mut bytes: &[u8], offset: u64) -> usize {
        let mut total = 0;
        while !bytes.is_empty() {
            let (index, within) = position(offset + total as u64);
            let (now, rest) = bytes.split_at(bytes.len().min(CHUNK - within));
            let Ok(chunk) = self.chunk(index, within + now.len()) else {
                break;
            };
            chunk[within..within + now.len()].copy_from_slice(now);
            total += now.len();
            bytes = rest;
            self.len = self.len.max(offset + total as u64);
        }
        total
    }

    /// The chunk of that index, stored at least up to `end`.
    fn chunk(&mut self, index: usize, end: usize) -> Result<&mut [u8], TryReserveError> {
        if index >= self.chunks.len() {
            charge::add((index + 1 - self.chunks.len()) as u64 * charge::HOLE);
            self.chunks.try_reserve(index + 1 - self.chunks.len())?;
            self.chunks.resize_with(index + 1, Vec::new);
        }
        let chunk = &mut self.chunks[index];
        if chunk.len() < end {
            // Powers of two: appending byte by byte stays cheap, and never twice too much.
            let room = end.next_power_of_two().min(CHUNK);
            let made = (room - chunk.len()) as u64;
            charge::add(made * charge::CHUNK / CHUNK as u64);
            chunk.try_reserve_exact(room - chunk.len())?;
            chunk.resize(end, 0);
        }
        Ok(chunk)
    }

    /// Cuts, or extends by a hole. What is cut off is answered, to be dropped.
    pub fn set_len(&mut self, len: u64) -> Option<Content> {
        let mut cut = None;
        if len < self.len {
            let (index, within) = position(len);
            let kept = index + usize::from(within > 0);
            if kept < self.chunks.len() {
                cut = Some(Content { len: 0, chunks: self.chunks.split_off(kept) });
            }
            if let Some(chunk) = self.chunks.get_mut(index) {
                chunk.truncate(within);
                chunk.shrink_to_fit();
            }
            self.chunks.shrink_to_fit();
        }
        self.len = len;
        cut
    }

    /// Chunks that are stored, and not holes.
    pub fn chunks_stored(&self) -> usize {
        charge::add(self.chunks.len() as u64 * charge::HOLE);
        self.chunks.iter().filter(|chunk| !chunk.is_empty()).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(content: &Content) -> Vec<u8> {
        let mut bytes = vec![0xaa; content.len() as usize + 1];
        let n = content.read(&mut [IoSliceMut::new(&mut bytes)], 0);
        bytes.truncate(n);
        bytes
    }

    /// Any sequence of writes and cuts leaves what it would leave in a flat vector.
    #[test]
    fn behaves_as_a_flat_vector() {
        let (mut content, mut flat) = (Content::default(), Vec::new());
        let mut seed = 7u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (seed >> 33) as usize % below
        };
        for round in 0..400 {
            let at = random(3 * CHUNK);
            if random(4) == 0 {
                let _ = content.set_len(at as u64);
                flat.resize(at, 0);
            } else {
                let bytes = vec![(round % 255) as u8 + 1; random(CHUNK + 5)];
                assert_eq!(content.write(&bytes, at as u64), bytes.len());
                if !bytes.is_empty() {
                    flat.resize(flat.len().max(at + bytes.len()), 0);
                    flat[at..at + bytes.len()].copy_from_slice(&bytes);
                }
            }
            assert!(all(&content) == flat, "round {round}");
        }
    }

    #[test]
    fn holes_cost_nothing_and_cuts_give_back() {
        let mut content = Content::default();
        let _ = content.set_len(1 << 32);
        assert_eq!(content.chunks.capacity(), 0);
        content.write(b"x", 3 * CHUNK as u64 + 1);
        assert_eq!(content.chunks.iter().map(Vec::capacity).sum::<usize>(), 2);
        content.write(&[1; CHUNK], 0);
        let _ = content.set_len(1);
        assert_eq!(content.chunks.len(), 1);
        assert!(content.chunks[0].capacity() <= 8);
    }
}
