//! `include/tinyhost.h` is made from the Rust sources: every function with its words, its
//! parameters and its result, every constant, the struct of callbacks. This test fails if the
//! file is not what they make; `UPDATE_HEADER=1 cargo test -p tinyhost-capi` writes it.

use std::fmt::Write;

const HEADER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/include/tinyhost.h");

/// In the order in which they are told.
const SOURCES: &[&str] = &[
    include_str!("../src/lib.rs"),
    include_str!("../src/builder.rs"),
    include_str!("../src/guest.rs"),
    include_str!("../src/streams.rs"),
    include_str!("../src/node.rs"),
];
const CALLBACKS: &str = include_str!("../src/file.rs");

const TOP: &str = r#"#ifndef TINYHOST_H
#define TINYHOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif
"#;

const BOTTOM: &str = r"
#ifdef __cplusplus
}
#endif
#endif
";

/// Objects: what each is called in Rust and in C, and what it is.
const OBJECTS: &[(&str, &str, &str)] = &[
    ("Program", "th_program", "a module, checked and compiled"),
    ("CBuilder", "th_builder", "builds a guest"),
    ("CGuest", "th_guest", "a running program"),
    ("CReader", "th_reader", "the reading end of a pipe"),
    ("CWriter", "th_writer", "the writing end of a pipe"),
    ("CNode", "th_node", "something that can be mounted; shared by its mounts"),
];

/// What the types of Rust are called in C, with a place for the name.
fn c_type(rust: &str) -> String {
    let rust = rust.trim();
    for (prefix, qualifier) in [("*mut ", ""), ("*const ", "const ")] {
        if let Some(pointee) = rust.strip_prefix(prefix) {
            let inner = c_type(pointee);
            return format!("{qualifier}{inner}{}", if inner.ends_with('*') { "*" } else { " *" });
        }
    }
    if let Some((_, c, _)) = OBJECTS.iter().find(|(name, ..)| *name == rust) {
        return (*c).to_owned();
    }
    match rust {
        "Ops" => "th_file_ops",
        "Status" => "th_status",
        "c_char" => "char",
        "c_void" | "()" => "void",
        "u8" => "uint8_t",
        "u16" => "uint16_t",
        "u32" => "uint32_t",
        "u64" => "uint64_t",
        "usize" => "size_t",
        "bool" => "bool",
        other => panic!("no word in C for {other}"),
    }
    .to_owned()
}

/// A parameter or field: `name: type` as C has it.
fn c_named(rust: &str) -> String {
    let (name, kind) = rust.split_once(':').expect("a name and a type");
    let (name, kind) = (name.trim().trim_start_matches("pub "), kind.trim());
    if let Some(function) = kind.strip_prefix("Option<extern \"C\" fn(") {
        let (params, rest) = inside(function);
        let result = rest.trim_end_matches('>').trim().strip_prefix("->").unwrap_or("()");
        return format!("{} (*{name})({})", c_type(result), c_params(params));
    }
    let kind = c_type(kind);
    if kind.ends_with('*') { format!("{kind}{name}") } else { format!("{kind} {name}") }
}

fn c_params(list: &str) -> String {
    let named: Vec<_> = parts(list).iter().map(|param| c_named(param)).collect();
    if named.is_empty() { "void".to_owned() } else { named.join(", ") }
}

/// Parts at the top level of a list.
fn parts(list: &str) -> Vec<String> {
    let (mut depth, mut parts, mut before) = (0, vec![String::new()], ' ');
    for char in list.chars() {
        match char {
            '(' | '<' => depth += 1,
            '>' if before == '-' => {}
            ')' | '>' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut().expect("never empty").push(char);
        before = char;
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

/// The text up to the parenthesis that closes the one just opened, and what is behind it.
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

/// The `marker` comments that end right above a piece of source, without their slashes.
fn words(above: &str, marker: &str) -> Vec<String> {
    let mut lines: Vec<_> = above
        .lines()
        .rev()
        .skip_while(|line| line.trim().is_empty() || line.trim().starts_with("#["))
        .map_while(|line| line.trim().strip_prefix(marker))
        .map(|line| line.trim().to_owned())
        .collect();
    lines.reverse();
    lines
}

/// A comment of C.
fn comment(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("/* {} */\n", lines.join("\n * ")).replace(" * \n", " *\n")
}

/// A declaration, in lines of at most a hundred columns.
fn declared(text: &str) -> String {
    const COLUMNS: usize = 100;
    let mut out = String::new();
    let mut rest = text;
    while rest.len() > COLUMNS {
        let at = rest[..COLUMNS].rfind(", ").expect("a place to break it") + 1;
        let _ = writeln!(out, "{}", &rest[..at]);
        out.push_str("   ");
        rest = &rest[at..];
    }
    out + rest
}

fn functions(source: &str) -> String {
    let mut out = String::new();
    let pieces: Vec<_> = source.split("#[unsafe(no_mangle)]\npub extern \"C\" fn ").collect();
    for pair in pieces.windows(2) {
        let (name, rest) = pair[1].split_once('(').expect("a function has parameters");
        let (params, rest) = inside(rest);
        let result = rest.split('{').next().unwrap_or_default().trim();
        let result = c_type(result.strip_prefix("->").unwrap_or("()"));
        let space = if result.ends_with('*') { "" } else { " " };
        let text = format!("{result}{space}{name}({});", c_params(&params.replace('\n', " ")));
        out += &comment(&words(pair[0], "///"));
        out += &format!("{}\n", declared(&text));
    }
    out
}

/// The statuses a source has.
fn constants(source: &str) -> String {
    let mut out = String::new();
    for (at, _) in source.match_indices("const ") {
        let line = source[at..].lines().next().unwrap_or_default();
        let Some((name, value)) = line["const ".len()..].split_once(": Status = ") else {
            continue;
        };
        let value = value.trim_end_matches(';');
        let value = if value.starts_with('-') { format!("({value})") } else { value.to_owned() };
        let above = source[..at].trim_end_matches("pub ");
        out += &format!("#define TH_{name} {value} /* {} */\n", words(above, "///").join(" "));
    }
    out
}

fn callbacks() -> String {
    let (above, rest) = CALLBACKS.split_once("pub struct Ops {").expect("the callbacks");
    let fields = rest.split("\n}").next().unwrap_or_default();
    // What the formatter has put into several lines, in one.
    let flat = fields.split_whitespace().collect::<Vec<_>>().join(" ");
    let flat = [("( ", "("), (", )", ")"), ("< ", "<"), (", >", ">")]
        .iter()
        .fold(flat, |text, (long, short)| text.replace(long, short));
    let fields =
        parts(&flat).iter().map(|field| format!("    {};\n", c_named(field))).collect::<String>();
    format!(
        "{}typedef struct th_file_ops {{\n{fields}}} th_file_ops;\n",
        comment(&words(above, "///"))
    )
}

fn made() -> String {
    let about = words(SOURCES[0].split("\nmod ").next().unwrap_or_default(), "//!");
    let about = about.split(|line| line == "---").next().unwrap_or_default();
    let about = about.strip_suffix(&[String::new()]).unwrap_or(about);
    let mut out = format!("{}{TOP}\n", comment(about));
    out += "typedef int32_t th_status;\n";
    out += &constants(SOURCES[0]);
    out += "\n/* The result of a step. */\n";
    out += &constants(SOURCES[2]);
    out += "\n";
    for (_, name, about) in OBJECTS {
        out += &format!("typedef struct {name} {name}; /* {about} */\n");
    }
    for source in &SOURCES[..SOURCES.len() - 1] {
        out += &format!("\n{}", functions(source));
    }
    out += &format!("\n{}\n{}", callbacks(), functions(SOURCES[SOURCES.len() - 1]));
    out + BOTTOM
}

#[test]
fn the_header_is_what_the_sources_make() {
    let made = made();
    if std::env::var_os("UPDATE_HEADER").is_some() {
        std::fs::write(HEADER, &made).unwrap();
    }
    let there = std::fs::read_to_string(HEADER).unwrap();
    for (number, (there, made)) in there.lines().zip(made.lines()).enumerate() {
        assert_eq!(there, made, "line {}; UPDATE_HEADER=1 writes it", number + 1);
    }
    assert_eq!(there, made, "UPDATE_HEADER=1 writes it");
    let marked: usize = SOURCES.iter().map(|text| text.matches("(no_mangle)").count()).sum();
    assert!(marked > 30, "only {marked} functions");
    assert_eq!(made.matches(");\n").count(), marked + 3, "every function, and three callbacks");
}

#[test]
fn every_function_says_what_it_does() {
    for source in SOURCES {
        for (at, _) in source.match_indices("#[unsafe(no_mangle)]") {
            let name = source[at..].split("fn ").nth(1).and_then(|rest| rest.split('(').next());
            assert!(!words(&source[..at], "///").is_empty(), "{name:?} has no words");
        }
    }
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
