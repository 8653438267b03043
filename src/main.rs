//! The `tinyhost` program: parse, validate, run, exit status.

mod cli;

use std::io::Write;
use std::process::ExitCode;

use argh::{EarlyExit, FromArgs};

use cli::args::{Args, Command};
use cli::{Failure, Outcome};

/// What makes guests that arrive together cheap.
#[cfg(target_os = "linux")]
#[global_allocator]
static ALLOCATOR: tinyhost::GuestAllocator = tinyhost::GuestAllocator;

fn main() -> ExitCode {
    let status = match command().and_then(|command| match command {
        Some(Command::Run(args)) => cli::run(args),
        Some(Command::Serve(args)) => cli::serve(args),
        None => Ok(0),
    }) {
        Ok(status) => status,
        Err(Failure { status, text }) => {
            let _ = writeln!(std::io::stderr(), "tinyhost: {text}");
            status
        }
    };
    ExitCode::from(status)
}

/// What was typed; `None` if it was a question that has been answered.
fn command() -> Outcome<Option<Command>> {
    let mut typed = Vec::new();
    for word in std::env::args_os().skip(1) {
        typed.push(word.into_string().map_err(|word| {
            Failure::usage(format!("the argument {word:?} is not UTF-8: write it in UTF-8"))
        })?);
    }
    let words: Vec<&str> = typed.iter().map(String::as_str).collect();
    if let ["--version" | "-V"] = words[..] {
        return answer(&format!("tinyhost {}\n", env!("CARGO_PKG_VERSION")));
    }
    match Args::from_args(&["tinyhost"], &words) {
        Ok(args) => Ok(Some(args.command)),
        Err(EarlyExit { output, status: Ok(()) }) => answer(&output),
        Err(EarlyExit { output, status: Err(()) }) => {
            // Several lines, some of them indented, become one.
            let text = output.split_whitespace().collect::<Vec<_>>().join(" ");
            Err(Failure::usage(format!("{text} (tinyhost --help tells what there is)")))
        }
    }
}

/// Prints it; a reader who has heard enough is no error.
fn answer(text: &str) -> Outcome<Option<Command>> {
    let _ = std::io::stdout().write_all(text.as_bytes());
    Ok(None)
}
