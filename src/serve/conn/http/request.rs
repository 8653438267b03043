//! A request: its head, checked and made into variables of CGI, and its body.
//!
//! What two programs on the way could read in two ways is refused rather than understood (RFC 9112,
//! sections 2.2, 3.2, 5 and 6.3): that is what request smuggling lives on.

use crate::serve::conn::buffer::ReceiveBuffer;
use crate::serve::percent;
use crate::wasi::Strings;

/// Header fields of a request.
const HEADERS_MAX: usize = 100;

/// Digits of a length, and of a chunk's.
const DIGITS_MAX: usize = 18;
const HEX_DIGITS_MAX: usize = 12;

/// Bytes of the line with a chunk's length, and of all trailer fields.
const CHUNK_LINE_MAX: usize = 256;
const TRAILERS_MAX: usize = 8192;

/// Header fields that are about the connection, or have a variable of their own, or none at all:
/// many programs take `HTTP_PROXY` for an instruction (<https://httpoxy.org>).
const NOT_PASSED: [&str; 11] = [
    "connection",
    "content-length",
    "content-type",
    "expect",
    "keep-alive",
    "proxy",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Why a request is refused: the status, and the reason in words.
pub(super) type Refused = (u16, &'static str);

/// A request whose head was read.
pub(super) struct Request {
    /// The variables of CGI (RFC 3875, section 4.1).
    pub env: Strings,
    pub body: Body,
    /// The client wants no body of the reply.
    pub is_head: bool,
    /// HTTP/1.1, rather than 1.0.
    pub is_1_1: bool,
    /// Another request may follow.
    pub keep: bool,
    /// The client waits for `100 Continue` before it sends the body.
    pub expects: bool,
}

/// Reads a head, which ends with an empty line. The body may have `body_max` bytes.
///
/// # Errors
///
/// If it is not a request, can be read in two ways, or asks for what is not there.
pub(super) fn request(head: &[u8], body_max: u64) -> Result<Request, Refused> {
    check_lines(head)?;
    let mut fields = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(head) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err((431, "too many header fields")),
        Err(httparse::Error::Version) => return Err((505, "only HTTP/1.0 and HTTP/1.1")),
        _ => return Err((400, "the head is not that of a request")),
    }
    let (Some(method), Some(target), Some(version)) = (parsed.method, parsed.path, parsed.version)
    else {
        return Err((400, "the head is not that of a request"));
    };
    let fields: &[httparse::Header<'_>] = parsed.headers;
    let is_1_1 = version == 1;
    let target = Target::new(method, target)?;
    let host = host(fields, is_1_1)?;
    let body = Body::new(fields, is_1_1, body_max)?;
    let options: Vec<&[u8]> = tokens(fields, "connection").collect();
    let has = |wanted: &str| options.iter().any(|option| is(option, wanted));
    let keep = if is_1_1 { !has("close") } else { has("keep-alive") && !has("close") };
    let expects = match values(fields, "expect").next() {
        Some(value) if is(value, "100-continue") => is_1_1,
        Some(_) if is_1_1 => return Err((417, "only 100-continue can be expected")),
        _ => false,
    };
    let mut env = Strings::default();
    let host = target.authority.unwrap_or(host);
    variables(&mut env, method, &target, host, fields, is_1_1)
        .map_err(|_| (400, "the head has a NUL in it"))?;
    Ok(Request { env, body, is_head: method == "HEAD", is_1_1, keep, expects })
}

/// Every line ends with CR LF, and neither is anywhere else.
fn check_lines(head: &[u8]) -> Result<(), Refused> {
    let mut before = 0;
    for (at, byte) in head.iter().enumerate() {
        let lone = match byte {
            b'\n' => before != b'\r',
            b'\r' => head.get(at + 1) != Some(&b'\n'),
            0 => true,
            _ => false,
        };
        if lone {
            return Err((400, "the head has a NUL, or a line that does not end with CR LF"));
        }
        before = *byte;
    }
    Ok(())
}

/// What is asked for.
struct Target<'a> {
    path: Vec<u8>,
    query: &'a str,
    whole: &'a str,
    /// Of a target in absolute form: it counts, and the Host field does not.
    authority: Option<&'a str>,
}

impl<'a> Target<'a> {
    fn new(method: &str, whole: &'a str) -> Result<Target<'a>, Refused> {
        const WRONG: Refused = (400, "the target of the request is not valid");
        if method == "CONNECT" {
            return Err((501, "CONNECT is not supported"));
        }
        if !whole.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#') {
            return Err(WRONG);
        }
        let absolute = ["http://", "https://"].iter().find_map(|scheme| {
            let is = whole.get(..scheme.len())?.eq_ignore_ascii_case(scheme);
            is.then(|| &whole[scheme.len()..])
        });
        let (authority, rest) = match absolute {
            Some(rest) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                (Some(&rest[..end]), &rest[end..])
            }
            None => (None, whole),
        };
        if authority.is_some_and(|authority| authority.is_empty() || !is_host(authority.as_bytes()))
        {
            return Err(WRONG);
        }
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let path = match path {
            "" if authority.is_some() => "/",
            "*" if method == "OPTIONS" && authority.is_none() => "",
            path if path.starts_with('/') => path,
            _ => return Err(WRONG),
        };
        Ok(Target { path: decoded(path).ok_or(WRONG)?, query, whole, authority })
    }
}

/// A path without its percent signs. `None` if they are wrong, or there is a NUL.
fn decoded(path: &str) -> Option<Vec<u8>> {
    percent::decode(path).filter(|bytes| !bytes.contains(&0))
}

/// The one Host field that there must be.
fn host<'a>(fields: &[httparse::Header<'a>], is_1_1: bool) -> Result<&'a str, Refused> {
    let mut all = values(fields, "host");
    let Some(host) = all.next() else {
        return if is_1_1 { Err((400, "there is no Host field")) } else { Ok("") };
    };
    if all.next().is_some() {
        return Err((400, "there is more than one Host field"));
    }
    let host = std::str::from_utf8(host).ok().filter(|host| is_host(host.as_bytes()));
    host.ok_or((400, "the Host field is not valid"))
}

/// A host with or without a port (RFC 3986, section 3.2), without a user.
fn is_host(host: &[u8]) -> bool {
    let of_host = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(byte);
    host.iter().all(of_host)
}

/// A host without its port.
fn name(host: &str) -> &str {
    let end = match host.strip_prefix('[') {
        Some(_) => host.find(']').map(|end| end + 1),
        None => host.find(':'),
    };
    match &host[..end.unwrap_or(host.len())] {
        "" => "localhost",
        name => name,
    }
}

fn variables(
    env: &mut Strings,
    method: &str,
    target: &Target<'_>,
    host: &str,
    fields: &[httparse::Header<'_>],
    is_1_1: bool,
) -> Result<(), crate::wasi::BadString> {
    env.push(&[b"GATEWAY_INTERFACE=CGI/1.1"])?;
    env.push(&[b"SERVER_SOFTWARE=tinyhost/", env!("CARGO_PKG_VERSION").as_bytes()])?;
    let version: &[u8] = if is_1_1 { b"HTTP/1.1" } else { b"HTTP/1.0" };
    env.push(&[b"SERVER_PROTOCOL=", version])?;
    env.push(&[b"SERVER_NAME=", name(host).as_bytes()])?;
    env.push(&[b"REQUEST_METHOD=", method.as_bytes()])?;
    env.push(&[b"REQUEST_URI=", target.whole.as_bytes()])?;
    env.push(&[b"SCRIPT_NAME="])?;
    env.push(&[b"PATH_INFO=", &target.path])?;
    env.push(&[b"QUERY_STRING=", target.query.as_bytes()])?;
    for (field, variable) in
        [("content-type", "CONTENT_TYPE"), ("content-length", "CONTENT_LENGTH")]
    {
        if let Some(value) = values(fields, field).next() {
            env.push(&[variable.as_bytes(), b"=", value])?;
        }
    }
    for (index, field) in fields.iter().enumerate() {
        // In a variable '-' and '_' are the same, so a field with '_' could pass for another.
        let hidden = NOT_PASSED.iter().any(|name| field.name.eq_ignore_ascii_case(name));
        let earlier =
            fields[..index].iter().any(|other| other.name.eq_ignore_ascii_case(field.name));
        if hidden || earlier || field.name.contains('_') {
            continue;
        }
        let name = field.name.to_ascii_uppercase().replace('-', "_");
        let separator: &[u8] = if name == "COOKIE" { b"; " } else { b", " };
        let joined: Vec<&[u8]> = values(fields, field.name).collect();
        env.push(&[b"HTTP_", name.as_bytes(), b"=", &joined.join(separator)])?;
    }
    Ok(())
}

/// The values of all fields of a name.
fn values<'a>(fields: &[httparse::Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    fields
        .iter()
        .filter(move |field| field.name.eq_ignore_ascii_case(name))
        .map(|field| field.value.trim_ascii())
}

/// The members of all fields of a name that are lists.
fn tokens<'a>(fields: &[httparse::Header<'a>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    values(fields, name).flat_map(|value| value.split(|byte| *byte == b',')).map(<[u8]>::trim_ascii)
}

fn is(value: &[u8], wanted: &str) -> bool {
    value.eq_ignore_ascii_case(wanted.as_bytes())
}

/// A body that has not been read to its end.
pub(super) struct Body {
    state: State,
    /// Bytes that it has, as far as it is known.
    size: u64,
    max: u64,
}

#[derive(Clone, Copy)]
enum State {
    /// So many bytes.
    Length(u64),
    /// Before the line with a chunk's length.
    Chunk,
    /// In a chunk of which so many bytes are left.
    Data(u64),
    /// After its data.
    DataEnd,
    /// In the trailer fields, of which so many bytes were read.
    Trailers(usize),
    Done,
}

const TOO_LARGE: Refused = (413, "the body is too large (raise the limit with --max-body)");

impl Body {
    /// That of a request without one.
    pub fn none() -> Body {
        Body { state: State::Done, size: 0, max: 0 }
    }

    fn new(fields: &[httparse::Header<'_>], is_1_1: bool, max: u64) -> Result<Body, Refused> {
        let mut lengths = values(fields, "content-length");
        let length = lengths.next();
        if lengths.next().is_some() {
            return Err((400, "there is more than one Content-Length field"));
        }
        let codings: Vec<&[u8]> = tokens(fields, "transfer-encoding").collect();
        if !codings.is_empty() {
            if length.is_some() {
                return Err((400, "there are Content-Length and Transfer-Encoding"));
            }
            return match codings[..] {
                _ if !is_1_1 => Err((400, "HTTP/1.0 has no Transfer-Encoding")),
                [only] if is(only, "chunked") => Ok(Body { state: State::Chunk, size: 0, max }),
                _ => Err((501, "the only Transfer-Encoding is chunked")),
            };
        }
        let Some(length) = length else { return Ok(Body::none()) };
        let digits = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
        if !digits {
            return Err((400, "the Content-Length is not a number"));
        }
        let length = match length.len() <= DIGITS_MAX {
            true => length.iter().fold(0, |sum, digit| sum * 10 + u64::from(digit - b'0')),
            false => u64::MAX,
        };
        if length > max {
            return Err(TOO_LARGE);
        }
        let state = if length == 0 { State::Done } else { State::Length(length) };
        Ok(Body { state, size: length, max })
    }

    /// Whether it was read to its end.
    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// Reads what has come of it, and gives it to `to`.
    ///
    /// # Errors
    ///
    /// If it is not in chunks as it should be, or is too large.
    pub fn read(
        &mut self,
        received: &mut ReceiveBuffer,
        to: &mut dyn FnMut(&[u8]),
    ) -> Result<(), Refused> {
        loop {
            self.state = match self.state {
                State::Done => return Ok(()),
                State::Length(left) | State::Data(left) => {
                    let count = usize::try_from(left).unwrap_or(usize::MAX).min(received.len());
                    if count == 0 {
                        return Ok(());
                    }
                    to(received.take(count));
                    let left = left - count as u64;
                    match self.state {
                        State::Data(_) if left == 0 => State::DataEnd,
                        State::Data(_) => State::Data(left),
                        _ if left == 0 => State::Done,
                        _ => State::Length(left),
                    }
                }
                State::Chunk => {
                    let Some(line) = line(received, CHUNK_LINE_MAX)? else { return Ok(()) };
                    let length = chunk_length(&line)?;
                    self.size = self.size.saturating_add(length);
                    if self.size > self.max {
                        return Err(TOO_LARGE);
                    }
                    if length == 0 { State::Trailers(0) } else { State::Data(length) }
                }
                State::DataEnd => {
                    let Some(line) = line(received, 2)? else { return Ok(()) };
                    if !line.is_empty() {
                        return Err((400, "a chunk is longer than its length"));
                    }
                    State::Chunk
                }
                State::Trailers(read) => {
                    let Some(line) = line(received, TRAILERS_MAX - read)? else { return Ok(()) };
                    if line.is_empty() {
                        State::Done
                    } else {
                        State::Trailers(read + line.len() + 2)
                    }
                }
            };
        }
    }
}

/// Takes a line that ends with CR LF, without these, if it has come. With them it has `max` bytes at
/// the most.
fn line(received: &mut ReceiveBuffer, max: usize) -> Result<Option<Vec<u8>>, Refused> {
    const WRONG: Refused = (400, "a line of the chunked body is not valid");
    let bytes = received.bytes();
    let bytes = &bytes[..bytes.len().min(max)];
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return if bytes.len() < max { Ok(None) } else { Err(WRONG) };
    };
    let line = received.take(end + 1);
    let line = line[..end].strip_suffix(b"\r").ok_or(WRONG)?;
    let control = |byte: &u8| byte.is_ascii_control() && *byte != b'\t';
    if line.iter().any(control) { Err(WRONG) } else { Ok(Some(line.to_vec())) }
}

/// The length of a chunk. What follows a semicolon is an extension, and is ignored.
fn chunk_length(line: &[u8]) -> Result<u64, Refused> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let valid = (1..=HEX_DIGITS_MAX).contains(&digits.len());
    let value = std::str::from_utf8(digits)
        .ok()
        .filter(|digits| valid && digits.bytes().all(|byte| byte.is_ascii_hexdigit()));
    let length = value.and_then(|digits| u64::from_str_radix(digits, 16).ok());
    length.ok_or((400, "the length of a chunk is not valid"))
}
