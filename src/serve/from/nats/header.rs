//! The headers of a message: `NATS/1.0[ STATUS[ TEXT]]`, lines of `NAME: VALUE`, and an empty line.

use crate::wasi::Strings;

const VERSION: &str = "NATS/1.0";

/// Headers that become variables of a guest.
const VARIABLES_MAX: usize = 64;

/// The headers of a message that has come. They were not checked: what makes no sense is left out.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Headers<'a>(pub &'a [u8]);

impl<'a> Headers<'a> {
    fn lines(self) -> impl Iterator<Item = &'a [u8]> {
        self.0.split(|byte| *byte == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line))
    }

    /// The number in its first line, and the text after that.
    pub fn status(self) -> Option<(u16, &'a str)> {
        let first = std::str::from_utf8(self.lines().next()?).ok()?;
        let rest = first.strip_prefix(VERSION)?.strip_prefix(' ')?.trim();
        let (code, text) = rest.split_once(' ').unwrap_or((rest, ""));
        Some((code.parse().ok()?, text.trim()))
    }

    /// Names and values.
    pub fn fields(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.lines().skip(1).filter_map(|line| {
            let (name, value) = std::str::from_utf8(line).ok()?.split_once(':')?;
            Some((name, value.trim()))
        })
    }

    /// The value of a field whose name is written in this way.
    pub fn get(self, name: &str) -> Option<&'a str> {
        self.fields().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// Adds the headers to the variables of a guest: `Trace-Id` as `NATS_HEADER_TRACE_ID`. A name with
    /// anything but letters, digits and hyphens is left out, so that no two become one.
    pub fn add_variables(self, env: &mut Strings) {
        for (name, value) in self.fields().take(VARIABLES_MAX) {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
            if name.is_empty() || !name.bytes().all(plain) {
                continue;
            }
            let name = name.to_ascii_uppercase().replace('-', "_");
            // One with a NUL byte can't be a variable.
            let _ = env.push(&[b"NATS_HEADER_", name.as_bytes(), b"=", value.as_bytes()]);
        }
    }
}

/// Headers that are written.
pub(super) struct HeaderBlock(Vec<u8>);

impl HeaderBlock {
    pub fn new() -> HeaderBlock {
        HeaderBlock(format!("{VERSION}\r\n").into_bytes())
    }

    /// Adds a field. What would end its line becomes a blank.
    pub fn field(mut self, name: &str, value: &str) -> HeaderBlock {
        let clean = value.bytes().map(|byte| if byte < b' ' { b' ' } else { byte });
        self.0.extend_from_slice(name.as_bytes());
        self.0.extend_from_slice(b": ");
        self.0.extend(clean);
        self.0.extend_from_slice(b"\r\n");
        self
    }

    /// The bytes, with the empty line.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.extend_from_slice(b"\r\n");
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn status_and_fields_are_found() {
        let headers =
            Headers(b"NATS/1.0 408 Request Timeout\r\nNats-Pending-Messages: 7\r\nx\r\n\r\n");
        assert_eq!(headers.status(), Some((408, "Request Timeout")));
        assert_eq!(headers.get("Nats-Pending-Messages"), Some("7"));
        assert_eq!(headers.fields().count(), 1);
        assert_eq!(Headers(b"NATS/1.0\r\nA: b\r\n\r\n").status(), None);
        assert_eq!(Headers(b"NATS/1.0 503\r\n\r\n").status(), Some((503, "")));
        assert_eq!(Headers(b"").status(), None);
        assert_eq!(Headers(b"HTTP/1.0 200 OK").status(), None);
    }

    #[test]
    fn headers_become_variables_unless_their_names_are_odd() {
        let mut env = Strings::default();
        let text = b"NATS/1.0\r\nTrace-Id: 7\r\nA_B: no\r\n: no\r\nNul: a\0b\r\nPATH=x: no\r\n\r\n";
        Headers(text).add_variables(&mut env);
        let mut expected = Strings::default();
        expected.push(&[b"NATS_HEADER_TRACE_ID=7"]).unwrap();
        assert_eq!(format!("{env:?}"), format!("{expected:?}"));
    }

    #[test]
    fn a_value_ends_no_line() {
        let block = HeaderBlock::new().field("A", "x\r\nB: y").finish();
        assert_eq!(block, b"NATS/1.0\r\nA: x  B: y\r\n\r\n");
    }
}
