//! `tinyhost warm`: a program that has come to its first read, as a module.

use std::time::Instant;

use tinyhost::trace::escape::Line;
use tinyhost::vfs::pipe::pipe;
use tinyhost::vfs::stdio::Tail;
use tinyhost::{CaptureError, End};

use super::args::WarmArgs;
use super::failure::{CliResult, Failure, status};
use super::grant::open;
use super::load::load_capturable;
use super::logger;
use super::observe::{self, Crashes};
use super::output::Output;
use super::run::ended::Ended;
use super::run::{Plan, Streams, fresh, guest, plan};

/// What is said of a program for which this can't be done.
const CAN_NOT: &str = "can't be warmed";

/// Runs the program to its first read, and writes the module; the exit status.
///
/// # Errors
///
/// If the program doesn't come to a read, or can't be captured there.
pub fn warm(mut args: WarmArgs) -> CliResult<u8> {
    logger::plain();
    let output = output(&mut args)?;
    let mut plan = plan(args.take())?;
    let capturable = load_capturable(&plan.program, &plan.limits.config, CAN_NOT)?;
    let reach = open::reach(&plan.grant.mounts)?;
    let output = Output::new(&output, &reach)?;
    let trace = plan.trace.take().map(|trace| trace.open(&reach)).transpose()?;
    let dir = plan.crash_dir.as_deref();
    let crashes = dir.map(|dir| Crashes::new(dir, &plan.program, &reach)).transpose()?;
    let learn = plan.learn.as_deref().map(|path| Output::new(path, &reach)).transpose()?;
    // It has nothing and does not end: the guest that reads it waits.
    let (stdin, _feed) = pipe(1);
    let printed = Tail::default();
    let streams = Streams { stdin: Some(stdin), printed: Some(printed.clone()) };
    let began = Instant::now();
    let sink = trace.as_ref().map(|trace| &trace.sink);
    let mut guest = guest(&plan, capturable.program(), sink, streams)?;
    plan.signals.catch()?;
    let until = plan.limits.time.and_then(|time| Instant::now().checked_add(time));
    let end = guest.run_to_read(until, &plan.signals.interrupt);
    let signal = plan.signals.signal().filter(|_| matches!(end, Some(End::TimedOut)));
    // As far as it has come it went well: a guest that waits has not failed.
    let told = end.as_ref().unwrap_or(&End::Exited(0));
    let elapsed = began.elapsed();
    let ended = Ended { plan: &plan, end: told, signal, guest: &guest, elapsed };
    let told = ended.told(crashes.as_ref(), learn.as_ref());
    trace.iter().for_each(observe::OpenTrace::finish);
    let status = told.map_err(|failure| match failure.signal {
        // Whatever ended it, there is no module.
        None => Failure { status: status::NOT_STARTED, ..failure },
        Some(_) => failure,
    })?;
    if end.is_some() {
        return Err(unfit(
            &plan,
            &format!(
                "it ended with status {status} before it read standard input: give it the arguments \
                 with which it reads"
            ),
        ));
    }
    let failed = |error: CaptureError| unfit(&plan, &error.to_string());
    let opened = capturable.check(&mut guest, fresh(&plan)?).map_err(failed)?;
    let module = capturable.capture_opened(guest, &opened).map_err(failed)?;
    output.write(&module)?;
    if !opened.is_usual() {
        log::warn!(
            "{}: it has files open when it reads: only tinyhost can open them again",
            plan.program
        );
    }
    if !printed.text().is_empty() {
        log::warn!(
            "{}: it wrote to standard output before it read: the module does not write that again",
            plan.program
        );
    }
    Ok(0)
}

/// The file to write: of `-o`, which may also come last.
fn output(args: &mut WarmArgs) -> CliResult<String> {
    if let Some(path) = args.output.take() {
        return Ok(path);
    }
    if let [_, .., option, path] = &args.program[..]
        && option == "-o"
    {
        let path = path.clone();
        args.program.truncate(args.program.len() - 2);
        return Ok(path);
    }
    Err(Failure::usage("no file given to write the module to: write tinyhost warm -o FILE PROGRAM"))
}

/// The program can't be made into a module, which is why.
fn unfit(plan: &Plan, why: &str) -> Failure {
    Failure::not_started(format!("{}: {CAN_NOT}: {}", plan.program, Line(why)))
}
