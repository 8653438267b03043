//! Where an item of a stream ends and the next begins.

/// How items are delimited, in the input and in the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// A line is an item. Its guest reads the line with its newline. Replies may be any number of
    /// lines; one that does not end with a newline gets it, unless the item had none.
    #[default]
    Lines,
    /// Four bytes, most significant first, and so many bytes of an item. Its guest reads the bytes,
    /// and all it writes is one frame.
    Length32,
    /// `LENGTH:BYTES,` with a decimal length (<https://cr.yp.to/proto/netstrings.txt>), likewise.
    Netstring,
}

/// Digits of the longest length of a netstring that is read. Its value fits an i64.
const DIGITS_MAX: usize = 18;

/// What is at the front of a stream.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// A whole item.
    Item(&'a [u8]),
    /// A part, with its framing, of an item that is longer than allowed; `last` if it ends here.
    TooLong { bytes: &'a [u8], last: bool },
    /// More has to come first.
    More,
    /// The stream has ended.
    End,
    /// What follows is not of this framing.
    Broken(String),
}

/// Cuts a stream into items.
pub(super) struct Splitter {
    framing: Framing,
    /// Bytes of an item.
    max: usize,
    bytes: Vec<u8>,
    start: usize,
    /// No newline before here.
    scanned: usize,
    /// An item that is too long is being taken in parts: a frame still has so many bytes.
    long: Option<u64>,
}

impl Splitter {
    pub fn new(framing: Framing, max: usize) -> Splitter {
        Splitter { framing, max, bytes: Vec::new(), start: 0, scanned: 0, long: None }
    }

    /// Makes room for `count` bytes and has them filled by `read`, which says how many there are.
    pub fn fill<E>(
        &mut self,
        count: usize,
        read: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<usize, E> {
        self.bytes.drain(..self.start);
        self.scanned -= self.start;
        self.start = 0;
        let len = self.bytes.len();
        self.bytes.resize(len + count, 0);
        let got = read(&mut self.bytes[len..]);
        self.bytes.truncate(len + got.as_ref().map_or(0, |got| *got));
        got
    }

    /// Takes what is at the front. `ended`: nothing more comes.
    pub fn next(&mut self, ended: bool) -> Piece<'_> {
        match self.framing {
            Framing::Lines => self.line(ended),
            Framing::Length32 | Framing::Netstring => self.frame(ended),
        }
    }

    fn take(&mut self, count: usize) -> &[u8] {
        let start = self.start;
        self.start += count;
        self.scanned = self.scanned.max(self.start);
        &self.bytes[start..self.start]
    }

    fn left(&self) -> usize {
        self.bytes.len() - self.start
    }

    fn line(&mut self, ended: bool) -> Piece<'_> {
        let newline = self.bytes[self.scanned..].iter().position(|byte| *byte == b'\n');
        let end = newline.map(|at| self.scanned + at + 1);
        self.scanned = end.unwrap_or(self.bytes.len());
        let len = end.map_or(self.left(), |end| end - self.start);
        let without = len - usize::from(end.is_some());
        let whole = end.is_some() || ended;
        if self.long.is_some() || without > self.max {
            if len == 0 && !ended {
                return Piece::More;
            }
            self.long = (!whole).then_some(0);
            return Piece::TooLong { bytes: self.take(len), last: whole };
        }
        match (whole, len) {
            (true, 0) => Piece::End,
            (true, _) => Piece::Item(self.take(len)),
            (false, _) => Piece::More,
        }
    }

    fn frame(&mut self, ended: bool) -> Piece<'_> {
        if let Some(left) = self.long {
            return self.rest_of_frame(left, ended);
        }
        if ended && self.left() == 0 {
            return Piece::End;
        }
        let header = match self.header() {
            Ok(Some(header)) => header,
            Ok(None) if ended => return self.cut(),
            Ok(None) => return Piece::More,
            Err(why) => return Piece::Broken(why),
        };
        let tail = usize::from(self.framing == Framing::Netstring);
        let Some(payload) = usize::try_from(header.payload).ok().filter(|len| *len <= self.max)
        else {
            return self.rest_of_frame(header.len as u64 + header.payload + tail as u64, ended);
        };
        let whole = header.len + payload + tail;
        if self.left() < whole {
            return if ended { self.cut() } else { Piece::More };
        }
        if tail > 0 && self.bytes[self.start + whole - 1] != b',' {
            return Piece::Broken("a netstring has to end with a comma".to_owned());
        }
        let frame = self.take(whole);
        Piece::Item(&frame[header.len..header.len + payload])
    }

    fn cut(&self) -> Piece<'_> {
        Piece::Broken("the input ends in the middle of it".to_owned())
    }

    /// A part of a frame that is too long and has `left` bytes, the header included.
    fn rest_of_frame(&mut self, left: u64, ended: bool) -> Piece<'_> {
        let count = usize::try_from(left).unwrap_or(usize::MAX).min(self.left());
        let last = count as u64 == left;
        if count == 0 && !last {
            self.long = Some(left);
            return if ended { self.cut() } else { Piece::More };
        }
        let comma = self.framing == Framing::Netstring && last;
        if comma && self.bytes[self.start + count - 1] != b',' {
            return Piece::Broken("a netstring has to end with a comma".to_owned());
        }
        self.long = (!last).then_some(left - count as u64);
        Piece::TooLong { bytes: self.take(count), last }
    }

    /// What is before the bytes of a frame, if it has come.
    fn header(&self) -> Result<Option<Header>, String> {
        let bytes = &self.bytes[self.start..];
        if self.framing == Framing::Length32 {
            let length = bytes.first_chunk().map(|length| u32::from_be_bytes(*length));
            return Ok(length.map(|length| Header { len: 4, payload: length.into() }));
        }
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        match (digits, bytes.get(digits)) {
            (0, Some(_)) => Err("a netstring has to begin with its length".to_owned()),
            (2.., _) if bytes[0] == b'0' => {
                Err("the length of a netstring has a zero in front".to_owned())
            }
            (digits, _) if digits > DIGITS_MAX => {
                Err("the length of a netstring is beyond all bounds".to_owned())
            }
            (_, None) => Ok(None),
            (digits, Some(b':')) => {
                let digits = &bytes[..digits];
                let add = |sum: u64, digit: &u8| sum * 10 + u64::from(digit - b'0');
                let payload = digits.iter().fold(0, add);
                Ok(Some(Header { len: digits.len() + 1, payload }))
            }
            (_, Some(_)) => Err("the length of a netstring has to end with a colon".to_owned()),
        }
    }
}

struct Header {
    len: usize,
    payload: u64,
}

impl Framing {
    /// What an item is called.
    pub fn unit(self) -> &'static str {
        match self {
            Framing::Lines => "line",
            Framing::Length32 | Framing::Netstring => "frame",
        }
    }

    /// Adds an item that is passed on as it is.
    pub(super) fn pass(self, item: &[u8], closed: bool, output: &mut Vec<u8>) {
        // What came in a frame fits one.
        let _ = self.encode(item, closed, output);
    }

    /// Adds a reply to an item to the output. `closed` is not set for a last line without a
    /// newline.
    ///
    /// # Errors
    ///
    /// If the framing can't have it.
    pub(super) fn encode(
        self,
        reply: &[u8],
        closed: bool,
        output: &mut Vec<u8>,
    ) -> Result<(), &'static str> {
        match self {
            Framing::Lines => {
                output.extend_from_slice(reply);
                if closed && reply.last().is_some_and(|last| *last != b'\n') {
                    output.push(b'\n');
                }
            }
            Framing::Length32 => {
                let length = u32::try_from(reply.len());
                let length = length.map_err(|_| "its reply is longer than a frame can be")?;
                output.extend_from_slice(&length.to_be_bytes());
                output.extend_from_slice(reply);
            }
            Framing::Netstring => {
                output.extend_from_slice(format!("{}:", reply.len()).as_bytes());
                output.extend_from_slice(reply);
                output.push(b',');
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
