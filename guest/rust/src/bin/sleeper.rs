//! `sleeper MS`: sleeps that many milliseconds, then prints `slept`.
//!
//! Pins: a sleep lasts as long as asked, holds no thread, and can be ended by a timeout.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

fn main() -> ExitCode {
    let Some(ms) = std::env::args().nth(1).and_then(|ms| ms.parse().ok()) else {
        eprintln!("usage: sleeper MS");
        return ExitCode::from(2);
    };
    let time = Duration::from_millis(ms);
    let start = Instant::now();
    thread::sleep(time);
    if start.elapsed() < time {
        eprintln!("sleeper: woken too early");
        return ExitCode::FAILURE;
    }
    println!("slept");
    ExitCode::SUCCESS
}
