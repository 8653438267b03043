//! `tinyhost run`.

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tinyhost::sched::{End, Happened, Scheduler};
use tinyhost::trace::{Hints, Last, Learn, Mounted, Sink, Stats, Tracer, outside};
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::net::{Listener, Net};
use tinyhost::vfs::stdio::{Closed, Stream};
use tinyhost::wasi::{Builder, Tee, Trace};
use tinyhost::{Cause, Config, Guest, Program, WasiCtx};

use super::args::Run;
use super::mounts::Mount;
use super::observe::{self, Crashes};
use super::policy::{self, Allowed};
use super::{
    Failure, Outcome, environment, load, logger, mounts, plain, rules, status, style, units,
};

/// Limits, each of them off unless asked for.
struct Limits {
    time: Option<Duration>,
    fuel: Option<u64>,
    memory: Option<usize>,
    fds: Option<usize>,
    config: Config,
}

/// What is meant by a `run`, with nothing opened yet.
struct Plan {
    program: String,
    args: Vec<String>,
    allowed: Allowed,
    env: Vec<(String, String)>,
    mounts: Vec<Mount>,
    net: tinyhost::vfs::net::Config,
    listen: Vec<SocketAddr>,
    limits: Limits,
    trace: Option<observe::Wanted>,
    stats: bool,
    crash_dir: Option<String>,
    learn: Option<PathBuf>,
    quiet: bool,
}

/// Runs the command; its exit status.
///
/// # Errors
///
/// Whatever keeps the guest from being started.
pub fn run(args: Run) -> Outcome<u8> {
    logger::plain();
    let mut plan = plan(args)?;
    let program = load(&plan.program, &plan.limits.config)?;
    let sink = plan.trace.take().map(observe::Wanted::open).transpose()?;
    let crashes = plan.crash_dir.as_deref().map(|dir| Crashes::new(dir, &plan.program));
    let crashes = crashes.transpose()?;
    let began = Instant::now();
    let guest = guest(&plan, &program, sink.as_ref())?;
    let (end, guest) = drive(&plan, guest)?;
    let ended = Ended { plan: &plan, end: &end, guest: &guest, elapsed: began.elapsed() };
    let status = ended.told(crashes.as_ref());
    drop(guest);
    sink.inspect(|sink| sink.finish());
    status
}

fn plan(args: Run) -> Outcome<Plan> {
    let mut command = args.program.into_iter();
    let program = command.next().ok_or_else(|| {
        Failure::usage(
            "no program given: write tinyhost run [OPTIONS] PROGRAM [ARGS...] \
             (tinyhost run --help lists the options)",
        )
    })?;
    let mut allowed = Allowed {
        dir: args.dir,
        mount: args.mount,
        no_dev: args.no_dev,
        env: args.env,
        net: args.net,
        net_listen: args.net_listen,
        listen: args.listen,
    };
    args.policy.as_deref().map_or(Ok(()), |path| allowed.add(path))?;
    let policy = rules(&allowed.net, &allowed.net_listen)?;
    let net = tinyhost::vfs::net::Config { policy, ..Default::default() };
    let size = |text: &Option<String>, option: &str| {
        text.as_deref().map(|text| units::size(option, text)).transpose()
    };
    let count = |text: &Option<String>, option: &str| {
        text.as_deref().map(|text| units::count(option, text)).transpose()
    };
    let mut config = Config { reuse: false, ..Config::default() };
    if let Some(stack) = size(&args.stack, "--stack")? {
        config.stack_max = stack;
        // About the smallest frame there is.
        config.frames_max = (stack / 64).max(1000);
    }
    let trace = observe::Typed {
        filter: args.trace.as_deref(),
        format: args.trace_format.as_deref(),
        file: args.trace_file.as_deref(),
        bytes: args.trace_bytes.as_deref(),
    };
    Ok(Plan {
        program,
        args: command.collect(),
        env: environment(&allowed.env)?,
        mounts: mounts::parse(&allowed.dir, &allowed.mount)?,
        net,
        listen: allowed.listen.iter().map(|text| address(text)).collect::<Outcome<_>>()?,
        allowed,
        limits: Limits {
            time: args.timeout.as_deref().map(|t| units::time("--timeout", t)).transpose()?,
            fuel: count(&args.fuel, "--fuel")?,
            memory: size(&args.memory, "--memory")?,
            fds: count(&args.max_fds, "--max-fds")?
                .map(|count| usize::try_from(count).unwrap_or(usize::MAX)),
            config,
        },
        trace: observe::wanted(&trace, false)?,
        stats: args.stats,
        crash_dir: args.crash_dir,
        learn: args.learn.map(PathBuf::from),
        quiet: args.quiet,
    })
}

fn address(text: &str) -> Outcome<SocketAddr> {
    text.parse().map_err(|_| {
        Failure::usage(format!(
            "--listen '{text}' is no address: write --listen 127.0.0.1:8080 or --listen [::1]:8080"
        ))
    })
}

fn guest(plan: &Plan, program: &Program, sink: Option<&Arc<Sink>>) -> Outcome<Guest> {
    let net = Net::new(plan.net.clone());
    let dev = (!plan.allowed.no_dev).then(|| Dev::with_net(net.clone()));
    let namespace = mounts::Opened::new(&plan.mounts, &net)?.namespace(dev)?;
    // argv[0] is the name of the file, as elsewhere: a guest has no use for its path.
    let name = file_name(&plan.program);
    let mut cx = WasiCtx::builder().namespace(namespace).exit_on_broken_pipe();
    let usage = |error: tinyhost::wasi::BadString| Failure::usage(error);
    for arg in std::iter::once(name).chain(plan.args.iter().map(String::as_str)) {
        cx = cx.arg(arg).map_err(usage)?;
    }
    for (key, value) in &plan.env {
        cx = cx.env(key, value).map_err(usage)?;
    }
    for at in &plan.listen {
        let failed = |error: std::io::Error| {
            Failure::not_started(format!("can't listen on {at}: {}", plain(&error)))
        };
        let socket = TcpListener::bind(at).map_err(failed)?;
        let listener = Listener::new(socket, &net).map_err(failed)?;
        if at.port() == 0 {
            eprintln!("tinyhost: listening on {}", listener.local_addr().map_err(failed)?);
        }
        cx = cx.socket(&at.to_string(), Box::new(listener));
    }
    cx = watched(standard_streams(cx), plan, sink);
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
    Ok(guest)
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn standard_streams(mut cx: Builder) -> Builder {
    cx = match Stream::new(std::io::stdin()) {
        Some(stream) => cx.stdin(stream),
        None => cx.stdin(Closed),
    };
    cx = match Stream::new(std::io::stdout()) {
        Some(stream) => cx.stdout(stream),
        None => cx.stdout(Closed),
    };
    match Stream::new(std::io::stderr()) {
        Some(stream) => cx.stderr(stream),
        None => cx.stderr(Closed),
    }
}

/// Has those look on that were asked for. Hints cost nothing until a call fails.
fn watched(mut cx: Builder, plan: &Plan, sink: Option<&Arc<Sink>>) -> Builder {
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
        let mounts: Vec<Mounted> = plan.mounts.iter().map(Mount::told).collect();
        cx = cx.on_error(Hints::new(mounts.into(), Arc::new(|line| log::warn!("{line}"))));
    }
    cx
}

/// Runs the guest to its end.
fn drive(plan: &Plan, guest: Guest) -> Outcome<(End, Box<Guest>)> {
    let failed = |error: std::io::Error| {
        Failure::not_started(format!("the host can't poll: {}", plain(&error)))
    };
    let until = plan.limits.time.and_then(|time| Instant::now().checked_add(time));
    let mut scheduler = Scheduler::new().map_err(failed)?;
    scheduler.spawn(guest, until);
    let mut happened = Vec::new();
    loop {
        scheduler.turn(None, &mut happened).map_err(failed)?;
        for event in happened.drain(..) {
            if let Happened::Ended(_, end, guest) = event {
                return Ok((end, guest));
            }
        }
    }
}

/// A guest that has come to its end.
struct Ended<'a> {
    plan: &'a Plan,
    end: &'a End,
    guest: &'a Guest,
    elapsed: Duration,
}

impl Ended<'_> {
    /// Tells all there is to be told of it; the exit status.
    fn told(&self, crashes: Option<&Crashes>) -> Outcome<u8> {
        let mut outcome = self.outcome();
        if let (Err(failure), Some(crashes)) = (&mut outcome, crashes) {
            let path = crashes.report(&failure.text, self.elapsed, self.guest);
            failure.text.extend(path.map(|path| format!("\n  report: {path}")));
        }
        if !self.plan.quiet && !matches!(self.end, End::Exited(0)) {
            self.hint();
        }
        if self.plan.stats {
            self.sums();
        }
        if let Some(path) = &self.plan.learn {
            let cx = self.guest.context();
            let used = cx.trace::<Learn>().map(Learn::used).cloned().unwrap_or_default();
            let least = policy::least(&self.plan.allowed, &self.plan.mounts, &used);
            std::fs::write(path, least.text(&self.plan.program, &used))
                .map_err(|error| observe::unwritten(path, &error))?;
        }
        outcome
    }

    /// What may have been wrong with how it was run, if it failed by itself.
    fn hint(&self) {
        let End::Exited(_) = self.end else { return };
        let mounts: Vec<Mounted> = self.plan.mounts.iter().map(Mount::told).collect();
        let cx = self.guest.context();
        let limit = || {
            let refused =
                |what, option| format!("it was refused more {what}: allow more with {option}");
            match (cx.memory_refused(), cx.fds_refused()) {
                (true, _) => Some(refused("memory", "--memory SIZE")),
                (_, true) => Some(refused("open files", "--max-fds COUNT")),
                _ => None,
            }
        };
        let missing = || cx.trace::<Hints>().and_then(Hints::missing);
        let hint = limit()
            .or_else(|| outside(&mounts, &self.plan.args))
            .or_else(missing)
            .or_else(closed_stdin);
        if let Some(hint) = hint {
            log::warn!("hint: {hint}");
        }
    }

    fn sums(&self) {
        let (guest, cx) = (self.guest, self.guest.context());
        let (wall, fuel, peak) = (self.elapsed.as_secs_f64(), guest.fuel_used(), cx.memory_peak());
        let name = style::stderr().bold(&format!("stats of {}", self.plan.program));
        let sums = cx.trace::<Stats>().map_or_else(String::new, Stats::to_string);
        eprint!(
            "tinyhost: {name}\n  wall {wall:.6} s, fuel {fuel}, memory {peak} bytes at its peak\n{sums}"
        );
    }

    fn outcome(&self) -> Outcome<u8> {
        let (plan, name) = (self.plan, &self.plan.program);
        let failure =
            |status, text: String| Err(Failure { status, text: format!("{name}: {text}") });
        match self.end {
            // What a shell sees of a status is its lowest byte.
            End::Exited(code) => Ok(u8::try_from(code & 0xff).unwrap_or(1)),
            End::TimedOut => {
                let time = "its time was up (allow more with --timeout TIME)";
                failure(status::TIMEOUT, time.to_owned())
            }
            End::Failed(error) => {
                let why = format!("the host can't wait for it: {}", plain(error));
                failure(status::NOT_STARTED, why)
            }
            End::Trapped(trap) => match trap.cause {
                Cause::Memory if plan.limits.memory.is_some() => {
                    failure(status::LIMIT, format!("{trap} (allow more with --memory SIZE)"))
                }
                Cause::Memory => failure(status::LIMIT, trap.to_string()),
                Cause::Fuel => {
                    failure(status::LIMIT, format!("{trap} (allow more with --fuel COUNT)"))
                }
                Cause::Wasm if trap.text.contains("stack") => {
                    failure(status::TRAP, format!("trap: {trap} (allow more with --stack SIZE)"))
                }
                Cause::Wasm => failure(status::TRAP, format!("trap: {trap}")),
                Cause::Host => failure(status::TRAP, trap.to_string()),
            },
        }
    }
}

/// Rust's runtime opens `/dev/null` for reading and writing in place of a standard input
/// that is closed; nobody else opens it so.
fn closed_stdin() -> Option<String> {
    let stdin = std::io::stdin();
    let null = rustix::fs::stat("/dev/null").ok()?.st_rdev;
    let both_ways = rustix::fs::fcntl_getfl(&stdin).ok()?.contains(rustix::fs::OFlags::RDWR);
    (both_ways && rustix::fs::fstat(&stdin).ok()?.st_rdev == null).then(|| {
        "standard input is closed, so the guest finds it at its end: give it one, as in \
         < FILE or echo TEXT | tinyhost run ..."
            .to_owned()
    })
}
