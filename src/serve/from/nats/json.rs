//! As much of JSON as a NATS server writes.

/// Lists and objects inside each other, beyond which the text is refused.
const DEPTH_MAX: usize = 32;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Json {
    Null,
    Bool(bool),
    /// As it was written.
    Number(String),
    Text(String),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Json {
    /// Reads a text that is one value. `None` if it is none, or too deep.
    pub fn parse(text: &[u8]) -> Option<Json> {
        let mut reader = Reader { text: std::str::from_utf8(text).ok()?.as_bytes(), at: 0 };
        let value = reader.value(DEPTH_MAX)?;
        reader.blanks();
        (reader.at == reader.text.len()).then_some(value)
    }

    /// A field of an object; of two with one name, the first.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(fields) => {
                fields.iter().find(|(key, _)| key == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    pub fn text(&self) -> Option<&str> {
        match self {
            Json::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A whole number.
    pub fn number(&self) -> Option<i64> {
        match self {
            Json::Number(digits) => digits.parse().ok(),
            _ => None,
        }
    }

    pub fn is_true(&self) -> bool {
        *self == Json::Bool(true)
    }

    pub fn list(&self) -> &[Json] {
        match self {
            Json::List(list) => list,
            _ => &[],
        }
    }
}

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }

    fn blanks(&mut self) {
        while self.peek().is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\r' | b'\n')) {
            self.at += 1;
        }
    }

    fn word(&mut self, word: &str, value: Json) -> Option<Json> {
        self.text[self.at..].starts_with(word.as_bytes()).then(|| {
            self.at += word.len();
            value
        })
    }

    fn value(&mut self, depth: usize) -> Option<Json> {
        let depth = depth.checked_sub(1)?;
        self.blanks();
        match self.peek()? {
            b'{' => self.object(depth),
            b'[' => self.list(depth),
            b'"' => self.string().map(Json::Text),
            b't' => self.word("true", Json::Bool(true)),
            b'f' => self.word("false", Json::Bool(false)),
            b'n' => self.word("null", Json::Null),
            _ => self.number(),
        }
    }

    fn number(&mut self) -> Option<Json> {
        let start = self.at;
        while self
            .peek()
            .is_some_and(|b| matches!(b, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E'))
        {
            self.at += 1;
        }
        let digits = std::str::from_utf8(&self.text[start..self.at]).ok()?;
        digits.parse::<f64>().ok()?;
        Some(Json::Number(digits.to_owned()))
    }

    fn list(&mut self, depth: usize) -> Option<Json> {
        self.take(b'[')?;
        let mut list = Vec::new();
        self.blanks();
        if self.take(b']').is_some() {
            return Some(Json::List(list));
        }
        loop {
            list.push(self.value(depth)?);
            self.blanks();
            if self.take(b']').is_some() {
                return Some(Json::List(list));
            }
            self.take(b',')?;
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        self.take(b'{')?;
        let mut fields = Vec::new();
        self.blanks();
        if self.take(b'}').is_some() {
            return Some(Json::Object(fields));
        }
        loop {
            self.blanks();
            let name = self.string()?;
            self.blanks();
            self.take(b':')?;
            fields.push((name, self.value(depth)?));
            self.blanks();
            if self.take(b'}').is_some() {
                return Some(Json::Object(fields));
            }
            self.take(b',')?;
        }
    }

    fn string(&mut self) -> Option<String> {
        self.take(b'"')?;
        let mut text = Vec::new();
        loop {
            let byte = self.peek()?;
            self.at += 1;
            match byte {
                b'"' => return String::from_utf8(text).ok(),
                b'\\' => {
                    let char = self.escape()?;
                    text.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                }
                0..=0x1f => return None,
                byte => text.push(byte),
            }
        }
    }

    fn escape(&mut self) -> Option<char> {
        let byte = self.peek()?;
        self.at += 1;
        Some(match byte {
            b'"' | b'\\' | b'/' => char::from(byte),
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'u' => {
                let unit = self.unit()?;
                if !(0xd800..0xdc00).contains(&unit) {
                    return char::from_u32(unit);
                }
                self.take(b'\\')?;
                self.take(b'u')?;
                let low = self.unit()?.checked_sub(0xdc00).filter(|low| *low < 0x400)?;
                return char::from_u32(0x1_0000 + ((unit - 0xd800) << 10) + low);
            }
            _ => return None,
        })
    }

    /// Four hexadecimal digits.
    fn unit(&mut self) -> Option<u32> {
        let digits = self.text.get(self.at..self.at + 4)?;
        self.at += 4;
        digits.iter().try_fold(0, |unit, digit| Some(unit << 4 | char::from(*digit).to_digit(16)?))
    }
}

/// Writes a text as JSON.
pub(super) fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for char in text.chars() {
        match char {
            '"' | '\\' => quoted.extend(['\\', char]),
            char if char < ' ' => quoted.push_str(&format!("\\u{:04x}", u32::from(char))),
            char => quoted.push(char),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_writes_is_read() {
        let text = br#" {"a": [1, -2.5e3, true, null], "b":{"c":"\u00e9\ud83d\ude00\n"}, "n":30000000000} "#;
        let json = Json::parse(text).unwrap();
        assert_eq!(json.get("a").unwrap().list().len(), 4);
        assert_eq!(json.get("b").unwrap().get("c").unwrap().text(), Some("é😀\n"));
        assert_eq!(json.get("n").unwrap().number(), Some(30_000_000_000));
        assert_eq!(json.get("a").unwrap().list()[1].number(), None);
        assert!(json.get("a").unwrap().list()[2].is_true());
        assert_eq!(json.get("x"), None);
    }

    #[test]
    fn what_is_none_is_refused() {
        let wrong: [&[u8]; 16] = [
            b"",
            b"{",
            b"{}x",
            b"[1,]",
            b"{\"a\"}",
            b"{\"a\":}",
            b"\"\x01\"",
            b"\"\\x\"",
            b"tru",
            b"-",
            b"1-2",
            b"\xff",
            b"\"\\ud800\"",
            b"\"\\ud800\\u0041\"",
            b"\"\\u00",
            b"{a:1}",
        ];
        for text in wrong {
            assert_eq!(Json::parse(text), None, "{}", String::from_utf8_lossy(text));
        }
        let deep = |count| [vec![b'['; count], vec![b']'; count]].concat();
        assert!(Json::parse(&deep(DEPTH_MAX)).is_some());
        assert_eq!(Json::parse(&deep(DEPTH_MAX + 1)), None);
        assert_eq!(Json::parse(&vec![b'['; 1 << 20]), None);
    }

    #[test]
    fn what_is_written_can_be_read() {
        let text = "a\"b\\c\n\u{1}é";
        assert_eq!(Json::parse(quote(text).as_bytes()), Some(Json::Text(text.into())));
    }
}
