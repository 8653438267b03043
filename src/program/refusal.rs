//! What bytes and modules are that can't be run here, and what to do about it: a row each.
//!
//! A row says what is certain. Where nothing is, nothing is said.

use wasmparser::WasmFeatures;

use super::survey::validates;

/// Kinds of files that are not modules, by their first bytes.
const FILES: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "a gzip file: unpack it first (gunzip)"),
    (b"\x28\xb5\x2f\xfd", "a zstd file: unpack it first (unzstd)"),
    (b"BZh", "a bzip2 file: unpack it first (bunzip2)"),
    (b"\xfd7zXZ\0", "an xz file: unpack it first (unxz)"),
    (b"PK\x03\x04", "a zip file: unpack it first (unzip)"),
    (b"\x7fELF", "a native program (ELF): build it for wasm32-wasip1"),
    (b"MZ", "a program for Windows: build it for wasm32-wasip1"),
    (b"\xcf\xfa\xed\xfe", "a native program (Mach-O): build it for wasm32-wasip1"),
    (b"\xca\xfe\xba\xbe", "a Java class or a native program (Mach-O): build it for wasm32-wasip1"),
    (b"BC\xc0\xde", "LLVM bitcode: compile and link it for wasm32-wasip1"),
    (b"!<arch>\n", "a library of object files: link a program for wasm32-wasip1"),
    (b"#!", "a script: give its interpreter, built for wasm32-wasip1, and the script as argument"),
    (b"<!DOCTYPE", "a page of HTML: download the .wasm file itself"),
    (b"<!doctype", "a page of HTML: download the .wasm file itself"),
    (b"<html", "a page of HTML: download the .wasm file itself"),
    (b"<HTML", "a page of HTML: download the .wasm file itself"),
    (b"version https://git-lfs", "a pointer of Git LFS: fetch the file itself (git lfs pull)"),
    (b"(module", "a module in text: convert it (wat2wasm, or wasm-tools parse)"),
];

/// What a file that is not a module is, and what to do.
pub(super) fn file(bytes: &[u8]) -> Option<&'static str> {
    if bytes.is_empty() {
        return Some("an empty file: build the program again");
    }
    let text = bytes.trim_ascii_start();
    let found =
        FILES.iter().find(|(begins, _)| bytes.starts_with(begins) || text.starts_with(begins));
    found.map(|(_, what)| *what)
}

/// Proposals that the interpreter has not, those first that name a module best.
const PROPOSALS: &[(WasmFeatures, &str)] = &[
    (
        WasmFeatures::LEGACY_EXCEPTIONS,
        "exceptions (in their old form): build it without, such as with -fno-exceptions or \
         -sSUPPORT_LONGJMP=0",
    ),
    (
        WasmFeatures::EXCEPTIONS,
        "exceptions: build it without, such as with -fno-exceptions, or with panic=abort",
    ),
    (
        WasmFeatures::THREADS,
        "threads (shared memory): build it for wasm32-wasip1, without -pthread and without a \
         -threads target",
    ),
    (WasmFeatures::MEMORY64, "64-bit memory: build it for wasm32, not wasm64"),
    (
        WasmFeatures::GC,
        "garbage collection: its language needs a host with WasmGC, such as a browser",
    ),
    (WasmFeatures::FUNCTION_REFERENCES, "typed function references: build it without"),
    (WasmFeatures::STACK_SWITCHING, "stack switching: build it without"),
    (WasmFeatures::CUSTOM_PAGE_SIZES, "custom page sizes: build it without"),
    (WasmFeatures::WIDE_ARITHMETIC, "wide arithmetic: build it without"),
    (WasmFeatures::MEMORY_CONTROL, "memory control: build it without"),
    (WasmFeatures::SHARED_EVERYTHING_THREADS, "shared-everything threads: build it without"),
    (WasmFeatures::SIMD, "SIMD, which this tinyhost was built without: build tinyhost with simd"),
    (
        WasmFeatures::RELAXED_SIMD,
        "SIMD, which this tinyhost was built without: build tinyhost with simd",
    ),
];

/// What a module needs that is valid, but not here.
pub(super) fn proposal(wasm: &[u8]) -> Option<&'static str> {
    let all = WasmFeatures::all();
    let all = all.difference(WasmFeatures::COMPONENT_MODEL);
    if !validates(wasm, all) {
        return None;
    }
    let ours = super::survey::features();
    let missing = PROPOSALS.iter().filter(|(feature, _)| !ours.contains(*feature));
    let mut needed = missing.filter(|(feature, _)| {
        // What builds on a proposal can't be there without it.
        let without = match *feature {
            WasmFeatures::FUNCTION_REFERENCES => *feature | WasmFeatures::GC,
            feature => feature,
        };
        !validates(wasm, all.difference(without))
    });
    needed.next().map(|(_, what)| *what)
}

/// How a name is compared.
enum Name {
    Any,
    Is(&'static str),
    Begins(&'static str),
    /// As short as a minifier makes it.
    Short,
}
use Name::{Any, Begins, Is, Short};

impl Name {
    fn fits(&self, name: &str) -> bool {
        match self {
            Any => true,
            Is(whole) => name == *whole,
            Begins(start) => name.starts_with(start),
            Short => (1..=2).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphabetic()),
        }
    }
}

const BINDGEN: &str = "it is built with wasm-bindgen, for JavaScript: build it for wasm32-wasip1 \
    without wasm-bindgen";
const EMSCRIPTEN: &str = "it is built with Emscripten, for JavaScript: build it with wasi-sdk";
const LINKED: &str = "it is to be linked with others when it is loaded: link it as a whole program";
const COMPONENT: &str = "it is part of a component (WASI preview2): build it for wasm32-wasip1";
const N_API: &str = "it is an addon for Node (N-API): it can't run without JavaScript";
const GO_JS: &str = "it is Go for browsers: build with GOOS=wasip1 GOARCH=wasm";
const THREADS: &str = "it starts threads (wasi-threads): build it for wasm32-wasip1, without";
#[cfg(not(feature = "sockets"))]
const SOCKETS: &str = "that is an extension for sockets, which this tinyhost was built without: \
    build tinyhost with sockets, or open /dev/tcp/HOST/PORT instead (docs/network.md)";
const WASIX: &str = "it is built for WASIX: build it for wasm32-wasip1";
const STRINGS: &str = "it needs the strings of JavaScript: it can't run without a JavaScript host";
const FASTLY: &str = "it is built for Fastly Compute: its host functions are not here";
const EXTISM: &str = "it is a plug-in for Extism: it needs an Extism host";
const PROXY: &str = "it is a Proxy-Wasm filter: it needs a proxy as its host";

/// What an import says of a module: the import's module and name, and what it means.
const IMPORTS: &[(Name, Name, &str)] = &[
    (Is("wasi_unstable"), Any, "that is preview0: build with a toolchain for wasm32-wasip1"),
    (Is("gojs"), Any, GO_JS),
    (Is("go"), Begins("runtime."), GO_JS),
    (Is("go"), Begins("syscall/js."), GO_JS),
    (Is("wbg"), Any, BINDGEN),
    (Any, Begins("__wbindgen_"), BINDGEN),
    (Any, Begins("__wbg_"), BINDGEN),
    (Begins("__wbindgen_"), Any, BINDGEN),
    (Begins("wasi:"), Any, COMPONENT),
    (Any, Begins("[resource-"), COMPONENT),
    (Begins("wasix_"), Any, WASIX),
    (Is("wasi"), Is("thread-spawn"), THREADS),
    (Begins("wasm:js-"), Any, STRINGS),
    (Begins("fastly_"), Any, FASTLY),
    (Begins("extism:"), Any, EXTISM),
    (Is("env"), Is("proxy_log"), PROXY),
    (Is("env"), Is("proxy_set_effective_context"), PROXY),
    (Is("env"), Is("proxy_get_property"), PROXY),
    (Is("env"), Is("proxy_get_header_map_value"), PROXY),
    (Is("napi"), Any, N_API),
    (Is("emnapi"), Any, N_API),
    (Is("env"), Begins("napi_"), N_API),
    (Is("env"), Begins("emscripten_"), EMSCRIPTEN),
    (Is("env"), Begins("_emscripten_"), EMSCRIPTEN),
    (Is("env"), Begins("invoke_"), EMSCRIPTEN),
    (Is("env"), Begins("__syscall_"), EMSCRIPTEN),
    (Begins("GOT."), Any, LINKED),
    (Is("env"), Is("__memory_base"), LINKED),
    (Is("env"), Is("__table_base"), LINKED),
    (Is("env"), Is("__linear_memory"), "it is an object file: link it (clang or wasm-ld)"),
    (Is("env"), Is("__indirect_function_table"), LINKED),
    (Is("env"), Begins("__cxa_"), EMSCRIPTEN),
    (Is("env"), Is("__assert_fail"), EMSCRIPTEN),
    (Is("asm2wasm"), Any, EMSCRIPTEN),
    (Is("global.Math"), Any, EMSCRIPTEN),
    (Is("a"), Short, "it looks like Emscripten's output, for JavaScript: build it with wasi-sdk"),
    #[cfg(not(feature = "sockets"))]
    (Is(WASI), Begins("sock_"), SOCKETS),
    (Is(WASI), Any, "preview1 has no such function: build with a current toolchain"),
];

const WASI: &str = "wasi_snapshot_preview1";

/// What is said of an import that is in no row.
const OTHER: &str = "it is made for a host of its own; only functions of \
    'wasi_snapshot_preview1' are here";

/// What an import that is not here says of a module. What names its kind best comes first, so
/// `imports` are all that are missing; the one that says it, and what.
pub(super) fn import<'a>(
    imports: &[(&'a str, &'a str)],
) -> Option<(&'a str, &'a str, &'static str)> {
    for (of, named, what) in IMPORTS {
        let fits = |(module, name): &&(&str, &str)| of.fits(module) && named.fits(name);
        if let Some((module, name)) = imports.iter().find(fits) {
            return Some((module, name, what));
        }
    }
    imports.first().map(|(module, name)| (*module, *name, OTHER))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A name that fits, for each way of comparing.
    fn example(name: &Name) -> String {
        match name {
            Any => "anything".to_owned(),
            Is(name) => (*name).to_owned(),
            Begins(start) => format!("{start}x"),
            Short => "b".to_owned(),
        }
    }

    #[test]
    fn each_row_of_imports_says_what_it_is() {
        for (module, name, what) in IMPORTS {
            let module = example(module);
            let name = example(name);
            let found = import(&[("env", "other"), (&module, &name)]).expect("there is one");
            assert_eq!(found, (&*module, &*name, *what));
        }
        assert_eq!(import(&[("env", "log")]).map(|found| found.2), Some(OTHER));
        // MicroPython for browsers, which has names of its own that begin like a proxy's.
        let python = [("env", "proxy_convert_mp_to_js_obj_jsside"), ("env", "invoke_ii")];
        assert_eq!(import(&python).map(|found| found.2), Some(EMSCRIPTEN));
        assert_eq!(import(&[]), None);
    }

    #[test]
    fn each_kind_of_file_is_named() {
        for (begins, what) in FILES {
            assert_eq!(file(&[begins, &b" and more"[..]].concat()), Some(*what));
        }
        assert_eq!(file(b" \n(module)"), Some(FILES[FILES.len() - 1].1));
        assert!(file(b"").is_some_and(|what| what.contains("empty")));
        assert_eq!(file(b"\0as"), None);
        assert_eq!(file(b"hello"), None);
    }

    #[test]
    fn each_proposal_is_named() {
        for (text, expected) in [
            ("(module (tag $t) (func (throw $t)))", "exceptions: "),
            ("(module (func try catch_all end))", "old form"),
            ("(module (func (local exnref)))", "exceptions: "),
            ("(module (memory 1 1 shared))", "threads"),
            ("(module (memory i64 1))", "64-bit memory"),
            ("(module (table i64 1 funcref))", "64-bit memory"),
            ("(module (type (struct (field i32))))", "garbage collection"),
            (
                "(module (type $t (func)) (func (param (ref null $t)) (call_ref $t (local.get 0))))",
                "typed function",
            ),
            ("(module (memory 1 (pagesize 1)))", "custom page sizes"),
            (
                "(module (func (param i64 i64) (result i64 i64) (i64.mul_wide_s (local.get 0) (local.get 1))))",
                "wide arithmetic",
            ),
        ] {
            let wasm = wat::parse_str(text).expect("it is a module");
            let what = proposal(&wasm).unwrap_or_else(|| panic!("{text}"));
            assert!(what.contains(expected), "{text}: {what}");
        }
        let damaged = wat::parse_str("(module (func (result i32) (nop) (i32.const 1)))").unwrap();
        assert_eq!(proposal(&damaged[..damaged.len() - 2]), None);
        let broken = b"\0asm\x01\0\0\0\x01\x04\x01\x60\0\0\x03\x02\x01\0\x0a\x05\x01\x03\0\x6a\x0b";
        assert_eq!(proposal(broken), None, "it adds what is not there");
    }
}
