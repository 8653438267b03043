//! Why an image can't be mounted.

use std::fmt;

use super::{INFLATED_MAX, NODES_MAX};

/// What is wrong with an image, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TarError {
    /// Bytes from the beginning: of the gzip file for what is wrong with that, else of the
    /// tar, unpacked.
    pub offset: u64,
    /// What is wrong.
    pub kind: TarErrorKind,
}

/// What can be wrong with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TarErrorKind {
    /// It begins with no tar header.
    NotTar,
    /// It is compressed, and not with gzip.
    Compressed(&'static str),
    /// The gzip header, data, checksum or length is wrong.
    Gzip(&'static str),
    /// It unpacks to more than [`INFLATED_MAX`] bytes.
    TooLarge,
    /// The host has no memory to unpack it.
    Memory,
    /// It ends within an entry, or without the zeros that mark the end.
    Truncated,
    /// A header does not sum up to its checksum.
    Checksum,
    /// A field of a header is not a number.
    Number(&'static str),
    /// A pax record is malformed.
    Pax,
    /// A path or link text is empty, too long, not UTF-8 or has a NUL.
    Name,
    /// A path has a `..`.
    DotDot,
    /// A hard link whose target is not an earlier file of the image.
    HardLink,
    /// A sparse or multi-volume entry.
    Unsupported,
    /// More than [`NODES_MAX`] files and directories.
    TooMany,
}

impl TarErrorKind {
    pub(super) fn at(self, offset: usize) -> TarError {
        TarError { offset: offset as u64, kind: self }
    }
}

impl fmt::Display for TarError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use TarErrorKind as K;
        write!(f, "tar image, byte {}: ", self.offset)?;
        match self.kind {
            K::NotTar => f.write_str("not a tar header; give a .tar or .tar.gz file"),
            K::Compressed(with) => {
                write!(
                    f,
                    "compressed with {with}; unpack it, or pack the files again with tar -czf"
                )
            }
            K::Gzip(what) => write!(f, "gzip {what}; copy or download the file again"),
            K::TooLarge => write!(
                f,
                "unpacks to more than {INFLATED_MAX} bytes; unpack it and mount the directory"
            ),
            K::Memory => f.write_str("no memory to unpack it; unpack it and mount the directory"),
            K::Truncated => f.write_str(
                "the file ends too early, or a size is wrong; copy or download it again, or \
                 pack the files again with tar -cf",
            ),
            K::Checksum => f.write_str("wrong header checksum; copy or download the file again"),
            K::Number(field) => {
                write!(f, "'{field}' is not a number; pack the files again with tar -cf")
            }
            K::Pax => {
                f.write_str("malformed pax record; pack the files again with tar --format=gnu")
            }
            K::Name => f.write_str(
                "a name is empty, too long, not UTF-8 or has a NUL; rename the file and pack again",
            ),
            K::DotDot => f.write_str("a path with '..'; pack again from the directory itself"),
            K::HardLink => f.write_str(
                "a hard link to nothing earlier in the image; pack again with --hard-dereference",
            ),
            K::Unsupported => {
                f.write_str("a sparse or multi-volume entry; pack again without --sparse")
            }
            K::TooMany => write!(
                f,
                "more than {NODES_MAX} files and directories; unpack it and mount the directory"
            ),
        }
    }
}

impl std::error::Error for TarError {}
