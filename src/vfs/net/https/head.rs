//! The head of a request: what may be in it, and how it is sent.

use super::Refusal;
use super::body::Body;
use super::secret::Secret;
use crate::vfs::net::policy::addr::Host;
use crate::vfs::net::policy::rule::port;

/// Headers of one request.
const HEADERS_MAX: usize = 128;

/// The peer that a request is for, and what is added for it.
#[derive(Clone, Debug)]
pub(super) struct Peer {
    pub host: Host,
    pub port: u16,
    pub secrets: Vec<Secret>,
}

/// The characters of methods and names of headers (RFC 9110, 5.6.2).
pub(super) fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Whether some server takes both names for one: in another case, and as CGI writes them.
pub(super) fn is_alike(one: &str, other: &str) -> bool {
    let plain = |byte: u8| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() };
    one.bytes().map(plain).eq(other.bytes().map(plain))
}

/// Bytes of a head as they come. None of them must be one that servers read differently.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scanner {
    /// The byte before, and where in a line end it is: the blank line is CR LF CR LF.
    before: u8,
    matched: u8,
    begun: bool,
}

impl Scanner {
    /// Where the head ends in these bytes, if it does.
    ///
    /// # Errors
    ///
    /// At a byte that can't be there.
    pub fn scan(&mut self, bytes: &[u8]) -> Result<Option<usize>, Refusal> {
        for (index, byte) in bytes.iter().enumerate() {
            let byte = *byte;
            let line_begins = self.before == b'\n';
            match byte {
                0 => return Err(Refusal("there is a NUL in its head")),
                b'\n' if self.before != b'\r' => return Err(Refusal("a line ends without CR")),
                b'\n' => {}
                _ if self.before == b'\r' => return Err(Refusal("there is a CR without LF")),
                b'\r' if !self.begun => return Err(Refusal("it begins with an empty line")),
                b' ' | b'\t' if line_begins => return Err(Refusal("a header is folded")),
                b'\t' | b'\r' | b' '..=b'~' | 0x80.. => {}
                _ => return Err(Refusal("there is a control character in its head")),
            }
            self.matched = match byte {
                b'\r' | b'\n' => self.matched + 1,
                _ => 0,
            };
            self.before = byte;
            self.begun = true;
            if self.matched == 4 {
                return Ok(Some(index + 1));
            }
        }
        Ok(None)
    }
}

/// Checks a whole head, and writes the one that is sent. Also returns what body follows.
///
/// # Errors
///
/// If it is not an ordinary request for that peer.
pub(super) fn rewrite(head: &[u8], peer: &Peer) -> Result<(Vec<u8>, Body), Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Ok(httparse::Status::Complete(length)) if length == head.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Refusal("it has too many headers")),
        _ => return Err(Refusal("its head is not HTTP/1.1")),
    }
    let line_end = head.iter().position(|byte| *byte == b'\r').unwrap_or(head.len());
    let line = &head[..line_end];
    let (method, target) = (request.method.unwrap_or(""), request.path.unwrap_or(""));
    let old = request.version != Some(1);
    check_line(line, method, target)?;

    let mut sent = Vec::with_capacity(head.len() + 256);
    sent.extend_from_slice(line);
    sent.extend_from_slice(format!("\r\nHost: {}\r\n", authority(peer)).as_bytes());
    let mut found = Found::default();
    for header in request.headers.iter() {
        if found.add(header, peer)? {
            sent.extend_from_slice(header.name.as_bytes());
            sent.extend_from_slice(b": ");
            sent.extend_from_slice(header.value);
            sent.extend_from_slice(b"\r\n");
        }
    }
    for secret in &peer.secrets {
        sent.extend_from_slice(secret.name.as_bytes());
        sent.extend_from_slice(b": ");
        sent.extend_from_slice(&secret.value);
        sent.extend_from_slice(b"\r\n");
    }
    sent.extend_from_slice(b"Connection: close\r\n\r\n");
    Ok((sent, found.body(old)?))
}

/// How the host names the peer to itself.
fn authority(peer: &Peer) -> String {
    match peer.port {
        443 => peer.host.to_string(),
        port => format!("{}:{port}", peer.host),
    }
}

fn check_line(line: &[u8], method: &str, target: &str) -> Result<(), Refusal> {
    // A server that answers with what it was asked would show the secret.
    for echo in ["TRACE", "TRACK"] {
        if method.eq_ignore_ascii_case(echo) {
            return Err(Refusal("its method has the server send the request back"));
        }
    }
    if method.eq_ignore_ascii_case("CONNECT") {
        return Err(Refusal("its method asks for a tunnel"));
    }
    let parts = line.split(|byte| *byte == b' ').count();
    let plain = |byte: u8| (b'!'..=b'~').contains(&byte) && byte != b'#';
    if parts != 3 || !target.bytes().all(plain) {
        return Err(Refusal("its first line is not METHOD, a blank, PATH, a blank, HTTP/1.1"));
    }
    let asterisk = target == "*" && method == "OPTIONS";
    if !target.starts_with('/') && !asterisk {
        return Err(Refusal(
            "its target is no path: the name of the file says which host it is for",
        ));
    }
    Ok(())
}

/// What of the headers decides how a request is read.
#[derive(Default)]
struct Found {
    host: bool,
    length: Option<u64>,
    chunked: bool,
}

impl Found {
    /// Looks at a header. Says whether it is sent as it is.
    fn add(&mut self, header: &httparse::Header<'_>, peer: &Peer) -> Result<bool, Refusal> {
        let name = header.name;
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(Refusal("the name of a header is none"));
        }
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        let own = peer.secrets.iter().map(|secret| &*secret.name);
        let decisive = ["host", "connection", "content-length", "transfer-encoding"];
        for known in decisive.into_iter().chain(own.clone()) {
            if is_alike(known, name) && !is(known) {
                return Err(Refusal("a header has the name of another but for an underscore"));
            }
        }
        if is("host") {
            self.add_host(header.value, peer)?;
            return Ok(false);
        }
        if is("content-length") {
            self.add_length(header.value)?;
        }
        if is("transfer-encoding") {
            if self.chunked || !header.value.eq_ignore_ascii_case(b"chunked") {
                return Err(Refusal("its Transfer-Encoding is not 'chunked' alone"));
            }
            self.chunked = true;
        }
        let replaced = is("connection") || own.into_iter().any(is);
        Ok(!replaced)
    }

    fn add_host(&mut self, value: &[u8], peer: &Peer) -> Result<(), Refusal> {
        if std::mem::replace(&mut self.host, true) {
            return Err(Refusal("it has two Host headers"));
        }
        let text = std::str::from_utf8(value).unwrap_or("");
        let is_peer = |host: Host| host.without_zone() == peer.host;
        let same = match Host::parse(text) {
            Some(host) => is_peer(host),
            None => text.rsplit_once(':').is_some_and(|(host, digits)| {
                Host::parse(host).is_some_and(is_peer) && port(digits) == Some(peer.port)
            }),
        };
        if same { Ok(()) } else { Err(Refusal("its Host is not the one the file is named after")) }
    }

    fn add_length(&mut self, value: &[u8]) -> Result<(), Refusal> {
        if self.length.is_some() {
            return Err(Refusal("it has two Content-Length headers"));
        }
        let digits = std::str::from_utf8(value).ok();
        let digits = digits.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let Some(length) = digits.and_then(|digits| digits.parse().ok()) else {
            return Err(Refusal("its Content-Length is no number"));
        };
        self.length = Some(length);
        Ok(())
    }

    fn body(&self, old: bool) -> Result<Body, Refusal> {
        match (self.length, self.chunked) {
            (Some(_), true) => Err(Refusal("it has Content-Length and Transfer-Encoding")),
            (None, true) if old => Err(Refusal("HTTP/1.0 has no Transfer-Encoding")),
            (None, true) => Ok(Body::CHUNKED),
            (Some(length), false) => Ok(Body::Length(length)),
            (None, false) => Ok(Body::NONE),
        }
    }
}
