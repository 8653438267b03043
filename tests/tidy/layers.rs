//! Who may import whom.
//!
//! The table is the house from the ground up: a room may import those below it that its row
//! names, and nothing else. So there is no circle among them, and no arrow runs up.

use std::collections::BTreeSet;

use super::super::{Source, none, sources};

/// Values and time: they import nothing.
const GROUND: &[&str] = &["errno", "clock", "random", "step"];

/// The rooms of the library, from the ground up, with what each may import beside the ground.
const ROOMS: &[(&str, &[&str])] = &[
    ("errno", &[]),
    ("clock", &[]),
    ("random", &[]),
    ("step", &[]),
    // A name leads to a node, a node opens a file.
    ("vfs", &[]),
    // A row is a syscall, a call is a row under way.
    ("wasi", &["vfs"]),
    // A program makes instances, a guest runs in one, a pool keeps them.
    ("program", &["wasi"]),
    ("instance", &["program", "wasi", "vfs"]),
    ("guest", &["instance", "program", "wasi", "vfs"]),
    // Runs a program to its first read, and makes of that where its guests start.
    ("warm", &["guest", "instance", "program", "wasi", "vfs"]),
    ("pool", &["guest", "instance", "program", "wasi", "vfs"]),
    // Events only mark guests runnable.
    ("group", &["guest", "vfs"]),
    ("sched", &["guest", "wasi", "vfs"]),
    ("trace", &["guest", "wasi", "vfs"]),
    // A door brings work, a protocol says what a guest's stdin is, a worker turns.
    ("serve", &["sched", "trace", "pool", "guest", "program", "wasi", "vfs"]),
    // The items of a stream, several at once, and their replies in order.
    ("pipe", &["serve", "sched", "pool", "guest", "program", "wasi", "vfs"]),
];

/// The room of a file: `src/wasi/fd.rs` is in `wasi`. The two roots are in none.
fn room(path: &str) -> Option<&str> {
    let inside = path.strip_prefix("src/")?;
    let first = inside.split('/').next()?;
    let room = first.strip_suffix(".rs").unwrap_or(first);
    (!matches!(room, "lib" | "main" | "cli")).then_some(room)
}

/// What a file imports from its crate: in lines, the first names after `crate::`.
fn imports(source: &Source) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (line, text) in source.code() {
        for (at, _) in text.match_indices("crate::") {
            let before = text[..at].chars().next_back();
            // `$crate::` and `pub(in crate::x)` name no import.
            if before == Some('$') || text[..at].ends_with("(in ") {
                continue;
            }
            let rest = &text[at + "crate::".len()..];
            let name: String =
                rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            found.push((line, name));
        }
    }
    found
}

/// What is wrong with the imports of these files.
fn wrong(files: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in files.iter().filter(|source| !source.is_test()) {
        let Some(room) = room(&source.path) else { continue };
        let Some((_, allowed)) = ROOMS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: the room '{room}' is not in the table", source.path));
            continue;
        };
        let ground = if GROUND.contains(&room) { &[] } else { GROUND };
        for (line, name) in imports(source) {
            let known = ROOMS.iter().any(|(there, _)| *there == name);
            if !known {
                let why = "import from the module that defines it, not from the root";
                wrong.push(format!("{}:{line}: crate::{name}: {why}", source.path));
            } else if name != room && !allowed.contains(&&*name) && !ground.contains(&&*name) {
                let why = format!("'{room}' may not import '{name}'");
                wrong.push(format!("{}:{line}: {why}", source.path));
            }
        }
    }
    wrong
}

#[test]
fn rooms_import_downwards_only() {
    for (index, (room, allowed)) in ROOMS.iter().enumerate() {
        for name in *allowed {
            let below = ROOMS[..index].iter().any(|(there, _)| there == name);
            assert!(below, "the table itself: '{name}' is not below '{room}'");
        }
    }
    let files = sources("src");
    none(wrong(&files));
    // The graph, for whoever asks: cargo test --test tidy rooms -- --nocapture
    for (room, _) in ROOMS {
        let own =
            files.iter().filter(|file| !file.is_test() && self::room(&file.path) == Some(room));
        let names: BTreeSet<String> =
            own.flat_map(imports).map(|(_, name)| name).filter(|name| name != room).collect();
        println!("{room}: {}", names.into_iter().collect::<Vec<_>>().join(" "));
    }
}

#[test]
fn a_wrong_import_is_found() {
    let file = |path: &str, text: &str| Source { path: path.into(), text: text.into() };
    let one = |path, text| wrong(&[file(path, text)]).concat();
    assert_eq!(one("src/wasi/fd.rs", "use crate::vfs::File;\nuse crate::wasi::abi;\n"), "");
    assert!(one("src/vfs/dev.rs", "use crate::wasi::Random;\n").contains("may not import 'wasi'"));
    assert!(one("src/errno.rs", "use crate::step::Step;\n").contains("may not import 'step'"));
    assert!(one("src/vfs/dev.rs", "fn f() -> crate::guest::Guest {}\n").contains("'guest'"));
    assert!(one("src/vfs/dev.rs", "use crate::Errno;\n").contains("from the module that defines"));
    assert!(one("src/attic.rs", "use crate::errno::Errno;\n").contains("not in the table"));
    assert_eq!(one("src/vfs/dev.rs", "// crate::wasi is only mentioned\n"), "");
}

/// The rooms of the program (`src/cli`), from the ground up, with what each may import.
const CLI_ROOMS: &[(&str, &[&str])] = &[
    // Why a command ends before its guest does.
    ("failure", &[]),
    ("style", &[]),
    ("journal", &[]),
    ("output", &["failure"]),
    ("logger", &["output"]),
    // What can be typed: definitions, their table, units.
    ("args", &["failure"]),
    ("help", &["failure", "style", "args"]),
    // What was typed.
    ("words", &["failure", "args", "help"]),
    // What a guest is given, and what is seen of it.
    ("fatal_signal", &[]),
    ("load", &["failure", "fatal_signal"]),
    ("grant", &["failure", "output", "args"]),
    ("observe", &["failure", "style", "output", "args"]),
    // What many guests of one program are made from.
    ("limits", &["failure", "args"]),
    ("guests", &["failure", "args", "load", "grant"]),
    ("start", &["failure", "load"]),
    ("run", &["failure", "style", "output", "logger", "args", "load", "grant", "observe"]),
    ("warm", &["failure", "output", "logger", "args", "load", "grant", "observe", "run"]),
    (
        "serve",
        &[
            "failure",
            "fatal_signal",
            "journal",
            "logger",
            "args",
            "load",
            "grant",
            "observe",
            "limits",
            "guests",
            "start",
        ],
    ),
    (
        "pipe",
        &["failure", "output", "logger", "args", "load", "observe", "limits", "guests", "start"],
    ),
    // What a program is, and what a command would be started with.
    ("inspect", &["failure", "args", "load"]),
    ("check", &["failure", "args", "load", "grant", "inspect", "run", "serve"]),
];

/// The module of a file, as a path below the crate: `src/cli/run/ended.rs` is `cli::run::ended`.
fn module(path: &str) -> Vec<&str> {
    let inside = path.trim_start_matches("src/").trim_end_matches(".rs");
    inside.split('/').filter(|part| *part != "mod").collect()
}

/// The rooms of the program that a file names, by `crate::cli::X` or as many `super::` as lead
/// there, in a path or in the braces of a list.
fn cli_imports(source: &Source) -> Vec<(usize, String)> {
    let module = module(&source.path);
    let code: Vec<(usize, &str)> = source.code().collect();
    let mut found = Vec::new();
    for (index, (line, text)) in code.iter().enumerate() {
        for start in ["crate::", "super::"] {
            for (at, _) in text.match_indices(start) {
                // A second `super::` is found with the first.
                if text[..at].ends_with("::") || text[..at].ends_with("(in ") {
                    continue;
                }
                let mut here: Vec<&str> =
                    if start == "crate::" { Vec::new() } else { module.clone() };
                let mut rest = text[at..].trim_start_matches("crate::").to_owned();
                while let Some(after) = rest.strip_prefix("super::") {
                    here.pop();
                    rest = after.to_owned();
                }
                if rest.trim_start_matches("cli::").starts_with('{') {
                    rest.extend(code[index + 1..].iter().map(|(_, text)| *text));
                }
                found.extend(named(&here, &rest).into_iter().map(|room| (*line, room)));
            }
        }
    }
    found
}

/// The rooms that `rest` names, seen from the module `here`.
fn named(here: &[&str], rest: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect()
    };
    match here {
        [] if rest.starts_with("cli::") => named(&["cli"], &rest["cli::".len()..]),
        ["cli", room, ..] => vec![(*room).to_owned()],
        ["cli"] => {
            let Some(list) = rest.strip_prefix('{') else { return vec![name(rest)] };
            let (mut depth, mut names, mut part) = (0, Vec::new(), String::new());
            for c in list.chars() {
                match c {
                    '}' if depth == 0 => break,
                    ',' if depth == 0 => names.push(std::mem::take(&mut part)),
                    c => {
                        depth += i32::from(c == '{') - i32::from(c == '}');
                        part.push(c);
                    }
                }
            }
            names.push(part);
            names.iter().map(|part| name(part.trim())).filter(|name| !name.is_empty()).collect()
        }
        _ => Vec::new(),
    }
}

/// What is wrong with what the rooms of the program import.
fn wrong_in_cli(files: &[Source]) -> Vec<String> {
    let mut wrong = Vec::new();
    for source in files.iter().filter(|source| !source.is_test()) {
        let ["cli", room, ..] = module(&source.path)[..] else { continue };
        let Some((_, allowed)) = CLI_ROOMS.iter().find(|(name, _)| *name == room) else {
            wrong.push(format!("{}: the room '{room}' is not in the table", source.path));
            continue;
        };
        for (line, name) in cli_imports(source) {
            if name != room && !allowed.contains(&&*name) {
                let why = format!("'{room}' may not import '{name}'");
                wrong.push(format!("{}:{line}: {why}", source.path));
            }
        }
    }
    wrong
}

#[test]
fn rooms_of_the_program_import_downwards_only() {
    for (index, (room, allowed)) in CLI_ROOMS.iter().enumerate() {
        for name in *allowed {
            let below = CLI_ROOMS[..index].iter().any(|(there, _)| there == name);
            assert!(below, "the table itself: '{name}' is not below '{room}'");
        }
    }
    none(wrong_in_cli(&sources("src/cli")));
}

#[test]
fn a_wrong_import_in_the_program_is_found() {
    let one = |path: &str, text: &str| {
        wrong_in_cli(&[Source { path: path.into(), text: text.into() }]).concat()
    };
    let grant = "src/cli/grant/mounts.rs";
    assert_eq!(one(grant, "use super::policy;\nuse crate::cli::args::units;\n"), "");
    assert_eq!(one(grant, "use crate::cli::{args::{Run, Serve}, failure::Failure};\n"), "");
    assert!(one(grant, "use crate::cli::run::Plan;\n").contains("may not import 'run'"));
    assert!(one(grant, "use super::super::help;\n").contains("may not import 'help'"));
    assert!(
        one(grant, "use crate::cli::{\n    args::{Run, Serve},\n    words,\n};\n")
            .contains("'words'")
    );
    assert!(one("src/cli/words.rs", "use super::{args, run};\n").contains("'run'"));
    assert!(one("src/cli/args/mod.rs", "use super::help;\n").contains("may not import 'help'"));
    assert!(one("src/cli/args/mod.rs", "use crate::cli::Failure;\n").contains("'Failure'"));
    assert!(one("src/cli/attic.rs", "").contains("not in the table"));
}
