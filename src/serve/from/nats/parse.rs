//! Cutting what a NATS server sends into operations. All lengths are its own, so each is bounded.

use crate::serve::conn::buffer::KEEP;

/// Bytes of a line, but for INFO.
const LINE_MAX: usize = 4096;

/// Bytes of an INFO, which lists the servers of a cluster.
const INFO_MAX: usize = 64 << 10;

/// The most that any server may allow a message to have. Its own limit is 8 MiB less.
pub(super) const PAYLOAD_MAX: usize = 64 << 20;

/// What a server says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ServerOp<'a> {
    /// Its JSON.
    Info(&'a [u8]),
    Message(Message<'a>),
    Ping,
    Pong,
    Ok,
    /// What it says is wrong, without quotes.
    Error(&'a str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    pub subject: &'a str,
    /// The number of the subscription.
    pub sid: u64,
    pub reply: Option<&'a str>,
    /// With the empty line at their end. Empty if there are none.
    pub headers: &'a [u8],
    pub payload: &'a [u8],
}

/// What was received and not yet taken.
#[derive(Default)]
pub(super) struct OpParser {
    bytes: Vec<u8>,
    start: usize,
    /// No newline between the start and here.
    scanned: usize,
    /// There is nothing whole as long as there are fewer bytes than this.
    needed: usize,
    /// Bytes of a message, headers included.
    pub payload_max: usize,
}

impl OpParser {
    pub fn new() -> OpParser {
        OpParser { payload_max: 1 << 20, ..OpParser::default() }
    }

    /// Adds what was received.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.start > 0 {
            self.bytes.drain(..self.start);
            self.scanned -= self.start;
            self.start = 0;
        }
        if self.bytes.is_empty() && self.bytes.capacity() > 16 * KEEP.max(bytes.len()) {
            self.bytes = Vec::new();
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes the next operation, if a whole one is there.
    ///
    /// # Errors
    ///
    /// What is wrong with it. Nothing after it means anything.
    pub fn next(&mut self) -> Result<Option<ServerOp<'_>>, String> {
        let have = self.bytes.len() - self.start;
        if have < self.needed.max(1) {
            return Ok(None);
        }
        let newline = self.bytes[self.scanned..].iter().position(|byte| *byte == b'\n');
        let start = self.start;
        let Some(newline) = newline.map(|at| self.scanned + at) else {
            self.scanned = self.bytes.len();
            let max = if verb_is(&self.bytes[start..], "INFO") { INFO_MAX } else { LINE_MAX };
            return if have > max {
                Err(format!("a line of more than {max} bytes"))
            } else {
                Ok(None)
            };
        };
        let line = &self.bytes[start..newline];
        let max = if verb_is(line, "INFO") { INFO_MAX } else { LINE_MAX };
        if line.len() > max {
            return Err(format!("a line of more than {max} bytes"));
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let lengths = match message_head(line, self.payload_max)? {
            None => {
                let (from, to) = (start, start + line.len());
                self.consume(newline + 1);
                return simple(&self.bytes[from..to]).map(Some);
            }
            Some(head) => head.lengths,
        };
        let body = newline + 1;
        let end = body + lengths.total;
        if self.bytes.len() < end + 2 {
            // Its line is read again once all of it is there.
            self.scanned = start;
            self.needed = end + 2 - start;
            return Ok(None);
        }
        if &self.bytes[end..end + 2] != b"\r\n" {
            return Err("a message that is longer or shorter than it says".into());
        }
        let line_end = start + line.len();
        self.consume(end + 2);
        let head = message_head(&self.bytes[start..line_end], self.payload_max)?;
        let Some(Head { subject, sid, reply, .. }) = head else { return Ok(None) };
        let (headers, payload) = self.bytes[body..end].split_at(lengths.headers);
        Ok(Some(ServerOp::Message(Message { subject, sid, reply, headers, payload })))
    }

    fn consume(&mut self, end: usize) {
        self.start = end;
        self.scanned = end;
        self.needed = 0;
    }
}

/// Whether a line begins with this word, in either case.
fn verb_is(line: &[u8], verb: &str) -> bool {
    let Some((word, rest)) = line.split_at_checked(verb.len()) else { return false };
    let ends = rest.first().is_none_or(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n'));
    word.eq_ignore_ascii_case(verb.as_bytes()) && ends
}

/// An operation that is one line.
fn simple(line: &[u8]) -> Result<ServerOp<'_>, String> {
    let text = |from: usize| -> Result<&str, String> {
        let text = std::str::from_utf8(&line[from..]);
        Ok(text.map_err(|_| "a line that is not UTF-8".to_owned())?.trim())
    };
    if verb_is(line, "PING") {
        Ok(ServerOp::Ping)
    } else if verb_is(line, "PONG") {
        Ok(ServerOp::Pong)
    } else if verb_is(line, "+OK") {
        Ok(ServerOp::Ok)
    } else if verb_is(line, "-ERR") {
        Ok(ServerOp::Error(text("-ERR".len())?.trim_matches('\'')))
    } else if verb_is(line, "INFO") {
        Ok(ServerOp::Info(text("INFO".len())?.as_bytes()))
    } else {
        let shown = String::from_utf8_lossy(&line[..line.len().min(40)]);
        Err(format!("{shown:?} is not an operation of NATS"))
    }
}

struct Head<'a> {
    subject: &'a str,
    sid: u64,
    reply: Option<&'a str>,
    lengths: Lengths,
}

#[derive(Clone, Copy)]
struct Lengths {
    headers: usize,
    /// Headers included.
    total: usize,
}

/// Reads the line of a message; `None` if it is another.
fn message_head(line: &[u8], payload_max: usize) -> Result<Option<Head<'_>>, String> {
    let with_headers = match () {
        () if verb_is(line, "MSG") => false,
        () if verb_is(line, "HMSG") => true,
        () => return Ok(None),
    };
    let broken = || format!("{:?} is not the head of a message", String::from_utf8_lossy(line));
    let text = std::str::from_utf8(line).map_err(|_| broken())?;
    let mut words = [""; 6];
    let mut count = 0;
    for word in text.split_ascii_whitespace() {
        *words.get_mut(count).ok_or_else(broken)? = word;
        count += 1;
    }
    // A verb, a subject, a number, a subject to reply to if there is one, and one or two lengths.
    let fixed = if with_headers { 5 } else { 4 };
    if count != fixed && count != fixed + 1 {
        return Err(broken());
    }
    let reply = (count > fixed).then(|| words[3]);
    let subject = words[1];
    if [Some(subject), reply].into_iter().flatten().any(|name| name.contains(char::is_control)) {
        return Err(broken());
    }
    let length = |word: &str| {
        let length = word.bytes().all(|byte| byte.is_ascii_digit()).then(|| word.parse::<usize>());
        length.and_then(Result::ok).ok_or_else(broken)
    };
    let total = length(words[count - 1])?;
    let headers = if with_headers { length(words[count - 2])? } else { 0 };
    if total > payload_max {
        return Err(format!("a message of {total} bytes, more than the {payload_max} it allows"));
    }
    if headers > total {
        return Err(broken());
    }
    let sid = words[2].parse().map_err(|_| broken())?;
    Ok(Some(Head { subject, sid, reply, lengths: Lengths { headers, total } }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8], chunk: usize) -> Result<Vec<String>, String> {
        let mut parser = OpParser::new();
        let mut found = Vec::new();
        for part in text.chunks(chunk) {
            parser.push(part);
            while let Some(op) = parser.next()? {
                found.push(format!("{op:?}"));
            }
        }
        Ok(found)
    }

    #[test]
    fn operations_come_out_however_they_came_in() {
        let text = b"INFO {\"a\":1}\r\nping\r\nMSG a.b 1 3\r\nx\r\n\r\nmsg a 2 r.x 0\r\n\r\n\
            HMSG a 1 re 12 14\r\nNATS/1.0\r\n\r\nhi\r\n+OK\r\n-ERR 'Stale Connection'\r\nPONG\n";
        let whole = all(text, text.len()).unwrap();
        assert_eq!(whole.len(), 8);
        for chunk in 1..text.len() {
            assert_eq!(all(text, chunk).unwrap(), whole, "in chunks of {chunk}");
        }
        let mut parser = OpParser::new();
        parser.push(b"HMSG a 1 re 12 14\r\nNATS/1.0\r\n\r\nhi\r\n");
        let message = Message {
            subject: "a",
            sid: 1,
            reply: Some("re"),
            headers: b"NATS/1.0\r\n\r\n",
            payload: b"hi",
        };
        assert_eq!(parser.next(), Ok(Some(ServerOp::Message(message))));
        parser.push(b"-ERR 'No'\r\n");
        assert_eq!(parser.next(), Ok(Some(ServerOp::Error("No"))));
        assert_eq!(parser.next(), Ok(None));
    }

    #[test]
    fn lies_are_found() {
        let long = vec![b'x'; LINE_MAX + 2];
        let info = [b"INFO ".to_vec(), vec![b'x'; INFO_MAX]].concat();
        let wrong: [&[u8]; 19] = [
            b"HTTP/1.1 400 Bad Request\r\n",
            b"MSG a 1\r\n",
            b"MSG a 1 -3\r\n",
            b"MSG a 1 +3\r\n",
            b"MSG a 1 x\r\n",
            b"MSG a x 1\r\n",
            b"MSG a 1 b c 1\r\n",
            b"MSG a 1 99999999999999999999999\r\n",
            b"MSG a 1 1048577\r\n",
            b"MSG a 1 3\r\nabcd\r\n",
            b"MSG a 1 3\r\nab\r\n++",
            b"HMSG a 1 5 3\r\n",
            b"HMSG a 1 3\r\n",
            b"MSG \xff 1 3\r\n",
            b"MSG a\x01 1 3\r\n",
            b"\r\n",
            b"PINGPONG\r\n",
            &long,
            &info,
        ];
        for text in wrong {
            for chunk in [1, text.len()] {
                let shown = String::from_utf8_lossy(&text[..text.len().min(60)]);
                assert!(all(text, chunk).is_err(), "{shown}");
            }
        }
    }

    #[test]
    fn random_bytes_never_panic_and_are_never_kept_for_ever() {
        let mut seed = 1997u64;
        let mut random = move || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        let words =
            ["MSG ", "HMSG ", "a ", "1 ", "5 ", "12 ", "\r\n", "\n", "INFO {", "PING", "\0"];
        for _ in 0..2000 {
            let mut parser = OpParser::new();
            for _ in 0..60 {
                let word = words[random() as usize % words.len()];
                parser.push(word.as_bytes());
                parser.push(&random().to_le_bytes()[..random() as usize % 3]);
                while let Ok(Some(_)) = parser.next() {}
            }
        }
    }
}
