//! The command line: what was typed, and what is meant by it.
//!
//! [`args`] says what can be typed; every word of it is checked before anything is opened,
//! bound or started. Which may import which is in `tests/tidy/layers.rs`.

pub mod args;
pub mod check;
pub mod failure;
#[cfg(unix)]
pub mod fatal_signal;
mod grant;
#[cfg(feature = "serve")]
mod guests;
pub mod help;
pub mod inspect;
#[cfg(unix)]
pub mod journal;
#[cfg(feature = "serve")]
mod limits;
mod load;
mod logger;
mod observe;
pub mod output;
#[cfg(feature = "serve")]
pub mod pipe;
pub mod run;
#[cfg(feature = "serve")]
pub mod serve;
#[cfg(feature = "serve")]
mod start;
pub mod style;
pub mod warm;
pub mod words;
