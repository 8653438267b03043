//! What a guest has of its client.

pub(crate) mod link;
pub(crate) mod stdio;
