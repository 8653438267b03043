//! What a guest of CGI writes, as a reply of HTTP.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::request::Refused;
use crate::serve::observe::logging::calendar;
use crate::serve::observe::metrics::Outcome;

/// Bytes of the head that a guest writes.
const HEAD_MAX: usize = 16 << 10;

/// Fields that are this server's to write.
const NOT_PASSED: [&str; 8] = [
    "connection",
    "date",
    "keep-alive",
    "proxy-connection",
    "status",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// A reply on its way.
pub(super) struct Reply {
    /// The client wants its head only.
    is_head: bool,
    is_1_1: bool,
    /// Another reply may follow. Cleared if the client could not tell where this one ends.
    pub keep: bool,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// The guest's head is not whole yet.
    Head,
    /// So many bytes of the body are missing.
    Length(u64),
    Chunked,
    /// The body ends with the connection.
    Close,
    /// Nothing more is sent, whatever the guest writes.
    Done,
}

impl Reply {
    pub fn new(is_head: bool, is_1_1: bool, keep: bool) -> Reply {
        Reply { is_head, is_1_1, keep, state: State::Head }
    }

    /// No other reply follows, unless the head of this one has already promised it.
    pub fn close(&mut self) {
        self.keep &= self.state != State::Head;
    }

    /// Moves what the guest wrote to the output. `end` is set once it has ended.
    pub fn frame(
        &mut self,
        written: &mut Vec<u8>,
        output: &mut Vec<u8>,
        end: Option<Outcome>,
        now: SystemTime,
    ) {
        if self.state == State::Head {
            match self.head(written, output, end, now) {
                Ok(true) => {}
                Ok(false) => return,
                Err(refused) => self.error(output, refused, now),
            }
        }
        self.body(written, output);
        if let Some(outcome) = end {
            self.end(outcome, output);
        }
    }

    /// Writes an error, if nothing was sent yet. The connection closes after it.
    pub fn error(&mut self, output: &mut Vec<u8>, refused: Refused, now: SystemTime) {
        self.keep = false;
        if self.state == State::Head {
            error(output, refused, self.is_head, now);
        }
        self.state = State::Done;
    }

    /// Sends the head, once it is whole. Says whether it is.
    fn head(
        &mut self,
        written: &mut Vec<u8>,
        output: &mut Vec<u8>,
        end: Option<Outcome>,
        now: SystemTime,
    ) -> Result<bool, Refused> {
        match end {
            None | Some(Outcome::Ok) => {}
            Some(Outcome::Timeout) => return Err((504, "the program took too long")),
            Some(_) => return Err((500, "the program failed")),
        }
        let searched = &written[..written.len().min(HEAD_MAX)];
        let Some(len) = end_of_head(searched) else {
            return match end {
                Some(_) => Err((
                    500,
                    "the program's reply has no head: header lines, such as \
                                      Content-Type: text/plain, and an empty line",
                )),
                None if written.len() >= HEAD_MAX => {
                    Err((500, "the head of the program's reply is too long"))
                }
                None => Ok(false),
            };
        };
        let head = Head::new(&written[..len])?;
        // All of the body is there already, as is usual.
        let whole = end.map(|_| (written.len() - len) as u64);
        self.state = self.start(&head, whole);
        head.write(output, self.keep, self.is_1_1, now);
        if let (State::Length(length), None) = (self.state, head.length) {
            let _ = write!(Text(output), "Content-Length: {length}\r\n");
        }
        if self.state == State::Chunked {
            output.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
        }
        output.extend_from_slice(b"\r\n");
        // What belongs to a head alone was said.
        if self.is_head || !head.has_body() {
            self.state = State::Done;
        }
        written.drain(..len);
        Ok(true)
    }

    /// How the body is sent.
    fn start(&mut self, head: &Head<'_>, whole: Option<u64>) -> State {
        let state = match head.length.or(whole) {
            _ if !head.has_body() => State::Done,
            Some(length) => State::Length(length),
            None if self.is_1_1 => State::Chunked,
            None => State::Close,
        };
        self.keep &= state != State::Close || self.is_head;
        state
    }

    fn body(&mut self, written: &mut Vec<u8>, output: &mut Vec<u8>) {
        match &mut self.state {
            State::Head => return,
            State::Length(left) => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(written.len());
                // What is more than it said can't be sent as a part of this reply.
                self.keep &= count == written.len();
                output.extend_from_slice(&written[..count]);
                *left -= count as u64;
            }
            State::Chunked if written.is_empty() => {}
            State::Chunked => {
                let _ = write!(Text(output), "{:x}\r\n", written.len());
                output.extend_from_slice(written);
                output.extend_from_slice(b"\r\n");
            }
            State::Close => output.extend_from_slice(written),
            State::Done => {}
        }
        written.clear();
    }

    fn end(&mut self, outcome: Outcome, output: &mut Vec<u8>) {
        match self.state {
            // A client sees from the missing end that the reply is not whole.
            _ if outcome != Outcome::Ok => self.keep = false,
            State::Chunked => output.extend_from_slice(b"0\r\n\r\n"),
            State::Length(left) if left > 0 => self.keep = false,
            _ => {}
        }
        self.state = State::Done;
    }
}

/// Where the head that begins here ends: after its empty line.
fn end_of_head(written: &[u8]) -> Option<usize> {
    let mut start = 0;
    for (at, _) in written.iter().enumerate().filter(|(_, byte)| **byte == b'\n') {
        if matches!(&written[start..at], b"" | b"\r") {
            return Some(at + 1);
        }
        start = at + 1;
    }
    None
}

/// The head of a guest's reply (RFC 3875, section 6).
struct Head<'a> {
    status: u16,
    reason: String,
    fields: Vec<(&'a str, &'a str)>,
    length: Option<u64>,
}

impl<'a> Head<'a> {
    fn new(head: &'a [u8]) -> Result<Head<'a>, Refused> {
        const WRONG: Refused =
            (500, "the head of the program's reply has a line that is not valid");
        let head = std::str::from_utf8(head).map_err(|_| WRONG)?;
        let mut fields = Vec::new();
        for line in head.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line)) {
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or(WRONG)?;
            let value = value.trim_matches([' ', '\t']);
            let control = |c: char| c.is_control() && c != '\t';
            if !is_token(name) || value.contains(control) {
                return Err(WRONG);
            }
            fields.push((name, value));
        }
        let one = |wanted: &str| {
            let mut all = fields.iter().filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
            let first = all.next().map(|(_, value)| *value);
            if all.next().is_some() { Err(WRONG) } else { Ok(first) }
        };
        let length = one("content-length")?.map(|length| {
            let digits = length.bytes().all(|byte| byte.is_ascii_digit());
            length.parse().ok().filter(|_| digits).ok_or(WRONG)
        });
        let (status, reason) = match (one("status")?, one("location")?) {
            (Some(status), _) => status_of(status).ok_or(WRONG)?,
            (None, Some(_)) => (302, String::new()),
            (None, None) => (200, String::new()),
        };
        let reason = if reason.is_empty() { reason_of(status).to_owned() } else { reason };
        Ok(Head { status, reason, length: length.transpose()?, fields })
    }

    /// Whether a reply of this status has a body (RFC 9110, section 6.4.1).
    fn has_body(&self) -> bool {
        !matches!(self.status, 204 | 304)
    }

    fn write(&self, output: &mut Vec<u8>, keep: bool, is_1_1: bool, now: SystemTime) {
        begin(output, self.status, &self.reason, now);
        for (name, value) in &self.fields {
            let ours = NOT_PASSED.iter().any(|ours| name.eq_ignore_ascii_case(ours));
            let of_body = name.eq_ignore_ascii_case("content-length") && self.status == 204;
            if !ours && !of_body {
                let _ = write!(Text(output), "{name}: {value}\r\n");
            }
        }
        match (keep, is_1_1) {
            (true, true) => {}
            (true, false) => output.extend_from_slice(b"Connection: keep-alive\r\n"),
            (false, _) => output.extend_from_slice(b"Connection: close\r\n"),
        }
    }
}

fn is_token(name: &str) -> bool {
    let of_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !name.is_empty() && name.bytes().all(of_token)
}

/// `404 Not Found`, or only the number. A guest can't send 1xx: those are about the connection.
fn status_of(text: &str) -> Option<(u16, String)> {
    let (code, reason) = text.split_once(' ').unwrap_or((text, ""));
    let digits = code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_digit());
    let code = code.parse().ok().filter(|code| digits && (200..=599).contains(code))?;
    Some((code, reason.trim().to_owned()))
}

fn begin(output: &mut Vec<u8>, status: u16, reason: &str, now: SystemTime) {
    let _ = write!(Text(output), "HTTP/1.1 {status} {reason}\r\nDate: {}\r\n", HttpDate(now));
}

/// Writes a reply of this server's own, after which the connection closes.
pub(super) fn error(output: &mut Vec<u8>, refused: Refused, is_head: bool, now: SystemTime) {
    let (status, why) = refused;
    begin(output, status, reason_of(status), now);
    let length = why.len() + 1;
    let _ = write!(
        Text(output),
        "Content-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    if !is_head {
        let _ = writeln!(Text(output), "{why}");
    }
}

/// What a status is called.
fn reason_of(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        204 => "No Content",
        206 => "Partial Content",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        410 => "Gone",
        413 => "Content Too Large",
        415 => "Unsupported Media Type",
        417 => "Expectation Failed",
        422 => "Unprocessable Content",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        _ => "",
    }
}

/// Bytes to which text is added.
struct Text<'a>(&'a mut Vec<u8>);

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// A time as RFC 9110, section 5.6.7, wants it.
struct HttpDate(SystemTime);

impl std::fmt::Display for HttpDate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
        let (days, of_day) = (since / 86_400, since % 86_400);
        let (year, month, day) = calendar(days);
        let weekday = DAYS[usize::try_from(days % 7).unwrap_or_default()];
        let month = MONTHS[usize::try_from(month - 1).unwrap_or_default()];
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        write!(f, "{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} GMT")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        let at = |seconds| HttpDate(UNIX_EPOCH + Duration::from_secs(seconds)).to_string();
        assert_eq!(at(784_111_777), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(at(951_782_400), "Tue, 29 Feb 2000 00:00:00 GMT");
    }
}
