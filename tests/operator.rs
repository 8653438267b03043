//! What the host writes for its operator: it is written or said not to be, no guest leads it
//! elsewhere, and how a program ends is its own affair.

mod util;

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use rustix::process::Signal;
use util::{Process, TempDir, busy, fixture, root, run, tinyhost};

fn wasm(name: &str) -> String {
    root().join(fixture(name)).display().to_string()
}

/// `tinyhost run WORDS` by way of a shell, whose redirections are in `line`; the exit status.
fn shell(line: &str, dir: &Path, words: &[&str]) -> Option<i32> {
    let mut command = Command::new("sh");
    command.args(["-c", line, env!("CARGO_BIN_EXE_tinyhost")]).args(words);
    command.current_dir(dir).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().unwrap().code()
}

#[cfg(target_os = "linux")]
#[test]
fn a_stream_that_takes_nothing_changes_no_status() {
    let dir = TempDir::new();
    let (hello, exit42, trap) = (wasm("hello"), wasm("exit42"), wasm("trap"));
    let told: [&[&str]; 6] = [
        &["--stats"],
        &["--trace"],
        &["--trace", "--trace-format=chrome"],
        &["--trace", "--trace-file=/dev/full"],
        &["--learn=/dev/full"],
        &["--stats", "--crash-dir=reports", "--listen=127.0.0.1:0"],
    ];
    for options in told {
        for (program, status) in [(&hello, 0), (&exit42, 42), (&trap, 134)] {
            let words = [options, &[program]].concat();
            for to in ["exec \"$0\" run \"$@\" 2>/dev/full", "exec \"$0\" run \"$@\" 2>&-"] {
                assert_eq!(shell(to, dir.path(), &words), Some(status), "{words:?} {to}");
            }
            // Nobody reads: the status of a pipeline is its last, so it is written down.
            let line = "{ \"$0\" run \"$@\" 2>&1 >/dev/null; echo $? > status; } | true";
            shell(line, dir.path(), &words);
            let found = fs::read_to_string(dir.path().join("status")).unwrap();
            assert_eq!(found.trim(), status.to_string(), "{words:?}");
        }
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_can_not_be_written_is_said_once() {
    let full = "tinyhost: /dev/full: can't write the file: no space left on device: choose another \
                path\n";
    for format in ["text", "json", "chrome"] {
        let format = format!("--trace-format={format}");
        let words = ["--trace", "--trace-file=/dev/full", &format, &fixture("exit42")];
        run(&words, b"").expect(42, "", full);
    }
    // Also by a program that prints what it was asked for; one whose reader has left is done.
    for words in [&["help"][..], &["man"], &["completions", "bash"], &["run", "--help"]] {
        let mut command = tinyhost(words);
        command.stdout(fs::File::options().write(true).open("/dev/full").unwrap());
        let output = command.stderr(Stdio::piped()).output().unwrap();
        let line = "tinyhost: can't write to standard output: no space left on device\n";
        assert_eq!(output.status.code(), Some(125), "{words:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), line, "{words:?}");
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = tinyhost(words).stdout(writer).output().unwrap();
        assert_eq!((output.status.code(), &*output.stderr), (Some(0), &b""[..]), "{words:?}");
    }
}

/// The program with no signal ignored, as a shell starts it. A job in the background of a script
/// has SIGINT ignored, and so have these tests there.
#[cfg(target_os = "linux")]
fn signalled() -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP,INT,TERM", env!("CARGO_BIN_EXE_tinyhost")]);
    command
}

/// Whether it computes or waits: what is to be told is told, and then it ends by the signal.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_ends_the_guest_and_not_the_telling() {
    for (program, args) in [("spin", &[][..]), ("sleeper", &["60000"])] {
        for signal in [Signal::INT, Signal::TERM, Signal::HUP] {
            let dir = TempDir::new();
            let mut command = signalled();
            command.current_dir(dir.path()).args(["run", "--stats", "--learn=policy"]);
            command.args(["--trace=poll", "--trace-file=trace", "--crash-dir=reports"]);
            command.args(["--listen=127.0.0.1:0", &wasm(program)]).args(args);
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            let mut stderr = std::io::BufReader::new(child.stderr.take().unwrap());
            let mut text = String::new();
            std::io::BufRead::read_line(&mut stderr, &mut text).unwrap();
            assert!(text.contains("listening on"), "{text}");
            // Repeated: the first may come before it is waited for, the second kills.
            let handled = || {
                let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
                let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
                let mask = u64::from_str_radix(mask.trim(), 16).unwrap();
                mask >> (signal.as_raw() - 1) & 1 == 1
            };
            let start = Instant::now();
            while !handled() {
                assert!(start.elapsed() < busy::LIMIT, "it never catches {signal:?}");
                std::thread::yield_now();
            }
            let pid = rustix::process::Pid::from_child(&child);
            rustix::process::kill_process(pid, signal).unwrap();
            let status = child.wait().unwrap();
            std::io::Read::read_to_string(&mut stderr, &mut text).unwrap();
            assert_eq!(status.signal(), Some(signal.as_raw()), "{text}");
            assert!(text.contains("stats of ") && text.contains("fuel "), "{text}");
            assert!(text.contains(".wasm: ended by SIG") && text.contains("report: "), "{text}");
            let learned = fs::read_to_string(dir.path().join("policy")).unwrap();
            assert!(learned.ends_with("net none\nno-dev\n"), "{learned}");
            let report = fs::read_dir(dir.path().join("reports")).unwrap().next().unwrap();
            let report = fs::read_to_string(report.unwrap().path()).unwrap();
            assert!(report.contains("ended by SIG"), "{report}");
            let trace = fs::read_to_string(dir.path().join("trace")).unwrap();
            assert_eq!(trace.contains("poll_oneoff"), program == "sleeper", "{trace}");
        }
    }
}

/// One that was denied something and goes on without, until its operator has had enough.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_tells_what_was_denied_before() {
    let dir = TempDir::new();
    let text = r#"(module
      (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "example.org:80") (data (i32.const 20) "\24\00\00\00\05\00\00\00tried")
      (data (i32.const 36) "tried")
      (func (export "_start")
        (drop (call $open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 14)
          (i32.const 0) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 900)))
        (drop (call $write (i32.const 1) (i32.const 20) (i32.const 1) (i32.const 900)))
        (loop $ever (br $ever))))"#;
    let program = dir.file("stubborn.wasm", &wat::parse_str(text).unwrap());
    let mut command = signalled();
    command.args(["run", &program]);
    let process = Process::start(command);
    process.wait_for_stdout("tried");
    process.signal(Signal::INT);
    let ended = process.end();
    assert_eq!(ended.status, None, "{ended:?}");
    assert!(ended.stderr.contains("denied: dial example.org:80"), "{}", ended.stderr);
    assert!(ended.stderr.contains("ended by SIGINT"), "{}", ended.stderr);
}

/// What nohup(1) has ignored stays so.
#[cfg(target_os = "linux")]
#[test]
fn a_signal_that_was_ignored_is() {
    let mut command = Command::new("sh");
    let line = "trap '' HUP; exec \"$0\" run --stats \"$1\"";
    command.args(["-c", line, env!("CARGO_BIN_EXE_tinyhost"), &wasm("nihao")]);
    let mut process = Process::start(command);
    process.wait_for_stdout("name> ");
    process.signal(Signal::HUP);
    process.write(b"a\n");
    assert_eq!(process.end().status, Some(0));
}

/// A guest that does what its WAT says with descriptor 3, the directory it was given.
fn guest(dir: &TempDir, name: &str, data: &str, body: &str) -> String {
    let text = format!(
        r#"(module
          (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "path_create_directory" (func $mkdir (param i32 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "path_open" (func $open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
          (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
          (memory (export "memory") 1)
          {data}
          (func (export "_start") {body}))"#
    );
    dir.file(name, &wat::parse_str(text).unwrap())
}

/// The links of an earlier guest, and of one that runs now.
#[test]
fn no_link_of_a_guests_leads_the_host() {
    let dir = TempDir::new();
    fs::create_dir(dir.path().join("out")).unwrap();
    let victim = dir.file("victim", b"precious");
    let at = |path: &str| dir.path().join(path).display().to_string();
    let mounted = format!("{}::/out", at("out"));
    let trap = wasm("trap");
    for name in ["policy", "trace"] {
        symlink("../victim", dir.path().join("out").join(name)).unwrap();
    }
    symlink("..", dir.path().join("out/up")).unwrap();
    let (policy, trace) = (at("out/policy"), at("out/trace"));
    let words = ["--dir", &mounted, "--learn", &policy, "--trace", "--trace-file", &trace];
    assert_eq!(run(&[&words[..], &[&wasm("hello")]].concat(), b"").status, Some(0));
    for name in [&policy, &trace] {
        assert!(fs::symlink_metadata(name).unwrap().is_file(), "{name}");
        assert!(!fs::read(name).unwrap().is_empty(), "{name}");
    }
    // On the way a link is refused, whatever is to be written there or read.
    let (through, seed) = (at("out/up/x"), format!("/s=mem:{}", at("out/up")));
    let tar = format!("/t=tar:{}", at("out/up/victim"));
    let below = format!("{}::/b", at("out/up"));
    let ways: [&[&str]; 6] = [
        &["--learn", &through],
        &["--trace", "--trace-file", &through],
        &["--crash-dir", &through],
        &["--mount", &seed],
        &["--mount", &tar],
        &["--dir", &below],
    ];
    for way in ways {
        let ended = run(&[&["--dir", &mounted][..], way, &[&wasm("hello")]].concat(), b"");
        assert_eq!((ended.status, &*ended.stdout), (Some(125), &b""[..]), "{way:?}");
        let why = "\"up\" is a link in a directory that a guest can change: give the path that \
         the link leads to\n";
        assert!(ended.stderr.ends_with(why), "{way:?}: {}", ended.stderr);
    }
    assert!(!dir.path().join("x").exists());
    // A link that no guest can have made leads where it likes.
    symlink("out", dir.path().join("mine")).unwrap();
    symlink("out/real", dir.path().join("real")).unwrap();
    let ended = run(&["--dir", &mounted, "--learn", &at("real"), &wasm("hello")], b"");
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(fs::read_to_string(at("out/real")).unwrap().starts_with("# What"));
    let ended = run(&["--dir", &mounted, "--crash-dir", &at("mine"), &trap], b"");
    assert!(ended.stderr.contains("report: "), "{}", ended.stderr);
    assert_eq!(fs::read(&victim).unwrap(), b"precious");
}

#[test]
fn a_crash_report_has_a_name_that_no_guest_can_take() {
    let dir = TempDir::new();
    let reports = dir.path().join("reports").display().to_string();
    let names: Vec<_> = (0..2)
        .map(|_| {
            let ended = run(&["--crash-dir", &reports, &fixture("trap")], b"");
            let path = ended.stderr.split_once("report: ").unwrap().1.trim_end().to_owned();
            let digits = path.strip_suffix(".txt").unwrap().rsplit('-').next().unwrap().to_owned();
            assert!(digits.len() == 16 && digits.bytes().all(|c| c.is_ascii_hexdigit()), "{path}");
            digits
        })
        .collect();
    assert_ne!(names[0], names[1]);
    // Nothing else is left there.
    assert_eq!(fs::read_dir(&reports).unwrap().count(), 2);
}

/// The directory of the reports is found before the guest runs: it can be moved, not replaced.
#[test]
fn a_report_stays_in_the_directory_it_was_to_be_in() {
    let dir = TempDir::new();
    fs::create_dir_all(dir.path().join("out/reports")).unwrap();
    fs::create_dir(dir.path().join("elsewhere")).unwrap();
    let text = r#"(module
      (import "wasi_snapshot_preview1" "path_rename" (func $rename (param i32 i32 i32 i32 i32 i32) (result i32)))
      (import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))
      (memory (export "memory") 1)
      (data (i32.const 0) "reports") (data (i32.const 16) "old") (data (i32.const 32) "../elsewhere")
      (func (export "_start")
        (drop (call $rename (i32.const 3) (i32.const 0) (i32.const 7) (i32.const 3) (i32.const 16) (i32.const 3)))
        (drop (call $symlink (i32.const 32) (i32.const 12) (i32.const 3) (i32.const 0) (i32.const 7)))
        unreachable))"#;
    let program = dir.file("swap.wasm", &wat::parse_str(text).unwrap());
    let mut command =
        tinyhost(["run", "--dir", "out::/out", "--crash-dir", "out/reports", &program]);
    command.current_dir(dir.path());
    assert_eq!(Process::start(command).input(b"").end().status, Some(134));
    let count = |path: &str| fs::read_dir(dir.path().join(path)).unwrap().count();
    assert!(fs::symlink_metadata(dir.path().join("out/reports")).unwrap().is_symlink());
    assert_eq!((count("out/old"), count("elsewhere")), (1, 0));
}

/// The socket of a `unix:` mount is not one that a guest has led it to.
#[test]
fn a_unix_mount_follows_no_link_of_a_guests() {
    let dir = TempDir::new();
    fs::create_dir(dir.path().join("out")).unwrap();
    let secret = UnixListener::bind(dir.path().join("secret.sock")).unwrap();
    secret.set_nonblocking(true).unwrap();
    let own = UnixListener::bind(dir.path().join("out/own.sock")).unwrap();
    symlink("../secret.sock", dir.path().join("out/app.sock")).unwrap();
    symlink("out/own.sock", dir.path().join("mine.sock")).unwrap();
    let dial = |socket: &str, text: &str| {
        let mount = format!("/run/app=unix:{socket}");
        let mut command = tinyhost(["run", "--dir", "out::/out", "--mount", &mount]);
        command.current_dir(dir.path()).args([&wasm("dial"), "/run/app", text]);
        Process::start(command)
    };
    for socket in ["out/app.sock", "./out/../out/app.sock"] {
        let ended = dial(socket, "hi").input(b"").end();
        assert_eq!(ended.status, Some(1), "{ended:?}");
        let line = format!(
            "denied: dial unix:{socket}: a link on the way lies in a directory that a guest can \
             change (name what it leads to)"
        );
        assert!(ended.stderr.contains(&line), "{}", ended.stderr);
        assert!(secret.accept().is_err());
    }
    for socket in ["out/own.sock", "mine.sock"] {
        let process = dial(socket, "hi").input(b"");
        let (mut client, _) = own.accept().unwrap();
        let mut got = [0; 2];
        std::io::Read::read_exact(&mut client, &mut got).unwrap();
        drop(client);
        assert_eq!((&got, process.end().status), (b"hi", Some(0)), "{socket}");
    }
}

#[test]
fn a_guest_writes_no_directive_of_its_own() {
    let dir = TempDir::new();
    fs::create_dir(dir.path().join("d")).unwrap();
    // mkdir "a"; mkdir of a name with two directives; and opens of names that would be rules.
    let data = r#"(data (i32.const 0) "x\0aenv AWS_SECRET\0anet *:*\0a#")
                  (data (i32.const 100) "dev/*:80") (data (i32.const 120) "dev/accept/*:80")
                  (data (i32.const 140) "dev/a\0anet *:80") (data (i32.const 160) "dev/evil.example:80")
                  (data (i32.const 200) "y::ro") (data (i32.const 220) "a")"#;
    let open = |at: u32, len: u32| {
        format!(
            "(drop (call $open (i32.const 3) (i32.const 0) (i32.const {at}) (i32.const {len})
              (i32.const 0) (i64.const 66) (i64.const 0) (i32.const 0) (i32.const 900)))"
        )
    };
    let mkdir = |at: u32, len: u32| {
        format!("(drop (call $mkdir (i32.const 3) (i32.const {at}) (i32.const {len})))")
    };
    let body =
        [mkdir(0, 28), mkdir(200, 5), open(100, 8), open(120, 15), open(140, 14), open(160, 19)]
            .concat();
    let program = guest(&dir, "inject.wasm", data, &body);
    let mut command = tinyhost(["run", "--quiet", "--learn", "p", "--dir", "d::/", &program]);
    command.current_dir(dir.path());
    assert_eq!(Process::start(command).input(b"").end().status, Some(0));
    let text = fs::read_to_string(dir.path().join("p")).unwrap();
    let rules: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
    assert_eq!(rules, ["dir d::/", "net none", "no-dev"], "{text}");
    assert!(dir.path().join("d/y::ro").is_dir(), "it did what it was to do");
}

/// What a guest calls its files is shown, not obeyed: on a terminal, in a trace, in a report.
#[test]
fn names_steer_no_terminal_and_end_no_line() {
    let dir = TempDir::new();
    fs::create_dir(dir.path().join("d")).unwrap();
    // ESC [ 2 J, a C1 control, a newline and a right-to-left override.
    let data = r#"(data (i32.const 0) "a\1b[2J\c2\9b\0atinyhost: \e2\80\ae")"#;
    let body = "(drop (call $mkdir (i32.const 3) (i32.const 0) (i32.const 21))) unreachable";
    let program = guest(&dir, "odd.wasm", data, body);
    for format in ["text", "json", "chrome"] {
        let format = format!("--trace-format={format}");
        let mut command = tinyhost(["run", "--dir", "d::/d::ro", "--trace", &format]);
        command.current_dir(dir.path()).args(["--stats", "--crash-dir=reports", &program]);
        let ended = Process::start(command).input(b"").end();
        assert_eq!(ended.status, Some(134));
        assert!(ended.stderr.contains("denied: path_create_directory"), "{}", ended.stderr);
        let report = ended.stderr.split_once("report: ").unwrap().1.trim_end();
        let report = fs::read_to_string(dir.path().join(report.lines().next().unwrap())).unwrap();
        for text in [&ended.stderr, &report] {
            let odd = |c: char| c != '\n' && tinyhost::trace::escape::is_hidden(c);
            assert!(!text.chars().any(odd), "{text:?}");
            assert!(!text.lines().any(|line| line.starts_with("tinyhost: \\u{202e}")), "{text}");
        }
    }
}
