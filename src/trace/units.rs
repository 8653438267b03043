//! Times and sizes as people read them.

use std::fmt;

/// A time in the unit that fits it.
pub(super) struct Nanos(pub u64);

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenth = |unit: u64| (self.0 / unit, self.0 % unit * 10 / unit);
        let ((whole, part), unit) = match self.0 {
            0..1_000 => return write!(f, "{} ns", self.0),
            1_000..1_000_000 => (tenth(1_000), "µs"),
            1_000_000..1_000_000_000 => (tenth(1_000_000), "ms"),
            _ => (tenth(1_000_000_000), "s"),
        };
        if part == 0 { write!(f, "{whole} {unit}") } else { write!(f, "{whole}.{part} {unit}") }
    }
}

/// Bytes as people read them.
pub(super) struct Bytes(pub u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tenths = |unit: u64| (self.0 / unit, self.0 % unit * 10 / unit);
        let ((whole, part), unit) = match self.0 {
            0..1024 => return f.pad(&format!("{} B", self.0)),
            1024..0x10_0000 => (tenths(1 << 10), "KiB"),
            0x10_0000..0x4000_0000 => (tenths(1 << 20), "MiB"),
            _ => (tenths(1 << 30), "GiB"),
        };
        f.pad(&format!("{whole}.{part} {unit}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_their_unit() {
        let text = |nanos| Nanos(nanos).to_string();
        assert_eq!(text(999), "999 ns");
        assert_eq!(text(12_300), "12.3 µs");
        assert_eq!(text(10_000_000), "10 ms");
        assert_eq!(text(1_990_000_000), "1.9 s");
    }

    #[test]
    fn bytes_have_their_unit() {
        assert_eq!(Bytes(1023).to_string(), "1023 B");
        assert_eq!(Bytes(1536).to_string(), "1.5 KiB");
        assert_eq!(format!("{:>9}", Bytes(64 << 20)), " 64.0 MiB");
    }
}
