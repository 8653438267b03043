//! `tinyhost run`.

pub mod checkpoint;
pub mod ended;
#[cfg_attr(not(unix), path = "no_signals.rs")]
pub mod signals;

use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tinyhost::trace::{Hints, Last, Learn, Mounted, ReportHint, Sink, Stats, Tracer};
use tinyhost::vfs::pipe;
use tinyhost::vfs::stdio::{Closed, Stream, Tail};
use tinyhost::wasi::{CtxBuilder, Tee, Trace};
use tinyhost::{End, Guest, Program, ProgramConfig, WasiCtx};

use super::args::{GuestLimits, OneGuest, RunArgs, units};
use super::failure::{CliResult, Failure};
use super::grant::mounts::MountSpec;
use super::grant::network::Network;
use super::grant::open;
use super::grant::policy::Grant;
use super::load::{load, load_capturable, stacks};
use super::logger;
use super::observe::{self, Crashes};
use super::output::Output;
use checkpoint::{Came, Checkpoint};
use ended::Ended;
use signals::Caught;

/// Limits, each of them off unless asked for.
pub struct RunLimits {
    pub time: Option<Duration>,
    pub fuel: Option<u64>,
    pub cpu: Option<Duration>,
    pub memory: Option<usize>,
    pub fds: Option<usize>,
    pub config: ProgramConfig,
}

/// What is meant by a `run`, with nothing opened yet.
pub struct Plan {
    pub program: String,
    pub args: Vec<String>,
    pub grant: Grant,
    pub network: Network,
    pub limits: RunLimits,
    pub trace: Option<observe::TraceRequest>,
    pub stats: bool,
    pub checkpoint: Option<String>,
    pub crash_dir: Option<String>,
    pub learn: Option<String>,
    pub quiet: bool,
    pub denials: Arc<Denials>,
    pub signals: Arc<Caught>,
    /// The end of what the guest says on its standard error.
    pub said: Tail,
}

/// How a guest's standard streams differ from those of the host.
#[derive(Default)]
pub struct Streams {
    /// In place of standard input.
    pub stdin: Option<pipe::Reader>,
    /// Keeps the end of what is written to standard output.
    pub printed: Option<Tail>,
}

/// What was denied to the guest. It may only have tried, and can do without: so it is reported once
/// the guest has failed, or at once beside the trace of its calls.
#[derive(Default)]
pub struct Denials {
    at_once: bool,
    kept: Mutex<Vec<String>>,
    /// From the first denial on there is something to report when a signal ends the guest.
    signals: Arc<Caught>,
}

impl Denials {
    fn take(&self, line: &str) {
        if self.at_once {
            return log::warn!("{line}");
        }
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
        if let Err(failure) = self.signals.catch() {
            log::warn!("{}", failure.text);
        }
    }

    /// Tells them; whether there were any.
    pub fn tell(&self) -> bool {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().for_each(|line| log::warn!("{line}"));
        !kept.is_empty()
    }

    fn report(this: &Arc<Denials>) -> ReportHint {
        let this = this.clone();
        Arc::new(move |line| this.take(line))
    }
}

impl Plan {
    /// Whether the end has something to report, however it comes.
    fn is_watched(&self) -> bool {
        let traced = self.stats || self.trace.is_some();
        traced || self.crash_dir.is_some() || self.learn.is_some()
    }
}

/// Runs the command; its exit status.
///
/// # Errors
///
/// Whatever keeps the guest from being started.
pub fn run(mut args: RunArgs) -> CliResult<u8> {
    logger::plain();
    let mut plan = plan(args.take())?;
    plan.checkpoint = args.checkpoint;
    let (program, capturable) = match &plan.checkpoint {
        None => (load(&plan.program, &plan.limits.config)?, None),
        Some(_) => {
            const CAN_NOT: &str = "no checkpoint can be taken of it";
            let capturable = load_capturable(&plan.program, &plan.limits.config, CAN_NOT)?;
            (capturable.program().clone(), Some(capturable))
        }
    };
    // All that is written in the end is found before the guest runs: what it would have done
    // would be for nothing, and what it can change must not say where that is.
    let reach = open::reach(&plan.grant.mounts)?;
    let watched = plan.is_watched();
    let trace = plan.trace.take().map(|trace| trace.open(&reach)).transpose()?;
    let dir = plan.crash_dir.as_deref();
    let crashes = dir.map(|dir| Crashes::new(dir, &plan.program, &reach)).transpose()?;
    let path = plan.checkpoint.as_deref().unwrap_or_default();
    let checkpoint = capturable.map(|capturable| -> CliResult<Checkpoint> {
        let file = Output::new(path, &reach)?;
        plan.signals.catch_checkpoint()?;
        Ok(Checkpoint { capturable, path: path.to_owned(), file })
    });
    let checkpoint = checkpoint.transpose()?;
    let began = Instant::now();
    let mut guest =
        guest(&plan, &program, trace.as_ref().map(|trace| &trace.sink), Streams::default())?;
    let learn = plan.learn.as_deref().map(|path| Output::new(path, &reach)).transpose()?;
    if watched {
        plan.signals.catch()?;
    }
    let until = plan.limits.time.and_then(|time| Instant::now().checked_add(time));
    let end = match checkpoint {
        None => guest.run_until_interrupted(until, &plan.signals.interrupt),
        Some(checkpoint) => match checkpoint.run(guest, &plan, until)? {
            Came::Written => {
                trace.iter().for_each(observe::OpenTrace::finish);
                return Ok(0);
            }
            Came::Ended(over, end) => {
                guest = *over;
                end
            }
        },
    };
    let elapsed = began.elapsed();
    let signal = plan.signals.signal().filter(|_| matches!(end, End::TimedOut));
    let ended = Ended { plan: &plan, end: &end, signal, guest: &guest, elapsed };
    let status = ended.told(crashes.as_ref(), learn.as_ref());
    drop(guest);
    trace.iter().for_each(observe::OpenTrace::finish);
    status
}

/// The limits that were asked for.
fn limits(args: &GuestLimits) -> CliResult<RunLimits> {
    const NONE: &str = "leave it out for no limit";
    let size = |text: &Option<String>, option: &str| {
        text.as_deref().map(|text| units::size(option, text)).transpose()
    };
    // Room for Go programs and for interpreters compiled to wasm.
    let mut config = ProgramConfig { stack_max: 32 << 20, frames_max: 200_000, reuse: false };
    if let Some(stack) = size(&args.stack, "--stack")? {
        (config.stack_max, config.frames_max) = stacks(stack);
    }
    let time = |text: &str| units::some("--timeout", text, units::time("--timeout", text)?, NONE);
    let fuel = |text: &str| units::some("--fuel", text, units::count("--fuel", text)?, NONE);
    let memory = |text: &str| units::some("--memory", text, units::size("--memory", text)?, NONE);
    let fds = |text: &str| {
        let count = usize::try_from(units::count("--max-fds", text)?).unwrap_or(usize::MAX);
        units::some("--max-fds", text, count, "leave it out for the default of 1024")
    };
    Ok(RunLimits {
        time: args.timeout.as_deref().map(time).transpose()?,
        fuel: args.fuel.as_deref().map(fuel).transpose()?,
        cpu: args.cpu.as_deref().map(units::cpu).transpose()?,
        memory: args.memory.as_deref().map(memory).transpose()?,
        fds: args.max_fds.as_deref().map(fds).transpose()?,
        config,
    })
}

/// What is meant by these options.
///
/// # Errors
///
/// If one of them means nothing.
pub fn plan(args: OneGuest) -> CliResult<Plan> {
    let limits = limits(&args.limits)?;
    let mut command = args.program.into_iter();
    let program = command.next().ok_or_else(|| {
        Failure::usage(
            "no program given: write tinyhost run [OPTIONS] PROGRAM [ARGS...] \
             (tinyhost run --help lists the options)",
        )
    })?;
    let grant = Grant::new(args.given)?;
    let signals = Arc::<Caught>::default();
    let at_once = args.traced.filter.is_some();
    let denials = Denials { at_once, signals: signals.clone(), ..Denials::default() };
    let denials = Arc::new(denials);
    let network = Network::new(&grant.rules, Denials::report(&denials))?;
    Ok(Plan {
        program,
        args: command.collect(),
        network,
        grant,
        limits,
        trace: observe::wanted(args.traced, false)?,
        stats: args.stats,
        checkpoint: None,
        crash_dir: args.crash_dir,
        learn: args.learn,
        quiet: args.quiet,
        denials,
        signals,
        said: Tail::default(),
    })
}

/// A context with the mounts of the guest that is meant, to compare with it.
///
/// # Errors
///
/// If one of them can't be opened.
pub fn fresh(plan: &Plan) -> CliResult<WasiCtx> {
    let dev = (!plan.grant.no_dev).then(|| plan.network.dev());
    let namespace = open::OpenMounts::new(&plan.grant.mounts, &plan.network)?.namespace(dev)?;
    Ok(WasiCtx::builder().namespace(namespace).build())
}

/// The guest that is meant.
///
/// # Errors
///
/// Whatever keeps it from being started.
pub fn guest(
    plan: &Plan,
    program: &Program,
    sink: Option<&Arc<Sink>>,
    streams: Streams,
) -> CliResult<Guest> {
    let dev = (!plan.grant.no_dev).then(|| plan.network.dev());
    let namespace = open::OpenMounts::new(&plan.grant.mounts, &plan.network)?.namespace(dev)?;
    // argv[0] is the name of the file, as elsewhere: a guest has no use for its path.
    let name = file_name(&plan.program);
    let mut cx = WasiCtx::builder().namespace(namespace).exit_on_broken_pipe();
    let usage = |error: tinyhost::wasi::BadString| Failure::usage(error);
    for arg in std::iter::once(name).chain(plan.args.iter().map(String::as_str)) {
        cx = cx.arg(arg).map_err(usage)?;
    }
    for (key, value) in plan.grant.environment() {
        cx = cx.env(key, value).map_err(usage)?;
    }
    cx = plan.network.listen(cx)?;
    cx = watched(standard_streams(cx, plan, streams)?, plan, sink);
    if let Some(memory) = plan.limits.memory {
        cx = cx.memory_max(memory);
    }
    if let Some(fds) = plan.limits.fds {
        cx = cx.fds_max(fds);
    }
    let mut guest = Guest::new(program, cx.build());
    if let Some(fuel) = plan.limits.fuel {
        guest.limit_fuel(fuel);
    }
    if let Some(cpu) = plan.limits.cpu {
        guest.limit_cpu(cpu);
    }
    Ok(guest)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn standard_streams(mut cx: CtxBuilder, plan: &Plan, streams: Streams) -> CliResult<CtxBuilder> {
    cx = match streams.stdin {
        Some(pipe) => cx.stdin(pipe),
        None => match standard("input", std::io::stdin())? {
            Some(stream) => cx.stdin(stream),
            None => cx.stdin(Closed),
        },
    };
    cx = match standard("output", std::io::stdout())? {
        Some(stream) => match &streams.printed {
            Some(tail) => cx.stdout(stream.with_tail(tail)),
            None => cx.stdout(stream),
        },
        None => cx.stdout(Closed),
    };
    Ok(match standard("error", std::io::stderr())? {
        Some(stream) if plan.quiet => cx.stderr(stream),
        Some(stream) => cx.stderr(stream.with_tail(&plan.said)),
        None => cx.stderr(Closed),
    })
}

/// One of them, if it is open. One that is and can't be had must not be taken for closed: what
/// the guest writes there would be lost.
fn standard(name: &str, fd: impl AsFd) -> CliResult<Option<Stream>> {
    let stream = Stream::new(&fd);
    if stream.is_none() && rustix::fs::fstat(&fd).is_ok() {
        return Err(Failure::not_started(format!(
            "standard {name} can't be had: too many open files for this process: raise its limit \
             (ulimit -n)"
        )));
    }
    Ok(stream)
}

/// Has those look on that were asked for. Hints cost nothing until a call fails.
fn watched(mut cx: CtxBuilder, plan: &Plan, sink: Option<&Arc<Sink>>) -> CtxBuilder {
    let mut watchers: Vec<Box<dyn Trace>> = Vec::new();
    // The crash report's first: what the others do is not to be in its times.
    if plan.crash_dir.is_some() {
        watchers.push(Box::new(Last::default()));
    }
    if plan.stats {
        watchers.push(Box::new(Stats::default()));
    }
    if plan.learn.is_some() {
        watchers.push(Box::new(Learn::default()));
    }
    if let Some(sink) = sink {
        watchers.push(Box::new(Tracer::new(sink, file_name(&plan.program))));
    }
    if !watchers.is_empty() {
        cx = cx.trace(Tee(watchers));
    }
    if !plan.quiet {
        let mounts: Vec<Mounted> = plan.grant.mounts.iter().map(MountSpec::told).collect();
        cx = cx.on_error(Hints::new(mounts.into(), Denials::report(&plan.denials)));
    }
    cx
}
