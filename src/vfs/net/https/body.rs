//! Where the body of a request ends.

use super::Refusal;

/// The rest of a body. It is `Copy`, so that what comes can be looked at before it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// So many bytes. None, if the request has no body, or after all of it.
    Length(u64),
    /// In chunks (RFC 9112, 7.1), without the two parts that servers disagree about and no client
    /// needs: extensions, and trailers.
    Chunked(Chunked),
}

/// What comes next of a body in chunks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chunked {
    /// Digits of a chunk's size, after so many of them.
    Size(u64, u8),
    SizeEnd(u64),
    Data(u64),
    DataEnd,
    DataEndLine,
    LastEnd,
    LastEndLine,
}

/// Digits of a size: what fits 64 bits, with room for zeros in front.
const DIGITS_MAX: u8 = 16;

const MORE: Refusal = Refusal("something follows the request: a connection is for one");

impl Body {
    pub const NONE: Body = Body::Length(0);
    pub const CHUNKED: Body = Body::Chunked(Chunked::Size(0, 0));

    /// What it is after these bytes.
    ///
    /// # Errors
    ///
    /// If they can't be part of it.
    pub fn after(self, bytes: &[u8]) -> Result<Body, Refusal> {
        match self {
            Body::Length(0) if !bytes.is_empty() => Err(MORE),
            Body::Length(left) => match left.checked_sub(bytes.len() as u64) {
                Some(left) => Ok(Body::Length(left)),
                None => Err(Refusal("the body is longer than its Content-Length")),
            },
            Body::Chunked(chunked) => chunked.after(bytes),
        }
    }
}

impl Chunked {
    fn after(mut self, mut bytes: &[u8]) -> Result<Body, Refusal> {
        const BAD_SIZE: Refusal = Refusal("the size of a chunk is no hexadecimal number and CR LF");
        const BAD_END: Refusal = Refusal("a chunk does not end where its size says");
        while let Some((byte, rest)) = bytes.split_first() {
            if let Chunked::Data(left) = self {
                let part = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                bytes = &bytes[part..];
                let left = left - part as u64;
                self = if left == 0 { Chunked::DataEnd } else { Chunked::Data(left) };
                continue;
            }
            bytes = rest;
            self = match (self, byte) {
                (Chunked::Size(size, digits), digit) if digit.is_ascii_hexdigit() => {
                    if digits == DIGITS_MAX {
                        return Err(BAD_SIZE);
                    }
                    let value = (*digit as char).to_digit(16).unwrap_or_default();
                    Chunked::Size(size << 4 | u64::from(value), digits + 1)
                }
                (Chunked::Size(size, 1..), b'\r') => Chunked::SizeEnd(size),
                (Chunked::Size(_, 1..), b';' | b' ' | b'\t') => {
                    return Err(Refusal("a chunk has an extension"));
                }
                (Chunked::SizeEnd(0), b'\n') => Chunked::LastEnd,
                (Chunked::SizeEnd(size), b'\n') => Chunked::Data(size),
                (Chunked::Size(..) | Chunked::SizeEnd(_), _) => return Err(BAD_SIZE),
                (Chunked::DataEnd, b'\r') => Chunked::DataEndLine,
                (Chunked::DataEndLine, b'\n') => Chunked::Size(0, 0),
                (Chunked::LastEnd, b'\r') => Chunked::LastEndLine,
                (Chunked::LastEndLine, b'\n') if rest.is_empty() => return Ok(Body::NONE),
                (Chunked::LastEndLine, b'\n') => return Err(MORE),
                (Chunked::LastEnd, _) => return Err(Refusal("the body has trailers")),
                _ => return Err(BAD_END),
            };
        }
        Ok(Body::Chunked(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What it is after all of them, in one piece, and byte by byte.
    fn after(body: Body, bytes: &[u8]) -> Result<Body, Refusal> {
        let at_once = body.after(bytes);
        let mut by_byte = Ok(body);
        for byte in bytes.chunks(1) {
            by_byte = by_byte.and_then(|body| body.after(byte));
        }
        assert_eq!(at_once.is_ok(), by_byte.is_ok(), "{bytes:?}");
        at_once
    }

    #[test]
    fn a_body_has_its_length_and_no_more() {
        assert_eq!(after(Body::Length(3), b"abc"), Ok(Body::NONE));
        assert_eq!(after(Body::Length(3), b"ab"), Ok(Body::Length(1)));
        assert!(after(Body::Length(3), b"abcd").is_err());
        assert!(after(Body::NONE, b"G").is_err());
        assert_eq!(after(Body::NONE, b""), Ok(Body::NONE));
    }

    #[test]
    fn chunks_end_where_they_say() {
        for whole in ["0\r\n\r\n", "3\r\nabc\r\n0\r\n\r\n", "00a\r\n0123456789\r\n0\r\n\r\n"] {
            assert_eq!(after(Body::CHUNKED, whole.as_bytes()), Ok(Body::NONE), "{whole}");
        }
        for part in ["", "f", "f\r", "f\r\n", "3\r\nab", "3\r\nabc", "3\r\nabc\r\n", "0\r\n\r"] {
            let rest = after(Body::CHUNKED, part.as_bytes());
            assert!(matches!(rest, Ok(Body::Chunked(_))), "{part}");
        }
        for bad in [
            "\r\n",
            "g\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1 \r\na\r\n0\r\n\r\n",
            "1;a=b\r\na\r\n0\r\n\r\n",
            "1\na\n0\n\n",
            "1\ra",
            "1\r\nab\r\n0\r\n\r\n",
            "1\r\na\n0\r\n\r\n",
            "1\r\na0\r\n\r\n",
            "0\r\nAuthorization: x\r\n\r\n",
            "0\r\n\r\nG",
            "0\r\n\r\nGET / HTTP/1.1\r\n",
            "00000000000000001\r\n",
            "10000000000000000\r\n",
        ] {
            assert!(after(Body::CHUNKED, bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
