//! `tinyhost run`.

use std::net::{SocketAddr, TcpListener};
use std::time::Instant;

use tinyhost::sched::{End, Happened, Scheduler};
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::net::{Listener, Net};
use tinyhost::vfs::stdio::{Closed, Stream};
use tinyhost::wasi::Builder;
use tinyhost::{Cause, Config, Guest, Program, WasiCtx};

use super::args::Run;
use super::mounts::Mount;
use super::{Failure, Outcome, environment, load, logger, mounts, plain, policy, status, units};

/// Limits, each of them off unless asked for.
struct Limits {
    time: Option<std::time::Duration>,
    fuel: Option<u64>,
    memory: Option<usize>,
    fds: Option<usize>,
    config: Config,
}

/// What is meant by a `run`, with nothing opened yet.
struct Plan {
    program: String,
    args: Vec<String>,
    env: Vec<(String, String)>,
    mounts: Vec<Mount>,
    dev: bool,
    net: tinyhost::vfs::net::Config,
    listen: Vec<SocketAddr>,
    limits: Limits,
}

/// Runs the command; its exit status.
///
/// # Errors
///
/// Whatever keeps the guest from being started.
pub fn run(args: Run) -> Outcome<u8> {
    logger::plain();
    let plan = plan(args)?;
    let program = load(&plan.program, &plan.limits.config)?;
    let guest = guest(&plan, &program)?;
    drive(&plan, guest)
}

fn plan(args: Run) -> Outcome<Plan> {
    let mut command = args.command.into_iter();
    let program = command.next().ok_or_else(|| {
        Failure::usage("no program given: tinyhost run [OPTIONS] PROGRAM.wasm [ARGS...]")
    })?;
    let policy = policy(&args.net, &args.net_listen)?;
    let net = tinyhost::vfs::net::Config { policy, ..Default::default() };
    let optional = |text: &Option<String>, option: &str| {
        text.as_deref().map(|text| units::size(option, text)).transpose()
    };
    let count = |text: &Option<String>, option: &str| {
        text.as_deref().map(|text| units::count(option, text)).transpose()
    };
    let mut config = Config { reuse: false, ..Config::default() };
    if let Some(stack) = optional(&args.stack, "--stack")? {
        config.stack_max = stack;
        // About the smallest frame there is.
        config.frames_max = (stack / 64).max(1000);
    }
    Ok(Plan {
        program,
        args: command.collect(),
        env: environment(&args.env)?,
        mounts: mounts::parse(&args.dir, &args.mount)?,
        dev: !args.no_dev,
        net,
        listen: args.listen.iter().map(|text| address(text)).collect::<Outcome<_>>()?,
        limits: Limits {
            time: args.timeout.as_deref().map(|t| units::time("--timeout", t)).transpose()?,
            fuel: count(&args.fuel, "--fuel")?,
            memory: optional(&args.memory, "--memory")?,
            fds: count(&args.max_fds, "--max-fds")?
                .map(|count| usize::try_from(count).unwrap_or(usize::MAX)),
            config,
        },
    })
}

fn address(text: &str) -> Outcome<SocketAddr> {
    text.parse().map_err(|_| {
        Failure::usage(format!(
            "--listen '{text}' is no address: write --listen 127.0.0.1:8080 or --listen [::1]:8080"
        ))
    })
}

fn guest(plan: &Plan, program: &Program) -> Outcome<Guest> {
    let net = Net::new(plan.net.clone());
    let dev = plan.dev.then(|| Dev::with_net(net.clone()));
    let namespace = mounts::Opened::new(&plan.mounts, &net)?.namespace(dev)?;
    // argv[0] is the name of the file, as elsewhere: a guest has no use for its path.
    let name = plan.program.rsplit('/').next().unwrap_or(&plan.program);
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
    cx = standard_streams(cx);
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

/// Runs the guest to its end, and says how it came to it.
fn drive(plan: &Plan, guest: Guest) -> Outcome<u8> {
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
            if let Happened::Ended(_, end, _) = event {
                return ended(plan, end);
            }
        }
    }
}

fn ended(plan: &Plan, end: End) -> Outcome<u8> {
    let name = &plan.program;
    let failure = |status, text: String| Err(Failure { status, text: format!("{name}: {text}") });
    match end {
        // What a shell sees of a status is its lowest byte.
        End::Exited(code) => Ok(u8::try_from(code & 0xff).unwrap_or(1)),
        End::TimedOut => {
            failure(status::TIMEOUT, "its time was up (allow more with --timeout TIME)".to_owned())
        }
        End::Failed(error) => {
            failure(status::NOT_STARTED, format!("the host can't wait for it: {}", plain(&error)))
        }
        End::Trapped(trap) => match trap.cause {
            Cause::Memory if plan.limits.memory.is_some() => {
                failure(status::LIMIT, format!("{trap} (allow more with --memory SIZE)"))
            }
            Cause::Memory => failure(status::LIMIT, trap.to_string()),
            Cause::Fuel => failure(status::LIMIT, format!("{trap} (allow more with --fuel COUNT)")),
            Cause::Wasm if trap.text.contains("stack") => {
                failure(status::TRAP, format!("trap: {trap} (allow more with --stack SIZE)"))
            }
            Cause::Wasm => failure(status::TRAP, format!("trap: {trap}")),
            // A start section that does what only `_start` can: nothing was started.
            Cause::Host => failure(status::NOT_STARTED, trap.to_string()),
        },
    }
}
