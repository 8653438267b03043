//! A timeline in the "Trace Event Format" of Chrome, which Perfetto reads as well: one track
//! a guest, calls and the parks in them as complete events.

use std::fmt::Write;
use std::time::Duration;

use super::filter::group;
use super::json;
use super::record::{Record, errno_name};
use crate::wasi::CallOutcome;

/// The name of a guest's track.
pub(super) fn track(track: u64, name: &str) -> String {
    let mut out = format!("{{\"ph\":\"M\",\"name\":\"thread_name\",\"pid\":1,\"tid\":{track}");
    out.push_str(",\"args\":{\"name\":");
    json::text(&mut out, name);
    out.push_str("}}");
    out
}

/// The events of a call: itself, then each time it was parked.
pub(super) fn events(record: &Record<'_>) -> Vec<String> {
    let name = record.row.name;
    let mut args = record.args.clone();
    args.extend(record.results.iter().cloned());
    if let Some(CallOutcome::Done(Some(errno))) = record.outcome {
        args.push(("errno", super::record::Value::Word(errno_name(errno).into())));
    }
    let own = event(name, group(name), record.track, record.at, record.until);
    let mut own = own + ",\"args\":";
    json::map(&mut own, &args);
    own.push('}');
    let park =
        |(from, to): &(Duration, Duration)| event("parked", "park", record.track, *from, *to) + "}";
    std::iter::once(own).chain(record.parks.iter().map(park)).collect()
}

/// An event up to its duration: the object is left open.
fn event(name: &str, category: &str, track: u64, from: Duration, to: Duration) -> String {
    let us = |time: Duration| (time.as_micros(), time.subsec_nanos() % 1000);
    let ((at, at_ns), (took, took_ns)) = (us(from), us(to.saturating_sub(from)));
    let mut out = format!("{{\"ph\":\"X\",\"name\":\"{name}\",\"cat\":\"{category}\",\"pid\":1");
    let _ = write!(out, ",\"tid\":{track},\"ts\":{at}.{at_ns:03},\"dur\":{took}.{took_ns:03}");
    out
}
