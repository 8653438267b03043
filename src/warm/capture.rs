//! Programs that are stopped in their first read, whatever they are (`program/capture`).

use super::boot::{Boot, Halt, Unfit};
use super::{Reached, unfit};
use crate::guest::capture::Capturable;
use crate::program::capture::Data;

/// Runs a program to its first read, and makes an image of it there.
pub(super) fn start(boot: &Boot<'_>, wasm: &[u8]) -> Result<Reached, Unfit> {
    let capturable = Capturable::new(&boot.warm_up.config, wasm).map_err(unfit)?;
    let mut booted = boot.run(capturable.program(), Halt::Read)?;
    let mut warm = boot.note(&mut booted, "capture")?;
    let call = booted.guest.context().frame.row.name;
    warm.begins_with_read = call == "fd_read" && !boot.has_first_call(wasm)?;
    let captured = capturable.capture_with(booted.guest, Data::Apart).map_err(unfit)?;
    Ok(Reached { warm, module: captured.module, memory: captured.memory })
}
