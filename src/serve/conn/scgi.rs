//! A request of SCGI is a job. A server in front (nginx, Apache) has read the request of HTTP, and sends
//! its variables and its body; a connection has one request. The guest is a program of CGI, and what it
//! writes goes back as it is. (<https://python.ca/scgi/protocol.txt>)

use super::buffer::ReceiveBuffer;
use super::http::HttpLimits;
use super::protocol::{After, Exchange, Feed, Job, Next, Protocol, Stdin};
use crate::serve::observe::metrics::Outcome;
use crate::wasi::{BadString, Strings};

/// Digits of the length of a head.
const DIGITS_MAX: usize = 9;

/// Variables of a head.
const VARIABLES_MAX: usize = 200;

/// Why a request is refused: the status, and the reason in words.
type Refused = (&'static str, &'static str);

const BAD: &str = "400 Bad Request";

/// See the [module](self).
pub(crate) struct Scgi {
    limits: HttpLimits,
    /// Bytes of the body that are to come.
    left: u64,
    /// The guest has written something.
    replied: bool,
    /// The body of the request is not what was announced.
    is_broken: bool,
}

impl Scgi {
    pub fn new(limits: HttpLimits) -> Scgi {
        Scgi { limits, left: 0, replied: false, is_broken: false }
    }

    /// The variables of a request, once its head has come.
    fn head(&mut self, received: &mut ReceiveBuffer) -> Result<Option<Strings>, Refused> {
        let bytes = received.bytes();
        let digits = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let leading = digits > 1 && bytes.first() == Some(&b'0');
        let start = match bytes.get(digits) {
            None if digits <= DIGITS_MAX && !leading => return Ok(None),
            Some(b':') if (1..=DIGITS_MAX).contains(&digits) && !leading => digits + 1,
            _ => {
                return Err((BAD, "this is not SCGI: it does not begin with the length of a head"));
            }
        };
        let len = std::str::from_utf8(&bytes[..digits]).ok().and_then(|text| text.parse().ok());
        let len: usize = len.filter(|len| *len <= self.limits.head).ok_or((
            "431 Request Header Fields Too Large",
            "the head is too long (raise the limit with --max-head)",
        ))?;
        match bytes.get(start + len) {
            None => return Ok(None),
            Some(b',') => {}
            Some(_) => return Err((BAD, "the head does not end where its length says")),
        }
        let whole = received.take(start + len + 1);
        let (env, body) = variables(&whole[start..start + len])?;
        if body > self.limits.body as u64 {
            let why = "the body is too long (raise the limit with --max-body)";
            return Err(("413 Content Too Large", why));
        }
        self.left = body;
        Ok(Some(env))
    }

    /// Moves what has come of the body to the guest's input.
    fn body(&mut self, received: &mut ReceiveBuffer, stdin: &mut Vec<u8>) {
        let count = usize::try_from(self.left).unwrap_or(usize::MAX).min(received.len());
        stdin.extend_from_slice(received.take(count));
        self.left -= count as u64;
    }
}

/// The variables in a head, and the length of the body.
fn variables(head: &[u8]) -> Result<(Strings, u64), Refused> {
    const FORM: Refused = (BAD, "the head is not names and values, each with a NUL after it");
    let text = head.strip_suffix(b"\0").ok_or(FORM)?;
    let mut words = text.split(|byte| *byte == 0);
    let mut pairs: Vec<(&[u8], &[u8])> = Vec::new();
    while let Some(name) = words.next() {
        let value = words.next().ok_or(FORM)?;
        let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'=';
        if name.is_empty() || !name.iter().all(plain) {
            return Err((BAD, "the name of a variable is not valid"));
        }
        if pairs.iter().any(|(other, _)| *other == name) {
            return Err((BAD, "a variable is there twice"));
        }
        if pairs.len() == VARIABLES_MAX {
            return Err(("431 Request Header Fields Too Large", "too many variables"));
        }
        pairs.push((name, value));
    }
    let of = |wanted: &[u8]| pairs.iter().find(|(name, _)| *name == wanted).map(|pair| pair.1);
    let Some((b"CONTENT_LENGTH", length)) = pairs.first().copied() else {
        return Err((BAD, "the head does not begin with CONTENT_LENGTH"));
    };
    if of(b"SCGI") != Some(b"1") {
        return Err((BAD, "SCGI is not 1"));
    }
    let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(length).ok().and_then(|text| text.parse().ok());
    let length = length.filter(|_| digits).ok_or((BAD, "CONTENT_LENGTH is not a number"))?;
    let env = environment(&pairs, of).map_err(|_| FORM)?;
    Ok((env, length))
}

/// The variables that the guest has: those of the request, and what CGI wants besides.
fn environment<'a>(
    pairs: &[(&'a [u8], &'a [u8])],
    of: impl Fn(&[u8]) -> Option<&'a [u8]>,
) -> Result<Strings, BadString> {
    let mut env = Strings::default();
    for (name, value) in pairs {
        // Many programs take HTTP_PROXY for an instruction (https://httpoxy.org).
        if *name != b"HTTP_PROXY" {
            env.push(&[name, b"=", value])?;
        }
    }
    let mut default = |name: &str, value: &[u8]| match of(name.as_bytes()) {
        Some(_) => Ok(()),
        None => env.push(&[name.as_bytes(), b"=", value]),
    };
    default("GATEWAY_INTERFACE", b"CGI/1.1")?;
    let version = env!("CARGO_PKG_VERSION");
    default("SERVER_SOFTWARE", format!("tinyhost/{version}").as_bytes())?;
    // nginx does not know which part of the path is the script's.
    default("SCRIPT_NAME", b"")?;
    default("PATH_INFO", of(b"DOCUMENT_URI").unwrap_or_default())?;
    Ok(env)
}

/// A reply of this server's own.
fn error(output: &mut Vec<u8>, (status, why): Refused) {
    let reply = format!("Status: {status}\r\nContent-Type: text/plain\r\n\r\n{why}\n");
    output.extend_from_slice(reply.as_bytes());
}

impl Protocol for Scgi {
    fn next(&mut self, exchange: Exchange<'_>) -> Next {
        match self.head(exchange.received) {
            Ok(Some(env)) => {
                self.body(exchange.received, exchange.stdin);
                let stdin = if self.left == 0 { Stdin::Whole } else { Stdin::Fed };
                Next::Job(Job { stdin, framed: true, reply_max: self.limits.reply, env })
            }
            // A server in front may only look whether this one listens.
            Ok(None) if exchange.ended && exchange.received.len() == 0 => Next::End,
            Ok(None) if !exchange.ended => Next::More,
            Ok(None) => {
                error(exchange.output, (BAD, "the head of the request ends early"));
                Next::Refused(Outcome::BadRequest)
            }
            Err(refused) => {
                error(exchange.output, refused);
                Next::Refused(Outcome::BadRequest)
            }
        }
    }

    fn feed(&mut self, received: &mut ReceiveBuffer, ended: bool, stdin: &mut Vec<u8>) -> Feed {
        self.body(received, stdin);
        if self.left == 0 {
            return Feed::Whole;
        }
        if !ended {
            return Feed::More;
        }
        self.is_broken = true;
        Feed::Broken(Outcome::BadRequest, "the body of the request ends early")
    }

    fn frame(&mut self, written: &mut Vec<u8>, output: &mut Vec<u8>, end: Option<Outcome>) {
        let refused = match end {
            _ if self.replied || self.is_broken && end.is_none() => None,
            Some(_) if self.is_broken => Some((BAD, "the body of the request ends early")),
            Some(Outcome::Timeout) => Some(("504 Gateway Timeout", "the program took too long")),
            Some(Outcome::Ok) if !written.is_empty() => None,
            Some(Outcome::Ok) => {
                Some(("500 Internal Server Error", "the program's reply is empty"))
            }
            Some(_) => Some(("500 Internal Server Error", "the program failed")),
            None => None,
        };
        if let Some(refused) = refused {
            written.clear();
            return error(output, refused);
        }
        self.replied |= !written.is_empty();
        output.append(written);
    }

    fn ended(&mut self, _outcome: Outcome, _output: &mut Vec<u8>) -> After {
        After::Close
    }
}
