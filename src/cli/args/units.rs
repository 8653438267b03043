//! Sizes, times and counts as people write them.

use std::time::Duration;

use crate::cli::failure::{CliResult, Failure};

/// A size in bytes: `65536`, `64K`, `64KiB`, `10M`, `1G`. Factors are powers of 1024.
pub fn size(option: &str, text: &str) -> CliResult<usize> {
    let fail = || invalid(option, text, "write a size such as 64K, 10M or 1G");
    let (digits, unit) = split(text);
    let factor: usize = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "k" | "kb" | "kib" => 1 << 10,
        "m" | "mb" | "mib" => 1 << 20,
        "g" | "gb" | "gib" => 1 << 30,
        _ => return Err(fail()),
    };
    let number: usize = digits.parse().map_err(|_| fail())?;
    number.checked_mul(factor).ok_or_else(fail)
}

/// A time: `250ms`, `5s`, `2m`, `1h`.
pub fn time(option: &str, text: &str) -> CliResult<Duration> {
    let fail = || invalid(option, text, "write a time such as 250ms, 5s, 2m or 1h");
    let (digits, unit) = split(text);
    let ms: u64 = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" | "min" => 60_000,
        "h" => 3_600_000,
        "" if !digits.is_empty() => {
            return Err(invalid(option, text, &format!("add a unit, such as {digits}s")));
        }
        _ => return Err(fail()),
    };
    let number: u64 = digits.parse().map_err(|_| fail())?;
    number.checked_mul(ms).map(Duration::from_millis).ok_or_else(fail)
}

/// A time as it is shown: `300 ms`, `5 s`.
pub fn shown(time: Duration) -> String {
    match time.subsec_millis() {
        0 => format!("{} s", time.as_secs()),
        _ => format!("{} ms", time.as_millis()),
    }
}

/// A count: `1000`, `1_000_000`, `10k`, `5M`, `2G`. Factors are powers of 1000.
pub fn count(option: &str, text: &str) -> CliResult<u64> {
    let fail = || invalid(option, text, "write a number such as 1000, 10k or 5M");
    let plain = text.replace('_', "");
    let (digits, unit) = split(&plain);
    let factor = match unit.to_ascii_lowercase().as_str() {
        "" => 1,
        "k" => 1000,
        "m" => 1_000_000,
        "g" => 1_000_000_000,
        _ => return Err(fail()),
    };
    let number: u64 = digits.parse().map_err(|_| fail())?;
    number.checked_mul(factor).ok_or_else(fail)
}

/// The failure of an option whose value means nothing.
pub fn invalid(option: &str, text: &str, hint: &str) -> Failure {
    Failure::usage(format!("invalid {option} '{text}': {hint}"))
}

/// An address with its port. People who write a port alone mean this machine; `port` is for the
/// example if there is none.
#[cfg(feature = "net")]
pub fn address(option: &str, text: &str, port: u16) -> CliResult<std::net::SocketAddr> {
    if text.contains('%') {
        return with_zone(option, text);
    }
    text.parse().map_err(|_| {
        let behind = text.strip_prefix("localhost:").or(text.strip_prefix(':')).unwrap_or(text);
        let write = match behind.parse::<u16>() {
            Ok(port) => format!("write 127.0.0.1:{port}"),
            Err(_) => format!("write ADDR:PORT, such as 127.0.0.1:{port} or [::1]:{port}"),
        };
        invalid(option, text, &write)
    })
}

/// `[fe80::1%eth0]:80`.
#[cfg(feature = "net")]
fn with_zone(option: &str, text: &str) -> CliResult<std::net::SocketAddr> {
    use tinyhost::vfs::net::{Host, ListenRule};
    // Of a rule for it there are words for all that can be wrong.
    text.parse::<ListenRule>()
        .map_err(|error| invalid(option, text, &format!("{}: {}", error.what, error.hint)))?;
    let parsed = text.rsplit_once(':').and_then(|(host, port)| match Host::parse(host)? {
        Host::Addr(address) => address.socket_addr(port.parse().ok()?).ok(),
        Host::Name(_) => None,
    });
    parsed.ok_or_else(|| invalid(option, text, "write ADDR:PORT, such as [fe80::1%eth0]:80"))
}

/// A limit that is not zero. Zero would allow nothing, but in other programs it often means that
/// there is no limit.
pub fn some<T: PartialEq + Default>(
    option: &str,
    text: &str,
    value: T,
    instead: &str,
) -> CliResult<T> {
    if value == T::default() {
        return Err(invalid(option, text, &format!("zero would allow nothing: {instead}")));
    }
    Ok(value)
}

/// The CPU time of a `--cpu`.
pub fn cpu(text: &str) -> CliResult<Duration> {
    some("--cpu", text, time("--cpu", text)?, "leave it out for no limit")
}

/// Digits, and the unit behind them.
fn split(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.split_at(end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_with_their_unit() {
        assert_eq!(shown(Duration::from_millis(300)), "300 ms");
        assert_eq!(shown(Duration::from_millis(1500)), "1500 ms");
        assert_eq!(shown(Duration::from_secs(120)), "120 s");
    }

    #[test]
    fn units() {
        assert_eq!(size("--memory", "64K").unwrap(), 65536);
        assert_eq!(size("--memory", "10MiB").unwrap(), 10 << 20);
        assert_eq!(time("--timeout", "250ms").unwrap(), Duration::from_millis(250));
        assert_eq!(time("--timeout", "2m").unwrap(), Duration::from_secs(120));
        assert_eq!(count("--fuel", "1_000").unwrap(), 1000);
        assert_eq!(count("--fuel", "5M").unwrap(), 5_000_000);
        for bad in ["", "x", "-1", "10X", "99999999999999999999", "18446744073709551615G", "1 K"] {
            assert!(size("--memory", bad).is_err(), "{bad}");
            assert!(count("--fuel", bad).is_err(), "{bad}");
        }
        for bad in ["", "5", "s", "5 s", "1d", "18446744073709551615h"] {
            assert!(time("--timeout", bad).is_err(), "{bad}");
        }
    }
}
