//! `tinyhost serve`.

mod binds;
#[cfg(feature = "tls")]
mod certificate;
mod inherited;
mod logger;
mod proxies;
#[cfg(feature = "nats")]
mod source;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use log::LevelFilter;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use tinyhost::serve::logging::LogFormat;
use tinyhost::serve::{Handle, Limits, Load, Prepare, ProxyProtocol, ServeConfig, Server, Unit};
use tinyhost::trace::{Last, ReportHint, Sink, Tracer};
use tinyhost::vfs::reach::Reach;
use tinyhost::wasi::{Tee, Trace};
use tinyhost::{Program, ProgramConfig as Compile, WarmUp};

use binds::{Binds, fetches};
#[cfg(feature = "tls")]
use certificate::Certificate;
use inherited::HandedOver;

use super::args::{ServeArgs, units};
use super::failure::{CliResult, Failure, plain};
use super::fatal_signal;
use super::grant::checked::Checked;
use super::grant::environment::Variable;
use super::guests::{self, GuestRequest, Guests};
use super::limits;
use super::load::load;
use super::observe::{self, Crashes};
use super::start::{self, Start};

/// Variables that are each guest's own.
const CLIENT: &[&str] = &[
    "PROTO",
    "TCPREMOTEIP",
    "TCPREMOTEPORT",
    "TCPLOCALIP",
    "TCPLOCALPORT",
    "UNIXLOCALPATH",
    "UNIXREMOTEPID",
    "UNIXREMOTEEUID",
    "UNIXREMOTEEGID",
    #[cfg(feature = "tls")]
    "SSL_PROTOCOL",
    #[cfg(feature = "tls")]
    "SSL_CLIENT_S_DN",
];

/// Variables of CGI, which are each request's; so is all that begins with `HTTP_`.
const CGI: [&str; 14] = [
    "CONTENT_LENGTH",
    "CONTENT_TYPE",
    "GATEWAY_INTERFACE",
    "PATH_INFO",
    "QUERY_STRING",
    "REMOTE_ADDR",
    "REMOTE_PORT",
    "REQUEST_METHOD",
    "REQUEST_URI",
    "SCRIPT_NAME",
    "SERVER_NAME",
    "SERVER_PORT",
    "SERVER_PROTOCOL",
    "SERVER_SOFTWARE",
];

/// What is run if no program is given.
const ECHO: &[u8] = include_bytes!("../../../fixtures/echo.wasm");

/// Runs the server until a signal stops it.
///
/// # Errors
///
/// Whatever keeps it from being started.
pub fn serve(mut args: ServeArgs) -> CliResult<u8> {
    let handed_over = HandedOver::take()?;
    let (format, level) = logging(&args)?;
    logger::install(format, level);
    let trace = observe::wanted(args.take_traced(), true)?;
    let crash_dir = args.crash_dir.take();
    let (mut config, reach) = config(plan(args, handed_over, trace.is_some())?)?;
    let trace = trace.map(|trace| trace.open(&reach)).transpose()?.map(Arc::new);
    let sink = trace.as_ref().map(|trace| trace.sink.clone());
    let dir = crash_dir.as_deref();
    let crashes = dir.map(|dir| Crashes::new(dir, &config.name, &reach)).transpose()?;
    watch_guests(&mut config, sink, crashes);
    raise_descriptor_limit();
    let drain = config.drain;
    let failed = |error: std::io::Error| match error.raw_os_error() {
        // Others say where and what to do by themselves.
        None => Failure::not_started(error),
        Some(_) => Failure::not_started(format!("can't start the server: {}", plain(&error))),
    };
    let server = Server::bind(config).map_err(failed)?;
    // Who reads that it listens may send signals.
    obey_signals(server.handle(), drain, trace.clone())?;
    for addr in server.local_addrs() {
        log::info!("listening on {addr}");
    }
    if let Some(addr) = server.metrics_addr() {
        match addr.tcp() {
            Some(addr) => log::info!("metrics on http://{addr}/metrics"),
            None => log::info!("metrics on {addr}"),
        }
    }
    server.run().map_err(|error| Failure::not_started(plain(&error)))?;
    trace.inspect(|trace| trace.finish());
    log::info!("stopped");
    Ok(0)
}

/// Traces each guest's calls under its client's address, and keeps the last ones for a
/// report: one for each cause.
fn watch_guests(config: &mut ServeConfig, sink: Option<Arc<Sink>>, crashes: Option<Crashes>) {
    let keep = crashes.is_some();
    if keep || sink.is_some() {
        let before = config.prepare.take();
        config.prepare = Some(Arc::new(move |client, cx| {
            let cx = match &before {
                Some(before) => before(client, cx),
                None => cx,
            };
            let mut watchers: Vec<Box<dyn Trace>> = Vec::new();
            if keep {
                watchers.push(Box::new(Last::default()));
            }
            if let Some(sink) = &sink {
                let client = client.map_or_else(|| "ahead".into(), |client| client.to_string());
                watchers.push(Box::new(Tracer::new(sink, &client)));
            }
            cx.trace(Tee(watchers))
        }));
    }
    if let Some(crashes) = crashes {
        config.post_mortem = Some(Arc::new(move |why, elapsed, guest| {
            if let Some(path) = crashes.report(why, elapsed, guest) {
                log::warn!(why; "crash report {path}");
            }
        }));
    }
}

/// Takes denials. A guest may only have tried what it can do without: one that fails is a warning
/// of its own.
fn denials() -> ReportHint {
    Arc::new(|line| log::info!("{line}"))
}

fn logging(args: &ServeArgs) -> CliResult<(LogFormat, LevelFilter)> {
    let format = match args.log_format.as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => {
            return Err(units::invalid("--log-format", other, "write text or json"));
        }
    };
    let level = args.log_level.as_deref().unwrap_or("info");
    let level = level.parse().map_err(|_| {
        units::invalid("--log-level", level, "write error, warn, info, debug or trace")
    })?;
    Ok((format, level))
}

/// What is meant by these options, with nothing opened or bound yet.
struct ServePlan {
    unit: Unit,
    keep_open: bool,
    limits: Limits,
    ahead: usize,
    workers: usize,
    drain: Duration,
    wanted: GuestRequest,
    binds: Binds,
    /// Work comes from elsewhere than connections.
    fetches: bool,
    #[cfg(feature = "nats")]
    from: Option<tinyhost::serve::NatsConfig>,
    proxies: Option<ProxyProtocol>,
    #[cfg(feature = "tls")]
    certificate: Option<Certificate>,
    warm_up: Option<WarmUp>,
    /// Where the program is read from, unless it is built in.
    path: Option<String>,
    args: Vec<String>,
    watch: bool,
}

fn plan(mut args: ServeArgs, handed_over: HandedOver, traced: bool) -> CliResult<ServePlan> {
    let unit = unit(&args)?;
    let fetches = fetches(&args);
    let limited = args.take_limited();
    let limits = limits::of_server(&args, &limited, unit)?;
    let ahead = ahead(&args, unit, traced)?;
    let wanted = wanted(&mut args, limited.stack.as_deref(), unit)?;
    let proxies = proxies::wanted(&args)?;
    let drain = args.drain.as_deref().map(|text| units::time("--drain", text)).transpose()?;
    let binds = Binds::new(&args.bind, args.metrics.as_deref(), handed_over)?;
    #[cfg(feature = "nats")]
    let from = source::wanted(&args, unit, &wanted.grant)?;
    let workers = guests::workers(args.workers.as_deref())?;
    #[cfg(feature = "tls")]
    let certificate = certificate::wanted(&mut args)?;
    let warm_up = start::wanted(args.warm, args.call.take(), &wanted.compile)?;
    let mut command = args.program.into_iter();
    let path = command.next();
    // What came by standard input can't be had again.
    if args.watch && path.as_deref().is_none_or(|path| path == "-") {
        return Err(Failure::usage(
            "--watch needs a program that is read from a file: give its path",
        ));
    }
    Ok(ServePlan {
        unit,
        keep_open: args.keep_open,
        limits,
        ahead,
        workers,
        drain: drain.unwrap_or(Duration::ZERO),
        wanted,
        binds,
        fetches,
        #[cfg(feature = "nats")]
        from,
        proxies,
        #[cfg(feature = "tls")]
        certificate,
        warm_up,
        path,
        args: command.collect(),
        watch: args.watch,
    })
}

/// Opens what is meant, and compiles the program. Nothing listens yet but the usual addresses.
fn config(plan: ServePlan) -> CliResult<(ServeConfig, Reach)> {
    let ServePlan { unit, limits, wanted, binds, warm_up, path, .. } = plan;
    let name = path.as_deref().map_or("echo", guests::name).to_owned();
    // One that is to be warm runs when all it needs is there.
    let cold =
        if warm_up.is_none() { Some(program(path.as_deref(), &wanted.compile)?) } else { None };
    let file = path.clone().filter(|path| path != "-");
    let compile = wanted.compile.clone();
    let Guests { args: own, env, namespace, hints, reach } = wanted.open(plan.args, denials())?;
    guests::warn_of_misplaced("serve", &own);

    let prepare =
        hints.map(|hints| -> Prepare { Arc::new(move |_, cx| cx.on_error(hints.for_guest())) });
    let mut start = None;
    let program = match (cold, warm_up) {
        (Some(program), _) => program,
        (None, warm_up) => {
            let namespace = namespace.clone();
            let before = prepare.clone();
            let prepared = move |cx| before.iter().fold(cx, |cx, prepare| prepare(None, cx));
            let given = Start::new(warm_up.unwrap_or_default(), &name, &own, &env, namespace)?
                .limited(limits.memory, limits.max_fds)
                .prepared(prepared);
            start.insert(given).load(path.as_deref(), ECHO)?
        }
    };
    let mut config = ServeConfig::new(program, name);
    #[cfg(feature = "tls")]
    certificate::add(&mut config, plan.certificate);
    (config.args, config.env, config.namespace) = (own, env, namespace);
    config.prepare = prepare;
    (config.unit, config.keep_open, config.workers) = (unit, plan.keep_open, plan.workers);
    config.ahead = plan.ahead;
    config.limits = limits;
    config.proxy_protocol = plan.proxies;
    config.drain = plan.drain;
    config.watch = file.as_ref().filter(|_| plan.watch).map(PathBuf::from);
    config.reload = file.map(|path| reload(path, compile, start));
    binds.out_of(&reach)?;
    // What only fetches its work listens nowhere.
    let binds = if plan.fetches { binds } else { binds.or_default()? };
    let Binds { clients, metrics } = binds;
    (config.binds, config.metrics) = (clients, metrics);
    #[cfg(feature = "nats")]
    source::add(&mut config, plan.from);
    Ok((config, reach))
}

/// What a server would be started with. Nothing is bound or run; its mounts are opened.
///
/// # Errors
///
/// Whatever would keep it from being started, but that its addresses are taken and what a warm
/// program does.
pub fn check(mut args: ServeArgs) -> CliResult<Checked> {
    let handed_over = HandedOver::take()?;
    logging(&args)?;
    let trace = observe::wanted(args.take_traced(), true)?;
    let plan = plan(args, handed_over, trace.is_some())?;
    let mut facts = Vec::new();
    #[cfg(feature = "nats")]
    if let Some(from) = &plan.from {
        facts.push(("messages of", format!("{from}/{}", from.subject)));
    }
    if !plan.fetches || !plan.binds.clients.is_empty() {
        facts.push(("listens at", plan.binds.shown()));
        facts.push(("a guest for", shown_unit(&plan)));
    }
    if let Some(metrics) = &plan.binds.metrics {
        facts.push(("metrics at", binds::shown(metrics)));
    }
    if let Some(proxies) = &plan.proxies {
        let how = if proxies.required { "required" } else { "not required" };
        let from: Vec<String> = proxies.from.iter().map(ToString::to_string).collect();
        facts.push(("PROXY header", format!("{how}, of {}", from.join(" "))));
    }
    #[cfg(feature = "tls")]
    if plan.certificate.is_some() {
        facts.push(("TLS", "its certificate and key fit".to_owned()));
    }
    let grant = plan.wanted.grant.clone();
    let Guests { reach, .. } = plan.wanted.open(plan.args, denials())?;
    plan.binds.out_of(&reach)?;
    Ok(Checked { grant, program: plan.path, facts, is_run: false })
}

fn shown_unit(plan: &ServePlan) -> String {
    let unit = match plan.unit {
        Unit::Line if plan.keep_open => "each line of a connection that is kept open",
        Unit::Line => "the line of each connection",
        Unit::Connection => "each connection",
        Unit::Http => "each request of HTTP",
        Unit::Scgi => "each request of SCGI",
    };
    unit.to_owned()
}

/// Loads the program again, as it was loaded.
fn reload(path: String, compile: Compile, start: Option<Start>) -> Load {
    Arc::new(move || {
        let loaded = match &start {
            Some(start) => start.load(Some(&path), ECHO),
            None => load(&path, &compile),
        };
        loaded.map_err(|failure| failure.text)
    })
}

/// A program whose guests start at the beginning; without a path, the one that is built in.
fn program(path: Option<&str>, compile: &Compile) -> CliResult<Program> {
    match path {
        Some(path) => load(path, compile),
        None => {
            fatal_signal::set_program("echo");
            Ok(Program::with(compile, ECHO).expect("the tests run it"))
        }
    }
}

/// What the guests may have: options, and the policy's.
fn wanted(args: &mut ServeArgs, stack: Option<&str>, unit: Unit) -> CliResult<GuestRequest> {
    let listens = "serve listens where --bind says";
    let wanted = GuestRequest::new(args.take_given(), stack, listens, denials())?;
    let fetches = fetches(args);
    let own = |variable: &&Variable| {
        let name = variable.name.as_str();
        let of_request = CGI.contains(&name) || name.starts_with("HTTP_");
        let of_message = fetches && name.starts_with("NATS_");
        let of_request = matches!(unit, Unit::Http | Unit::Scgi) && of_request;
        CLIENT.contains(&name) || of_request || of_message
    };
    match wanted.grant.env.iter().find(own) {
        Some(Variable { name, .. }) => Err(Failure::usage(format!(
            "--env {name}: serve sets this variable for each client: leave it out"
        ))),
        None => Ok(wanted),
    }
}

/// More guests than this would only take memory.
const AHEAD_MAX: usize = 1024;

/// What a guest serves.
fn unit(args: &ServeArgs) -> CliResult<Unit> {
    let unit = match args.per.as_deref() {
        None | Some("line") => Unit::Line,
        Some("connection") => Unit::Connection,
        Some(other) => {
            return Err(Failure::usage(format!(
                "invalid --per '{other}': write line or connection"
            )));
        }
    };
    let (option, unit_of_request) = match (args.http, args.scgi) {
        (false, false) => return Ok(unit),
        (true, true) => {
            return Err(Failure::usage(
                "--http can't be combined with --scgi: leave out --http if a server in front speaks \
                 SCGI, or --scgi if clients speak HTTP",
            ));
        }
        (true, false) => ("--http", Unit::Http),
        (false, true) => ("--scgi", Unit::Scgi),
    };
    let other = if args.per.is_some() {
        "--per, as a request has a guest"
    } else if args.keep_open && args.http {
        "--keep-open, as each client says whether more requests follow"
    } else if args.keep_open {
        "--keep-open, as a connection has one request"
    } else if args.warm && args.scgi {
        "--warm, as its guests would have the environment of the start"
    } else if args.program.is_empty() {
        return Err(Failure::usage(format!(
            "{option} needs a program: give the path of one that speaks CGI (it reads \
             REQUEST_METHOD and PATH_INFO, and writes header lines, an empty line and a body)"
        )));
    } else {
        return Ok(unit_of_request);
    };
    Err(Failure::usage(format!("{option} can't be combined with {other}: leave it out")))
}

/// Guests run ahead by each worker.
fn ahead(args: &ServeArgs, unit: Unit, traced: bool) -> CliResult<usize> {
    let Some(text) = &args.ahead else { return Ok(0) };
    let count = usize::try_from(units::count("--ahead", text)?).unwrap_or(usize::MAX);
    if count > AHEAD_MAX {
        let hint = format!("write a number up to {AHEAD_MAX}");
        return Err(units::invalid("--ahead", text, &hint));
    }
    // A guest of a connection does not wait for a line, and a guest that runs ahead has no client
    // under whose address its calls could be traced.
    let other = if unit == Unit::Connection {
        "--per connection"
    } else if matches!(unit, Unit::Http | Unit::Scgi) {
        // It looks at its environment first, which is that of its request.
        if unit == Unit::Http { "--http" } else { "--scgi" }
    } else if traced {
        "--trace"
    } else {
        return Ok(count);
    };
    Err(Failure::usage(format!("--ahead can't be combined with {other}: leave one of them out")))
}

/// A connection is a descriptor, and the usual soft limit of 1024 is soon reached.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        log::warn!("can't raise the limit of open files: {error}");
    }
}

/// SIGHUP reloads the program; SIGINT and SIGTERM end the server, SIGTERM after the drain, and the
/// second one at once.
fn obey_signals(
    handle: Handle,
    drain: Duration,
    trace: Option<Arc<observe::OpenTrace>>,
) -> CliResult<()> {
    let failed = |error: std::io::Error| {
        Failure::not_started(format!("can't handle signals: {}", plain(&error)))
    };
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).map_err(failed)?;
    let obey = move || {
        let mut stopping = false;
        for signal in signals.forever() {
            if signal == SIGHUP {
                handle.reload();
            } else if std::mem::replace(&mut stopping, true) {
                // Its sockets go, and what is buffered of the trace would be lost.
                handle.stop();
                trace.iter().for_each(|trace| trace.finish());
                std::process::exit(128 + signal);
            } else if signal == SIGTERM && !drain.is_zero() {
                log::info!("draining for {}: /healthz answers 503", units::shown(drain));
                handle.shutdown();
            } else {
                log::info!("stopping: running lines may finish");
                handle.stop();
            }
        }
    };
    std::thread::Builder::new().name("signals".into()).spawn(obey).map_err(failed)?;
    Ok(())
}
