//! A call as a line, in the manner of strace(1).

use std::fmt::{self, Write};
use std::time::Duration;

use super::escape::Line;
use super::record::{Arg, Record, Value, errno_name};
use super::units::Nanos;
use crate::wasi::{CallOutcome, Row};

/// Terminal colours: dim times, red errors.
const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// How lines look.
#[derive(Clone, Copy)]
pub(super) struct Style {
    /// Several guests: each line says whose it is.
    pub who: bool,
    pub colours: bool,
}

impl Style {
    fn paint(self, line: &mut String, colour: &str, text: &str) {
        if self.colours {
            line.extend([colour, text, PLAIN]);
        } else {
            line.push_str(text);
        }
    }

    fn begin(self, line: &mut String, who: &str, at: Duration) {
        self.paint(line, DIM, &format!("{:>10.6} ", at.as_secs_f64()));
        if self.who {
            let _ = write!(line, "[{}] ", Line(who));
        }
    }
}

/// Time, name, arguments, result, time taken.
pub(super) fn line(record: &Record<'_>, style: Style) -> String {
    let mut line = String::with_capacity(160);
    style.begin(&mut line, record.who, record.at);
    call(&mut line, record.row, &record.args);
    line.push_str(" = ");
    match record.outcome {
        Some(CallOutcome::Done(None)) if record.results.is_empty() => line.push('0'),
        Some(CallOutcome::Done(None)) => list(&mut line, &record.results, " "),
        Some(CallOutcome::Done(Some(errno))) => {
            style.paint(&mut line, RED, &format!("{} ({errno})", errno_name(errno)));
        }
        Some(CallOutcome::Exit(_) | CallOutcome::Parked | CallOutcome::Yielded) | None => {
            line.push('?')
        }
    }
    if !record.parks.is_empty() {
        let _ = write!(line, " <parked {}>", nanos(record.parked()));
    }
    style.paint(&mut line, DIM, &format!(" <{}>", nanos(record.took())));
    line.push('\n');
    line
}

/// The line of a call that is parked now, and will have another when it ends.
pub(super) fn parked(who: &str, at: Duration, row: &Row, args: &[Arg], style: Style) -> String {
    let mut line = String::with_capacity(120);
    style.begin(&mut line, who, at);
    call(&mut line, row, args);
    line.push_str(" <parked>\n");
    line
}

fn nanos(time: Duration) -> Nanos {
    Nanos(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX))
}

fn call(line: &mut String, row: &Row, args: &[Arg]) {
    line.push_str(row.name);
    line.push('(');
    list(line, args, ", ");
    line.push(')');
}

fn list(line: &mut String, args: &[Arg], between: &str) {
    for (index, (name, value)) in args.iter().enumerate() {
        let between = if index > 0 { between } else { "" };
        // Writing to a String can't fail.
        let _ = write!(line, "{between}{name}={value}");
    }
}

/// A path behind a descriptor, in angle brackets, which a stream's name has already.
pub(super) fn behind(path: &str) -> String {
    let inner = path.strip_prefix('<').and_then(|path| path.strip_suffix('>')).unwrap_or(path);
    format!("<{}>", inner.escape_debug())
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Value::Number(number) => write!(f, "{number}"),
            Value::Signed(number) => write!(f, "{number}"),
            Value::Word(word) => f.write_str(word),
            Value::Text(text) => write!(f, "{text:?}"),
            Value::Bytes { shown, total } => {
                write!(f, "\"{}\"", Escaped(shown))?;
                if *total > shown.len() as u64 {
                    write!(f, "...+{}", total - shown.len() as u64)
                } else {
                    Ok(())
                }
            }
            Value::Fd { fd, path: None } => write!(f, "{fd}"),
            Value::Fd { fd, path: Some(path) } => write!(f, "{fd}{}", behind(path)),
            Value::List(list) => {
                f.write_char('[')?;
                for (index, value) in list.iter().enumerate() {
                    write!(f, "{}{value}", if index > 0 { ", " } else { "" })?;
                }
                f.write_char(']')
            }
            Value::Map(fields) => {
                f.write_char('{')?;
                for (index, (name, value)) in fields.iter().enumerate() {
                    write!(f, "{}{name}={value}", if index > 0 { ", " } else { "" })?;
                }
                f.write_char('}')
            }
        }
    }
}

/// Bytes: text as it is, the rest escaped.
struct Escaped<'a>(&'a [u8]);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '\0' => f.write_str("\\0")?,
                    '\'' => f.write_char(c)?,
                    c => write!(f, "{}", c.escape_debug())?,
                }
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_escaped_and_cut() {
        let bytes = |shown: &[u8], total| Value::Bytes { shown: shown.to_vec(), total }.to_string();
        assert_eq!(bytes(b"hi\n\"it's\"", 9), r#""hi\n\"it's\"""#);
        assert_eq!(bytes(b"\x1b[2J\xff\0", 9), r#""\u{1b}[2J\xff\0"...+3"#);
    }

    #[test]
    fn a_path_can_not_forge_a_line() {
        assert_eq!(behind("<stdin>"), "<stdin>");
        assert_eq!(behind("/a\n0.1 fd_read"), "</a\\n0.1 fd_read>");
    }
}
