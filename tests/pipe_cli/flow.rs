//! Order, waiting, ends: how lines flow.

use std::io::{Read, Write};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use super::guest::{command, pipe};
use crate::util::Process;

/// A thousand lines of which some sleep, fail or compute.
#[test]
fn replies_are_in_the_order_of_the_lines() {
    let mut input = String::new();
    let mut output = String::new();
    for i in 0..20_000 {
        let kind = match i % 97 {
            0 => "w",
            13 => "x",
            17 => "0",
            29 => "2",
            _ => "a",
        };
        let line = format!("{kind}{i}\n");
        input += &line;
        match kind {
            "0" => {}
            "2" => output += &line.repeat(2),
            _ => output += &line,
        }
    }
    for options in [
        &["--workers=4"][..],
        &["--workers=1", "--window=1"],
        &["--workers=3", "--window=7"],
        &["--workers=2", "--window=5000"],
    ] {
        let ended = pipe(&[&["--on-error=pass"], options].concat(), input.as_bytes());
        assert_eq!(ended.status, Some(1), "{}", ended.stderr);
        assert!(ended.stdout == output.as_bytes(), "{options:?}: {} bytes", ended.stdout.len());
    }
}

#[test]
fn a_line_is_answered_before_the_next_one_comes() {
    let mut process = Process::start(command(&[]));
    let mut replies = String::new();
    for i in 0..50 {
        let line = format!("{}{i}\n", if i % 10 == 9 { "w" } else { "a" });
        process.write(line.as_bytes());
        replies += &line;
        process.wait_for_stdout(&replies);
    }
    // The beginning of a line is none.
    process.write(b"a part");
    process.write(b" and the rest\nb");
    replies += "a part and the rest\n";
    process.wait_for_stdout(&replies);
    process.close_stdin();
    process.end().expect(0, &(replies + "b"), "");
}

/// The replies before one that takes long go out, though they came with it.
#[test]
fn a_slow_line_holds_back_only_those_after_it() {
    let mut process = Process::start(command(&["--timeout=1h", "--workers=1"]));
    process.write(b"a\nb\nW\nc\n");
    process.wait_for_stdout("a\nb\n");
    process.signal(rustix::process::Signal::TERM);
    let ended = process.end();
    assert_eq!(ended.signal, Some(15), "it ends as any filter does");
}

/// Sleeping lines sleep at the same time: else this takes longer than a test may.
#[test]
fn lines_that_wait_wait_together() {
    let lines = "w\n".repeat(100_000);
    let ended = pipe(&["--window=20000"], lines.as_bytes());
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stdout == lines.as_bytes());
}

#[test]
fn a_reader_that_has_read_enough_ends_it_quietly() {
    // With lines to come, with none, and with a guest that sleeps.
    for input in [&b"a\n"[..], b"a\nW\n"] {
        let (mut process, mut stdout) = Process::start_unread(command(&["--timeout=1h"]));
        process.write(input);
        let mut reply = [0; 2];
        stdout.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"a\n");
        drop(stdout);
        // Its input is still open: it ends because of its output alone.
        let ended = process.end();
        assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""));
    }
    let (mut process, stdout) = Process::start_unread(command(&[]));
    drop(stdout);
    process.write("a\n".repeat(100_000).as_bytes());
    let ended = process.end();
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""));
}

/// A hundred times what is kept of the input and the output, for a reader that stops.
#[cfg(target_os = "linux")]
#[test]
fn memory_stays_flat_with_a_slow_reader() {
    const LINES: usize = 150_000;
    const LINE: usize = 2000;
    let (mut process, mut stdout) = Process::start_unread(command(&["--workers=2"]));
    let line = format!("{}\n", "a".repeat(LINE - 1));
    let fed = Arc::new(AtomicUsize::new(0));
    let counter = fed.clone();
    let pid = process.pid();
    let text = line.clone();
    let feeder = thread::spawn(move || {
        for _ in 0..LINES {
            process.write(text.as_bytes());
            counter.fetch_add(1, Relaxed);
        }
        process.close_stdin();
        process
    });
    // Until nothing more is taken.
    let mut before = usize::MAX;
    while fed.load(Relaxed) != before {
        before = fed.load(Relaxed);
        thread::sleep(Duration::from_millis(500));
    }
    assert!(before < LINES, "all was read while nothing was written");
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: usize = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 120 << 10, "{peak} KiB at {before} lines");
    let mut output = vec![0; LINE];
    for _ in 0..LINES {
        stdout.read_exact(&mut output).unwrap();
        assert!(output == line.as_bytes());
    }
    let process = feeder.join().unwrap();
    assert_eq!(process.end().status, Some(0));
}

#[test]
fn a_disk_that_is_full_is_said() {
    let Ok(full) = std::fs::OpenOptions::new().write(true).open("/dev/full") else { return };
    let mut child: Command = command(&[]);
    child.stdin(std::process::Stdio::piped()).stdout(full).stderr(std::process::Stdio::piped());
    let mut child = child.spawn().unwrap();
    let _ = child.stdin.take().unwrap().write_all(b"a\n");
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(1));
    assert_eq!(
        String::from_utf8_lossy(&ended.stderr),
        "tinyhost: can't write to standard output: no space left on device\n"
    );
}
