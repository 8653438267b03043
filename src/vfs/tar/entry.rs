//! Reading the entries of a tar: ustar, GNU and pax.

use std::ops::Range;

use super::error::{TarError, TarErrorKind as Kind};
use crate::vfs::walk::PATH_MAX;

pub(super) const BLOCK: usize = 512;

// The fields of a header block, POSIX.1-2017 pax, "ustar Interchange Format".
const NAME: Range<usize> = 0..100;
const SIZE: Range<usize> = 124..136;
const MTIME: Range<usize> = 136..148;
const CHECKSUM: Range<usize> = 148..156;
const TYPE: usize = 156;
const LINK_NAME: Range<usize> = 157..257;
const MAGIC: Range<usize> = 257..263;
const PREFIX: Range<usize> = 345..500;

/// One thing in an archive.
pub(super) struct Entry {
    /// Where its header is.
    pub offset: usize,
    pub path: String,
    pub what: What,
    /// Nanoseconds since 1970.
    pub mtim: u64,
}

pub(super) enum What {
    File(Range<usize>),
    Dir,
    Symlink(String),
    HardLink(String),
    /// A device or volume label: nothing a mount could show.
    Other,
}

/// What pax records and GNU's long names say in place of a header's fields.
#[derive(Clone, Default)]
struct Overrides {
    path: Option<String>,
    link: Option<String>,
    size: Option<u64>,
    mtim: Option<u64>,
}

pub(super) struct Entries<'a> {
    bytes: &'a [u8],
    at: usize,
    global: Overrides,
}

impl<'a> Entries<'a> {
    pub fn new(bytes: &'a [u8]) -> Entries<'a> {
        Entries { bytes, at: 0, global: Overrides::default() }
    }

    /// The next entry, `None` at the mark of the end.
    pub fn next(&mut self) -> Result<Option<Entry>, TarError> {
        let mut over = self.global.clone();
        loop {
            let offset = self.at;
            let header = Header(&self.bytes[self.take(offset, BLOCK)?]);
            if header.0.iter().all(|byte| *byte == 0) {
                return Ok(None);
            }
            header.check(offset)?;
            let size = header.number(SIZE, "size", offset)?;
            match header.0[TYPE] {
                b'x' => over.read_pax(self.bytes, self.data(offset, size)?)?,
                b'g' => {
                    let data = self.data(offset, size)?;
                    self.global.read_pax(self.bytes, data.clone())?;
                    over.read_pax(self.bytes, data)?;
                }
                b'L' => over.path = Some(self.long(offset, size)?),
                b'K' => over.link = Some(self.long(offset, size)?),
                _ => return self.entry(header, over, size, offset).map(Some),
            }
        }
    }

    fn entry(
        &mut self,
        header: Header<'a>,
        over: Overrides,
        size: u64,
        offset: usize,
    ) -> Result<Entry, TarError> {
        let path = over.path.map_or_else(|| header.path(offset), Ok)?;
        let link = || over.link.clone().map_or_else(|| header.text(LINK_NAME, offset), Ok);
        // Only the types with data have a size that is one: for a directory it may be a
        // quota, for a hard link that of the file.
        let what = match header.0[TYPE] {
            b'1' => What::HardLink(link()?),
            b'2' => What::Symlink(link()?),
            b'3' | b'4' | b'6' => What::Other,
            b'5' => What::Dir,
            b'S' | b'M' => return Err(Kind::Unsupported.at(offset)),
            letter => {
                let data = self.data(offset, over.size.unwrap_or(size))?;
                match letter {
                    b'V' | b'N' => What::Other,
                    b'D' => What::Dir,
                    // Before POSIX, a slash at the end was what a directory had.
                    b'0' | 0 if path.ends_with('/') => What::Dir,
                    _ => What::File(data),
                }
            }
        };
        let mtim = match over.mtim {
            Some(mtim) => mtim,
            None => header.mtim(offset)?,
        };
        Ok(Entry { offset, path, what, mtim })
    }

    /// Skips `len` bytes, which must be there.
    fn take(&mut self, from: usize, len: usize) -> Result<Range<usize>, TarError> {
        let end = from.checked_add(len).filter(|end| *end <= self.bytes.len());
        self.at = end.ok_or(Kind::Truncated.at(self.bytes.len()))?;
        Ok(from..self.at)
    }

    /// The data after the header at `offset`.
    fn data(&mut self, offset: usize, size: u64) -> Result<Range<usize>, TarError> {
        let size = usize::try_from(size).map_err(|_| Kind::Truncated.at(offset))?;
        let data = self.take(offset + BLOCK, size).map_err(|error| error.kind.at(offset))?;
        // Without its padding the next header is missing: that is found then.
        self.at = data.end.next_multiple_of(BLOCK).min(self.bytes.len());
        Ok(data)
    }

    /// The data of a GNU long name.
    fn long(&mut self, offset: usize, size: u64) -> Result<String, TarError> {
        let data = self.data(offset, size)?;
        text(&self.bytes[data]).ok_or(Kind::Name.at(offset))
    }
}

/// UTF-8 up to the first NUL, if it is not too long for a path.
fn text(bytes: &[u8]) -> Option<String> {
    let text = bytes.split(|byte| *byte == 0).next().unwrap_or_default();
    let text = std::str::from_utf8(text).ok()?;
    (text.len() < PATH_MAX).then(|| text.to_owned())
}

/// One block, as long as a header.
#[derive(Clone, Copy)]
struct Header<'a>(&'a [u8]);

impl Header<'_> {
    fn check(self, offset: usize) -> Result<(), TarError> {
        let outside = |(at, byte): (usize, &u8)| match CHECKSUM.contains(&at) {
            true => u64::from(b' '),
            false => u64::from(*byte),
        };
        let sum: u64 = self.0.iter().enumerate().map(outside).sum();
        if octal(&self.0[CHECKSUM]) == Some(sum) {
            return Ok(());
        }
        Err(if offset == 0 { Kind::NotTar } else { Kind::Checksum }.at(offset))
    }

    /// A number in octal digits or, as GNU has it for large ones, in base 256.
    fn number(self, field: Range<usize>, name: &'static str, at: usize) -> Result<u64, TarError> {
        let bytes = &self.0[field];
        let value = match bytes {
            [0x80, large @ ..] => large
                .iter()
                .try_fold(0u64, |sum, byte| Some(sum.checked_mul(256)? + u64::from(*byte))),
            _ => octal(bytes),
        };
        value.ok_or(Kind::Number(name).at(at))
    }

    fn mtim(self, offset: usize) -> Result<u64, TarError> {
        // Base 256 and negative: before 1970, which WASI can't express.
        if self.0[MTIME.start] == 0xff {
            return Ok(0);
        }
        Ok(self.number(MTIME, "mtime", offset)?.saturating_mul(1_000_000_000))
    }

    fn text(self, field: Range<usize>, offset: usize) -> Result<String, TarError> {
        text(&self.0[field]).ok_or(Kind::Name.at(offset))
    }

    fn path(self, offset: usize) -> Result<String, TarError> {
        let name = self.text(NAME, offset)?;
        // GNU's old magic has a blank in place of the NUL, and other things in the prefix.
        let posix = self.0[MAGIC] == *b"ustar\0";
        let prefix = if posix { self.text(PREFIX, offset)? } else { String::new() };
        Ok(if prefix.is_empty() { name } else { format!("{prefix}/{name}") })
    }
}

/// Octal digits, blanks before, NUL or a blank after; an empty field is 0.
fn octal(bytes: &[u8]) -> Option<u64> {
    let begin = bytes.iter().position(|byte| *byte != b' ').unwrap_or(bytes.len());
    let digits = bytes[begin..].split(|byte| matches!(byte, 0 | b' ')).next().unwrap_or_default();
    digits.iter().try_fold(0u64, |sum, digit| match digit {
        b'0'..=b'7' => Some(sum.checked_mul(8)? + u64::from(digit - b'0')),
        _ => None,
    })
}

impl Overrides {
    /// Reads pax records: each is its own length, a blank, `key=value` and a newline.
    fn read_pax(&mut self, bytes: &[u8], mut at: Range<usize>) -> Result<(), TarError> {
        while !at.is_empty() {
            let rest = &bytes[at.clone()];
            let (key, value, len) = record(rest).ok_or(Kind::Pax.at(at.start))?;
            self.set(key, value).map_err(|kind| kind.at(at.start))?;
            at.start += len;
        }
        Ok(())
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Kind> {
        // An empty value takes the record back (POSIX).
        let path = || match value {
            [] => Ok(None),
            _ if value.contains(&0) => Err(Kind::Name),
            _ => text(value).map(Some).ok_or(Kind::Name),
        };
        match key {
            b"path" => self.path = path()?,
            b"linkpath" => self.link = path()?,
            b"size" if value.is_empty() => self.size = None,
            b"size" => self.size = Some(decimal(value).ok_or(Kind::Number("size"))?),
            b"mtime" if value.is_empty() => self.mtim = None,
            b"mtime" => self.mtim = Some(seconds(value).ok_or(Kind::Number("mtime"))?),
            _ if key.starts_with(b"GNU.sparse.") => return Err(Kind::Unsupported),
            _ => {}
        }
        Ok(())
    }
}

/// The first record: key, value, and bytes in it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], usize)> {
    let blank = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let len = usize::try_from(decimal(&bytes[..blank])?).ok()?;
    let (newline, fields) = bytes.get(blank + 1..len)?.split_last()?;
    let equals = fields.iter().position(|byte| *byte == b'=')?;
    (*newline == b'\n').then_some((&fields[..equals], &fields[equals + 1..], len))
}

fn decimal(bytes: &[u8]) -> Option<u64> {
    let digits = !bytes.is_empty() && bytes.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(bytes).ok().filter(|_| digits)?.parse().ok()
}

/// Seconds with a fraction, in nanoseconds; 0 if before 1970.
fn seconds(bytes: &[u8]) -> Option<u64> {
    let (negative, bytes) = match bytes.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, bytes),
    };
    let mut parts = bytes.splitn(2, |byte| *byte == b'.');
    let whole = decimal(parts.next()?)?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let digits = fraction.iter().chain(std::iter::repeat(&b'0')).take(9);
    let nanos = digits.fold(0u64, |sum, digit| sum * 10 + u64::from(digit - b'0'));
    let time = whole.saturating_mul(1_000_000_000).saturating_add(nanos);
    Some(if negative { 0 } else { time })
}
