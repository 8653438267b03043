//! What has to be known of a module to record and to resume it.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use wasmparser::{
    BlockType, CompositeInnerType, ElementItems, ExternalKind, FuncToValidate, FunctionBody,
    GlobalType, MemoryType, Operator, Parser, Payload, TypeRef, ValType, ValidPayload, Validator,
    ValidatorResources,
};

use super::CaptureError;
use crate::program::encode::{FUNCTION_TYPE, HEADER, id, longer, section, value_types};
use crate::program::error;
use crate::program::survey::{Survey, features};

/// A function that a program exports to learn that it goes on from an image.
const RESUMED: &str = "tinyhost_forked";

/// Parameters and results.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub(super) struct Signature {
    pub(super) params: Box<[ValType]>,
    pub(super) results: Box<[ValType]>,
}

/// A function that is imported.
#[derive(Debug)]
pub(super) struct Import<'a> {
    pub(super) module: &'a str,
    pub(super) name: &'a str,
}

/// A function's body, and what validates it.
pub(super) type Body<'a> = (FuncToValidate<ValidatorResources>, FunctionBody<'a>);

/// A module that can be captured.
pub(super) struct Parts<'a> {
    pub(super) wasm: &'a [u8],
    sections: Vec<(u8, Range<usize>)>,
    /// Begins no name of the module's exports.
    pub(super) prefix: String,
    pub(super) types: Vec<Signature>,
    /// The type of each function, those that are imported first.
    pub(super) functions: Vec<u32>,
    pub(super) imports: Vec<Import<'a>>,
    pub(super) memory: MemoryType,
    pub(super) globals: Vec<GlobalType>,
    /// The start section's function.
    pub(super) start: Option<u32>,
    /// The function `_start`; a library has none.
    pub(super) entry: Option<u32>,
    /// The function to call before anything else after the program was resumed.
    pub(super) resumed: Option<u32>,
    /// The bodies of the functions that are not imported.
    pub(super) bodies: Vec<Body<'a>>,
    /// Functions that a call through a table may lead to: all that are referred to.
    pub(super) referred: Vec<u32>,
}

impl<'a> Parts<'a> {
    /// Takes a module apart.
    ///
    /// # Errors
    ///
    /// If it is not valid, or not one that can be captured.
    pub(super) fn of(wasm: &'a [u8]) -> Result<Parts<'a>, CaptureError> {
        let Survey { prefix, sections, changes_tables, .. } =
            error::survey(wasm).map_err(CaptureError::Program)?;
        if changes_tables {
            return Err(CaptureError::Tables);
        }
        let mut finder = Finder::default();
        let mut validator = Validator::new_with_features(features());
        let mut parser = Parser::new(0);
        parser.set_features(features());
        for payload in parser.parse_all(wasm) {
            let payload = payload?;
            if let ValidPayload::Func(function, body) = validator.payload(&payload)? {
                finder.bodies.push((function, body));
            }
            finder.take(payload)?;
        }
        let [memory] = finder.memories[..] else {
            return Err(CaptureError::Memories(finder.memories.len()));
        };
        Ok(Parts {
            wasm,
            sections,
            prefix,
            memory,
            entry: finder.entry,
            resumed: finder.resumed,
            types: finder.types,
            functions: finder.functions,
            imports: finder.imports,
            globals: finder.globals,
            start: finder.start,
            bodies: finder.bodies,
            referred: finder.referred,
        })
    }

    /// What a function takes and gives.
    pub(super) fn signature(&self, function: u32) -> &Signature {
        &self.types[self.functions[function as usize] as usize]
    }

    /// What a block takes and gives.
    pub(super) fn block<'s>(&'s self, ty: &'s BlockType) -> (&'s [ValType], &'s [ValType]) {
        match ty {
            BlockType::Empty => (&[], &[]),
            BlockType::Type(ty) => (&[], std::slice::from_ref(ty)),
            BlockType::FuncType(index) => {
                let signature = &self.types[*index as usize];
                (&signature.params, &signature.results)
            }
        }
    }

    /// The body of a function. `None` for one that is imported.
    pub(super) fn body(&self, function: u32) -> Option<&Body<'a>> {
        let index = (function as usize).checked_sub(self.imports.len())?;
        self.bodies.get(index)
    }

    /// The contents of a section, if there is one.
    pub(super) fn section(&self, id: u8) -> Option<&'a [u8]> {
        let (_, range) = self.sections.iter().find(|(there, _)| *there == id)?;
        Some(&self.wasm[range.clone()])
    }

    /// The module with these contents of sections in place of its own. `None` leaves one out.
    pub(super) fn with(&self, changed: &BTreeMap<u8, Option<Vec<u8>>>) -> Vec<u8> {
        let added: usize = changed.values().flatten().map(Vec::len).sum();
        let mut out = Vec::with_capacity(added + self.wasm.len() / 2);
        out.extend_from_slice(&self.wasm[..HEADER]);
        let mut ids: Vec<u8> = (id::TYPES..=id::DATA_COUNT).collect();
        ids.sort_by_key(|id| id::place(*id));
        for id in ids {
            let content = match changed.get(&id) {
                Some(content) => content.as_deref(),
                None => self.section(id),
            };
            content.into_iter().for_each(|content| section(&mut out, id, content));
        }
        out
    }
}

/// What was found of a module so far.
#[derive(Default)]
struct Finder<'a> {
    types: Vec<Signature>,
    functions: Vec<u32>,
    imports: Vec<Import<'a>>,
    memories: Vec<MemoryType>,
    globals: Vec<GlobalType>,
    start: Option<u32>,
    entry: Option<u32>,
    resumed: Option<u32>,
    bodies: Vec<Body<'a>>,
    referred: Vec<u32>,
}

impl<'a> Finder<'a> {
    fn take(&mut self, payload: Payload<'a>) -> Result<(), CaptureError> {
        match payload {
            Payload::TypeSection(types) => {
                for group in types {
                    for ty in group?.into_types() {
                        let CompositeInnerType::Func(ty) = ty.composite_type.inner else {
                            continue;
                        };
                        let (params, results) = (ty.params().into(), ty.results().into());
                        self.types.push(Signature { params, results });
                    }
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports {
                    let import = import?;
                    let TypeRef::Func(ty) = import.ty else { return Err(CaptureError::Imports) };
                    self.functions.push(ty);
                    self.imports.push(Import { module: import.module, name: import.name });
                }
            }
            Payload::FunctionSection(functions) => {
                for ty in functions {
                    self.functions.push(ty?);
                }
            }
            Payload::MemorySection(memories) => {
                for memory in memories {
                    self.memories.push(memory?);
                }
            }
            Payload::GlobalSection(globals) => {
                for global in globals {
                    let global = global?;
                    self.globals.push(global.ty);
                    self.refer(&global.init_expr)?;
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    let export = export?;
                    match (export.kind, export.name) {
                        (ExternalKind::Func, "_start") => self.entry = Some(export.index),
                        (ExternalKind::Func, RESUMED) => self.resumed = Some(export.index),
                        _ => {}
                    }
                }
            }
            Payload::StartSection { func, .. } => self.start = Some(func),
            Payload::ElementSection(segments) => {
                for segment in segments {
                    match segment?.items {
                        ElementItems::Functions(functions) => {
                            for function in functions {
                                self.referred.push(function?);
                            }
                        }
                        ElementItems::Expressions(_, expressions) => {
                            for expression in expressions {
                                self.refer(&expression?)?;
                            }
                        }
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Notes the functions that a constant expression refers to.
    fn refer(&mut self, expression: &wasmparser::ConstExpr<'a>) -> Result<(), CaptureError> {
        for operator in expression.get_operators_reader() {
            if let Operator::RefFunc { function_index } = operator? {
                self.referred.push(function_index);
            }
        }
        Ok(())
    }
}

/// Types that are added to a module, each once.
pub(super) struct AddedTypes<'p, 'a> {
    parts: &'p Parts<'a>,
    known: HashMap<Signature, u32>,
    added: Vec<Signature>,
}

impl<'p, 'a> AddedTypes<'p, 'a> {
    pub(super) fn new(parts: &'p Parts<'a>) -> AddedTypes<'p, 'a> {
        let known = parts.types.iter().cloned().zip(0..).collect();
        AddedTypes { parts, known, added: Vec::new() }
    }

    /// The index of a type.
    pub(super) fn index(&mut self, params: &[ValType], results: &[ValType]) -> u32 {
        let signature = Signature { params: params.into(), results: results.into() };
        let next = self.parts.types.len() + self.added.len();
        *self.known.entry(signature.clone()).or_insert_with(|| {
            self.added.push(signature);
            u32::try_from(next).expect("each stands for a place in the code")
        })
    }

    /// The types section with what was added.
    pub(super) fn section(&self) -> Result<Vec<u8>, CaptureError> {
        let content = self.parts.section(id::TYPES).unwrap_or(&[0]);
        let mut section = longer(content, self.added.len())?;
        for Signature { params, results } in &self.added {
            section.push(FUNCTION_TYPE);
            value_types(&mut section, params);
            value_types(&mut section, results);
        }
        Ok(section)
    }
}
