//! Where work comes from.

pub(crate) mod tcp;
