//! Standard streams of every kind, and guests that wait for them.

mod util;

use std::fs::File;
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use util::busy::{given_time, in_ms, timed_out};
use util::{Ended, Process, TempDir, fixture, root, run, tinyhost};

fn start(name: &str) -> Process {
    Process::start(tinyhost(["run", &fixture(name)]))
}

fn with_stdin(name: &str, stdin: impl Into<Stdio>) -> Ended {
    Process::start_with_stdin(tinyhost(["run", &fixture(name)]), stdin.into()).end()
}

/// Bytes of every value, in no order a fault could keep by chance.
fn noise(len: usize) -> Vec<u8> {
    let mut state: u32 = 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

/// Each piece comes back before the next one is sent, so the guest waits in between.
#[test]
fn a_slow_writer_is_waited_for() {
    let mut process = start("echo");
    let mut sent = String::new();
    for piece in ["one", " line\n", "\n", "two", "\nthree\nfour"] {
        process.write(piece.as_bytes());
        sent.push_str(piece);
        process.wait_for_stdout(&sent);
    }
    process.close_stdin();
    let ended = process.end();
    ended.expect(0, &sent, "");
    ended.expect_idle();
}

#[test]
fn a_prompt_is_seen_before_the_answer_is_there() {
    let mut process = start("nihao");
    process.wait_for_stdout("name> ");
    process.write(b"Ana\n");
    // It has read its line: that stdin stays open keeps it from nothing.
    process.end().expect(0, "name> ni hao, Ana!\n", "");
}

#[test]
fn a_file() {
    let tree = root().join("fixtures/tree");
    with_stdin("cat", File::open(tree.join("hello.txt")).unwrap()).expect(
        0,
        "hello from the tree\n",
        "",
    );
    with_stdin("cat", File::open(tree.join("empty")).unwrap()).expect(0, "", "");
    with_stdin("echo", File::open(tree.join("hello.txt")).unwrap()).expect(
        0,
        "hello from the tree\n",
        "",
    );
}

#[test]
fn dev_null() {
    with_stdin("cat", Stdio::null()).expect(0, "", "");
    with_stdin("promptreply", Stdio::null()).expect(0, "\n", "");
}

/// A shell can start a program with its streams closed.
#[test]
fn closed_streams() {
    let shell = |redirections: &str, name: &str| {
        let mut command = Command::new("sh");
        let script = format!("exec \"$0\" run \"$1\" {redirections}");
        command.current_dir(root()).args(["-c", &script, env!("CARGO_BIN_EXE_tinyhost")]);
        command.arg(fixture(name));
        Process::start(command).end()
    };
    // Rust's runtime opens /dev/null in their place, so that no file gets their numbers.
    shell("<&-", "cat").expect(0, "", "");
    shell(">&-", "hello").expect(0, "", "");
    shell("</dev/null 2>&-", "stderr").expect(0, "", "");
    shell("<&- >&- 2>&-", "hello").expect(0, "", "");
}

/// Runs a guest on a terminal, types a line, waits for its echo and its answer, types ^D.
const ON_A_TERMINAL: &str = r#"
import fcntl, os, pty, sys, termios
master, slave = pty.openpty()
flags = fcntl.fcntl(slave, fcntl.F_GETFL)
modes = termios.tcgetattr(slave)
pid = os.fork()
if pid == 0:
    for fd in (0, 1, 2): os.dup2(slave, fd)
    os.execv(sys.argv[1], sys.argv[1:])
seen = b""
def until(text):
    global seen
    while text not in seen: seen += os.read(master, 1000)
os.write(master, b"hello\n")
until(b"hello\r\nhello\r\n")
os.write(master, b"wor")
until(b"\nwor")
os.write(master, b"ld\n")
until(b"world\r\nworld\r\n")
os.write(master, b"\x04")
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
assert fcntl.fcntl(slave, fcntl.F_GETFL) == flags, "flags of the terminal have changed"
assert termios.tcgetattr(slave) == modes, "modes of the terminal have changed"
assert seen == b"hello\r\nhello\r\nworld\r\nworld\r\n", seen
sys.exit(status)
"#;

#[test]
fn a_terminal() {
    if Command::new("python3").arg("--version").output().is_err() {
        return eprintln!("skipped: this machine has no python3");
    }
    let mut command = Command::new("python3");
    command.current_dir(root()).args(["-c", ON_A_TERMINAL, env!("CARGO_BIN_EXE_tinyhost")]);
    command.args(["run", &fixture("cat")]);
    Process::start(command).end().expect(0, "", "");
}

/// What the streams share with other processes is left as it was found.
#[test]
fn a_shared_pipe_stays_blocking() {
    let (reader, writer) = std::io::pipe().unwrap();
    let flags = rustix::fs::fcntl_getfl(&reader).unwrap();
    let command = tinyhost(["run", &fixture("echo")]);
    let process = Process::start_with_stdin(command, reader.try_clone().unwrap().into());
    std::io::Write::write_all(&mut &writer, b"x").unwrap();
    process.wait_for_stdout("x");
    assert_eq!(rustix::fs::fcntl_getfl(&reader).unwrap(), flags);
    drop(writer);
    process.end().expect(0, "x", "");
}

#[test]
fn megabytes_pass_byte_for_byte() {
    let dir = TempDir::new();
    let sent = noise(5_000_001);
    let path = dir.file("noise", &sent);
    for name in ["cat", "echo"] {
        let piped = run(&[&fixture(name)], &sent);
        let from_file = with_stdin(name, File::open(&path).unwrap());
        for ended in [piped, from_file] {
            assert_eq!((ended.status, &*ended.stderr), (Some(0), ""));
            assert!(ended.stdout == sent, "{name}: {} bytes, or others", ended.stdout.len());
        }
    }
}

#[test]
fn a_closed_stdout_is_a_quiet_end() {
    let (process, mut stdout) = Process::start_unread(tinyhost(["run", &fixture("flood")]));
    let mut first = [0; 64];
    stdout.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"the quick brown fox jumps over the lazy dog, again and again...\n");
    drop(stdout);
    process.end().expect(0, "", "");
}

/// The same for a guest that waits for more input when the reader goes away.
#[test]
fn a_stdout_closed_meanwhile_is_a_quiet_end() {
    let (mut process, stdout) = Process::start_unread(tinyhost(["run", &fixture("echo")]));
    drop(stdout);
    process.write(b"nobody reads this\n");
    process.end().expect(0, "", "");
}

#[test]
fn a_stdout_nobody_reads_parks_the_guest() {
    let mut bytes = Vec::new();
    given_time(Duration::from_secs(1), |time| {
        let command = tinyhost(["run", "--timeout", &in_ms(time), &fixture("flood")]);
        let (process, mut stdout) = Process::start_unread(command);
        let ended = process.end();
        ended.expect(124, "", &format!("tinyhost: fixtures/flood.wasm: {}\n", timed_out(time)));
        ended.expect_idle();
        // What it got rid of is whole lines of its own, as much as a pipe holds.
        stdout.read_to_end(&mut bytes).unwrap();
        bytes.len() >= 4096
    });
    assert!(bytes.chunks(64).all(|line| {
        b"the quick brown fox jumps over the lazy dog, \
        again and again...\n"
            .starts_with(line)
    }));
}

#[test]
fn a_timeout_comes_whatever_the_guest_does() {
    let up = |time, name: &str| format!("tinyhost: fixtures/{name}.wasm: {}\n", timed_out(time));
    let limited = |time: Duration, name: &str, args: &[&str]| {
        let mut command = tinyhost(["run", "--timeout", &in_ms(time), &fixture(name)]);
        command.args(args);
        // Its stdin stays open, and says nothing.
        Process::start(command).end()
    };
    let least = Duration::from_millis(300);
    limited(least, "spin", &[]).expect(124, "", &up(least, "spin"));
    for (name, args, stdout) in [
        ("sleeper", &["600000"][..], ""),
        ("cat", &[], ""),
        ("echo", &[], ""),
        ("nihao", &[], "name> "),
    ] {
        given_time(least, |time| {
            let ended = limited(time, name, args);
            assert_eq!((ended.status, &ended.stderr), (Some(124), &up(time, name)));
            ended.expect_idle();
            ended.stdout == stdout.as_bytes()
        });
    }
}

#[test]
fn a_timeout_that_is_long_enough_is_no_matter() {
    let guest = fixture("sleeper");
    run(&["--timeout", "300s", &guest, "50"], b"").expect(0, "slept\n", "");
}

/// A write beyond it is an error of the guest's, not the end of the host.
#[test]
fn a_limit_of_file_size_is_the_guests_error() {
    let dir = TempDir::new();
    let shell = r#"ulimit -f 1; exec "$0" run --quiet --timeout 300s "$1" >"$2""#;
    let mut command = Command::new("sh");
    command.current_dir(root()).args(["-c", shell, env!("CARGO_BIN_EXE_tinyhost")]);
    command.arg(fixture("flood")).arg(dir.path().join("out"));
    let ended = Process::start(command).end();
    // Its own words for a failed write; a signal would be no status at all.
    ended.expect(1, "", "");
}
