//! The `tinyhost` program: parse, validate, run, exit status.

mod cli;

use std::process::ExitCode;

use argh::FromArgs;

use cli::args::{CliArgs, Command};
use cli::failure::{CliResult, Failure, plain};
use cli::help::complete;
use cli::output::{say, write_all};
use cli::style;
use cli::words::{Asked, understand};
use tinyhost::trace::escape::Line;

/// What makes guests that arrive together cheap.
#[cfg(all(target_os = "linux", feature = "recycle"))]
#[global_allocator]
static ALLOCATOR: tinyhost::GuestAllocator = tinyhost::GuestAllocator;

fn main() -> ExitCode {
    #[cfg(unix)]
    {
        survive_file_size_limit();
        cli::fatal_signal::install();
    }
    let status = match command() {
        Ok(status) => status,
        Err(Failure { status, text, signal }) => {
            let name = format!("{}{}", severity(), style::stderr().red("tinyhost:"));
            // What steers a terminal has no place in what is said, wherever it came from.
            let lines: Vec<String> = text.split('\n').map(|line| Line(line).to_string()).collect();
            say(&format!("{name} {}\n", lines.join("\n")));
            if let Some(signal) = signal {
                cli::run::signals::end_by(signal);
            }
            status
        }
    };
    ExitCode::from(status)
}

/// What precedes the failure where systemd's journal reads it.
fn severity() -> &'static str {
    #[cfg(unix)]
    if cli::journal::reads_stderr() {
        return cli::journal::priority(log::Level::Error);
    }
    ""
}

/// A write beyond the process's limit of file size (RLIMIT_FSIZE) ends it by a signal, unless
/// there is a handler to take it: then the write fails with EFBIG, which is the guest's.
#[cfg(unix)]
fn survive_file_size_limit() {
    let flag = std::sync::Arc::default();
    if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, flag) {
        log::warn!("SIGXFSZ can't be caught: {error}");
    }
}

/// Does what was typed.
fn command() -> CliResult<u8> {
    let mut typed = Vec::new();
    for word in std::env::args_os().skip(1) {
        typed.push(word.into_string().map_err(|word| {
            Failure::usage(format!("the argument {word:?} is not valid UTF-8: write it in UTF-8"))
        })?);
    }
    let words = match understand(&typed, style::width())? {
        Asked::Command(words) => words,
        Asked::Answer(text) => return answer(&text),
    };
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let args = CliArgs::from_args(&["tinyhost"], &words).map_err(|exit| {
        let text = exit.output.split_whitespace().collect::<Vec<_>>().join(" ");
        Failure::usage(format!("{text} (see tinyhost {} --help)", words[0]))
    })?;
    match args.command {
        Command::Run(args) => cli::run::run(args),
        Command::Warm(args) => cli::warm::warm(args),
        #[cfg(feature = "serve")]
        Command::Serve(args) => cli::serve::serve(args),
        #[cfg(feature = "serve")]
        Command::Pipe(args) => cli::pipe::pipe(args),
        Command::Check(args) => answer(&cli::check::check(&args)?),
        Command::Inspect(args) => answer(&cli::inspect::inspect(args)?),
        Command::Completions(args) => answer(&complete::completions(&args.shell)?),
        Command::Man(_) => answer(&complete::man()),
    }
}

/// Prints it. A reader that has read enough is no error; a disk that is full is one.
fn answer(text: &str) -> CliResult<u8> {
    match write_all(std::io::stdout().lock(), text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            let text = format!("can't write to standard output: {}", plain(&error));
            Err(Failure::not_started(text))
        }
        _ => Ok(0),
    }
}
