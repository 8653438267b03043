//! Programs that are initialized by an export of their own: reactors, and what is made for Wizer.

use super::boot::{Boot, Halt, Unfit};
use super::exports::Plan;
use super::{Reached, unfit};
use crate::program::capture::{Continuation, Data, State, Value, image};

/// Calls what initializes a program, and makes an image of it then.
pub(super) fn start(boot: &Boot<'_>, wasm: &[u8], plan: &Plan) -> Result<Reached, Unfit> {
    let first: Vec<&str> = plan.first.iter().map(String::as_str).collect();
    let program = boot.compile(wasm, &first)?;
    let mut booted = boot.run(&program, Halt::Returned)?;
    let warm = boot.note(&mut booted, plan.source)?;
    let instance = &booted.guest.instance;
    let globals = instance.global_values().unwrap_or_default();
    let globals: Vec<_> = globals.iter().map(|(index, value)| (*index, Value::of(value))).collect();
    let memory = instance.memory().unwrap_or_default();
    let state = State { memory, globals: &globals, next: Continuation::Call(plan.entry) };
    let module = image(wasm, &state, Data::Apart).map_err(unfit)?;
    Ok(Reached { warm, module, memory: memory.to_vec() })
}
