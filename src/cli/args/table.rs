//! The commands and options there are, from their definitions in [`args`](super).

use argh::{ArgsInfo, FlagInfo, FlagInfoKind, Optionality, SubCommandInfo};

use super::CliArgs;

/// A command.
pub struct CommandRow {
    pub name: &'static str,
    pub about: &'static str,
    pub flags: Vec<Flag>,
    pub examples: &'static [&'static str],
    pub notes: &'static [&'static str],
    /// What follows the options, as in its usage.
    pub operands: &'static str,
}

impl CommandRow {
    /// The first of a program's own arguments that is spelled like an option of the command:
    /// it may have been meant as one. Not after a `--`, which says that it
    /// is the program's.
    pub fn misplaced<'a>(&self, args: &'a [String]) -> Option<&'a str> {
        let names = args.iter().take_while(|arg| *arg != "--");
        let mut names = names.map(|arg| arg.split_once('=').map_or(&**arg, |(name, _)| name));
        names.find(|name| self.flags.iter().any(|flag| flag.name == *name))
    }
}

/// An option.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flag {
    /// With the dashes.
    pub name: &'static str,
    /// One letter that stands for it.
    pub short: Option<char>,
    /// Which group of the help it is in.
    pub group: &'static str,
    pub about: &'static str,
    pub value: Takes,
    /// Whether it may be given more than once.
    pub repeats: bool,
}

/// Whether an option takes a value; with what it is called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Takes {
    Nothing,
    Value(&'static str),
    /// Only as `--name=value`.
    Optional(&'static str),
}

impl Flag {
    /// `--name VALUE`, as in a help text.
    pub fn usage(&self) -> String {
        let short = self.short.map_or_else(String::new, |short| format!("-{short}, "));
        let name = self.name;
        match self.value {
            Takes::Nothing => format!("{short}{name}"),
            Takes::Value(value) => format!("{short}{name} {}", value.to_uppercase()),
            Takes::Optional(value) => format!("{short}{name}[={}]", value.to_uppercase()),
        }
    }

    /// Whether this is how it is written.
    pub fn is_written(&self, name: &str) -> bool {
        let short = self
            .short
            .is_some_and(|short| name.strip_prefix('-') == Some(short.encode_utf8(&mut [0; 4])));
        self.name == name || short
    }
}

/// All commands.
pub fn commands() -> Vec<CommandRow> {
    CliArgs::get_args_info().commands.into_iter().map(command).collect()
}

/// One of them.
pub fn find(name: &str) -> Option<CommandRow> {
    commands().into_iter().find(|command| command.name == name)
}

fn command(info: SubCommandInfo) -> CommandRow {
    let about = info.command;
    // argh's own --help is among them.
    let flags = about.flags.iter().filter(|flag| flag.long != "--help").map(flag).collect();
    let operands = match info.name {
        "run" | "pipe" => "PROGRAM [ARGS...]",
        "warm" => "-o FILE PROGRAM [ARGS...]",
        "serve" => "[PROGRAM [ARGS...]]",
        "check" => "[run|serve] [OPTIONS] PROGRAM [ARGS...]",
        "inspect" => "PROGRAM",
        "completions" => "SHELL",
        _ => "",
    };
    CommandRow {
        name: info.name,
        about: about.description,
        flags,
        examples: about.examples,
        notes: about.notes,
        operands,
    }
}

fn flag(info: &FlagInfo<'static>) -> Flag {
    let (group, about) = info.description.split_once('|').unwrap_or(("", info.description));
    let value = match info.kind {
        FlagInfoKind::Switch => Takes::Nothing,
        FlagInfoKind::Option { arg_name } => match arg_name.strip_prefix('[') {
            Some(name) => Takes::Optional(name.trim_end_matches(']')),
            None => Takes::Value(arg_name),
        },
    };
    // A switch that is on can be switched on again.
    let repeats = matches!(info.kind, FlagInfoKind::Switch)
        || matches!(info.optionality, Optionality::Repeating);
    let (name, short) = (info.long, info.short);
    Flag { name, short, group: group.trim(), about: about.trim(), value, repeats }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_is_in_a_group_and_told_in_a_line() {
        for command in commands() {
            for flag in &command.flags {
                assert!(!flag.group.is_empty(), "{}", flag.name);
                assert!(flag.about.len() <= 58, "{}: {}", flag.name, flag.about.len());
            }
        }
    }

    #[test]
    fn what_run_and_serve_have_in_common_is_told_alike() {
        let (run, serve) = (find("run").unwrap(), find("serve").unwrap());
        let common = |flag: &&Flag| flag.group != "limits";
        for flag in serve.flags.iter().filter(common) {
            let other = run.flags.iter().find(|other| other.name == flag.name);
            assert!(other.is_none_or(|other| other == flag), "{}", flag.name);
        }
    }
}
