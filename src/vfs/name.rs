//! One component of a path, proven to be nothing more.

use std::fmt;

/// A single name within a directory: not empty, at most 255 bytes, no `/`, no NUL, neither
/// `.` nor `..`. It can be passed to an `*at` call without a further check.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name<'a>(&'a str);

impl<'a> Name<'a> {
    /// Bytes in the longest name; `NAME_MAX` of Linux.
    pub const MAX: usize = 255;

    /// Checks `text`; `None` if it is not a single name.
    pub fn new(text: &'a str) -> Option<Name<'a>> {
        Name::is_one(text.as_bytes()).then_some(Name(text))
    }

    /// Whether these bytes, if they are text, are a single name.
    pub(super) fn is_one(text: &[u8]) -> bool {
        let plain = !matches!(text, b"" | b"." | b"..");
        plain && text.len() <= Self::MAX && !text.iter().any(|byte| matches!(byte, b'/' | 0))
    }

    /// The text.
    pub fn as_str(self) -> &'a str {
        self.0
    }
}

impl fmt::Debug for Name<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::Name;

    #[test]
    fn only_single_names() {
        for good in ["a", "...", ".x", "a:b", "é", &"x".repeat(255)] {
            assert!(Name::new(good).is_some(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "/", "a\0", &"x".repeat(256)] {
            assert!(Name::new(bad).is_none(), "{bad}");
        }
    }
}
