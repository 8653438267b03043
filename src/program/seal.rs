//! What an image that is a file says of itself, before everything else: that it is whole, and what
//! its guest had open.
//!
//! It is a custom section at the beginning of the module, which other hosts skip:
//!
//! ```text
//!   "tinyhost.image"  version: u32  length: u64  checksum: u64  descriptors (`wasi/reopen.rs`)
//! ```
//!
//! Length and checksum are those of all that follows the section. Numbers are little-endian.

use wasmparser::BinaryReader;

use super::ProgramError;
use super::encode::{HEADER, leb128, section};
use crate::wasi::reopen::Kept;

const NAME: &str = "tinyhost.image";

/// The version of the format.
const VERSION: u32 = 1;

/// Identifier of a section that means nothing to the module.
const CUSTOM: u8 = 0;

/// A module with its seal.
pub(crate) fn seal(module: &[u8], files: &Kept) -> Vec<u8> {
    let rest = module.get(HEADER..).unwrap_or_default();
    let mut content = Vec::new();
    leb128(&mut content, NAME.len());
    content.extend_from_slice(NAME.as_bytes());
    content.extend_from_slice(&VERSION.to_le_bytes());
    content.extend_from_slice(&(rest.len() as u64).to_le_bytes());
    content.extend_from_slice(&checksum(rest).to_le_bytes());
    content.extend_from_slice(&files.to_bytes());
    let mut out = Vec::with_capacity(module.len() + content.len() + 8);
    out.extend_from_slice(&module[..module.len().min(HEADER)]);
    section(&mut out, CUSTOM, &content);
    out.extend_from_slice(rest);
    out
}

/// What a module's guests have open when they begin. One without a seal: what any guest has.
///
/// # Errors
///
/// If it has a seal, and is not what was sealed.
pub(crate) fn open(wasm: &[u8]) -> Result<Kept, ProgramError> {
    let Some((mut content, whole)) = content(wasm) else { return Ok(Kept::default()) };
    let damaged = || ProgramError::Image("damaged: copy it again, or make it again".to_owned());
    let version = content.take().map(u32::from_le_bytes).ok_or_else(damaged)?;
    if version != VERSION {
        return Err(ProgramError::Image(format!(
            "of another version (its format is {version}, and {VERSION} is known here): run it \
             with the tinyhost that wrote it, or make it again"
        )));
    }
    let length = content.take().map(u64::from_le_bytes).ok_or_else(damaged)?;
    let sum = content.take().map(u64::from_le_bytes).ok_or_else(damaged)?;
    let rest = wasm.get(whole..).unwrap_or_default();
    if (rest.len() as u64) < length {
        let there = rest.len();
        return Err(ProgramError::Image(format!(
            "cut off ({there} of {length} bytes are there): copy it again"
        )));
    }
    if rest.len() as u64 != length || checksum(rest) != sum {
        return Err(damaged());
    }
    Kept::from_bytes(content.0).ok_or_else(damaged)
}

/// The content of a seal after its name, and where its section ends. `None` if there is none.
fn content(wasm: &[u8]) -> Option<(Rest<'_>, usize)> {
    let mut reader = BinaryReader::new(wasm.get(HEADER..)?, HEADER);
    if reader.read_u8().ok()? != CUSTOM {
        return None;
    }
    let len = reader.read_var_u32().ok()? as usize;
    let end = reader.original_position().saturating_add(len);
    if reader.read_string().ok()? != NAME {
        return None;
    }
    let begin = reader.original_position();
    Some((Rest(wasm.get(begin..end.min(wasm.len()))?), end))
}

/// What has not been read.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }
}

/// Finds what happens to files by accident: FNV-1a, by eight bytes at once.
fn checksum(bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0100_0000_01b3;
    let mut sum = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |number: u64| sum = (sum ^ number).wrapping_mul(PRIME).rotate_left(29);
    let (chunks, rest) = bytes.as_chunks();
    chunks.iter().for_each(|chunk| add(u64::from_le_bytes(*chunk)));
    rest.iter().for_each(|byte| add((*byte).into()));
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &[u8] = b"\0asm\x01\0\0\0\x00\x03\x02hi";

    #[test]
    fn a_seal_is_read_and_any_damage_is_found() {
        assert_eq!(open(MODULE), Ok(Kept::default()));
        let sealed = seal(MODULE, &Kept::default());
        assert_eq!(open(&sealed), Ok(Kept::default()));
        wasmparser::Validator::new().validate_all(&sealed).unwrap();
        // Where the name is cut it is no seal any more, and no module.
        let named = HEADER + 2 + 1 + NAME.len();
        for len in named..sealed.len() {
            assert!(open(&sealed[..len]).is_err(), "{len} bytes");
        }
        for at in named..sealed.len() {
            let mut changed = sealed.clone();
            changed[at] ^= 0x10;
            assert!(open(&changed).is_err(), "byte {at}");
        }
        let mut longer = sealed.clone();
        longer.push(0);
        assert!(open(&longer).is_err());
    }

    #[test]
    fn it_is_said_what_is_wrong() {
        let text = |bytes: &[u8]| open(bytes).unwrap_err().to_string();
        let sealed = seal(MODULE, &Kept::default());
        assert_eq!(
            text(&sealed[..sealed.len() - 2]),
            "an image that is cut off (3 of 5 bytes are there): copy it again"
        );
        let mut newer = sealed.clone();
        newer[HEADER + 2 + 1 + NAME.len()] = 7;
        assert_eq!(
            text(&newer),
            "an image that is of another version (its format is 7, and 1 is known here): run it with \
             the tinyhost that wrote it, or make it again"
        );
        *newer.last_mut().unwrap() = 1;
        newer[HEADER + 2 + 1 + NAME.len()] = 1;
        assert_eq!(text(&newer), "an image that is damaged: copy it again, or make it again");
    }
}
