//! Words as people type them, made into those argh takes: `--name=value`, values that may
//! be left out, and words of other hosts' command lines, which are answered with ours.

use tinyhost::trace::Filter;

use super::args::suggest;
use super::args::table::{self, CommandRow, Flag, Takes};
use super::failure::{CliResult, Failure};
use super::help;

/// What was asked.
pub enum Asked {
    /// A command, in words for argh.
    Command(Vec<String>),
    /// A text.
    Answer(String),
}

/// Understands what was typed.
///
/// # Errors
///
/// For a command or option that is not there, or lacks its value.
pub fn understand(typed: &[String], width: usize) -> CliResult<Asked> {
    let Some((first, rest)) = typed.split_first() else {
        return Err(Failure::usage(format!("no command given\n{}", help::usage())));
    };
    match first.as_str() {
        "--version" | "-V" | "version" => return Ok(Asked::Answer(help::version())),
        "--help" | "-h" | "help" => {
            let about = rest.first().filter(|_| first == "help");
            return match about {
                None => Ok(Asked::Answer(help::overview())),
                Some(name) => Ok(Asked::Answer(help::page(&command(name)?, width))),
            };
        }
        _ => {}
    }
    if first == "check" {
        return check(rest, width);
    }
    let command = command(first)?;
    let (mut words, mut rest) = (vec![first.clone()], rest.iter());
    while let Some(word) = rest.next() {
        if word == "--help" || word == "-h" {
            return Ok(Asked::Answer(help::page(&command, width)));
        }
        if word == "--" || !word.starts_with('-') || word == "-" {
            words.push("--".to_owned());
            words.extend((word != "--").then(|| word.clone()));
            break;
        }
        option(&command, word, &mut rest, &mut words)?;
    }
    // From the program on, all is the program's.
    words.extend(rest.cloned());
    Ok(Asked::Command(words))
}

fn command(name: &str) -> CliResult<CommandRow> {
    if let Some(command) = table::find(name) {
        return Ok(command);
    }
    let names: Vec<_> = table::commands().iter().map(|command| command.name).collect();
    let file = name.contains(['.', '/']) || std::path::Path::new(name).is_file();
    let what = if file {
        format!("unknown command '{name}': to run a program, write tinyhost run {name}")
    } else {
        let near = suggest::near(name, names.iter().copied());
        let near = near.map_or_else(String::new, |near| format!(": did you mean '{near}'?"));
        format!("unknown command '{name}'{near}")
    };
    Err(Failure::usage(format!("{what}\n{}", help::usage())))
}

/// What would be started by the words after `check`; `run` may be left out.
fn check(rest: &[String], width: usize) -> CliResult<Asked> {
    let first = rest.first().map(String::as_str);
    if matches!(first, Some("--help" | "-h")) {
        return Ok(Asked::Answer(help::page(&command("check")?, width)));
    }
    let named = matches!(first, Some("run" | "serve" | "pipe" | "warm"));
    let run = (!named).then(|| "run".to_owned());
    let words: Vec<String> = run.into_iter().chain(rest.iter().cloned()).collect();
    Ok(match understand(&words, width)? {
        // All of them are one operand, whatever is among them.
        Asked::Command(words) => {
            Asked::Command(["check", "--"].into_iter().map(str::to_owned).chain(words).collect())
        }
        other => other,
    })
}

fn option<'w>(
    command: &CommandRow,
    word: &str,
    rest: &mut (impl Iterator<Item = &'w String> + Clone),
    words: &mut Vec<String>,
) -> CliResult<()> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let Some(flag) = command.flags.iter().find(|flag| flag.is_written(name)) else {
        return Err(unknown(command, word, name, value.or_else(|| rest.next().map(|w| &**w))));
    };
    let name = flag.name;
    if !flag.repeats && words.iter().any(|word| word == name) {
        return Err(Failure::usage(format!("{name} is given more than once: give it once")));
    }
    words.push(name.to_owned());
    match (flag.value, value) {
        (Takes::Optional(kind), None)
            if rest.clone().next().is_some_and(|next| is_value(kind, next)) =>
        {
            let next = rest.next().map_or("", |next| next);
            return Err(Failure::usage(format!(
                "{name} takes its value after an equals sign: write {name}={next}"
            )));
        }
        (Takes::Nothing, None) => {}
        (Takes::Nothing, Some(_)) => {
            return Err(Failure::usage(format!("{name} takes no value: write {name}")));
        }
        (Takes::Optional(_), value) => words.push(value.unwrap_or_default().to_owned()),
        (Takes::Value(_), Some(value)) => words.push(value.to_owned()),
        (Takes::Value(_), None) => match rest.next() {
            Some(value) => words.push(value.clone()),
            None => return Err(Failure::usage(lacks_value(flag))),
        },
    }
    Ok(())
}

/// Whether the word behind an option is its value (what a `--trace` is to tell), and not the
/// program. One that has a single value is named after it.
fn is_value(kind: &str, word: &str) -> bool {
    let file = || std::path::Path::new(word).exists();
    let is_filter = || kind == "filter" && !word.starts_with('-') && word.parse::<Filter>().is_ok();
    (word == kind || is_filter()) && !file()
}

fn lacks_value(flag: &Flag) -> String {
    format!("{} needs a value: write {} ({})", flag.name, flag.usage(), flag.about)
}

fn unknown(command: &CommandRow, word: &str, name: &str, value: Option<&str>) -> Failure {
    if let Some(text) = elsewhere(name, value.unwrap_or_default()) {
        return Failure::usage(text);
    }
    if let Some(bind) = bind(command, name, value.unwrap_or_default()) {
        return Failure::usage(format!("'{}' has no option {name}: write {bind}", command.name));
    }
    let near = suggest::near(name, command.flags.iter().map(|flag| flag.name));
    let command = command.name;
    Failure::usage(match near {
        Some(near) => format!("'{command}' has no option {name}: did you mean {near}?"),
        None => format!("'{command}' has no option {word}: tinyhost {command} --help lists them"),
    })
}

/// Where to listen, by the names that other servers use.
fn bind(command: &CommandRow, name: &str, value: &str) -> Option<String> {
    let listens = ["--port", "-p", "--listen", "--addr", "--address"].contains(&name);
    let at = match value.trim_start_matches(':') {
        port if !port.is_empty() && port.bytes().all(|c| c.is_ascii_digit()) => {
            format!("127.0.0.1:{port}")
        }
        value if value.parse::<std::net::SocketAddr>().is_ok() => value.to_owned(),
        _ => "ADDR:PORT".to_owned(),
    };
    (listens && command.name == "serve").then(|| format!("--bind {at}"))
}

const NO_INVOKE: &str =
    "there is no --invoke: tinyhost runs the _start function of a program: leave it out";

/// Options of wasmtime, wazero, iwasm, wasmer and docker that people have in their fingers,
/// with what they are here.
fn elsewhere(typed: &str, value: &str) -> Option<String> {
    let name = format!("--{}", typed.trim_start_matches('-'));
    let pair = |separator: &str| value.split_once(separator).unwrap_or((value, value));
    let (whose, ours) = match name.as_str() {
        // -v is also how programs are asked to say more.
        "--mount" | "--volume" | "--v" if name != "--v" || value.contains(':') => {
            let (value, read_only) = match value.strip_suffix(":ro") {
                Some(rest) => (rest, "::ro"),
                None => (value, ""),
            };
            let (host, guest) = value.split_once(':').unwrap_or((value, "/"));
            let whose = if name == "--mount" { "wazero" } else { "another program" };
            (whose, format!("--dir {host}::{guest}{read_only}"))
        }
        "--map-dir" => {
            let (guest, host) = pair("::");
            ("iwasm", format!("--dir {host}::{guest}"))
        }
        "--mapdir" => {
            let (guest, host) = if value.contains("::") { pair("::") } else { pair(":") };
            ("wasmtime and wasmer", format!("--dir {host}::{guest}"))
        }
        "--addr-pool" => ("iwasm", format!("--net {value}:*")),
        "--tcplisten" => ("wasmtime", format!("--listen {value}")),
        "--invoke" => return Some(NO_INVOKE.to_owned()),
        "--hostlogging" => ("wazero", "--trace".to_owned()),
        "--S" => ("wasmtime", "--dir, --env and --net RULE".to_owned()),
        "--W" => ("wasmtime", "--fuel, --memory, --timeout and --stack".to_owned()),
        _ => return None,
    };
    Some(format!("{typed} is an option of {whose}: here, write {ours}"))
}
