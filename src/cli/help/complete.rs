//! Shell completions and the manual page, from the same definitions as the help.

use std::fmt::Write;

use super::groups;
use crate::cli::args::table::{self, CommandRow, Flag, Takes};
use crate::cli::failure::{CliResult, Failure};

/// Completions for a shell.
///
/// # Errors
///
/// For a shell that is none of the three.
pub fn completions(shell: &str) -> CliResult<String> {
    match shell {
        "bash" => Ok(bash()),
        "zsh" => Ok(zsh()),
        "fish" => Ok(fish()),
        other => Err(Failure::usage(format!(
            "unknown shell '{other}': write tinyhost completions bash, zsh or fish"
        ))),
    }
}

/// What the words of an option's value are.
fn is_path(flag: &Flag) -> bool {
    matches!(flag.value, Takes::Value("file" | "dir" | "mount"))
}

fn names(command: &CommandRow, between: &str) -> String {
    let names: Vec<_> = command.flags.iter().map(|flag| flag.name).collect();
    names.join(between)
}

fn with_value(flags: &[Flag]) -> String {
    let takes = |flag: &&Flag| matches!(flag.value, Takes::Value(_));
    flags.iter().filter(takes).map(|flag| flag.name).collect::<Vec<_>>().join("|")
}

fn bash() -> String {
    let commands = table::commands();
    let list: Vec<_> = commands.iter().map(|command| command.name).collect();
    let mut cases = String::new();
    for command in &commands {
        let (name, options, valued) =
            (command.name, names(command, " "), with_value(&command.flags));
        let valued = if valued.is_empty() { "-" } else { &valued };
        let _ = writeln!(cases, "    {name}) options='{options} --help'; valued='{valued}' ;;");
    }
    format!(
        r#"# tinyhost completions for bash
_tinyhost() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} options valued i word
  COMPREPLY=()
  if (( COMP_CWORD == 1 )); then
    COMPREPLY=($(compgen -W '{list} --help --version' -- "$cur"))
    return
  fi
  case ${{COMP_WORDS[1]}} in
{cases}    *) return ;;
  esac
  if [[ ${{COMP_WORDS[1]}} == completions ]]; then
    COMPREPLY=($(compgen -W 'bash zsh fish' -- "$cur"))
    return
  fi
  # Behind the program, all is the program's.
  for (( i = 2; i < COMP_CWORD; i++ )); do
    word=${{COMP_WORDS[i]}}
    if [[ $word != -* ]]; then
      COMPREPLY=($(compgen -f -- "$cur"))
      return
    fi
    [[ $word =~ ^($valued)$ ]] && (( i++ ))
  done
  if [[ $cur == -* && ! $prev =~ ^($valued)$ ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$cur"))
  else
    COMPREPLY=($(compgen -f -- "$cur"))
  fi
}}
complete -o filenames -F _tinyhost tinyhost
"#,
        list = list.join(" ")
    )
}

/// What zsh takes for its own in a description.
fn zsh_text(text: &str) -> String {
    text.replace('\'', "'\\''").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:")
}

fn zsh() -> String {
    let commands = table::commands();
    let mut out =
        String::from("#compdef tinyhost\n# tinyhost completions for zsh\n\n_tinyhost() {\n");
    out.push_str("  local -a commands\n  commands=(\n");
    for command in &commands {
        let about = command.about.split(['.', ':']).next().unwrap_or_default();
        let _ = writeln!(out, "    '{}:{}'", command.name, zsh_text(about));
    }
    out.push_str(
        "  )\n  if (( CURRENT == 2 )); then\n    _describe command commands\n    return\n",
    );
    out.push_str("  fi\n  local command=$words[2]\n  shift words\n  (( CURRENT-- ))\n");
    out.push_str("  case $command in\n");
    for command in &commands {
        let _ = writeln!(out, "    {})\n      _arguments -A '-*' \\", command.name);
        for flag in &command.flags {
            let value = match flag.value {
                Takes::Nothing => String::new(),
                Takes::Value(value) if is_path(flag) => format!(":{value}:_files"),
                Takes::Value(value) => format!(":{value}: "),
                Takes::Optional(value) => format!("::{value}: "),
            };
            let (name, about) = (flag.name, zsh_text(flag.about));
            let equals = if matches!(flag.value, Takes::Optional(_)) { "=-" } else { "" };
            let _ = writeln!(out, "        '*{name}{equals}[{about}]{value}' \\");
        }
        let operand = match command.name {
            "completions" => "'1:shell:(bash zsh fish)'",
            "man" => "'--help[what it does]'",
            _ => "'*:: :_files'",
        };
        let _ = writeln!(out, "        {operand} ;;");
    }
    out.push_str("  esac\n}\n\n_tinyhost \"$@\"\n");
    out
}

fn fish() -> String {
    let quote = |text: &str| text.replace('\\', "\\\\").replace('\'', "\\'");
    let mut out = String::from("# tinyhost completions for fish\n");
    for command in table::commands() {
        let about = command.about.split(". ").next().unwrap_or_default();
        let (name, about) = (command.name, quote(about));
        let _ = writeln!(
            out,
            "complete -c tinyhost -n __fish_use_subcommand -f -a {name} -d '{about}'"
        );
        for flag in &command.flags {
            let long = flag.name.trim_start_matches('-');
            let value = match flag.value {
                Takes::Nothing | Takes::Optional(_) => "",
                Takes::Value(_) if is_path(flag) => " -r",
                Takes::Value(_) => " -x",
            };
            let _ = writeln!(
                out,
                "complete -c tinyhost -n '__fish_seen_subcommand_from {name}' -l {long}{value} -d '{}'",
                quote(flag.about)
            );
        }
    }
    out.push_str(
        "complete -c tinyhost -n '__fish_seen_subcommand_from completions' -f -a 'bash zsh fish'\n",
    );
    out
}

/// The manual page, as roff.
pub fn man() -> String {
    let quote = |text: &str| text.replace('\\', "\\e").replace('-', "\\-");
    let mut out = format!(
        ".TH TINYHOST 1 \"\" \"tinyhost {}\"\n.SH NAME\ntinyhost \\- run WebAssembly programs, \
         with the network as files\n.SH SYNOPSIS\n",
        env!("CARGO_PKG_VERSION")
    );
    let commands = table::commands();
    for command in &commands {
        let options = if command.flags.is_empty() { "" } else { "[OPTIONS] " };
        let _ = writeln!(out, ".B tinyhost {}\n{options}{}\n.br", command.name, command.operands);
    }
    for command in &commands {
        let _ = writeln!(out, ".SH {}\n{}", command.name.to_uppercase(), quote(command.about));
        let flags: Vec<&Flag> = command.flags.iter().collect();
        for group in groups(&flags) {
            let _ = writeln!(out, ".SS {group}");
            for flag in flags.iter().filter(|flag| flag.group == group) {
                let _ = writeln!(out, ".TP\n.B {}\n{}", quote(&flag.usage()), quote(flag.about));
            }
        }
        if !command.examples.is_empty() {
            out.push_str(".PP\nExamples:\n.nf\n");
            command.examples.iter().for_each(|line| {
                let _ = writeln!(out, "  {}", quote(line));
            });
            out.push_str(".fi\n");
        }
        command.notes.iter().for_each(|note| {
            let _ = writeln!(out, ".PP\n{}", quote(note));
        });
    }
    out.push_str(
        ".SH EXIT STATUS\nThe lowest byte of the guest's own status; 128 plus the number of a signal that \
         it raised; 0 if the reader of its standard output has gone. Statuses of tinyhost itself: \
         2 usage, 124 timeout, 125 could not start, 134 trap, 137 memory, fuel or CPU limit.\n",
    );
    out
}
