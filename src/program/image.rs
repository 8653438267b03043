//! What the memory of a new instance holds.
//!
//! For most programs that is what their data segments say. For one that goes on from a point it
//! was run to before (`freeze.rs`), the contents come beside the module.

use std::ops::Range;
#[cfg(all(target_os = "linux", feature = "recycle"))]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes that are looked at together for whether they are zero.
const CHUNK: usize = 4096;

/// Contents of this many bytes are worth a file, which instances share page by page until they
/// write to it. Less is put back sooner than the kernel can be asked for it.
#[cfg(all(target_os = "linux", feature = "recycle"))]
const FILE_FROM: usize = 128 << 10;

/// The contents of a new memory.
#[derive(Debug)]
pub(crate) struct Image {
    contents: Contents,
    /// The module itself does not have them: they are written into each instance.
    pub(crate) is_beside: bool,
    /// Bytes that are not in a piece of zeros.
    bytes: usize,
}

#[derive(Debug)]
enum Contents {
    /// What is not zero, in order, without overlap.
    Pieces(Vec<(usize, Vec<u8>)>),
    /// A sealed file with all of the memory.
    #[cfg(all(target_os = "linux", feature = "recycle"))]
    File(OwnedFd),
}

impl Image {
    /// What instantiation makes of segments: later ones lie over earlier ones.
    pub(super) fn of_segments(segments: &[(usize, &[u8])], memory: usize) -> Image {
        let mut ranges: Vec<Range<usize>> =
            segments.iter().map(|(at, data)| *at..at + data.len()).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        let mut pieces: Vec<(usize, Vec<u8>)> = Vec::new();
        for range in ranges.into_iter().filter(|range| !range.is_empty()) {
            match pieces.last_mut() {
                Some((at, bytes)) if range.start <= *at + bytes.len() => {
                    bytes.resize(bytes.len().max(range.end - *at), 0);
                }
                _ => pieces.push((range.start, vec![0; range.len()])),
            }
        }
        for (at, data) in segments.iter().filter(|(_, data)| !data.is_empty()) {
            let piece = pieces.partition_point(|piece| piece.0 <= *at) - 1;
            let (start, bytes) = &mut pieces[piece];
            bytes[at - *start..][..data.len()].copy_from_slice(data);
        }
        Image::of_pieces(pieces, memory, false)
    }

    /// What a memory holds now, for instances of a module that does not say so itself.
    pub(crate) fn of_memory(memory: &[u8]) -> Image {
        let mut pieces: Vec<(usize, Vec<u8>)> = Vec::new();
        for (index, chunk) in memory.chunks(CHUNK).enumerate() {
            if chunk.iter().all(|byte| *byte == 0) {
                continue;
            }
            let start = index * CHUNK;
            match pieces.last_mut() {
                Some((at, bytes)) if *at + bytes.len() == start => bytes.extend_from_slice(chunk),
                _ => pieces.push((start, chunk.to_vec())),
            }
        }
        Image::of_pieces(pieces, memory.len(), true)
    }

    #[cfg_attr(not(all(target_os = "linux", feature = "recycle")), expect(unused_variables))]
    fn of_pieces(pieces: Vec<(usize, Vec<u8>)>, memory: usize, is_beside: bool) -> Image {
        let bytes = pieces.iter().map(|(_, bytes)| bytes.len()).sum();
        #[cfg(all(target_os = "linux", feature = "recycle"))]
        if bytes >= FILE_FROM
            && let Ok(file) = file(&pieces, memory)
        {
            return Image { contents: Contents::File(file), is_beside, bytes };
        }
        Image { contents: Contents::Pieces(pieces), is_beside, bytes }
    }

    /// Bytes of it, without what is certainly zero.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// The file that has all of it, if it is large.
    #[cfg(all(target_os = "linux", feature = "recycle"))]
    pub(crate) fn file(&self) -> Option<BorrowedFd<'_>> {
        match &self.contents {
            Contents::File(file) => Some(file.as_fd()),
            Contents::Pieces(_) => None,
        }
    }

    /// Writes all of it into a memory that is zero everywhere.
    ///
    /// # Errors
    ///
    /// If its file can't be read. Then what the memory holds is anything.
    pub(crate) fn write(&self, memory: &mut [u8]) -> std::io::Result<()> {
        match &self.contents {
            Contents::Pieces(pieces) => {
                for (at, bytes) in pieces {
                    memory[*at..][..bytes.len()].copy_from_slice(bytes);
                }
                Ok(())
            }
            #[cfg(all(target_os = "linux", feature = "recycle"))]
            Contents::File(file) => read_data(file, memory),
        }
    }

    /// Makes `range` of a memory what it was.
    ///
    /// # Errors
    ///
    /// As [`Image::write`].
    pub(crate) fn put_back(&self, memory: &mut [u8], range: Range<usize>) -> std::io::Result<()> {
        match &self.contents {
            Contents::Pieces(pieces) => {
                put_back(pieces, memory, range);
                Ok(())
            }
            #[cfg(all(target_os = "linux", feature = "recycle"))]
            Contents::File(file) => read_at(file, &mut memory[range.clone()], range.start),
        }
    }
}

fn put_back(pieces: &[(usize, Vec<u8>)], memory: &mut [u8], range: Range<usize>) {
    let mut from = range.start;
    let first = pieces.partition_point(|piece| piece.0 + piece.1.len() <= from);
    for (at, bytes) in &pieces[first..] {
        if *at >= range.end {
            break;
        }
        if from < *at {
            memory[from..*at].fill(0);
            from = *at;
        }
        let end = range.end.min(at + bytes.len());
        memory[from..end].copy_from_slice(&bytes[from - at..end - at]);
        from = end;
    }
    if from < range.end {
        memory[from..range.end].fill(0);
    }
}

/// A file with these contents that can't be changed any more.
#[cfg(all(target_os = "linux", feature = "recycle"))]
fn file(pieces: &[(usize, Vec<u8>)], len: usize) -> std::io::Result<OwnedFd> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
    use rustix::process::{Resource, getrlimit};
    // Where files may not be as long as this, the kernel would end the process for trying.
    if getrlimit(Resource::Fsize).current.is_some_and(|most| most < len as u64) {
        return Err(std::io::ErrorKind::FileTooLarge.into());
    }
    let file = memfd_create("tinyhost-image", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, len as u64)?;
    for (at, bytes) in pieces {
        let mut done = 0;
        while done < bytes.len() {
            let count = rustix::io::pwrite(&file, &bytes[done..], (at + done) as u64)?;
            if count == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            done += count;
        }
    }
    let all = SealFlags::WRITE | SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
    fcntl_add_seals(&file, all)?;
    Ok(file)
}

/// Reads what is not a hole of a file into a memory of the same length that is zero.
#[cfg(all(target_os = "linux", feature = "recycle"))]
fn read_data(file: &OwnedFd, memory: &mut [u8]) -> std::io::Result<()> {
    use rustix::fs::{SeekFrom, seek};
    use rustix::io::Errno;
    let mut from = 0;
    loop {
        // The position of the file is of no use to anything else.
        let start = match seek(file, SeekFrom::Data(from as u64)) {
            Ok(start) => usize::try_from(start).unwrap_or(usize::MAX).max(from),
            Err(Errno::NXIO) => return Ok(()),
            Err(error) => return Err(error.into()),
        };
        let end = seek(file, SeekFrom::Hole(start as u64))?;
        let end = usize::try_from(end).unwrap_or(usize::MAX).min(memory.len());
        if start >= end {
            return Ok(());
        }
        read_at(file, &mut memory[start..end], start)?;
        from = end;
    }
}

#[cfg(all(target_os = "linux", feature = "recycle"))]
fn read_at(file: &OwnedFd, bytes: &mut [u8], at: usize) -> std::io::Result<()> {
    let mut done = 0;
    while done < bytes.len() {
        let count = rustix::io::pread(file, &mut bytes[done..], (at + done) as u64)?;
        if count == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        done += count;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_segments_lie_over_earlier_ones() {
        let segments: [(usize, &[u8]); 6] =
            [(8, b"aaaa"), (0, b"bb"), (10, b"cccc"), (20, b"d"), (16, b""), (2, b"e")];
        let image = Image::of_segments(&segments, 24);
        let mut memory = [0; 24];
        image.write(&mut memory).unwrap();
        let whole = *b"bbe\0\0\0\0\0aacccc\0\0\0\0\0\0d\0\0\0";
        assert_eq!(memory, whole);
        for start in 0..24 {
            for end in start..24 {
                let mut memory = [9; 24];
                image.put_back(&mut memory, start..end).unwrap();
                assert_eq!(memory[start..end], whole[start..end]);
                assert!(memory[..start].iter().chain(&memory[end..]).all(|byte| *byte == 9));
            }
        }
    }

    #[test]
    fn contents_of_any_size_are_written_and_put_back_as_they_were() {
        for pages in [1, 10, 200] {
            let mut memory = vec![0; pages * CHUNK * 2];
            for page in 0..pages {
                let at = page * CHUNK * 2 + page;
                memory[at..at + CHUNK].fill(1 + page as u8 % 200);
            }
            let image = Image::of_memory(&memory);
            #[cfg(all(target_os = "linux", feature = "recycle"))]
            assert_eq!(image.file().is_some(), pages > 30, "{pages}");
            let mut other = vec![0; memory.len()];
            image.write(&mut other).unwrap();
            assert!(other == memory);
            other[5000..].fill(7);
            image.put_back(&mut other, 5000..memory.len()).unwrap();
            assert!(other == memory);
        }
    }
}
