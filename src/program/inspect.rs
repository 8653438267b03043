//! What a module is, whether or not it can be run here.

use wasmparser::{
    ExternalKind, FuncType, Parser, Payload, ProducersSectionReader, SubType, TypeRef, ValType,
};

use super::capture::Instrumented;
use super::{Program, ProgramConfig, ProgramError, error, recipe};
use crate::wasi::{MODULE, SOCKETS, TABLE};

/// What a module is: what it needs, what it offers, what built it, and what can be done with it.
///
/// ```
/// use tinyhost::{Inspection, ProgramConfig};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let wasm = std::fs::read("fixtures/hello.wasm")?;
/// let inspection = Inspection::of(&ProgramConfig::default(), &wasm)?;
/// assert!(inspection.run.is_ok());
/// assert!(inspection.imports.iter().all(|import| import.is_known));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Inspection {
    /// Bytes of the module.
    pub bytes: usize,
    /// Functions it defines.
    pub functions: usize,
    /// What it imports, in its order.
    pub imports: Vec<Import>,
    /// What it exports, in its order.
    pub exports: Vec<Export>,
    /// The memories it defines.
    pub memories: Vec<MemorySize>,
    /// What built it, as it says itself (its `producers` section).
    pub producers: Vec<Producer>,
    /// Whether it can be run, or why not.
    pub run: Result<(), ProgramError>,
    /// Whether its instances can be used again for other guests, or why not. Those of other programs
    /// are made new for each guest.
    pub recycle: Result<(), String>,
    /// Whether its guests can be captured: started warm, or written to a file while they wait. Or why
    /// not.
    pub capture: Result<(), String>,
}

/// What a module imports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// The module it is of.
    pub module: String,
    /// Its name there.
    pub name: String,
    /// What it is, such as `func (i32, i32) -> i32`.
    pub kind: String,
    /// Whether there is something of this name here.
    pub is_known: bool,
}

/// What a module exports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Its name.
    pub name: String,
    /// What it is: `func`, `memory`, `table`, `global` or `tag`.
    pub kind: &'static str,
}

/// How large a memory is, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemorySize {
    /// At the start.
    pub initial: u64,
    /// At the most, if the module says so.
    pub maximum: Option<u64>,
}

/// A tool or language that a module says it was made with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    /// What it was used for: `language`, `processed-by` or `sdk`.
    pub field: String,
    /// Its name.
    pub name: String,
    /// Its version, which may be empty.
    pub version: String,
}

/// Bytes of a page of WebAssembly.
const PAGE: u64 = 64 << 10;

impl Inspection {
    /// Looks at a module.
    ///
    /// # Errors
    ///
    /// If the bytes are not a valid module, or need what the interpreter does not have.
    pub fn of(config: &ProgramConfig, wasm: &[u8]) -> Result<Inspection, ProgramError> {
        let survey = error::survey(wasm)?;
        let recycle = recipe::obstacle(&survey).map_or(Ok(()), Err);
        let run =
            Program::with(&ProgramConfig { reuse: false, ..config.clone() }, wasm).map(|_| ());
        let capture = Instrumented::of(wasm).map(|_| ()).map_err(|error| error.to_string());
        let mut inspection = Inspection {
            bytes: wasm.len(),
            functions: 0,
            imports: Vec::new(),
            exports: Vec::new(),
            memories: Vec::new(),
            producers: Vec::new(),
            run,
            recycle,
            capture,
        };
        let mut types = Vec::new();
        for payload in Parser::new(0).parse_all(wasm) {
            let taken = payload.and_then(|payload| inspection.take(payload, &mut types));
            taken.map_err(|error| ProgramError::Invalid(error.to_string()))?;
        }
        Ok(inspection)
    }

    fn take(
        &mut self,
        payload: Payload<'_>,
        types: &mut Vec<Option<FuncType>>,
    ) -> wasmparser::Result<()> {
        match payload {
            Payload::TypeSection(section) => {
                for group in section {
                    types.extend(group?.into_types().map(function));
                }
            }
            Payload::ImportSection(section) => {
                for import in section {
                    let import = import?;
                    self.imports.push(Import {
                        module: import.module.to_owned(),
                        name: import.name.to_owned(),
                        kind: kind(import.ty, types),
                        is_known: is_known(import.module, import.name),
                    });
                }
            }
            Payload::FunctionSection(section) => {
                self.functions = usize::try_from(section.count()).unwrap_or(usize::MAX);
            }
            Payload::MemorySection(section) => {
                for memory in section {
                    let memory = memory?;
                    let bytes = |pages: u64| pages.saturating_mul(PAGE);
                    let maximum = memory.maximum.map(bytes);
                    self.memories.push(MemorySize { initial: bytes(memory.initial), maximum });
                }
            }
            Payload::ExportSection(section) => {
                for export in section {
                    let export = export?;
                    let kind = match export.kind {
                        ExternalKind::Func => "func",
                        ExternalKind::Table => "table",
                        ExternalKind::Memory => "memory",
                        ExternalKind::Global => "global",
                        ExternalKind::Tag => "tag",
                    };
                    self.exports.push(Export { name: export.name.to_owned(), kind });
                }
            }
            // What is in a custom section makes no module invalid.
            Payload::CustomSection(section) if section.name() == "producers" => {
                let reader = wasmparser::BinaryReader::new(section.data(), section.data_offset());
                self.producers = producers(reader).unwrap_or_default();
            }
            _ => {}
        }
        Ok(())
    }
}

fn producers(reader: wasmparser::BinaryReader<'_>) -> wasmparser::Result<Vec<Producer>> {
    let mut found = Vec::new();
    for field in ProducersSectionReader::new(reader)? {
        let field = field?;
        for value in field.values {
            let value = value?;
            found.push(Producer {
                field: field.name.to_owned(),
                name: value.name.to_owned(),
                version: value.version.to_owned(),
            });
        }
    }
    Ok(found)
}

fn function(ty: SubType) -> Option<FuncType> {
    match ty.composite_type.inner {
        wasmparser::CompositeInnerType::Func(ty) => Some(ty),
        _ => None,
    }
}

fn is_known(module: &str, name: &str) -> bool {
    module == MODULE && TABLE.iter().chain(SOCKETS).any(|row| row.name == name)
}

/// What an import is.
fn kind(ty: TypeRef, types: &[Option<FuncType>]) -> String {
    let index = match ty {
        TypeRef::Func(index) => index,
        TypeRef::Memory(_) => return "memory".to_owned(),
        TypeRef::Table(_) => return "table".to_owned(),
        TypeRef::Global(global) => return format!("global {}", global.content_type),
        TypeRef::Tag(_) => return "tag".to_owned(),
    };
    let ty = usize::try_from(index).ok().and_then(|index| types.get(index)?.as_ref());
    let Some(ty) = ty else { return "func".to_owned() };
    let list =
        |types: &[ValType]| types.iter().map(ValType::to_string).collect::<Vec<_>>().join(", ");
    match ty.results() {
        [] => format!("func ({})", list(ty.params())),
        results => format!("func ({}) -> {}", list(ty.params()), list(results)),
    }
}
