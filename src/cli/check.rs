//! `tinyhost check`: all that `run` or `serve` would do before it starts anything.

use std::fmt::Write;
use std::path::Path;

use argh::FromArgs;

use super::args::{CheckArgs, CliArgs, Command, OneGuest};
use super::failure::{CliResult, Failure};
use super::grant::checked::Checked;
use super::grant::mounts::{MountKind, MountSpec};
use super::grant::policy::Grant;
use super::inspect::{describe, headline, of, require, row};
use super::{load, run};

/// Checks a command in words for argh, and shows what it would be started with.
///
/// # Errors
///
/// Whatever would keep it from being started, as far as that can be known without starting it.
pub fn check(args: &CheckArgs) -> CliResult<String> {
    let words: Vec<&str> = args.command.iter().map(String::as_str).collect();
    let args = CliArgs::from_args(&["tinyhost"], &words).map_err(|exit| {
        Failure::usage(exit.output.split_whitespace().collect::<Vec<_>>().join(" "))
    })?;
    let checked = match args.command {
        Command::Run(mut args) => of_run(args.take())?,
        #[cfg(feature = "serve")]
        Command::Serve(args) => super::serve::check(args)?,
        _ => {
            return Err(Failure::usage(
                "check looks at what run or serve would start: write tinyhost check [run|serve] \
                 [OPTIONS] PROGRAM",
            ));
        }
    };
    show(&checked)
}

fn of_run(args: OneGuest) -> CliResult<Checked> {
    if args.program.is_empty() {
        return Err(Failure::usage(
            "no program given: write tinyhost check [run|serve] [OPTIONS] PROGRAM [ARGS...]",
        ));
    }
    let plan = run::plan(args)?;
    run::fresh(&plan)?;
    Ok(Checked { program: Some(plan.program), grant: plan.grant, facts: Vec::new(), is_run: true })
}

/// The report.
fn show(checked: &Checked) -> CliResult<String> {
    let mut text = String::new();
    let mut imports = Vec::new();
    match &checked.program {
        Some(path) => {
            let wasm = load::read(path)?;
            let inspection = of(path, &wasm)?;
            require(path, &inspection)?;
            let _ = writeln!(text, "{}", headline(path, &inspection));
            describe(&inspection, &mut text);
            imports = inspection.imports.into_iter().map(|import| import.name).collect();
        }
        None => text.push_str("the program that is built in: it echoes\n"),
    }
    for (name, value) in &checked.facts {
        row(&mut text, name, value);
    }
    files(&checked.grant, &mut text);
    for (name, value) in checked.grant.rules.shown(checked.is_run) {
        row(&mut text, name, &value);
    }
    let variables = checked.grant.environment().into_iter().map(|(name, _)| name);
    let variables = variables.collect::<Vec<_>>().join(" ");
    row(&mut text, "environment", if variables.is_empty() { "nothing" } else { &variables });
    let opens = imports.iter().any(|name| name == "path_open");
    if opens && checked.grant.mounts.is_empty() && checked.grant.no_dev {
        row(&mut text, "note", "it can open files, and none are given to it: add --dir or --mount");
    }
    text.push_str("ok\n");
    Ok(text)
}

/// The tree of files that a guest sees.
fn files(grant: &Grant, text: &mut String) {
    let mut mounts: Vec<&MountSpec> = grant.mounts.iter().collect();
    mounts.sort_by(|one, other| path(one).cmp(path(other)));
    let mut name = "files";
    if mounts.is_empty() && grant.no_dev {
        row(text, name, "none");
    }
    for mount in mounts {
        // One that lies in another is shown below it.
        let depth = path(mount).matches('/').count();
        let access = if mount.is_read_only() { "read only" } else { "read and write" };
        let indent = "  ".repeat(depth);
        let _ =
            writeln!(text, "  {name:<14}{indent}{}  {}, {access}", mount.guest(), source(mount));
        name = "";
    }
    if !grant.no_dev {
        let _ = writeln!(text, "  {name:<14}/dev  streams, null, zero, random, and the network");
    }
}

fn path(mount: &MountSpec) -> &str {
    mount.guest().trim_start_matches('/')
}

/// What a mount is made of.
fn source(mount: &MountSpec) -> String {
    let shown = |path: &Path| path.display().to_string();
    match &mount.kind {
        MountKind::Host(path) => format!("the directory {}", shown(path)),
        MountKind::Mem { seed: None, .. } => "a tree in memory".to_owned(),
        MountKind::Mem { seed: Some(seed), .. } => {
            format!("a tree in memory, from {}", shown(seed))
        }
        MountKind::Tar(path) => format!("the image {}", shown(path)),
        MountKind::Unix(path) => format!("the Unix socket {}", shown(path)),
    }
}
