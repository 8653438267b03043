//! What the server says: records of the `log` crate, with their facts as key-values, and
//! the two forms a program can print them in.

use std::fmt::{self, Write as _};
use std::io::{self, Write};

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use log::kv::{Error, Key, Value, VisitSource, VisitValue};

use crate::trace::escape::{JsonWriter, write_json_string};

/// Target of all records of the server.
pub const TARGET: &str = "tinyhost::serve";

/// Records of stderr a worker writes in a second, all guests together, and at once.
pub const STDERR_PER_SECOND: u32 = 1000;

/// Records of guests that have failed a worker writes in a second, unless there is one of each.
pub const ENDED_PER_SECOND: u32 = 1000;

/// Records of stderr a second of one guest; so that one can't use up all of its worker's.
pub const STDERR_PER_SECOND_PER_GUEST: u32 = 100;

/// How a log is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// `2026-01-31T12:00:00.000Z WARN guest ended client=127.0.0.1:5 outcome=trap`
    #[default]
    Text,
    /// One JSON object a line: `time`, `level`, `message`, and the facts.
    Json,
}

/// Writes a record as one line, in one piece. Control characters are escaped in either
/// form, so that no client or guest can forge a line or steer a terminal.
///
/// # Errors
///
/// Those of `out`.
pub fn print(out: &mut impl Write, record: &log::Record<'_>, format: LogFormat) -> io::Result<()> {
    let mut line = Line { text: String::with_capacity(160), format };
    let level = record.level().as_str();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    match format {
        LogFormat::Text => {
            let _ = write!(line.text, "{} {level} ", Rfc3339(now));
            let _ = JsonWriter(&mut line.text).write_fmt(*record.args());
        }
        LogFormat::Json => {
            let _ = write!(line.text, "{{\"time\":\"{}\",\"level\":\"", Rfc3339(now));
            let _ = write!(line.text, "{}\",\"message\":", level.to_ascii_lowercase());
            let _ = write_json_string(&mut line.text, record.args());
        }
    }
    // The visitor fails only if it says so itself.
    let _ = record.key_values().visit(&mut line);
    line.text.push_str(if format == LogFormat::Json { "}\n" } else { "\n" });
    out.write_all(line.text.as_bytes())
}

struct Line {
    text: String,
    format: LogFormat,
}

impl<'kvs> VisitSource<'kvs> for Line {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), Error> {
        if value.to_borrowed_str() == Some("") {
            return Ok(());
        }
        let _ = match self.format {
            LogFormat::Text => write!(self.text, " {key}="),
            LogFormat::Json => write!(self.text, ",\"{key}\":"),
        };
        value.visit(self)
    }
}

impl VisitValue<'_> for Line {
    fn visit_any(&mut self, value: Value<'_>) -> Result<(), Error> {
        self.quoted(&value.to_string());
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), Error> {
        let _ = write!(self.text, "{value}");
        Ok(())
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), Error> {
        let _ = write!(self.text, "{value}");
        Ok(())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), Error> {
        self.quoted(value);
        Ok(())
    }
}

impl Line {
    /// Quotes are left out in text where nothing needs them.
    fn quoted(&mut self, value: &str) {
        let plain = |c: char| c.is_alphanumeric() || "-_./:[]".contains(c);
        if self.format == LogFormat::Text && value.chars().all(plain) {
            self.text.push_str(value);
            return;
        }
        let _ = write_json_string(&mut self.text, value);
    }
}

/// Year, month and day, so many days after 1970-01-01.
pub(crate) fn calendar(days: u64) -> (u64, u64, u64) {
    // Days since 0000-03-01, in eras of 400 years: the usual way (Hinnant,
    // "chrono-compatible low-level date algorithms").
    let days = days + 719_468;
    let era = days / 146_097;
    let of_era = days % 146_097;
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (year + era * 400 + u64::from(month <= 2), month, day)
}

/// Time since 1970, printed as UTC to the millisecond.
struct Rfc3339(Duration);

impl fmt::Display for Rfc3339 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let days = seconds / 86_400;
        let of_day = seconds % 86_400;
        let (year, month, day) = calendar(days);
        let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
        let ms = self.0.subsec_millis();
        write!(f, "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{ms:03}Z")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(format: LogFormat) -> String {
        let mut out = Vec::new();
        let kvs = [("client", Value::from("[::1]:5")), ("text", Value::from("a \"b\"\n\u{1b}[2J"))];
        let record = log::Record::builder()
            .args(format_args!("stderr"))
            .level(log::Level::Info)
            .key_values(&kvs)
            .build();
        print(&mut out, &record, format).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_record_is_one_line_whatever_is_in_it() {
        let text = printed(LogFormat::Text);
        let rest = "Z INFO stderr client=[::1]:5 text=\"a \\\"b\\\"\\n\\u001b[2J\"\n";
        assert!(text.ends_with(rest), "{text}");
        let json = printed(LogFormat::Json);
        assert!(json.starts_with("{\"time\":\""), "{json}");
        let rest = ",\"level\":\"info\",\"message\":\"stderr\",\"client\":\"[::1]:5\",\
                    \"text\":\"a \\\"b\\\"\\n\\u001b[2J\"}\n";
        assert!(json.ends_with(rest), "{json}");
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |seconds: u64| Rfc3339(Duration::from_millis(seconds * 1000 + 7)).to_string();
        assert_eq!(at(0), "1970-01-01T00:00:00.007Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00.007Z");
        assert_eq!(at(1_767_225_599), "2025-12-31T23:59:59.007Z");
    }
}
