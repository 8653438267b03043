//! Streams in pieces of every size.

use super::*;

/// What becomes of a stream that comes in pieces of this size. Long items are in brackets.
fn split(framing: Framing, max: usize, stream: &[u8], size: usize) -> Vec<String> {
    let mut splitter = Splitter::new(framing, max);
    let mut items = Vec::new();
    let mut long = Vec::new();
    let mut pieces = stream.chunks(size.max(1));
    let mut ended = false;
    loop {
        match splitter.next(ended) {
            Piece::Item(item) => items.push(String::from_utf8_lossy(item).into_owned()),
            Piece::TooLong { bytes, last } => {
                long.extend_from_slice(bytes);
                if last {
                    items
                        .push(format!("[{}]", String::from_utf8_lossy(&std::mem::take(&mut long))));
                }
            }
            Piece::More => {
                assert!(!ended, "it asks for more than there is");
                let piece = pieces.next();
                ended = piece.is_none();
                let piece = piece.unwrap_or_default();
                let fill = |room: &mut [u8]| {
                    room[..piece.len()].copy_from_slice(piece);
                    Ok::<usize, ()>(piece.len())
                };
                splitter.fill(size.max(1), fill).unwrap();
            }
            Piece::End => return items,
            Piece::Broken(why) => {
                items.push(format!("!{why}"));
                return items;
            }
        }
    }
}

#[track_caller]
fn check(framing: Framing, max: usize, stream: &[u8], expected: &[&str]) {
    for size in 1..=stream.len() + 1 {
        assert_eq!(split(framing, max, stream, size), expected, "in pieces of {size}");
    }
}

#[test]
fn lines_are_cut_at_newlines() {
    let lines = |stream: &[u8], expected: &[&str]| check(Framing::Lines, 5, stream, expected);
    lines(b"", &[]);
    lines(b"\n", &["\n"]);
    lines(b"one\n\nthree\n", &["one\n", "\n", "three\n"]);
    lines(b"one\nlast", &["one\n", "last"]);
    lines(b"12345\n12345", &["12345\n", "12345"]);
    lines(b"a\r\n\0\xff\n", &["a\r\n", "\0\u{fffd}\n"]);
}

#[test]
fn a_line_that_is_too_long_is_one_item_and_the_next_is_read() {
    let lines = |stream: &[u8], expected: &[&str]| check(Framing::Lines, 3, stream, expected);
    lines(b"1234\nok\n", &["[1234\n]", "ok\n"]);
    lines(b"ok\n1234567890", &["ok\n", "[1234567890]"]);
    lines(b"1234567890\n\n1234\n", &["[1234567890\n]", "\n", "[1234\n]"]);
}

#[test]
fn frames_are_cut_at_their_lengths() {
    let frames = |stream: &[u8], expected: &[&str]| check(Framing::Length32, 4, stream, expected);
    frames(b"", &[]);
    frames(b"\0\0\0\x03one\0\0\0\0\0\0\0\x04a\n\nb", &["one", "", "a\n\nb"]);
    frames(b"\0\0\0\x05seven\0\0\0\x02ok", &["[\0\0\0\x05seven]", "ok"]);
    let cut = "!the input ends in the middle of it";
    frames(b"\0\0\0", &[cut]);
    frames(b"\0\0\0\x03on", &[cut]);
    assert_eq!(split(Framing::Length32, 4, b"\xff\xff\xff\xffabc", 64), [cut]);
}

#[test]
fn netstrings_are_read_strictly() {
    let frames = |stream: &[u8], expected: &[&str]| check(Framing::Netstring, 12, stream, expected);
    frames(b"12:hello world!,0:,1:\n,", &["hello world!", "", "\n"]);
    frames(b"13:hello, world!,2:ok,", &["[13:hello, world!,]", "ok"]);
    let begin = "!a netstring has to begin with its length";
    frames(b"hello", &[begin]);
    frames(b"2:ok,,", &["ok", begin]);
    frames(b"-1:,", &[begin]);
    let comma = "!a netstring has to end with a comma";
    frames(b"2:okay", &[comma]);
    frames(b"02:ok,", &["!the length of a netstring has a zero in front"]);
    frames(b"2 :ok,", &["!the length of a netstring has to end with a colon"]);
    frames(b"1234567890123456789", &["!the length of a netstring is beyond all bounds"]);
    let cut = "!the input ends in the middle of it";
    frames(b"2", &[cut]);
    frames(b"2:", &[cut]);
    frames(b"2:ok", &[cut]);
    assert_eq!(split(Framing::Netstring, 12, b"13:hello, world!x", 64), [comma]);
    assert_eq!(split(Framing::Netstring, 12, b"999999999999999999:abc", 64), [cut]);
}

#[test]
fn what_is_encoded_is_split_again() {
    for framing in [Framing::Length32, Framing::Netstring] {
        let mut stream = Vec::new();
        for reply in ["", "one", "two\n\n", "0:,"] {
            framing.encode(reply.as_bytes(), true, &mut stream).unwrap();
        }
        check(framing, 9, &stream, &["", "one", "two\n\n", "0:,"]);
    }
    let mut stream = Vec::new();
    for (reply, closed) in [("", true), ("one", true), ("two\n\n", true), ("last", false)] {
        Framing::Lines.encode(reply.as_bytes(), closed, &mut stream).unwrap();
    }
    assert_eq!(stream, b"one\ntwo\n\nlast");
}
