//! `tinyhost inspect`: what a program is.

use std::fmt::Write;

use tinyhost::trace::escape::Line;
use tinyhost::{Inspection, ProgramConfig};

use super::args::InspectArgs;
use super::failure::CliResult;
use super::load;

/// What a program can do by the calls that it imports: each kind, and how its calls are named.
const NEEDS: &[(&str, &[&str])] = &[
    ("arguments", &["args_get"]),
    ("environment", &["environ_get"]),
    ("files", &["path_", "fd_readdir", "fd_prestat_get"]),
    ("clocks", &["clock_"]),
    ("random numbers", &["random_get"]),
    ("sockets", &["sock_"]),
    ("waiting", &["poll_oneoff"]),
];

/// Bytes of a column of names.
const WIDTH: usize = 76;

/// Prints what a program is.
///
/// # Errors
///
/// If it can't be read, is not a module, or needs what the interpreter does not have.
pub fn inspect(args: InspectArgs) -> CliResult<String> {
    let wasm = load::read(&args.program)?;
    let inspection = of(&args.program, &wasm)?;
    let mut text = String::new();
    let _ = writeln!(text, "{}", headline(&args.program, &inspection));
    describe(&inspection, &mut text);
    row(&mut text, "exports", &exports(&inspection));
    let runs = match &inspection.run {
        Ok(()) => "yes".to_owned(),
        Err(why) => format!("no: {why}"),
    };
    row(&mut text, "can be run", &runs);
    let recycled = answer(&inspection.recycle, "each guest gets a new instance");
    row(&mut text, "recycled", &recycled);
    row(&mut text, "can be warmed", &answer(&inspection.capture, "--warm does nothing for it"));
    Ok(text)
}

/// Looks at a program.
///
/// # Errors
///
/// As [`Inspection::of`].
pub fn of(path: &str, wasm: &[u8]) -> CliResult<Inspection> {
    Inspection::of(&ProgramConfig::default(), wasm).map_err(|error| load::unfit(path, &error))
}

/// Its size, in a line.
pub fn headline(path: &str, inspection: &Inspection) -> String {
    let Inspection { bytes, functions, .. } = inspection;
    let s = if *functions == 1 { "" } else { "s" };
    format!("{}: a module of {bytes} bytes with {functions} function{s}", Line(path))
}

/// What built it, its memory, its imports and what they are for.
pub fn describe(inspection: &Inspection, text: &mut String) {
    let built = inspection.producers.iter().map(|tool| match tool.version.as_str() {
        "" => tool.name.clone(),
        version => format!("{} {version}", tool.name),
    });
    let built = list(built, "; ");
    row(text, "built with", if built.is_empty() { "it does not say" } else { &built });
    let memories = inspection.memories.iter().map(|memory| match memory.maximum {
        Some(maximum) => {
            format!("{} at the start, at most {}", size(memory.initial), size(maximum))
        }
        None => format!("{} at the start", size(memory.initial)),
    });
    let memories = list(memories, ", and ");
    row(text, "memory", if memories.is_empty() { "none" } else { &memories });
    row(text, "imports", &imports(inspection));
    let has =
        |start: &&str| inspection.imports.iter().any(|import| import.name.starts_with(*start));
    let needs = NEEDS.iter().filter(|(_, names)| names.iter().any(&has));
    let needs = list(needs.map(|(what, _)| (*what).to_owned()), ", ");
    row(text, "can use", if needs.is_empty() { "its standard streams" } else { &needs });
}

/// The names of its imports, by module. Those that are not here are named as such.
fn imports(inspection: &Inspection) -> String {
    let mut modules: Vec<(&str, Vec<String>)> = Vec::new();
    for import in &inspection.imports {
        let name = match import.is_known {
            true => import.name.clone(),
            false => format!("{} (not here: {})", import.name, import.kind),
        };
        match modules.iter_mut().find(|(module, _)| *module == import.module) {
            Some((_, names)) => names.push(name),
            None => modules.push((&import.module, vec![name])),
        }
    }
    let modules =
        modules.into_iter().map(|(module, names)| format!("{module}: {}", names.join(" ")));
    let imports = list(modules, "; ");
    if imports.is_empty() { "none".to_owned() } else { imports }
}

fn exports(inspection: &Inspection) -> String {
    let names = inspection.exports.iter().map(|export| match export.kind {
        "func" => export.name.clone(),
        kind => format!("{} ({kind})", export.name),
    });
    let exports = list(names, ", ");
    if exports.is_empty() { "none".to_owned() } else { exports }
}

fn answer(result: &Result<(), String>, otherwise: &str) -> String {
    match result {
        Ok(()) => "yes".to_owned(),
        Err(why) => format!("no: {why} ({otherwise})"),
    }
}

fn list(texts: impl Iterator<Item = String>, between: &str) -> String {
    texts.collect::<Vec<_>>().join(between)
}

fn size(bytes: u64) -> String {
    match bytes {
        bytes if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => {
            format!("{} MiB", bytes >> 20)
        }
        bytes => format!("{} KiB", bytes >> 10),
    }
}

/// A line, and more if the text is long. Names in it are their author's.
pub fn row(text: &mut String, name: &str, value: &str) {
    let value = Line(value).to_string();
    let mut line = format!("  {name:<14}");
    let mut len = 16;
    for word in value.split(' ') {
        if len + word.len() + 1 > WIDTH && len > 16 {
            let _ = writeln!(text, "{}", line.trim_end());
            line = " ".repeat(16);
            len = 16;
        }
        line.push_str(word);
        line.push(' ');
        len += word.len() + 1;
    }
    let _ = writeln!(text, "{}", line.trim_end());
}

/// Why a program can't be run, as a failure.
///
/// # Errors
///
/// If it can't.
pub fn require(path: &str, inspection: &Inspection) -> CliResult<()> {
    inspection.run.as_ref().map_err(|error| load::unfit(path, error)).copied()
}
