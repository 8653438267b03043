//! `poll_oneoff`: every kind of descriptor and clock, for a guest that is stepped (and a
//! clock that only moves when told to) and for one that is called plainly.
#![cfg(all(unix, feature = "host-fs", feature = "net"))]

#[path = "util/busy.rs"]
mod busy;
#[macro_use]
mod calls;

mod poll {
    pub mod in_place;
    pub mod records;
    pub mod stepped;
}
