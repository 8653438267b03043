//! Reading what an instrumented module has written of its stack.

use std::collections::HashMap;
use std::rc::Rc;

use wasmparser::ValType;

use super::CaptureError;
use super::instrument::Site;
use super::parts::Parts;
use super::value::{SLOT, Value, recorded_bytes};
use super::walk::CallSite;

/// Functions on a stack at the most. Each becomes a function of the image.
const DEPTH_MAX: usize = 10_000;

/// A function on the stack.
pub(super) struct StackFrame {
    pub(super) function: u32,
    /// Where it is.
    pub(super) place: Rc<CallSite>,
    /// Its operands below those of the call, the lowest first.
    pub(super) kept: Vec<Value>,
    pub(super) locals: Vec<Value>,
}

/// Reads all functions of a stack, the outermost first.
pub(super) fn read(
    parts: &Parts<'_>,
    sites: &[Site],
    written: &[u8],
) -> Result<Vec<StackFrame>, CaptureError> {
    let mut places: HashMap<Site, Rc<CallSite>> = HashMap::new();
    let mut frames = Vec::new();
    let mut rest = Rest(written);
    while !rest.0.is_empty() {
        let Some(Value::I32(number)) = rest.value(ValType::I32)? else {
            return Err(CaptureError::Frames);
        };
        let number = usize::try_from(number).unwrap_or(usize::MAX);
        let site = *sites.get(number).ok_or(CaptureError::Frames)?;
        let place = match places.get(&site) {
            Some(place) => place.clone(),
            None => {
                let place = Rc::new(CallSite::of(parts, site.function, site.offset)?);
                places.insert(site, place.clone());
                place
            }
        };
        // The topmost was written first.
        let mut kept = rest.values(place.kept().rev())?;
        kept.reverse();
        let locals = rest.values(place.locals.iter().copied())?;
        frames.push(StackFrame { function: site.function, place, kept, locals });
        if frames.len() > DEPTH_MAX {
            return Err(CaptureError::Deep(DEPTH_MAX));
        }
    }
    // The innermost returned first.
    frames.reverse();
    Ok(frames)
}

/// What has not been read yet.
struct Rest<'a>(&'a [u8]);

impl Rest<'_> {
    fn value(&mut self, ty: ValType) -> Result<Option<Value>, CaptureError> {
        const { assert!(SLOT == 8) };
        let (bytes, rest) =
            self.0.split_at_checked(recorded_bytes(ty)).ok_or(CaptureError::Frames)?;
        self.0 = rest;
        Ok(Value::read(ty, bytes))
    }

    fn values(&mut self, types: impl Iterator<Item = ValType>) -> Result<Vec<Value>, CaptureError> {
        types.map(|ty| self.value(ty)?.ok_or(CaptureError::Reference)).collect()
    }
}
