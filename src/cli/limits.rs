//! The limits of commands that give each line a guest, as typed.

use std::time::Duration;

use tinyhost::serve::{Limits, Unit};

use super::args::{Limited, ServeArgs, units};
use super::failure::{CliResult, Failure};

/// The limits on lines and guests that were asked for, and the usual ones beside them.
///
/// # Errors
///
/// For a number that is none, and one with which nothing could be served.
pub fn limits(args: &Limited) -> CliResult<Limits> {
    let usual = Limits::default();
    Ok(Limits {
        max_line: size("--max-line", &args.max_line, usual.max_line)?,
        max_reply: size("--max-reply", &args.max_reply, usual.max_reply)?,
        timeout: time("--timeout", &args.timeout, usual.timeout)?,
        memory: size("--memory", &args.memory, usual.memory)?,
        // None at all is no trouble: some MiB of each guest are not counted.
        memory_total: match &args.memory_total {
            Some(text) => units::size("--memory-total", text)?,
            None => usual.memory_total,
        },
        fuel: args.fuel.as_deref().map(fuel).transpose()?,
        cpu: args.cpu.as_deref().map(units::cpu).transpose()?,
        max_fds: count("--max-fds", &args.max_fds, usual.max_fds)?,
        ..usual
    })
}

/// The limits of a server.
///
/// # Errors
///
/// As for [`limits`], and for a limit of lines where there are none.
pub fn of_server(args: &ServeArgs, limited: &Limited, unit: Unit) -> CliResult<Limits> {
    if unit == Unit::Connection {
        out_of_place("--max-line", limited.max_line.as_ref(), "with --per connection")?;
        out_of_place("--max-reply", limited.max_reply.as_ref(), "with --per connection")?;
    }
    if matches!(unit, Unit::Http | Unit::Scgi) {
        let with = if unit == Unit::Http { "with --http" } else { "with --scgi" };
        out_of_place("--max-line", limited.max_line.as_ref(), with)?;
    } else {
        out_of_place("--max-head", args.max_head.as_ref(), "without --http")?;
        out_of_place("--max-body", args.max_body.as_ref(), "without --http")?;
    }
    let usual = limits(limited)?;
    Ok(Limits {
        max_conns: count("--max-conns", &args.max_conns, usual.max_conns)?,
        max_conns_per_addr: count(
            "--max-conns-per-addr",
            &args.max_conns_per_addr,
            usual.max_conns_per_addr,
        )?,
        max_head: size("--max-head", &args.max_head, usual.max_head)?,
        max_body: size("--max-body", &args.max_body, usual.max_body)?,
        // A limit that was typed is meant for all.
        count_loopback: args.max_conns_per_addr.is_some(),
        idle: time("--idle", &args.idle, usual.idle)?,
        ..usual
    })
}

/// A limit on what there is not: of lines for a guest of a connection, which reads and writes bytes,
/// as many as it likes; of requests where there are none.
fn out_of_place(option: &str, typed: Option<&String>, when: &str) -> CliResult<()> {
    match typed {
        None => Ok(()),
        Some(_) => Err(Failure::usage(match when.strip_prefix("with ") {
            Some(other) => format!("{option} can't be combined with {other}: leave it out"),
            None => format!("{option} has no effect {when}: leave it out, or add --http"),
        })),
    }
}

/// A count that is not zero.
pub fn count(option: &str, text: &Option<String>, usual: usize) -> CliResult<usize> {
    let Some(text) = text else { return Ok(usual) };
    let count = usize::try_from(units::count(option, text)?).unwrap_or(usize::MAX);
    let instead = format!("write 1 or more, or leave it out for the default of {usual}");
    units::some(option, text, count, &instead)
}

fn size(option: &str, text: &Option<String>, usual: usize) -> CliResult<usize> {
    let Some(text) = text else { return Ok(usual) };
    let instead = format!("write more, or leave it out for the default of {}K", usual >> 10);
    units::some(option, text, units::size(option, text)?, &instead)
}

fn time(option: &str, text: &Option<String>, usual: Duration) -> CliResult<Duration> {
    let Some(text) = text else { return Ok(usual) };
    let instead =
        format!("write 1ms or more, or leave it out for the default of {}s", usual.as_secs());
    units::some(option, text, units::time(option, text)?, &instead)
}

fn fuel(text: &str) -> CliResult<u64> {
    units::some("--fuel", text, units::count("--fuel", text)?, "leave it out for no limit")
}
