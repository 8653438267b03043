//! What a module offers to begin with: a start, an initialization, a handler.

use crate::program::ProgramError;
use crate::program::exports::{Exported, Signature, exported_functions};

/// What a reactor is initialized by, once, before all else.
const INITIALIZE: &str = "_initialize";

/// What initializes a program that is made for Wizer, by the new name and the old one.
const WIZER: [&str; 2] = ["wizer-initialize", "wizer.initialize"];

/// What such a program wants to be called instead of `_start` then.
const WIZER_RESUME: &str = "wizer.resume";

/// How a module is initialized, and what is called for each line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// What is called once, in this order. If there is nothing, the program has to be run to its
    /// first read.
    pub(super) first: Vec<String>,
    /// The function that is called for each guest then.
    pub(super) entry: u32,
    /// What a guest that is not warm calls.
    pub(super) cold: Vec<String>,
    /// What kind of module that is.
    pub(super) source: &'static str,
}

impl Plan {
    /// The plan for a valid module; `call` is the handler that was asked for.
    ///
    /// # Errors
    ///
    /// If it has no export that could be called for a line, or several.
    pub(super) fn of(wasm: &[u8], call: Option<&str>) -> Result<Plan, ProgramError> {
        let exports =
            exported_functions(wasm).map_err(|error| ProgramError::Invalid(error.to_string()))?;
        let find = |name: &str| exports.iter().find(|export| export.name == name);
        let is_plain =
            |name: &str| find(name).is_some_and(|export| export.signature == Signature::Plain);
        let has_start = is_plain("_start");
        let wizer = WIZER.into_iter().find(|name| is_plain(name));
        let initialize = Some(INITIALIZE).filter(|name| is_plain(name));
        let entry = match call {
            Some(name) => handler(find(name), name)?,
            None if has_start => "_start",
            None if initialize.is_none() && wizer.is_none() => return Err(ProgramError::NoStart),
            None => only_handler(&exports)?,
        };
        let is_start = entry == "_start";
        // A command that has a handler as well is begun by what it has for that.
        if !is_start && initialize.is_none() && wizer.is_none() {
            return Err(ProgramError::Handler(format!(
                "it exports no function '{INITIALIZE}', by which it would be made ready for \
                 '{entry}': leave --call out, or build it as a reactor"
            )));
        }
        let first: Vec<String> = match wizer {
            None if is_start => Vec::new(),
            wizer => initialize.into_iter().chain(wizer).map(str::to_owned).collect(),
        };
        let cold = if is_start {
            vec![entry.to_owned()]
        } else {
            first.iter().map(String::as_str).chain([entry]).map(str::to_owned).collect()
        };
        let resume = is_start && wizer.is_some() && is_plain(WIZER_RESUME);
        let entry = find(if resume { WIZER_RESUME } else { entry }).map_or(0, |found| found.index);
        let source = if wizer.is_some() { "wizer" } else { "reactor" };
        Ok(Plan { first, entry, cold, source })
    }
}

/// The export that was asked for, if it can be called.
fn handler<'a>(found: Option<&Exported>, name: &'a str) -> Result<&'a str, ProgramError> {
    match found.map(|export| export.signature) {
        Some(Signature::Plain | Signature::Status) => Ok(name),
        Some(Signature::Other) => Err(ProgramError::Handler(format!(
            "its function '{name}' takes or returns more than a status: name one that is () -> () \
             or () -> i32"
        ))),
        None => Err(ProgramError::Handler(format!(
            "it exports no function '{name}': check the name after --call"
        ))),
    }
}

/// The only export that can be called for a line.
fn only_handler(exports: &[Exported]) -> Result<&str, ProgramError> {
    let others = [INITIALIZE, "_start", "tinyhost_forked", WIZER_RESUME, WIZER[0], WIZER[1]];
    let found = exports.iter().filter(|export| {
        export.signature != Signature::Other
            && !others.contains(&&*export.name)
            && !export.name.starts_with("__")
            && !export.name.starts_with("asyncify_")
    });
    let names: Vec<&str> = found.map(|export| &*export.name).collect();
    match names[..] {
        [name] => Ok(name),
        [] => Err(ProgramError::Handler(
            "it exports no function () -> () or () -> i32 to call for a line: add one".to_owned(),
        )),
        _ => Err(ProgramError::Handler(format!(
            "it exports several functions that could be called for a line ({}): choose one with \
             --call NAME",
            names.iter().take(8).copied().collect::<Vec<_>>().join(", ")
        ))),
    }
}
