//! Arguments and results of calls, decoded.

use std::net::IpAddr;

use crate::wasi::abi::{
    About, EVENT_SIZE, Eventtype, FDSTAT_SIZE, FILESTAT_SIZE, Fdflags, Fstflags, IOVEC_SIZE,
    Lookupflags, Oflags, Riflags, Rights, SUBSCRIPTION_SIZE, Sdflags, Subscription,
};
use crate::wasi::{CallOutcome, Kind, Param, TracedCall};

use super::record::{Arg, Value};
use super::units::Nanos;

/// Items of a list that are shown: subscriptions, vectors.
const LIST_MAX: u32 = 16;

/// Bytes of a path that are looked at.
const PATH_SHOWN_MAX: u32 = 4096;

const WHENCE: [&str; 3] = ["SET", "CUR", "END"];
const ADVICE: [&str; 6] = ["NORMAL", "SEQUENTIAL", "RANDOM", "WILLNEED", "DONTNEED", "NOREUSE"];
const CLOCKS: [&str; 4] = ["REALTIME", "MONOTONIC", "PROCESS_CPUTIME_ID", "THREAD_CPUTIME_ID"];
const FILETYPES: [&str; 8] = [
    "unknown",
    "block_device",
    "character_device",
    "directory",
    "regular_file",
    "socket_dgram",
    "socket_stream",
    "symbolic_link",
];

/// What is given to a call. Pointers to results are left out; what they point to is among
/// the [`results`]. A length goes without saying where the thing itself is shown.
pub(super) fn args(call: &TracedCall<'_>, bytes_max: usize) -> Vec<Arg> {
    let params = call.row.params;
    let mut args = Vec::with_capacity(params.len());
    for (index, param) in params.iter().enumerate() {
        let before = index.checked_sub(1).map(|before| params[before].kind);
        let length_of = matches!(before, Some(Kind::Path | Kind::Iovs | Kind::Ciovs));
        if param.kind == Kind::Size && length_of {
            continue;
        }
        if let Some(value) = arg(call, param, index, bytes_max) {
            args.push((param.name, value));
        }
    }
    args
}

fn low(raw: u64) -> u32 {
    u32::try_from(raw & 0xffff_ffff).unwrap_or_default()
}

fn arg(call: &TracedCall<'_>, param: &Param, index: usize, bytes_max: usize) -> Option<Value> {
    let raw = call.args[index];
    let next = || low(call.args[index + 1]);
    Some(match param.kind {
        Kind::Fd => fd(call, low(raw)),
        Kind::Out => return None,
        Kind::Ptr => match (call.row.name, param.name) {
            (_, "in") => subscriptions(call, low(raw)),
            (name, "addr") if is_given(name) => address(call, low(raw)),
            _ => return None,
        },
        Kind::Path => text(call, low(raw), next()),
        Kind::Iovs => lengths(call, low(raw), next()),
        Kind::Ciovs => gathered(call, low(raw), next(), u64::MAX, bytes_max),
        Kind::I64 => Value::Signed(raw.cast_signed()),
        Kind::Size => Value::Number(raw),
        Kind::U32 | Kind::U64 => number(call.row.name, param.name, raw),
    })
}

/// A number, by its name if it has one.
pub(super) fn number(call: &str, param: &str, raw: u64) -> Value {
    macro_rules! flags {
        ($kind:ident) => {{
            let set = |(name, flag): &(&'static str, $kind)| {
                (raw & u64::from(flag.bits()) != 0).then_some(*name)
            };
            let names: Vec<&str> = $kind::NAMES.iter().filter_map(set).collect();
            flag_words(raw & !u64::from($kind::ALL.bits()), &names)
        }};
    }
    match param {
        "fs_rights_base" | "fs_rights_inheriting" => rights(raw),
        "oflags" => flags!(Oflags),
        "dirflags" | "old_flags" => flags!(Lookupflags),
        "flags" if call.starts_with("path_") => flags!(Lookupflags),
        "flags" | "fdflags" => flags!(Fdflags),
        "fst_flags" => flags!(Fstflags),
        "ri_flags" => flags!(Riflags),
        "how" => flags!(Sdflags),
        "whence" => named(&WHENCE, raw),
        "advice" => named(&ADVICE, raw),
        "id" => named(&CLOCKS, raw),
        _ => Value::Number(raw),
    }
}

fn flag_words(unknown: u64, names: &[&str]) -> Value {
    let mut words = names.join("|");
    if unknown != 0 {
        let bar = if words.is_empty() { "" } else { "|" };
        words.push_str(&format!("{bar}{unknown:#x}"));
    }
    if words.is_empty() { Value::Number(0) } else { Value::Word(words.into()) }
}

/// Rights are many: all that a kind of file can have are written as the kind, or else what is
/// missing if that is less. libc sets bits that are none.
fn rights(raw: u64) -> Value {
    let rights = Rights::truncate(raw);
    let kinds = [
        ("DIRECTORY", Rights::DIRECTORY),
        ("FILE", Rights::FILE),
        ("STREAM", Rights::STREAM),
        ("SOCKET", Rights::SOCKET),
    ];
    if let Some((kind, _)) = kinds.iter().find(|(_, of_kind)| *of_kind == rights) {
        return Value::Word((*kind).into());
    }
    let (held, missing): (Vec<_>, Vec<_>) =
        Rights::NAMES.iter().partition(|(_, right)| rights.has(*right));
    let names = |list: &[&(&'static str, Rights)], between: &str| {
        list.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(between)
    };
    Value::Word(match (held.is_empty(), missing.is_empty()) {
        (true, _) => "0".into(),
        (_, true) => "ALL".into(),
        _ if missing.len() < held.len() => format!("ALL-{}", names(&missing, "-")).into(),
        _ => names(&held, "|").into(),
    })
}

fn named(names: &[&'static str], raw: u64) -> Value {
    let name = usize::try_from(raw).ok().and_then(|index| names.get(index));
    name.map_or(Value::Number(raw), |name| Value::Word((*name).into()))
}

fn fd(call: &TracedCall<'_>, fd: u32) -> Value {
    Value::Fd { fd, path: call.descriptor(fd).map(|descriptor| (*descriptor.path).into()) }
}

/// Whether a socket call is given the address it has a pointer to.
fn is_given(call: &str) -> bool {
    ["sock_bind", "sock_connect", "sock_send_to"].iter().any(|name| call.starts_with(name))
}

/// An address: a pointer to its bytes, which may begin with its family, and their number.
fn address(call: &TracedCall<'_>, at: u32) -> Value {
    let bytes = || {
        let buf = u32_at(call, at)?;
        let len = u32_at(call, at.checked_add(4)?)?;
        let bytes = call.mem.bytes(buf, len.min(128)).ok()?;
        if len != 128 {
            return Some(bytes);
        }
        let of_family = if bytes.first() == Some(&1) { 4 } else { 16 };
        bytes.get(2..2 + of_family)
    };
    let Some(bytes) = bytes() else { return bad_pointer(at) };
    let ip = match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|bytes| IpAddr::from(*bytes)),
        _ => bytes.first_chunk::<16>().map(|bytes| IpAddr::from(*bytes)),
    };
    ip.map_or(Value::Word("no address".into()), |ip| Value::Word(ip.to_string().into()))
}

fn text(call: &TracedCall<'_>, at: u32, len: u32) -> Value {
    match call.mem.bytes(at, len.min(PATH_SHOWN_MAX)) {
        Ok(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
        Err(_) => bad_pointer(at),
    }
}

fn bad_pointer(at: u32) -> Value {
    Value::Word(format!("bad pointer {at:#x}").into())
}

fn u32_at(call: &TracedCall<'_>, at: u32) -> Option<u32> {
    call.mem.array(at).ok().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(call: &TracedCall<'_>, at: u32) -> Option<u64> {
    call.mem.array(at).ok().map(|bytes| u64::from_le_bytes(*bytes))
}

/// The vectors of a call: where, and how long.
fn vectors(call: &TracedCall<'_>, iovs: u32, len: u32) -> Option<Vec<(u32, u32)>> {
    let step = u32::try_from(IOVEC_SIZE).ok()?;
    (0..len.min(1024))
        .map(|index| {
            let at = iovs.checked_add(index * step)?;
            Some((u32_at(call, at)?, u32_at(call, at.checked_add(4)?)?))
        })
        .collect()
}

/// Vectors that nothing was read into yet.
fn lengths(call: &TracedCall<'_>, iovs: u32, len: u32) -> Value {
    match vectors(call, iovs, len) {
        None => bad_pointer(iovs),
        Some(vectors) => {
            let shown = vectors.iter().take(usize::try_from(LIST_MAX).unwrap_or(16));
            Value::List(shown.map(|(_, len)| Value::Number(u64::from(*len))).collect())
        }
    }
}

/// What lies in vectors, up to `total` bytes.
fn gathered(call: &TracedCall<'_>, iovs: u32, len: u32, total: u64, bytes_max: usize) -> Value {
    let Some(vectors) = vectors(call, iovs, len) else { return bad_pointer(iovs) };
    let mut left = total;
    let (mut shown, mut there) = (Vec::new(), 0);
    for (at, len) in vectors {
        let len = u32::try_from(u64::from(len).min(left)).unwrap_or(u32::MAX);
        let Ok(bytes) = call.mem.bytes(at, len) else { return bad_pointer(at) };
        shown.extend(bytes.iter().take(bytes_max - shown.len()));
        left -= u64::from(len);
        there += u64::from(len);
    }
    Value::Bytes { shown, total: there }
}

/// Puts in what was read, where before only the room for it was known.
pub(super) fn moved(
    call: &TracedCall<'_>,
    outcome: CallOutcome,
    args: &mut [Arg],
    bytes_max: usize,
) {
    if outcome != CallOutcome::Done(None) {
        return;
    }
    for (index, param) in call.row.params.iter().enumerate() {
        if param.kind != Kind::Iovs {
            continue;
        }
        let count = call.arg_u32("nread").or(call.arg_u32("ro_datalen"));
        let count = count.and_then(|at| u32_at(call, at)).unwrap_or_default();
        let (iovs, len) = (low(call.args[index]), low(call.args[index + 1]));
        let value = gathered(call, iovs, len, u64::from(count), bytes_max);
        if let Some((_, there)) = args.iter_mut().find(|(name, _)| *name == param.name) {
            *there = value;
        }
    }
}

/// What a call that succeeded has answered.
pub(super) fn results(call: &TracedCall<'_>, bytes_max: usize) -> Vec<Arg> {
    let outs = call.row.params.iter().enumerate().filter(|(_, param)| param.kind == Kind::Out);
    let result = |(index, param): (usize, &'static Param)| {
        let value = result(call, param.name, low(call.args[index]), bytes_max)?;
        Some((param.name, value))
    };
    outs.filter_map(result).collect()
}

fn result(call: &TracedCall<'_>, name: &str, at: u32, bytes_max: usize) -> Option<Value> {
    let size = |name: &str| call.arg_u32(name).unwrap_or_default();
    Some(match (call.row.name, name) {
        // As many as the call before has answered.
        (_, "argv" | "argv_buf" | "environ" | "environ_buf") => return None,
        ("random_get", _) => return None,
        ("fd_fdstat_get", _) => fdstat(call.mem.array(at).ok()?),
        ("fd_filestat_get" | "path_filestat_get", _) => filestat(call.mem.array(at).ok()?),
        ("fd_prestat_get", _) => {
            Value::Map(vec![("name_len", Value::Number(u32_at(call, at + 4)?.into()))])
        }
        ("fd_prestat_dir_name", _) => text(call, at, size("path_len")),
        ("path_readlink", "buf") => text(call, at, u32_at(call, size("bufused"))?),
        ("fd_readdir", "buf") => entries(call, at, u32_at(call, size("bufused"))?),
        ("poll_oneoff", "out") => events(call, at, u32_at(call, size("nevents"))?),
        (_, "opened_fd" | "result_fd") => fd(call, u32_at(call, at)?),
        (_, "time" | "resolution" | "newoffset" | "offset") => Value::Number(u64_at(call, at)?),
        (_, "ro_flags") => return None,
        (_, "buf") => bytes(call, at, size("buf_len"), bytes_max),
        _ => Value::Number(u32_at(call, at)?.into()),
    })
}

fn bytes(call: &TracedCall<'_>, at: u32, len: u32, bytes_max: usize) -> Value {
    let Ok(bytes) = call.mem.bytes(at, len) else { return bad_pointer(at) };
    let shown = bytes[..bytes.len().min(bytes_max)].to_vec();
    Value::Bytes { shown, total: u64::from(len) }
}

fn filetype(code: u8) -> Value {
    Value::Word(FILETYPES.get(usize::from(code)).copied().unwrap_or("?").into())
}

fn le(record: &[u8], at: usize, len: usize) -> u64 {
    record[at..at + len].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn fdstat(record: &[u8; FDSTAT_SIZE]) -> Value {
    Value::Map(vec![
        ("filetype", filetype(record[0])),
        ("flags", number("", "fdflags", le(record, 2, 2))),
        ("rights_base", rights(le(record, 8, 8))),
        ("rights_inheriting", rights(le(record, 16, 8))),
    ])
}

fn filestat(record: &[u8; FILESTAT_SIZE]) -> Value {
    Value::Map(vec![
        ("filetype", filetype(record[16])),
        ("size", Value::Number(le(record, 32, 8))),
        ("nlink", Value::Number(le(record, 24, 8))),
        ("mtim", Value::Number(le(record, 48, 8))),
    ])
}

/// The names in a directory's buffer; the last may be cut off.
fn entries(call: &TracedCall<'_>, at: u32, used: u32) -> Value {
    let mut names = Vec::new();
    let Ok(mut rest) = call.mem.bytes(at, used) else { return bad_pointer(at) };
    while let Some((head, behind)) = rest.split_at_checked(24) {
        let len = usize::try_from(le(head, 16, 4)).unwrap_or(usize::MAX);
        let name = &behind[..len.min(behind.len())];
        names.push(Value::Text(String::from_utf8_lossy(name).into_owned()));
        rest = behind.get(len..).unwrap_or_default();
    }
    Value::List(names)
}

fn subscriptions(call: &TracedCall<'_>, at: u32) -> Value {
    let size = u32::try_from(SUBSCRIPTION_SIZE).unwrap_or(u32::MAX);
    let count = call.arg_u32("nsubscriptions").unwrap_or_default().min(LIST_MAX);
    let one = |index: u32| {
        let record = call.mem.array(at.checked_add(index * size)?).ok()?;
        let Ok(subscription) = Subscription::decode(record) else {
            return Some(Value::Word("invalid".into()));
        };
        Some(match subscription.about {
            About::Clock { id, timeout, absolute } => {
                let Value::Word(clock) = named(&CLOCKS, id.into()) else { return None };
                let at = if absolute { "at " } else { "+" };
                Value::Word(format!("{clock} {at}{}", Nanos(timeout)).into())
            }
            About::Fd { kind, fd } => {
                let what = if kind == Eventtype::FdWrite { "fd_write" } else { "fd_read" };
                let path = call.descriptor(fd).map(|d| super::text::behind(&d.path));
                Value::Word(format!("{what} {fd}{}", path.unwrap_or_default()).into())
            }
        })
    };
    let list: Option<Vec<Value>> = (0..count).map(one).collect();
    list.map_or_else(|| bad_pointer(at), Value::List)
}

fn events(call: &TracedCall<'_>, at: u32, count: u32) -> Value {
    let size = u32::try_from(EVENT_SIZE).unwrap_or(u32::MAX);
    let one = |index: u32| {
        let record: &[u8; EVENT_SIZE] = call.mem.array(at.checked_add(index * size)?).ok()?;
        let kind = ["clock", "fd_read", "fd_write"].get(usize::from(record[10]))?;
        let errno = i32::try_from(le(record, 8, 2)).ok().and_then(crate::errno::Errno::from_code);
        let mut word = (*kind).to_owned();
        match errno {
            Some(errno) if errno != crate::errno::Errno::Success => {
                word.push(' ');
                word.push_str(&super::record::errno_name(errno));
            }
            _ if record[10] != 0 => word.push_str(&format!(" nbytes={}", le(record, 16, 8))),
            _ => {}
        }
        if record[24] & 1 != 0 {
            word.push_str(" hangup");
        }
        Some(Value::Word(word.into()))
    };
    Value::List((0..count.min(LIST_MAX)).filter_map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_by_name() {
        let word = |call, param, raw| match number(call, param, raw) {
            Value::Word(word) => word.into_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(word("path_open", "oflags", 9), "CREAT|TRUNC");
        assert_eq!(word("path_open", "oflags", 0x101), "CREAT|0x100");
        assert_eq!(word("path_open", "oflags", 0), "Number(0)");
        assert_eq!(word("path_open", "fs_rights_base", u64::MAX), "ALL");
        assert_eq!(word("path_open", "fs_rights_base", !0x40), "ALL-FD_WRITE");
        assert_eq!(word("fd_seek", "whence", 2), "END");
        assert_eq!(word("fd_seek", "whence", 3), "Number(3)");
    }
}
