//! `sock_getsockopt` and `sock_setsockopt`.

use std::time::Duration;

use super::super::abi::Rights;
use super::super::{Call, Sys};
use super::connection::{DGRAM, STREAM, endpoint};
use crate::errno::Errno;
use crate::vfs::Filetype;
use crate::vfs::net::{OptionName, OptionValue};

const SOL_SOCKET: u32 = 0;

/// Bytes of a `struct linger` and of a number.
const LINGER: u32 = 8;
const NUMBER: u32 = 4;

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
        9 => Ok(OptionName::Linger),
        13 => Ok(OptionName::AcceptConn),
        _ => Err(Errno::Noprotoopt),
    }
}

fn size_of(name: OptionName) -> u32 {
    if name == OptionName::Linger { LINGER } else { NUMBER }
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
    let number = u32::from_le_bytes(*c.mem.array(value)?);
    let value = match name {
        OptionName::ReuseAddr | OptionName::Broadcast | OptionName::KeepAlive => {
            OptionValue::Flag(number != 0)
        }
        OptionName::SndBuf | OptionName::RcvBuf => OptionValue::Size(number),
        OptionName::Linger => {
            let [_, _, _, _, a, b, c, d] = *c.mem.array::<8>(value)?;
            let seconds = u32::from_le_bytes([a, b, c, d]);
            OptionValue::Linger((number != 0).then_some(Duration::from_secs(seconds.into())))
        }
        OptionName::Type | OptionName::Error | OptionName::AcceptConn => {
            return Err(Errno::Noprotoopt.into());
        }
    };
    Ok(endpoint(c, fd, Rights::NONE)?.set_option(name, value)?)
}
