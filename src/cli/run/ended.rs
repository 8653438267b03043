//! What `run` says of a guest at its end: why, what may have been wrong, and what was asked
//! to report.

use std::time::Duration;

use tinyhost::trace::escape::Line;
use tinyhost::trace::{Hints, Learn, Mounted, Stats, outside};
use tinyhost::{Cause, End, Guest};

use super::{Plan, signals};
use crate::cli::args::{table, units};
use crate::cli::failure::{CliResult, Failure, plain, status};
use crate::cli::grant::learn;
use crate::cli::grant::mounts::MountSpec;
use crate::cli::observe::Crashes;
use crate::cli::output::{Output, say};
use crate::cli::style;

/// A guest that has come to its end.
pub struct Ended<'a> {
    pub plan: &'a Plan,
    pub end: &'a End,
    /// What ended it before its time was up.
    pub signal: Option<i32>,
    pub guest: &'a Guest,
    /// Since it was made.
    pub elapsed: Duration,
}

impl Ended<'_> {
    /// Writes all reports about it, and returns the exit status, which is the guest's even if a
    /// report can't be written.
    ///
    /// # Errors
    ///
    /// If the host ended it.
    pub fn told(&self, crashes: Option<&Crashes>, learned: Option<&Output>) -> CliResult<u8> {
        let mut outcome = self.outcome();
        if let (Err(failure), Some(crashes)) = (&mut outcome, crashes) {
            let path = crashes.report(&failure.text, self.elapsed, self.guest);
            failure.text.extend(path.map(|path| format!("\n  report: {path}")));
        }
        // Beside a reported denial, whatever else it looked for is of no interest.
        let failed = !matches!(self.end, End::Exited(0));
        if failed && !self.plan.denials.tell() && !self.plan.quiet {
            self.hint();
        }
        if self.plan.stats {
            self.sums();
        }
        if let Some(file) = learned {
            self.write_down(file);
        }
        outcome
    }

    /// Writes the policy that was learned.
    fn write_down(&self, file: &Output) {
        let cx = self.guest.context();
        let used = cx.trace::<Learn>().map(Learn::used).cloned().unwrap_or_default();
        let least = learn::least(&self.plan.grant, &used);
        let text = least.text(&self.plan.program, &used);
        if let Err(failure) = file.write(text.as_bytes()) {
            log::error!("{}", failure.text);
        }
    }

    /// What may have been wrong with how it was run, if the guest itself failed.
    fn hint(&self) {
        let End::Exited(_) = self.end else { return };
        let mounts: Vec<Mounted> = self.plan.grant.mounts.iter().map(MountSpec::told).collect();
        let cx = self.guest.context();
        let limit = || {
            let refused =
                |what, option| format!("the guest reached its {what}: raise it with {option}");
            match (cx.memory_refused(), cx.fds_refused()) {
                (true, _) => Some(refused("memory limit", "--memory")),
                (_, true) => Some(refused("limit of open files", "--max-fds")),
                _ => None,
            }
        };
        let said = self.plan.said.text();
        let missing = || cx.trace::<Hints>().and_then(|hints| hints.missing(&said));
        let hint = self
            .misplaced()
            .or_else(limit)
            .or_else(|| self.without_dev())
            .or_else(|| outside(&mounts, &self.plan.args, &said))
            .or_else(missing);
        if let Some(hint) = hint {
            log::warn!("hint: {hint}");
        }
    }

    /// A device that was asked for and left out.
    fn without_dev(&self) -> Option<String> {
        let device = |arg: &&String| *arg == "/dev" || arg.starts_with("/dev/");
        let arg = self.plan.args.iter().find(device).filter(|_| self.plan.grant.no_dev)?;
        Some(format!(
            "the guest has no '{arg}' because of --no-dev: leave that out (also in the \
         policy)"
        ))
    }

    /// An option that was handed to the guest.
    fn misplaced(&self) -> Option<String> {
        let command = table::find("run")?;
        let option = command.misplaced(&self.plan.args)?;
        Some(format!(
            "{option} comes after the program name, so it was passed to the program: put options \
             before the program name"
        ))
    }

    fn sums(&self) {
        let (guest, cx) = (self.guest, self.guest.context());
        let (wall, fuel, peak) = (self.elapsed.as_secs_f64(), guest.fuel_used(), cx.memory_peak());
        let name = style::stderr().bold(&format!("stats of {}", self.plan.program));
        let sums = cx.trace::<Stats>().map_or_else(String::new, Stats::to_string);
        say(&format!(
            "tinyhost: {name}\n  wall {wall:.6} s, fuel {fuel}, peak memory {peak} bytes\n{sums}"
        ));
    }

    fn outcome(&self) -> CliResult<u8> {
        let (plan, name) = (self.plan, &self.plan.program);
        let failure = |status, text: String| {
            let text = format!("{name}: {}", Line(&text));
            Err(Failure { status, text, signal: self.signal })
        };
        match self.end {
            // What a shell sees of a status is its lowest byte.
            End::Exited(code) => Ok(u8::try_from(code & 0xff).unwrap_or(1)),
            End::TimedOut if self.signal.is_some() => {
                let signal = self.signal.unwrap_or_default();
                let status = u8::try_from(128 + signal).unwrap_or(u8::MAX);
                failure(status, format!("ended by {}", signals::name(signal)))
            }
            End::TimedOut => {
                let limit = plan.limits.time.map(units::shown).unwrap_or_default();
                let why = format!("timed out after {limit} (raise the limit with --timeout)");
                failure(status::TIMEOUT, why)
            }
            End::Failed(error) => {
                let why = format!("the host can't wait for events: {}", plain(error));
                failure(status::NOT_STARTED, why)
            }
            End::Trapped(trap) => match trap.cause {
                Cause::Memory if plan.limits.memory.is_some() => {
                    failure(status::LIMIT, format!("{trap} (raise the limit with --memory)"))
                }
                Cause::Memory => failure(status::LIMIT, trap.to_string()),
                Cause::Fuel => {
                    failure(status::LIMIT, format!("{trap} (raise the limit with --fuel)"))
                }
                Cause::Cpu => {
                    failure(status::LIMIT, format!("{trap} (raise the limit with --cpu)"))
                }
                Cause::Wasm if trap.text.contains("stack") => {
                    failure(status::TRAP, format!("trap: {trap} (raise the limit with --stack)"))
                }
                Cause::Wasm => failure(status::TRAP, format!("trap: {trap}")),
                // Its instance could not be made: nothing was started.
                Cause::Host => failure(status::NOT_STARTED, trap.to_string()),
            },
        }
    }
}
