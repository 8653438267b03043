//! The command line: what was typed, and what is meant by it.
//!
//! [`args`] says what can be typed; every word of it is checked before anything is opened,
//! bound or started. Which may import which is in `tests/tidy/layers.rs`.

pub mod args;
pub mod failure;
#[cfg(unix)]
pub mod fatal_signal;
mod grant;
pub mod help;
mod load;
mod logger;
mod observe;
pub mod output;
pub mod run;
#[cfg(feature = "serve")]
pub mod serve;
pub mod style;
pub mod words;
