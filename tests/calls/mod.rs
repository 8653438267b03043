//! A guest that makes single calls.
//!
//! The module imports every function of preview1 and exports a trampoline for each; its
//! memory is in the test's hands. What is called here goes through real wasm and through
//! everything of `tinyhost::wasi`.

#![allow(dead_code, reason = "each test file uses its own part of it")]

pub mod baseline;
pub mod libc;
pub mod script;
pub mod trees;

use std::fmt::Write;
use std::sync::{Arc, OnceLock};

use tinyhost::vfs::{Namespace, Node};
use tinyhost::wasi::{Kind, MODULE, Row, TABLE, add_to_linker};
use tinyhost::{Errno, WasiCtx};
use wasmi::{Engine, Func, Linker, Memory, Module, Store, Val};

/// Bytes of the guest's memory.
pub const MEMORY_LEN: u32 = 2 << 16;

/// Where the helpers of [`libc`] put things.
pub const PATH: u32 = 0x1000;
pub const OTHER: u32 = 0x4000;
pub const OUT: u32 = 0x8000;
pub const IOVS: u32 = 0x8100;
pub const DATA: u32 = 0x9000;

/// What the untouched memory of a fresh guest is full of.
pub const UNTOUCHED: u8 = b'?';

pub struct Calls {
    store: Store<WasiCtx>,
    memory: Memory,
    functions: Vec<Func>,
}

/// How a call ended.
#[derive(Debug, PartialEq)]
pub enum Outcome {
    Done(Result<(), Errno>),
    Exit(u32),
}

pub fn row(name: &str) -> &'static Row {
    TABLE.iter().find(|row| row.name == name).expect("a function of preview1")
}

/// Imports, in the text format, of all functions: `$name` calls it.
pub fn imports() -> String {
    let mut text = String::new();
    for row in TABLE {
        let (name, signature) = (row.name, signature(row));
        writeln!(text, r#"(import "{MODULE}" "{name}" (func ${name} {signature}))"#).unwrap();
    }
    text
}

fn signature(row: &Row) -> String {
    let wide = |kind: Kind| if kind.is_wide() { "i64" } else { "i32" };
    let params: Vec<_> = row.params.iter().map(|param| wide(param.kind)).collect();
    let result = if row.returns { "(result i32)" } else { "" };
    format!("(param {}) {result}", params.join(" "))
}

fn text() -> String {
    let mut text = format!("(module {}", imports());
    writeln!(text, r#"(memory (export "memory") {})"#, MEMORY_LEN >> 16).unwrap();
    for row in TABLE {
        let (name, signature) = (row.name, signature(row));
        writeln!(text, r#"(func (export "call_{name}") {signature}"#).unwrap();
        (0..row.params.len()).for_each(|i| write!(text, " local.get {i}").unwrap());
        writeln!(text, " call ${name})").unwrap();
    }
    text + ")"
}

fn module() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| {
        let wasm = wat::parse_str(text()).expect("the text is right");
        Module::new(&Engine::default(), wasm).expect("the module is valid")
    })
}

impl Calls {
    pub fn new(cx: WasiCtx) -> Calls {
        let module = module();
        let mut linker = Linker::new(module.engine());
        add_to_linker(&mut linker, |cx: &mut WasiCtx| cx).expect("an empty linker");
        let mut store = Store::new(module.engine(), cx);
        let instance = linker.instantiate_and_start(&mut store, module).expect("it starts");
        let memory = instance.get_memory(&store, "memory").expect("exported");
        let function = |row: &Row| instance.get_func(&store, &format!("call_{}", row.name));
        let functions = TABLE.iter().map(|row| function(row).expect("exported")).collect();
        let mut calls = Calls { store, memory, functions };
        calls.memory().fill(UNTOUCHED);
        calls
    }

    /// With this tree as its only mount, preopened as 3.
    pub fn at(root: &Arc<dyn Node>) -> Calls {
        Calls::new(WasiCtx::builder().namespace(mounted(&[("/", root)])).build())
    }

    pub fn memory(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    pub fn put(&mut self, at: u32, bytes: &[u8]) -> u32 {
        self.memory()[at as usize..][..bytes.len()].copy_from_slice(bytes);
        at
    }

    pub fn bytes(&mut self, at: u32, len: u32) -> Vec<u8> {
        self.memory()[at as usize..][..len as usize].to_vec()
    }

    pub fn u32_at(&mut self, at: u32) -> u32 {
        u32::from_le_bytes(self.bytes(at, 4).try_into().unwrap())
    }

    pub fn u64_at(&mut self, at: u32) -> u64 {
        u64::from_le_bytes(self.bytes(at, 8).try_into().unwrap())
    }

    pub fn outcome(&mut self, name: &str, args: &[u64]) -> Outcome {
        let index = TABLE.iter().position(|row| row.name == name).expect("a function");
        let row = &TABLE[index];
        assert_eq!(row.params.len(), args.len(), "arguments of {name}");
        let value = |(kind, value): (Kind, u64)| match kind.is_wide() {
            true => Val::I64(value.cast_signed()),
            false => Val::I32((value as u32).cast_signed()),
        };
        let kinds = row.params.iter().map(|param| param.kind);
        let args: Vec<Val> = kinds.zip(args.iter().copied()).map(value).collect();
        let mut results = vec![Val::I32(-1); usize::from(row.returns)];
        match self.functions[index].call(&mut self.store, &args, &mut results) {
            Ok(()) => {
                let code = results.first().and_then(Val::i32).expect("a result");
                let errno = Errno::from_code(code).expect("an errno of the spec");
                Outcome::Done(if errno == Errno::Success { Ok(()) } else { Err(errno) })
            }
            Err(error) => match error.i32_exit_status() {
                Some(status) => Outcome::Exit(status.cast_unsigned()),
                None => panic!("{name} trapped: {error}"),
            },
        }
    }

    pub fn call(&mut self, name: &str, args: &[u64]) -> Result<(), Errno> {
        match self.outcome(name, args) {
            Outcome::Done(result) => result,
            exit => panic!("{name}: {exit:?}"),
        }
    }
}

/// A namespace of these mounts.
pub fn mounted(mounts: &[(&str, &Arc<dyn Node>)]) -> Namespace {
    let mount = |builder: tinyhost::vfs::namespace::NamespaceBuilder,
                 (path, node): &(&str, &Arc<_>)| {
        builder.mount(path, Arc::clone(node)).expect("a place to mount at")
    };
    mounts.iter().fold(Namespace::builder(), mount).build()
}

/// Makes one test of each behaviour on each of the trees.
#[macro_export]
macro_rules! on_each {
    ($($tree:ident)*: $behaviours:tt) => {
        $(mod $tree { on_each! { @tests $tree $behaviours } })*
    };
    (@tests $tree:ident { $($behaviour:ident)* }) => {
        $(#[test]
        fn $behaviour() {
            super::$behaviour(&$crate::calls::trees::$tree());
        })*
    };
}
