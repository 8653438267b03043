//! Times to set.

/// New times for a node or file; `None` leaves one as it is. Nanoseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// Time of last access.
    pub atim: Option<SetTime>,
    /// Time of last modification.
    pub mtim: Option<SetTime>,
}

/// A time to set: the backend's own now, or a given one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetTime {
    /// Now, by the clock of whoever keeps the file.
    Now,
    /// Nanoseconds since 1970.
    To(u64),
}
