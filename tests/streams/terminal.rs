//! A terminal takes a write whole, and nobody's terminal is made to wait for a guest.

use std::process::Command;

use crate::util::{Process, TempDir, root};

/// Runs a guest on a terminal that is read only after a while, in small pieces, and counts.
const COUNTED: &str = r#"
import fcntl, os, pty, sys, termios, time, tty
master, slave = pty.openpty()
tty.setraw(slave)
flags = fcntl.fcntl(slave, fcntl.F_GETFL)
expected, reads = int(sys.argv[1]), sys.argv[2] == "read"
pid = os.fork()
if pid == 0:
    for fd in (0, 1): os.dup2(slave, fd)
    os.execv(sys.argv[3], sys.argv[3:])
os.set_blocking(master, False)
seen, status = b"", None
while status is None or reads and len(seen) < expected:
    if status is None:
        pid_, raw = os.waitpid(pid, os.WNOHANG)
        if pid_: status = os.waitstatus_to_exitcode(raw)
    try:
        if reads: seen += os.read(master, 1000)
    except BlockingIOError:
        time.sleep(0.001)
assert fcntl.fcntl(slave, fcntl.F_GETFL) == flags, "flags of the terminal have changed"
if reads:
    assert seen == (bytes(range(251)) * (expected // 251 + 1))[:expected], len(seen)
sys.exit(status)
"#;

fn on_a_terminal(expected: usize, reads: &str, options: &[&str]) -> Option<i32> {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: this machine has no python3");
        return None;
    }
    let dir = TempDir::new();
    let wasm = super::writer::standard_output(expected);
    let guest = dir.file("guest.wasm", &wasm);
    let mut command = Command::new("python3");
    command.current_dir(root()).args(["-c", COUNTED, &expected.to_string(), reads]);
    command.arg(env!("CARGO_BIN_EXE_tinyhost")).arg("run").args(options).arg(guest);
    Process::start(command).end().status
}

#[test]
fn a_terminal_takes_everything() {
    for expected in [20_000, 1_000_000] {
        assert!(matches!(on_a_terminal(expected, "read", &[]), None | Some(0)));
    }
}

/// The thread must not wait in the kernel: nothing could end the guest then.
#[test]
fn a_terminal_that_nobody_reads_parks_the_guest() {
    let status = on_a_terminal(1_000_000, "unread", &["--timeout", "500ms"]);
    assert!(matches!(status, None | Some(124)), "{status:?}");
}
