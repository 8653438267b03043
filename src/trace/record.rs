//! One call, decoded: what the formats are printed from.

use std::borrow::Cow;
use std::time::Duration;

use crate::wasi::{CallOutcome, Row};

/// A value of an argument or result.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Number(u64),
    Signed(i64),
    /// A name, flags, or several words.
    Word(Cow<'static, str>),
    Text(String),
    /// The first of `total` bytes.
    Bytes {
        shown: Vec<u8>,
        total: u64,
    },
    /// A descriptor, and the path behind it if it is open.
    Fd {
        fd: u32,
        path: Option<Box<str>>,
    },
    List(Vec<Value>),
    Map(Vec<Arg>),
}

/// A value, by the spec's name.
pub(super) type Arg = (&'static str, Value);

/// A call that has ended, or whose guest has.
pub(super) struct Record<'a> {
    pub track: u64,
    /// The guest's name.
    pub who: &'a str,
    /// Since the start of the trace.
    pub at: Duration,
    pub until: Duration,
    /// From when to when it was parked.
    pub parks: Vec<(Duration, Duration)>,
    pub row: &'static Row,
    pub args: Vec<Arg>,
    pub results: Vec<Arg>,
    /// `None`: the guest was ended in it.
    pub outcome: Option<CallOutcome>,
}

impl Record<'_> {
    pub fn parked(&self) -> Duration {
        self.parks.iter().map(|(from, to)| to.saturating_sub(*from)).sum()
    }

    /// Time the host spent in the call.
    pub fn took(&self) -> Duration {
        self.until.saturating_sub(self.at).saturating_sub(self.parked())
    }
}

/// As C has it: `ENOENT` for "noent".
pub(super) fn errno_name(errno: crate::errno::Errno) -> String {
    format!("E{}", errno.name().to_ascii_uppercase())
}
