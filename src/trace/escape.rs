//! Text that a guest or a client chose, where a line has a meaning: one way for each form.
//!
//! What is not shown as itself can't end a line, steer a terminal, or make a reader see another
//! order of letters than there is.

use std::fmt::{self, Write};

/// Whether a character does something other than being shown: controls (C0, DEL, C1), ends of
/// lines and paragraphs, marks that reorder text, and what is invisible.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Text as a part of a line: what is hidden is escaped as in a Rust string, all else is as it
/// is.
///
/// ```
/// use tinyhost::trace::escape::Line;
///
/// assert_eq!(Line("it's a\nb\u{1b}[2J").to_string(), "it's a\\nb\\u{1b}[2J");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Line<'a>(pub &'a str);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        LineWriter(f).write_str(self.0)
    }
}

/// Writes what it is given as [`Line`] does.
pub struct LineWriter<'a, W: ?Sized>(pub &'a mut W);

impl<W: Write + ?Sized> Write for LineWriter<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let mut rest = text;
        while let Some((at, c)) = rest.char_indices().find(|(_, c)| is_hidden(*c)) {
            self.0.write_str(&rest[..at])?;
            match c {
                '\n' | '\r' | '\t' => write!(self.0, "{}", c.escape_default())?,
                c => write!(self.0, "{}", c.escape_unicode())?,
            }
            rest = &rest[at + c.len_utf8()..];
        }
        self.0.write_str(rest)
    }
}

/// Writes what it is given as the inside of a JSON string.
pub struct JsonWriter<'a, W: ?Sized>(pub &'a mut W);

impl<W: Write + ?Sized> Write for JsonWriter<'_, W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            match c {
                '"' | '\\' => write!(self.0, "\\{c}")?,
                '\n' => self.0.write_str("\\n")?,
                '\t' => self.0.write_str("\\t")?,
                '\r' => self.0.write_str("\\r")?,
                c if is_hidden(c) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        write!(self.0, "\\u{unit:04x}")?;
                    }
                }
                c => self.0.write_char(c)?,
            }
        }
        Ok(())
    }
}

/// Writes a JSON string, with its quotes.
///
/// # Errors
///
/// Those of `out`.
pub fn write_json_string(out: &mut impl Write, text: impl fmt::Display) -> fmt::Result {
    out.write_char('"')?;
    write!(JsonWriter(out), "{text}")?;
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every character there is, in both forms.
    #[test]
    fn nothing_hidden_is_left() {
        for c in char::MIN..=char::MAX {
            let text = format!("a{c}b");
            let mut json = String::new();
            JsonWriter(&mut json).write_str(&text).unwrap();
            for shown in [Line(&text).to_string(), json] {
                assert!(!shown.chars().any(is_hidden), "{:x} in {shown:?}", u32::from(c));
                assert!(shown.starts_with('a') && shown.ends_with('b'));
            }
        }
        let mut json = String::new();
        JsonWriter(&mut json).write_str("\"\\\n\u{9b}\u{202e}\u{e0001}").unwrap();
        assert_eq!(json, r#"\"\\\n\u009b\u202e\udb40\udc01"#);
    }

    #[test]
    fn what_people_write_is_as_it_is() {
        let text = "it's \"/data/a b\\c\" e\u{301} 名字 👍";
        assert_eq!(Line(text).to_string(), text);
    }
}
