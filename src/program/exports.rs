//! The functions that a module exports.

use wasmparser::{
    BinaryReaderError, ExternalKind, Parser, Payload, TypeRef, ValType as ParsedType,
};

/// What a function can be called with, and what it returns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signature {
    /// `() -> ()`
    Plain,
    /// `() -> i32`
    Status,
    /// Anything else.
    Other,
}

/// A function that a module exports.
#[derive(Clone, Debug)]
pub(crate) struct Exported {
    pub(crate) name: String,
    pub(crate) index: u32,
    pub(crate) signature: Signature,
}

/// The exported functions of a valid module.
///
/// # Errors
///
/// None for a module that is valid.
pub(crate) fn exported_functions(wasm: &[u8]) -> Result<Vec<Exported>, BinaryReaderError> {
    let mut types = Vec::new();
    let mut functions: Vec<u32> = Vec::new();
    let mut exported = Vec::new();
    for payload in Parser::new(0).parse_all(wasm) {
        match payload? {
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    let ty = ty?;
                    types.push(match (ty.params(), ty.results()) {
                        ([], []) => Signature::Plain,
                        ([], [ParsedType::I32]) => Signature::Status,
                        _ => Signature::Other,
                    });
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports {
                    if let TypeRef::Func(ty) = import?.ty {
                        functions.push(ty);
                    }
                }
            }
            Payload::FunctionSection(section) => {
                for ty in section {
                    functions.push(ty?);
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    if export.kind == ExternalKind::Func {
                        let ty = functions.get(export.index as usize);
                        let signature = ty.and_then(|ty| types.get(*ty as usize));
                        let signature = signature.copied().unwrap_or(Signature::Other);
                        let name = export.name.to_owned();
                        exported.push(Exported { name, index: export.index, signature });
                    }
                }
            }
            Payload::CodeSectionStart { .. } => break,
            _ => {}
        }
    }
    Ok(exported)
}
