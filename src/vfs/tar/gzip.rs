//! Unpacking gzip (RFC 1952), several members in a row included.

use std::ops::ControlFlow;

use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::{DecompressorOxide, decompress, inflate_flags};

use super::error::{TarError, TarErrorKind as Kind};

pub(super) const MAGIC: [u8; 2] = [0x1f, 0x8b];

const HEADER_CRC: u8 = 1 << 1;
const EXTRA: u8 = 1 << 2;
const NAME: u8 = 1 << 3;
const COMMENT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// Room for the first output; it doubles from there.
const FIRST_BYTES: usize = 64 * 1024;

/// All members of `input`, unpacked, at most `limit` bytes. Zeros may follow, as tapes and
/// block devices leave them.
pub(super) fn unpack(input: &[u8], limit: usize) -> Result<Vec<u8>, TarError> {
    let mut output = Vec::new();
    let mut inflate = Box::new(DecompressorOxide::new());
    let (mut at, mut filled) = (0, 0);
    while input[at..].iter().any(|byte| *byte != 0) {
        let begin = filled;
        at = header(input, at)?;
        inflate.init();
        (at, filled) = body(&mut inflate, input, at, &mut output, begin, limit)?;
        let trailer = field(input, at, 8)?;
        let (crc, len) = trailer.split_at(4);
        if little_endian(crc) != crc32(&output[begin..filled]) {
            return Err(Kind::Gzip("checksum is wrong").at(at));
        }
        // The length is kept modulo 2^32.
        if little_endian(len) != (filled - begin) as u32 {
            return Err(Kind::Gzip("length is wrong").at(at + 4));
        }
        at += 8;
    }
    output.truncate(filled);
    output.shrink_to_fit();
    Ok(output)
}

fn field(input: &[u8], at: usize, len: usize) -> Result<&[u8], TarError> {
    let truncated = || Kind::Gzip("file ends too early").at(input.len());
    input.get(at..).and_then(|rest| rest.get(..len)).ok_or_else(truncated)
}

fn little_endian(bytes: &[u8]) -> u32 {
    bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u32::from(*byte))
}

/// Checks a member's header; where its data begins.
fn header(input: &[u8], begin: usize) -> Result<usize, TarError> {
    let fixed = field(input, begin, 10)?;
    if fixed[..2] != MAGIC {
        return Err(Kind::Gzip("data is followed by something else").at(begin));
    }
    let flags = fixed[3];
    if fixed[2] != 8 || flags & RESERVED != 0 {
        return Err(Kind::Gzip("header has an unknown method or flag").at(begin + 2));
    }
    let mut at = begin + 10;
    if flags & EXTRA != 0 {
        let len = little_endian(field(input, at, 2)?) as usize;
        field(input, at + 2, len)?;
        at += 2 + len;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            let end = input[at..].iter().position(|byte| *byte == 0).unwrap_or(input.len() - at);
            field(input, at + end, 1)?;
            at += end + 1;
        }
    }
    if flags & HEADER_CRC != 0 {
        if little_endian(field(input, at, 2)?) != crc32(&input[begin..at]) & 0xffff {
            return Err(Kind::Gzip("header checksum is wrong").at(at));
        }
        at += 2;
    }
    Ok(at)
}

/// Inflates one member after the `begin` bytes that `output` has; where its trailer begins,
/// and how many bytes there are then. Room after those is kept for the next member.
fn body(
    inflate: &mut DecompressorOxide,
    input: &[u8],
    mut at: usize,
    output: &mut Vec<u8>,
    begin: usize,
    limit: usize,
) -> Result<(usize, usize), TarError> {
    let mut filled = begin;
    let mut outcome = ControlFlow::Continue(());
    while outcome.is_continue() {
        grow(output, filled, limit).map_err(|kind| kind.at(at))?;
        // A member sees only its own output: references never reach into the one before.
        let flags = inflate_flags::TINFL_FLAG_USING_NON_WRAPPING_OUTPUT_BUF;
        let out = &mut output[begin..];
        let (status, read, written) = decompress(inflate, &input[at..], out, filled - begin, flags);
        at += read;
        filled += written;
        outcome = match status {
            TINFLStatus::Done => ControlFlow::Break(()),
            TINFLStatus::HasMoreOutput => ControlFlow::Continue(()),
            TINFLStatus::FailedCannotMakeProgress | TINFLStatus::NeedsMoreInput => {
                return Err(Kind::Gzip("file ends too early").at(at));
            }
            _ => return Err(Kind::Gzip("data is damaged").at(at)),
        };
    }
    if filled > limit {
        return Err(Kind::TooLarge.at(at));
    }
    Ok((at, filled))
}

/// Makes room after the `filled` bytes, unless there is some already.
fn grow(output: &mut Vec<u8>, filled: usize, limit: usize) -> Result<(), Kind> {
    if output.len() > filled {
        return Ok(());
    }
    // One byte more than is allowed: an image that fills it is too large.
    let len = output.len().saturating_mul(2).max(FIRST_BYTES).min(limit.saturating_add(1));
    if filled > limit {
        return Err(Kind::TooLarge);
    }
    output.try_reserve_exact(len - output.len()).map_err(|_| Kind::Memory)?;
    output.resize(len, 0);
    Ok(())
}

/// CRC-32 as in RFC 1952, section 8.
fn crc32(bytes: &[u8]) -> u32 {
    static TABLE: [u32; 256] = table();
    !bytes.iter().fold(!0u32, |crc, byte| TABLE[(crc as u8 ^ byte) as usize] ^ crc >> 8)
}

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut n = 0;
    while n < 256 {
        let mut crc = n as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { 0xedb8_8320 ^ crc >> 1 } else { crc >> 1 };
            bit += 1;
        }
        table[n] = crc;
        n += 1;
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(bytes: &[u8]) -> Vec<u8> {
        let mut packed = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3];
        packed.extend(miniz_oxide::deflate::compress_to_vec(bytes, 6));
        packed.extend(crc32(bytes).to_le_bytes());
        packed.extend((bytes.len() as u32).to_le_bytes());
        packed
    }

    #[test]
    fn crc_is_the_one_of_gzip() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
    }

    /// As bgzip writes them. Each that begins must not go over all before it.
    #[test]
    fn many_members_take_no_longer_than_one() {
        let member = pack(&[7; 100]);
        let file = member.repeat(20_000);
        let empty = pack(b"").repeat(20_000);
        let unpacked = unpack(&[file, empty].concat(), 1 << 30).expect("all good");
        assert_eq!(unpacked.len(), 100 * 20_000);
    }

    #[test]
    fn a_bomb_stops_at_the_limit() {
        let bomb = pack(&vec![0; 1 << 20]);
        assert_eq!(unpack(&bomb, 1 << 20).expect("just fits").len(), 1 << 20);
        assert_eq!(unpack(&bomb, (1 << 20) - 1).unwrap_err().kind, Kind::TooLarge);
        // The limit is for all members together.
        let two = [pack(&[7; 600]), pack(&[8; 600])].concat();
        assert_eq!(unpack(&two, 1200).expect("just fits").len(), 1200);
        assert_eq!(unpack(&two, 1199).unwrap_err().kind, Kind::TooLarge);
    }

    /// Whatever byte is wrong, and wherever the file ends: an error, never a panic, and
    /// never other bytes than were packed.
    #[test]
    fn damage_is_found() {
        let bytes: Vec<u8> = (0..2000u32).flat_map(|n| (n * n).to_le_bytes()).collect();
        let good = pack(&bytes);
        assert_eq!(unpack(&good, 1 << 20).expect("good"), bytes);
        for end in 1..good.len() {
            unpack(&good[..end], 1 << 20).expect_err("cut");
        }
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            if let Ok(unpacked) = unpack(&bad, 1 << 20) {
                assert_eq!(unpacked, bytes, "byte {at}");
            }
        }
    }

    #[test]
    fn optional_header_fields_are_skipped_and_checked() {
        let plain = pack(b"hello");
        let mut header = vec![0x1f, 0x8b, 8, HEADER_CRC | EXTRA | NAME | COMMENT];
        header.extend(&plain[4..10]);
        header.extend(b"\x03\x00abcname\0comment\0");
        let crc = crc32(&header) as u16;
        let file = |crc: u16| [&header[..], &crc.to_le_bytes(), &plain[10..], &[0; 9]].concat();
        assert_eq!(unpack(&file(crc), 99).expect("good"), b"hello");
        assert_eq!(unpack(&file(!crc), 99).unwrap_err().offset, header.len() as u64);
    }
}
