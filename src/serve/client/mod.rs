//! What a guest has of its client.

pub(crate) mod io;
pub(crate) mod link;
pub(crate) mod stdio;
pub(crate) mod wire;
