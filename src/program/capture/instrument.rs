//! A module that writes down its stack when the host asks for it.
//!
//! To its functions are added ways out (`exits.rs`), and to the module what those write with: two
//! globals, a second memory, and a function for each type of value.
//!
//! What is added to the module comes after what is there, so no index changes.

use std::collections::BTreeMap;

use wasmparser::{FuncValidatorAllocations, ValType};

use super::parts::{AddedTypes, Parts};
use super::reach::Reach;
use super::value::recorded_bytes;
use super::{CaptureError, exits};
use crate::program::ProgramError;
use crate::program::encode::{
    EMPTY_BLOCK, I32, export, id, kind, leb128, longer, op, signed_leb128,
};

/// Pages of the second memory at the most: what is written of a stack.
const PAGES_MAX: usize = 4096;

/// A place at which a function can be on the stack: a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Site {
    pub(super) function: u32,
    /// Where the instruction is in the module.
    pub(super) offset: usize,
}

/// Under which names the host finds what was added.
#[derive(Debug, Clone)]
pub(crate) struct AddedNames {
    /// The global that is set to 1 to have the stack written.
    pub(crate) flag: String,
    /// The global with the bytes written.
    pub(crate) written: String,
    /// The memory to which it is written.
    pub(crate) frames: String,
    /// The mutable globals of the program, each with its index.
    pub(crate) globals: Vec<(u32, String)>,
}

/// A module that can write down its stack.
pub(crate) struct Instrumented {
    /// The module to run.
    pub(crate) wasm: Vec<u8>,
    pub(crate) names: AddedNames,
    /// By the number that stands for each.
    pub(super) sites: Vec<Site>,
}

impl Instrumented {
    /// Adds to a module what it takes to capture it while it reads standard input.
    ///
    /// # Errors
    ///
    /// If it is not one that can be captured.
    pub(crate) fn of(wasm: &[u8]) -> Result<Instrumented, CaptureError> {
        let parts = Parts::of(wasm)?;
        if parts.entry.is_none() {
            return Err(CaptureError::Program(ProgramError::NoStart));
        }
        let reach = Reach::of(&parts)?;
        let names = names(&parts);
        let mut writer = Writer::new(&parts, &reach);
        let code = writer.code()?;
        let sites = std::mem::take(&mut writer.sites);
        let wasm = writer.module(&names, code)?;
        Ok(Instrumented { wasm, names, sites })
    }
}

fn names(parts: &Parts<'_>) -> AddedNames {
    let name = |what: &str| format!("{}capture.{what}", parts.prefix);
    let mutable = (0..).zip(&parts.globals).filter(|(_, ty)| ty.mutable);
    AddedNames {
        flag: name("flag"),
        written: name("written"),
        frames: name("frames"),
        globals: mutable.map(|(index, _)| (index, name(&format!("global.{index}")))).collect(),
    }
}

/// Functions that are added, by their place after those of the module.
#[derive(Clone, Copy)]
enum Added {
    /// Makes room for so many bytes, and gives their address.
    Room,
    I32,
    I64,
    F32,
    F64,
    /// Only there if the module has vectors: without the feature there is no such type.
    V128,
}

impl Added {
    /// What writes a value of this type. For a reference that is whether it is null.
    fn writes(ty: ValType) -> Added {
        match ty {
            ValType::I32 | ValType::Ref(_) => Added::I32,
            ValType::I64 => Added::I64,
            ValType::F32 => Added::F32,
            ValType::F64 => Added::F64,
            ValType::V128 => Added::V128,
        }
    }

    const WRITERS: [(ValType, u8, u8); 4] = [
        (ValType::I32, op::I32_STORE, 2),
        (ValType::I64, op::I64_STORE, 3),
        (ValType::F32, op::F32_STORE, 2),
        (ValType::F64, op::F64_STORE, 3),
    ];
}

/// Writes the code and the module.
pub(super) struct Writer<'p, 'a> {
    pub(super) parts: &'p Parts<'a>,
    pub(super) reach: &'p Reach,
    pub(super) types: AddedTypes<'p, 'a>,
    pub(super) sites: Vec<Site>,
    pub(super) allocations: FuncValidatorAllocations,
    /// A vector is written somewhere.
    vectors: bool,
    /// The global that is the flag.
    pub(super) flag: usize,
    /// The global that counts what is written.
    written: usize,
}

impl<'p, 'a> Writer<'p, 'a> {
    fn new(parts: &'p Parts<'a>, reach: &'p Reach) -> Writer<'p, 'a> {
        let globals = parts.globals.len();
        Writer {
            parts,
            reach,
            types: AddedTypes::new(parts),
            sites: Vec::new(),
            allocations: FuncValidatorAllocations::default(),
            vectors: false,
            flag: globals,
            written: globals + 1,
        }
    }

    /// The code section.
    fn code(&mut self) -> Result<Vec<u8>, CaptureError> {
        let parts = self.parts;
        let mut bodies = Vec::new();
        let mut body = Vec::new();
        for (function, given) in (parts.imports.len()..).zip(&parts.bodies) {
            let function = u32::try_from(function).expect("indices of functions are");
            body.clear();
            if self.reach.has(function) {
                exits::add(self, &mut body, function, given)?;
            } else {
                body.extend_from_slice(given.1.as_bytes());
            }
            leb128(&mut bodies, body.len());
            bodies.extend_from_slice(&body);
        }
        let added = self.added();
        let mut code = Vec::with_capacity(bodies.len() + 256);
        leb128(&mut code, parts.bodies.len() + added.len());
        code.extend_from_slice(&bodies);
        for (_, body) in added {
            leb128(&mut code, body.len());
            code.extend_from_slice(&body);
        }
        Ok(code)
    }

    /// Writes down the value on the stack.
    pub(super) fn write(&mut self, out: &mut Vec<u8>, ty: ValType) {
        self.vectors |= ty == ValType::V128;
        if let ValType::Ref(_) = ty {
            out.push(op::REF_IS_NULL);
        }
        self.call(out, Added::writes(ty));
    }

    fn call(&self, out: &mut Vec<u8>, added: Added) {
        out.push(op::CALL);
        leb128(out, self.parts.functions.len() + added as usize);
    }

    /// The functions that are added: type and body.
    fn added(&mut self) -> Vec<(u32, Vec<u8>)> {
        let room = self.types.index(&[ValType::I32], &[ValType::I32]);
        let mut added = vec![(room, self.room())];
        for (ty, store, align) in Added::WRITERS {
            let body = self.writer(ty, &[store], align);
            added.push((self.types.index(&[ty], &[]), body));
        }
        if self.vectors {
            let mut store = vec![op::VECTOR];
            leb128(&mut store, op::V128_STORE);
            let body = self.writer(ValType::V128, &store, 4);
            added.push((self.types.index(&[ValType::V128], &[]), body));
        }
        added
    }

    /// `local = written; written += bytes; if written > pages << 16 and the memory can't grow by a
    /// page, unreachable; local`
    fn room(&self) -> Vec<u8> {
        const SECOND: u8 = 1;
        const PAGE_BITS: u8 = 16;
        let mut body = vec![1, 1, I32];
        let written = |body: &mut Vec<u8>, op| {
            body.push(op);
            leb128(body, self.written);
        };
        written(&mut body, op::GLOBAL_GET);
        body.extend_from_slice(&[op::LOCAL_SET, 1]);
        written(&mut body, op::GLOBAL_GET);
        body.extend_from_slice(&[op::LOCAL_GET, 0, op::I32_ADD]);
        written(&mut body, op::GLOBAL_SET);
        written(&mut body, op::GLOBAL_GET);
        body.extend_from_slice(&[op::MEMORY_SIZE, SECOND, op::I32_CONST, PAGE_BITS, op::I32_SHL]);
        body.extend_from_slice(&[op::I32_GT_U, op::IF, EMPTY_BLOCK, op::I32_CONST, 1]);
        // 0x7f is -1.
        body.extend_from_slice(&[op::MEMORY_GROW, SECOND, op::I32_CONST, 0x7f, op::I32_EQ]);
        body.extend_from_slice(&[op::IF, EMPTY_BLOCK, op::UNREACHABLE, op::END, op::END]);
        body.extend_from_slice(&[op::LOCAL_GET, 1, op::END]);
        body
    }

    /// Makes room for a value and stores it there.
    fn writer(&self, ty: ValType, store: &[u8], align: u8) -> Vec<u8> {
        /// In an alignment: the index of a memory follows.
        const OF_MEMORY: u8 = 0x40;
        let mut body = vec![0, op::I32_CONST];
        signed_leb128(&mut body, recorded_bytes(ty) as i64);
        self.call(&mut body, Added::Room);
        body.extend_from_slice(&[op::LOCAL_GET, 0]);
        body.extend_from_slice(store);
        body.extend_from_slice(&[align | OF_MEMORY, 1, 0, op::END]);
        body
    }

    /// The module with all that is added.
    fn module(mut self, names: &AddedNames, code: Vec<u8>) -> Result<Vec<u8>, CaptureError> {
        let parts = self.parts;
        let section = |id| parts.section(id).unwrap_or(&[0]);
        let functions: Vec<u32> = self.added().into_iter().map(|(ty, _)| ty).collect();
        let mut sections = BTreeMap::from([(id::CODE, Some(code))]);

        let mut list = longer(section(id::FUNCTIONS), functions.len())?;
        functions.iter().for_each(|ty| leb128(&mut list, *ty as usize));
        sections.insert(id::FUNCTIONS, Some(list));

        sections.insert(id::TYPES, Some(self.types.section()?));

        let mut list = longer(section(id::MEMORIES), 1)?;
        const MIN_AND_MAX: u8 = 1;
        list.extend_from_slice(&[MIN_AND_MAX, 1]);
        leb128(&mut list, PAGES_MAX);
        sections.insert(id::MEMORIES, Some(list));

        let mut list = longer(section(id::GLOBALS), 2)?;
        const MUTABLE: u8 = 1;
        list.extend_from_slice(&[I32, MUTABLE, op::I32_CONST, 0, op::END].repeat(2));
        sections.insert(id::GLOBALS, Some(list));

        let mut list = longer(section(id::EXPORTS), 3 + names.globals.len())?;
        let index = |place: usize| u32::try_from(place).expect("indices are");
        export(&mut list, &names.flag, kind::GLOBAL, index(self.flag));
        export(&mut list, &names.written, kind::GLOBAL, index(self.written));
        export(&mut list, &names.frames, kind::MEMORY, 1);
        for (index, name) in &names.globals {
            export(&mut list, name, kind::GLOBAL, *index);
        }
        sections.insert(id::EXPORTS, Some(list));
        Ok(parts.with(&sections))
    }
}
