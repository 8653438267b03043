//! A call as a JSON object, and the values in it.

use std::fmt::Write;

use super::escape::write_json_string;
use super::record::{Arg, Record, Value, errno_name};
use crate::wasi::CallOutcome;

/// One object, without a newline behind it.
pub(super) fn object(record: &Record<'_>) -> String {
    let mut out = String::with_capacity(200);
    let _ = write!(out, "{{\"time_us\":{},\"guest\":{}", record.at.as_micros(), record.track);
    out.push_str(",\"name\":");
    text(&mut out, record.who);
    let _ = write!(out, ",\"call\":\"{}\",\"args\":", record.row.name);
    map(&mut out, &record.args);
    match record.outcome {
        Some(CallOutcome::Done(None)) => {
            out.push_str(",\"result\":");
            map(&mut out, &record.results);
        }
        Some(CallOutcome::Done(Some(errno))) => {
            let _ = write!(out, ",\"errno\":\"{}\"", errno_name(errno));
        }
        Some(CallOutcome::Exit(code)) => {
            let _ = write!(out, ",\"exit\":{code}");
        }
        Some(CallOutcome::Parked | CallOutcome::Yielded) | None => out.push_str(",\"ended\":true"),
    }
    let _ = write!(out, ",\"took_us\":{}", record.took().as_micros());
    if !record.parks.is_empty() {
        let _ = write!(out, ",\"parked_us\":{}", record.parked().as_micros());
    }
    out.push('}');
    out
}

pub(super) fn map(out: &mut String, fields: &[Arg]) {
    out.push('{');
    for (index, (name, field)) in fields.iter().enumerate() {
        let _ = write!(out, "{}\"{name}\":", if index > 0 { "," } else { "" });
        value(out, field);
    }
    out.push('}');
}

fn value(out: &mut String, value_: &Value) {
    match value_ {
        Value::Number(number) => write!(out, "{number}").unwrap_or_default(),
        Value::Signed(number) => write!(out, "{number}").unwrap_or_default(),
        Value::Word(word) => text(out, word),
        Value::Text(string) => text(out, string),
        Value::Bytes { shown, total } => {
            out.push_str("{\"text\":");
            text(out, &String::from_utf8_lossy(shown));
            let _ = write!(out, ",\"bytes\":{total}}}");
        }
        Value::Fd { fd, path } => {
            let _ = write!(out, "{{\"fd\":{fd}");
            if let Some(path) = path {
                out.push_str(",\"path\":");
                text(out, path);
            }
            out.push('}');
        }
        Value::List(list) => {
            out.push('[');
            for (index, item) in list.iter().enumerate() {
                out.push_str(if index > 0 { "," } else { "" });
                value(out, item);
            }
            out.push(']');
        }
        Value::Map(fields) => map(out, fields),
    }
}

pub(super) fn text(out: &mut String, text: &str) {
    // Writing to a String can't fail.
    let _ = write_json_string(out, text);
}
