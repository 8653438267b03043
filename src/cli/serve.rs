//! `tinyhost serve`.

use super::args::Serve;
use super::{Failure, Outcome};

/// Runs the server until it is told to stop.
///
/// # Errors
///
/// Whatever keeps it from being started.
pub fn serve(_args: Serve) -> Outcome<u8> {
    Err(Failure::not_started("to come"))
}
