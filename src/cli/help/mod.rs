//! Texts that say what can be typed.

pub mod complete;

use std::fmt::Write;

use super::args::table::{self, CommandRow, Flag};
use super::style;

/// Column at which descriptions begin.
const COLUMN: usize = 26;

/// The answer to a command line without a command.
pub fn usage() -> String {
    let mut out = String::from("usage:\n");
    for command in table::commands().iter().take(2) {
        let _ = writeln!(out, "  tinyhost {} [OPTIONS] {}", command.name, command.operands);
    }
    out.push_str("  tinyhost help [COMMAND]");
    out
}

/// `tinyhost --help`
pub fn overview() -> String {
    let mut out = String::from(
        "tinyhost runs WebAssembly programs (WASI preview1), with the network as files in /dev.\n\n",
    );
    for command in table::commands() {
        let (name, operands) = (command.name, command.operands);
        let options = if command.flags.is_empty() { "" } else { "[OPTIONS] " };
        let _ = writeln!(out, "  {}", format!("tinyhost {name} {options}{operands}").trim_end());
        let about = command.about.split(". ").next().unwrap_or_default();
        let _ = writeln!(out, "      {}", about.trim_end_matches('.'));
    }
    out.push_str(TRY_IT);
    out.push_str(
        "\ntinyhost COMMAND --help lists the options, tinyhost --version the built-in features.\n",
    );
    out
}

#[cfg(feature = "serve")]
const TRY_IT: &str = "
try it:
  tinyhost serve &
  printf 'hello\\n' | tinyhost run fixtures/echoclient.wasm
";
#[cfg(not(feature = "serve"))]
const TRY_IT: &str = "\ntry it:\n  tinyhost run fixtures/hello.wasm\n";

/// `tinyhost --version`
pub fn version() -> String {
    let features = [
        ("host-fs", cfg!(feature = "host-fs")),
        ("net", cfg!(feature = "net")),
        ("serve", cfg!(feature = "serve")),
        ("tar", cfg!(feature = "tar")),
        ("simd", cfg!(feature = "simd")),
        ("wat", cfg!(feature = "wat")),
    ];
    let with: Vec<_> = features
        .iter()
        .map(|(name, there)| format!("{}{name}", if *there { '+' } else { '-' }))
        .collect();
    let (os, arch) = (std::env::consts::OS, std::env::consts::ARCH);
    format!("tinyhost {} ({arch}-{os}; {})\n", env!("CARGO_PKG_VERSION"), with.join(" "))
}

/// `tinyhost COMMAND --help`, in lines of at most `width` columns.
pub fn page(command: &CommandRow, width: usize) -> String {
    let bold = |text: &str| style::stdout().bold(text);
    let mut out = String::new();
    wrap(&mut out, command.about, "", width);
    let options = if command.flags.is_empty() { "" } else { "[OPTIONS] " };
    let usage = format!("usage: tinyhost {} {options}{}", command.name, command.operands);
    let _ = writeln!(out, "{}", usage.trim_end());
    let run = table::find("run").filter(|_| command.name != "run");
    let (told, as_in_run): (Vec<_>, Vec<_>) = command
        .flags
        .iter()
        .partition(|flag| !run.as_ref().is_some_and(|run| run.flags.contains(flag)));
    for group in groups(&told) {
        let _ = writeln!(out, "\n{}", bold(&format!("{group}:")));
        for flag in told.iter().filter(|flag| flag.group == group) {
            let (usage, about) = (flag.usage(), flag.about);
            let _ = writeln!(out, "  {usage:<width$}  {about}", width = COLUMN - 4);
        }
    }
    if !as_in_run.is_empty() {
        let names: Vec<_> = as_in_run.iter().map(|flag| flag.name).collect();
        let _ = writeln!(out, "\n{}", bold("same as in tinyhost run --help:"));
        wrap(&mut out, &names.join(" "), "  ", width);
    }
    if !command.examples.is_empty() {
        let _ = writeln!(out, "{}", bold("examples:"));
        command.examples.iter().for_each(|example| {
            let _ = writeln!(out, "  {example}");
        });
    }
    for note in command.notes {
        wrap(&mut out, note, "", width);
    }
    out
}

/// The groups of options, in the order they first come in.
pub fn groups<'f>(flags: &[&'f Flag]) -> Vec<&'f str> {
    let mut groups = Vec::new();
    for flag in flags {
        if !groups.contains(&flag.group) {
            groups.push(flag.group);
        }
    }
    groups
}

fn wrap(out: &mut String, text: &str, indent: &str, width: usize) {
    let mut column = 0;
    for word in text.split_whitespace() {
        let len = word.chars().count();
        if column == 0 {
            out.push_str(indent);
            column = indent.len();
        } else if column + 1 + len > width {
            out.push('\n');
            out.push_str(indent);
            column = indent.len();
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += len;
    }
    out.push('\n');
}
