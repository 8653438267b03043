//! What the many guests of one command are made from.

use std::sync::Arc;

use tinyhost::ProgramConfig as Compile;
use tinyhost::serve::MakeNamespace;
use tinyhost::trace::{Hints, ReportHint};
use tinyhost::vfs::dev::Dev;
use tinyhost::vfs::reach::Reach;

use super::args::{Given, table, units};
use super::failure::{CliResult, Failure};
use super::grant::network::Network;
use super::grant::policy::Grant;
use super::grant::{mounts, open};
use super::load::stacks;

/// More threads than any machine this runs on has processors.
const WORKERS_MAX: usize = 1024;

/// What they may have, with nothing opened yet.
pub struct GuestRequest {
    pub grant: Grant,
    network: Network,
    pub compile: Compile,
}

/// What is theirs, opened.
pub struct Guests {
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub namespace: MakeNamespace,
    /// Explains denials, if there is a mount: without one no call fails because of it.
    pub hints: Option<Hints>,
    /// What of the host they can change.
    pub reach: Reach,
}

impl GuestRequest {
    /// What was typed, checked. Denials go to `report`. `listens` says where `command` listens
    /// instead, for a policy that has the guest listen.
    ///
    /// # Errors
    ///
    /// For a word that means nothing here.
    pub fn new(
        given: Given,
        stack: Option<&str>,
        listens: &str,
        report: ReportHint,
    ) -> CliResult<GuestRequest> {
        let grant = Grant::new(given)?;
        if let Some(listen) = grant.rules.listen.first() {
            return Err(Failure::usage(format!(
                "--policy: 'listen {listen}' works with tinyhost run only: remove it ({listens})"
            )));
        }
        let network = Network::for_server(&grant.rules, report)?;
        let mut compile = Compile::default();
        if let Some(stack) = stack {
            let bytes = units::size("--stack", stack)?;
            (compile.stack_max, compile.frames_max) = stacks(bytes);
        }
        Ok(GuestRequest { grant, network, compile })
    }

    /// Opens the mounts: once, so that a missing one is found now. What they hold is shared.
    ///
    /// # Errors
    ///
    /// If one can't be opened.
    pub fn open(self, args: Vec<String>, report: ReportHint) -> CliResult<Guests> {
        let GuestRequest { grant, network, .. } = self;
        let opened = open::OpenMounts::new(&grant.mounts, &network)?;
        let no_dev = grant.no_dev;
        let dev = move || (!no_dev).then(|| Dev::with_net(network.net.for_guest()));
        opened.namespace(dev())?;
        let told: Vec<_> = grant.mounts.iter().map(mounts::MountSpec::told).collect();
        Ok(Guests {
            args,
            env: grant.environment(),
            namespace: Arc::new(move || opened.namespace(dev()).expect("it could be made before")),
            hints: (!grant.mounts.is_empty()).then(|| Hints::new(told.into(), report)),
            reach: open::reach(&grant.mounts)?,
        })
    }
}

/// The name of a program: the last part of its path.
pub fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

/// An option of `command` that was handed to the guests is a limit that is not in force.
pub fn warn_of_misplaced(command: &str, args: &[String]) {
    if let Some(option) = table::find(command).and_then(|command| command.misplaced(args)) {
        log::warn!(
            "{option} comes after the program name, so it is passed to each guest: put options \
             for {} before the program name",
            if command == "serve" { "the server" } else { command }
        );
    }
}

/// How many threads run guests.
///
/// # Errors
///
/// For a number that is none, or out of bounds.
pub fn workers(typed: Option<&str>) -> CliResult<usize> {
    let Some(text) = typed else {
        return Ok(std::thread::available_parallelism().map_or(1, usize::from).min(WORKERS_MAX));
    };
    let workers = usize::try_from(units::count("--workers", text)?).unwrap_or(usize::MAX);
    if !(1..=WORKERS_MAX).contains(&workers) {
        let hint = format!("write a number from 1 to {WORKERS_MAX}");
        return Err(units::invalid("--workers", text, &hint));
    }
    Ok(workers)
}
