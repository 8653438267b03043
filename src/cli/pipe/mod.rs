//! `tinyhost pipe`.

mod notes;
mod streams;

use std::io::IsTerminal;
use std::sync::Arc;

use tinyhost::pipe::{Error, Framing, OnError, Pipe, PipeConfig};
use tinyhost::trace::{Last, ReportHint, Sink, Tracer};
use tinyhost::wasi::{Tee, Trace};

use super::args::{PipeArgs as Args, units};
use super::failure::{CliResult, Failure, plain, status};
use super::guests::{self, GuestRequest, Guests};
use super::limits;
use super::load::load;
use super::logger;
use super::observe::{self, Crashes};
use super::start::{self, Start};
use notes::{Notes, Progress};
use streams::{PipeStdin, PipeStdout};

/// Lines under way at once, at the most: each may have a guest.
const WINDOW_MAX: u64 = 1 << 20;

/// What becomes of lines that fail, as typed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Failing {
    Fail,
    Pass,
    Drop,
    /// One line on standard error takes the place of the reply.
    Stderr,
}

/// Filters until the input ends.
///
/// # Errors
///
/// Whatever keeps it from being started, or ends it early.
pub fn pipe(mut args: Args) -> CliResult<u8> {
    logger::plain();
    let trace = observe::wanted(args.take_traced(), true)?;
    let crash_dir = args.crash_dir.take();
    let failing = failing(args.on_error.as_deref())?;
    let quiet = args.quiet;
    let (mut config, reach) = config(args, failing)?;
    let trace = trace.map(|trace| trace.open(&reach)).transpose()?;
    let sink = trace.as_ref().map(|trace| trace.sink.clone());
    let dir = crash_dir.as_deref();
    let crashes = dir.map(|dir| Crashes::new(dir, &config.name, &reach)).transpose()?;
    let unit = config.framing.unit();
    watch_guests(&mut config, sink, crashes, unit);
    let input = PipeStdin::new()?;
    let pipe = Pipe::new(config).map_err(|error| {
        Failure::not_started(format!("can't start the guests: {}", plain(&error)))
    })?;
    let handle = pipe.handle();
    streams::stop_without_reader(handle.clone());
    let shown = !quiet && std::io::stderr().is_terminal();
    // What is typed, and replies that are seen, say enough.
    let shown = shown && !std::io::stdin().is_terminal() && !std::io::stdout().is_terminal();
    let progress = shown.then(|| Progress::start(handle, unit));
    let mut notes = Notes::new(failing, shown);
    let result = pipe.run(input, PipeStdout, &mut |note| notes.take(&note));
    drop(progress);
    trace.iter().for_each(observe::OpenTrace::finish);
    let summary = result.map_err(|error| notes.failure(error))?;
    notes.end(unit, summary)
}

fn config(
    mut args: Args,
    failing: Failing,
) -> CliResult<(PipeConfig, tinyhost::vfs::reach::Reach)> {
    let framing = framing(args.framing.as_deref())?;
    if args.exact && framing != Framing::Lines {
        return Err(Failure::usage(
            "--exact can't be combined with --framing length32 or netstring, where each frame has \
             one reply: leave it out",
        ));
    }
    let limited = args.take_limited();
    let limits = limits::limits(&limited)?;
    let workers = guests::workers(args.workers.as_deref())?;
    let window = window(args.window.as_deref())?;
    let from = "pipe reads standard input";
    let wanted = GuestRequest::new(args.take_given(), limited.stack.as_deref(), from, denials())?;
    let mut command = args.program.into_iter();
    let path = command.next().ok_or_else(|| {
        Failure::usage(
            "no program given: write tinyhost pipe [OPTIONS] PROGRAM [ARGS...] \
             (tinyhost pipe --help lists the options)",
        )
    })?;
    if path == "-" {
        return Err(Failure::usage(
            "pipe reads lines from standard input, so the program can't come from there: give its \
             path",
        ));
    }
    let warm_up = start::wanted(args.warm, args.call.take(), &wanted.compile)?;
    let name = guests::name(&path).to_owned();
    // One that is to be warm runs when all it needs is there.
    let cold = if warm_up.is_none() { Some(load(&path, &wanted.compile)?) } else { None };
    let Guests { args: own, env, namespace, hints, reach } =
        wanted.open(command.collect(), denials())?;
    guests::warn_of_misplaced("pipe", &own);
    let prepare = hints.map(|hints| -> tinyhost::pipe::PrepareItem {
        Arc::new(move |_, cx| cx.on_error(hints.for_guest()))
    });
    let program = match (cold, warm_up) {
        (Some(program), _) => program,
        (None, warm_up) => {
            let namespace = namespace.clone();
            let before = prepare.clone();
            let prepared = move |cx| before.iter().fold(cx, |cx, prepare| prepare(0, cx));
            Start::new(warm_up.unwrap_or_default(), &name, &own, &env, namespace)?
                .limited(limits.memory, limits.max_fds)
                .prepared(prepared)
                .load(Some(&path), &[])
                .inspect(|program| start::report(program, &name))?
        }
    };
    let mut config = PipeConfig::new(program, name);
    (config.args, config.env, config.namespace) = (own, env, namespace);
    config.prepare = prepare;
    (config.workers, config.window) = (workers, window);
    (config.framing, config.exact) = (framing, args.exact);
    config.limits = limits;
    config.on_error = match failing {
        Failing::Fail => OnError::Fail,
        Failing::Pass => OnError::Pass,
        Failing::Drop | Failing::Stderr => OnError::Drop,
    };
    Ok((config, reach))
}

/// Takes denials. A guest may only have tried what it can do without.
fn denials() -> ReportHint {
    Arc::new(|line| log::info!("{line}"))
}

/// Traces each guest's calls under its line's number, and keeps the last ones for a report: one
/// for each cause.
fn watch_guests(
    config: &mut PipeConfig,
    sink: Option<Arc<Sink>>,
    crashes: Option<Crashes>,
    unit: &'static str,
) {
    let keep = crashes.is_some();
    if keep || sink.is_some() {
        let before = config.prepare.take();
        config.prepare = Some(Arc::new(move |number, cx| {
            let cx = match &before {
                Some(before) => before(number, cx),
                None => cx,
            };
            let mut watchers: Vec<Box<dyn Trace>> = Vec::new();
            if keep {
                watchers.push(Box::new(Last::default()));
            }
            if let Some(sink) = &sink {
                watchers.push(Box::new(Tracer::new(sink, &format!("{unit} {number}"))));
            }
            cx.trace(Tee(watchers))
        }));
    }
    if let Some(crashes) = crashes {
        config.post_mortem = Some(Arc::new(move |why, elapsed, guest| {
            if let Some(path) = crashes.report(why, elapsed, guest) {
                log::warn!("crash report {path}");
            }
        }));
    }
}

fn framing(typed: Option<&str>) -> CliResult<Framing> {
    match typed {
        None | Some("lines") => Ok(Framing::Lines),
        Some("length32") => Ok(Framing::Length32),
        Some("netstring") => Ok(Framing::Netstring),
        Some(other) => {
            Err(units::invalid("--framing", other, "write lines, length32 or netstring"))
        }
    }
}

fn failing(typed: Option<&str>) -> CliResult<Failing> {
    match typed {
        None | Some("fail") => Ok(Failing::Fail),
        Some("pass") => Ok(Failing::Pass),
        Some("drop") => Ok(Failing::Drop),
        Some("stderr") => Ok(Failing::Stderr),
        Some(other) => Err(units::invalid("--on-error", other, "write fail, pass, drop or stderr")),
    }
}

fn window(typed: Option<&str>) -> CliResult<usize> {
    let Some(text) = typed else { return Ok(0) };
    let count = units::count("--window", text)?;
    if !(1..=WINDOW_MAX).contains(&count) {
        let hint = format!("write a number from 1 to {WINDOW_MAX}");
        return Err(units::invalid("--window", text, &hint));
    }
    Ok(usize::try_from(count).unwrap_or(usize::MAX))
}

/// Why it ended early, and the exit status.
fn early(error: &Error) -> Failure {
    let failed = |text: String| Failure { status: status::LINES, text, signal: None };
    match error {
        Error::Read(error) => failed(format!("can't read standard input: {}", plain(error))),
        Error::Write(error) => failed(format!("can't write to standard output: {}", plain(error))),
        Error::Broken(number, why) => failed(format!(
            "frame {number} of standard input: {why}: check --framing and what writes the frames"
        )),
        Error::Worker(error) => {
            Failure::not_started(format!("can't run the guests: {}", plain(error)))
        }
    }
}
