//! What a server reports of itself.

pub(crate) mod http;
pub mod logging;
pub(crate) mod metrics;
pub(crate) mod outcome;
pub(crate) mod process;
pub(crate) mod reporter;
