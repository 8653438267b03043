//! The header and the Rust code say the same: every function, its parameters, its result,
//! every constant. Read as text: no generator, and nothing that neither says is let through.

use std::collections::BTreeMap;

const HEADER: &str = include_str!("../include/tinyhost.h");
const SOURCES: &[&str] = &[
    include_str!("../src/lib.rs"),
    include_str!("../src/builder.rs"),
    include_str!("../src/guest.rs"),
    include_str!("../src/node.rs"),
    include_str!("../src/file.rs"),
    include_str!("../src/streams.rs"),
];

/// What the types of Rust are called in C.
fn c_type(rust: &str) -> String {
    let rust = rust.trim();
    for (prefix, c) in [("*mut ", ""), ("*const ", "const ")] {
        if let Some(pointee) = rust.strip_prefix(prefix) {
            let inner = c_type(pointee);
            return format!("{c}{inner}{}", if inner.ends_with('*') { "*" } else { " *" });
        }
    }
    match rust {
        "Program" => "th_program",
        "Builder" => "th_builder",
        "CGuest" => "th_guest",
        "Reader" => "th_reader",
        "Writer" => "th_writer",
        "CNode" => "th_node",
        "Ops" => "th_file_ops",
        "Status" => "th_status",
        "c_char" => "char",
        "c_void" => "void",
        "u8" => "uint8_t",
        "u16" => "uint16_t",
        "u32" => "uint32_t",
        "u64" => "uint64_t",
        "usize" => "size_t",
        "bool" => "bool",
        "()" => "void",
        "Option<extern \"C\" fn(*mut c_void)>" => "void (*)(void *)",
        other => panic!("no word in C for {other}"),
    }
    .to_owned()
}

/// Parts at the top level of a list of parameters.
fn parts(list: &str) -> Vec<String> {
    let (mut depth, mut parts) = (0, vec![String::new()]);
    for char in list.chars() {
        match char {
            '(' | '<' => depth += 1,
            ')' | '>' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("never empty").push(char);
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|p| !p.is_empty()).collect()
}

/// The text up to the parenthesis that closes the one just opened.
fn inside(text: &str) -> (&str, &str) {
    let mut depth = 1;
    for (at, char) in text.char_indices() {
        depth += i32::from(char == '(') - i32::from(char == ')');
        if depth == 0 {
            return (&text[..at], &text[at + 1..]);
        }
    }
    panic!("unbalanced: {text}")
}

type Functions = BTreeMap<String, (String, Vec<String>)>;

fn rust_functions() -> Functions {
    let mut all = Functions::new();
    for source in SOURCES {
        let mut chunks = source.split("#[unsafe(no_mangle)]\npub extern \"C\" fn ");
        chunks.next();
        for chunk in chunks {
            let (name, rest) = chunk.split_once('(').expect("a function has parameters");
            let (params, rest) = inside(rest);
            let result = rest.split('{').next().unwrap_or_default().trim();
            let result = c_type(result.strip_prefix("->").unwrap_or("()"));
            let params = parts(&params.replace('\n', " "));
            let types = params.iter().map(|p| c_type(p.split_once(':').expect("typed").1));
            all.insert(name.to_owned(), (result, types.collect()));
        }
    }
    all
}

fn without_comments(text: &str) -> String {
    let mut parts = text.split("/*");
    let mut code = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        code += part.split_once("*/").expect("comments end").1;
    }
    code
}

/// A parameter without its name.
fn unnamed(param: &str) -> String {
    if param.contains("(*") {
        return "void (*)(void *)".into();
    }
    let name_at = param.rfind(['*', ' ']).expect("a parameter has a type and a name") + 1;
    param[..name_at].trim().to_owned()
}

fn header_functions() -> Functions {
    let code = without_comments(HEADER).replace('\n', " ");
    let mut all = Functions::new();
    for statement in code.split(';').filter(|text| !text.contains("typedef")) {
        let Some(at) = statement.find("th_").filter(|_| statement.contains('(')) else { continue };
        let open = statement.find('(').expect("seen");
        let name_at = statement[..open].rfind("th_").expect("functions begin with th_");
        let result = statement[at.min(name_at)..name_at].trim();
        // What comes before the first th_ is of the result as well, if it is a plain type.
        let before = statement[..at].trim().rsplit(['{', '}']).next().unwrap_or_default().trim();
        let result = format!("{before} {result}").trim().to_owned();
        let (params, _) = inside(&statement[open + 1..]);
        let params = parts(params).into_iter().filter(|param| param != "void");
        let types = params.map(|param| unnamed(&param)).collect();
        all.insert(statement[name_at..open].to_owned(), (result, types));
    }
    all
}

#[test]
fn the_functions_are_the_same() {
    let (rust, header) = (rust_functions(), header_functions());
    assert!(rust.len() > 30, "{rust:#?}");
    for (name, signature) in &rust {
        assert_eq!(header.get(name), Some(signature), "{name}, as the header has it");
    }
    assert_eq!(header.len(), rust.len(), "the header has functions that there are not");
}

#[test]
fn the_constants_are_the_same() {
    let mut count = 0;
    for line in HEADER.lines().filter_map(|line| line.strip_prefix("#define TH_")) {
        let (name, rest) = line.split_once(' ').expect("a value");
        let value = rest.split("/*").next().unwrap_or_default().trim();
        let value = value.trim_start_matches('(').trim_end_matches(')');
        let constant = format!("const {name}: Status = {value};");
        assert!(SOURCES.iter().any(|source| source.contains(&constant)), "{constant}");
        count += 1;
    }
    assert_eq!(count, 10);
}

#[test]
fn every_function_ends_panics() {
    let ends = ["status(", "object(", "free(", "guard("];
    for source in SOURCES {
        for chunk in source.split("#[unsafe(no_mangle)]").skip(1) {
            let body = chunk.split("\n}\n").next().unwrap_or_default();
            let body = body.split_once("{\n").expect("a body").1;
            assert!(ends.iter().any(|end| body.contains(end)), "{chunk}");
        }
    }
}

/// The header's struct of callbacks, field by field.
#[test]
fn the_callbacks_are_the_same() {
    let code: String = without_comments(HEADER).split_whitespace().collect::<Vec<_>>().join(" ");
    let rust = SOURCES[4];
    for (field, c, r) in [
        (
            "read",
            "uint16_t (*read)(void *data, uint64_t offset, uint8_t *bytes, size_t len, size_t *got);",
            "type Read = extern \"C\" fn(*mut c_void, u64, *mut u8, usize, *mut usize) -> u16;",
        ),
        (
            "write",
            "uint16_t (*write)(void *data, uint64_t offset, const uint8_t *bytes, size_t len, size_t *put);",
            "type Write = extern \"C\" fn(*mut c_void, u64, *const u8, usize, *mut usize) -> u16;",
        ),
        (
            "release",
            "void (*release)(void *data);",
            "release: Option<extern \"C\" fn(*mut c_void)>,",
        ),
    ] {
        assert!(code.contains(c) && rust.contains(r), "{field}");
    }
    assert!(rust.contains("#[repr(C)]\npub struct Ops {\n    read: Option<Read>,\n    write: Option<Write>,\n    release:"));
}
