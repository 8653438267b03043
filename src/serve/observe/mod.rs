//! What a server reports of itself.

pub(crate) mod http;
pub mod log;
pub(crate) mod metrics;
pub(crate) mod outcome;
pub(crate) mod reporter;
