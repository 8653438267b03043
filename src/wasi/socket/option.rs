//! `sock_getsockopt` and `sock_setsockopt`.

use std::time::Duration;

use super::super::abi::Rights;
use super::super::{Call, Mem, Sys};
use super::connection::{DGRAM, STREAM, endpoint};
use crate::errno::Errno;
use crate::vfs::Filetype;
use crate::vfs::net::{OptionName, OptionValue};

const SOL_SOCKET: u32 = 0;

/// Bytes of a `struct timeval` (two numbers of 64 bits), of a `struct linger`, and of a number.
const TIMEVAL: u32 = 16;
const LINGER: u32 = 8;
const NUMBER: u32 = 4;

/// Bytes in the name of an interface, with its NUL (`IFNAMSIZ`).
const DEVICE_MAX: u32 = 16;

/// EINVAL for a level or a number that no dialect has, ENOPROTOOPT for what is not here.
fn name(level: u32, option: u32) -> Result<OptionName, Errno> {
    if level != SOL_SOCKET {
        return Err(Errno::Noprotoopt);
    }
    match option {
        0 => Ok(OptionName::ReuseAddr),
        1 => Ok(OptionName::Type),
        2 => Ok(OptionName::Error),
        4 => Ok(OptionName::Broadcast),
        5 => Ok(OptionName::SndBuf),
        6 => Ok(OptionName::RcvBuf),
        7 => Ok(OptionName::KeepAlive),
        3 => Ok(OptionName::DontRoute),
        8 => Ok(OptionName::OobInline),
        9 => Ok(OptionName::Linger),
        10 => Ok(OptionName::RcvLowat),
        11 => Ok(OptionName::RcvTimeo),
        12 => Ok(OptionName::SndTimeo),
        13 => Ok(OptionName::AcceptConn),
        14 => Ok(OptionName::BindToDevice),
        _ => Err(Errno::Noprotoopt),
    }
}

fn size_of(name: OptionName) -> u32 {
    match name {
        OptionName::RcvTimeo | OptionName::SndTimeo => TIMEVAL,
        OptionName::Linger => LINGER,
        OptionName::BindToDevice => 0,
        _ => NUMBER,
    }
}

/// `value_len` is a pointer to the room there is in WasmEdge's dialect, and the length itself in
/// wasi-go's, where it is always 4. Both have one type. No module has data at the address 4.
pub(super) fn sock_getsockopt(
    c: &mut Call<'_>,
    fd: u32,
    level: u32,
    option: u32,
    value: u32,
    value_len: u32,
) -> Sys {
    endpoint(c, fd, Rights::NONE)?;
    let name = name(level, option)?;
    let by_value = value_len == NUMBER;
    let room = if by_value { value_len } else { u32::from_le_bytes(*c.mem.array(value_len)?) };
    let size = size_of(name);
    if room < size {
        return Err(Errno::Inval.into());
    }
    c.mem.check(value, size)?;
    let number = match endpoint(c, fd, Rights::NONE)?.option(name)? {
        OptionValue::Flag(on) => u32::from(on),
        OptionValue::Size(bytes) => bytes,
        OptionValue::Type(Filetype::SocketDgram) => DGRAM,
        OptionValue::Type(_) => STREAM,
        OptionValue::Error(errno) => errno.map_or(0, |errno| errno.code().cast_unsigned()),
        OptionValue::Linger(wait) => {
            c.mem.put_u32(value, u32::from(wait.is_some()))?;
            let seconds = wait.unwrap_or_default().as_secs();
            c.mem.put_u32(value + 4, u32::try_from(seconds).unwrap_or(u32::MAX))?;
            return put_size(c, by_value, value_len, size);
        }
        OptionValue::Timeout(time) => {
            let time = time.unwrap_or_default();
            c.mem.put(value, time.as_secs().to_le_bytes())?;
            c.mem.put(value + 8, u64::from(time.subsec_micros()).to_le_bytes())?;
            return put_size(c, by_value, value_len, size);
        }
        // None has one.
        OptionValue::Device(_) => return put_size(c, by_value, value_len, size),
    };
    c.mem.put_u32(value, number)?;
    put_size(c, by_value, value_len, size)
}

fn put_size(c: &mut Call<'_>, by_value: bool, at: u32, size: u32) -> Sys {
    if by_value { Ok(()) } else { Ok(c.mem.put_u32(at, size)?) }
}

pub(super) fn sock_setsockopt(
    c: &mut Call<'_>,
    fd: u32,
    level: u32,
    option: u32,
    value: u32,
    value_len: u32,
) -> Sys {
    endpoint(c, fd, Rights::NONE)?;
    let name = name(level, option)?;
    if value_len < size_of(name) {
        return Err(Errno::Inval.into());
    }
    let value = match name {
        OptionName::ReuseAddr
        | OptionName::Broadcast
        | OptionName::KeepAlive
        | OptionName::DontRoute
        | OptionName::OobInline => OptionValue::Flag(number(&c.mem, value)? != 0),
        OptionName::SndBuf | OptionName::RcvBuf | OptionName::RcvLowat => {
            OptionValue::Size(number(&c.mem, value)?)
        }
        OptionName::Linger => {
            let seconds = number(&c.mem, value.checked_add(4).ok_or(Errno::Fault)?)?;
            let on = number(&c.mem, value)? != 0;
            OptionValue::Linger(on.then_some(Duration::from_secs(seconds.into())))
        }
        OptionName::RcvTimeo | OptionName::SndTimeo => OptionValue::Timeout(time(&c.mem, value)?),
        OptionName::BindToDevice => {
            let name = c.mem.bytes(value, value_len.min(DEVICE_MAX))?;
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            OptionValue::Device(name.into())
        }
        OptionName::Type | OptionName::Error | OptionName::AcceptConn => {
            return Err(Errno::Noprotoopt.into());
        }
    };
    Ok(endpoint(c, fd, Rights::NONE)?.set_option(name, value)?)
}

fn number(mem: &Mem<'_>, at: u32) -> Result<u32, Errno> {
    Ok(u32::from_le_bytes(*mem.array(at)?))
}

/// A `struct timeval`: zero is no limit, and what is no time is EDOM (socket(7)).
fn time(mem: &Mem<'_>, at: u32) -> Result<Option<Duration>, Errno> {
    let [seconds, micros] = *mem.array::<16>(at)?.as_chunks::<8>().0 else {
        return Err(Errno::Inval);
    };
    let (seconds, micros) = (i64::from_le_bytes(seconds), i64::from_le_bytes(micros));
    if !(0..1_000_000).contains(&micros) || seconds < 0 {
        return Err(Errno::Dom);
    }
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let time = whole.saturating_add(Duration::from_micros(micros.unsigned_abs()));
    Ok(Some(time).filter(|time| !time.is_zero()))
}
