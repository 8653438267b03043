//! The real binary, run by tests: with arguments and input, and never for ever.

#![allow(dead_code, unused_imports, reason = "each test file uses its own part of it")]

pub mod busy;
pub mod json;
mod output;
mod temp;

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

pub use busy::LIMIT;
use output::Output;
pub use temp::TempDir;

/// The crate's folder, where children run: paths in messages are relative to it.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The path of a guest, as it is typed and as messages have it.
pub fn fixture(name: &str) -> String {
    format!("fixtures/{name}.wasm")
}

/// `tinyhost ARGS...`, yet to be started.
pub fn tinyhost(args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tinyhost"));
    command.current_dir(root()).args(args);
    command
}

/// `tinyhost run ARGS...` with all of `stdin`, to its end.
pub fn run(args: &[&str], stdin: &[u8]) -> Ended {
    Process::start(tinyhost(["run"].iter().chain(args))).input(stdin).end()
}

/// `tinyhost WORDS...` with nothing to read, to its end.
pub fn typed(words: &[&str]) -> Ended {
    Process::start(tinyhost(words)).input(b"").end()
}

/// What it says, if it ends well and says nothing else.
#[track_caller]
pub fn answer(words: &[&str]) -> String {
    let ended = typed(words);
    assert_eq!((ended.status, &*ended.stderr), (Some(0), ""), "{words:?}");
    String::from_utf8(ended.stdout).unwrap()
}

/// A child whose output is gathered while it runs. It is killed when it runs too long, and
/// when it is dropped.
pub struct Process {
    what: String,
    child: Child,
    stdin: Option<ChildStdin>,
    stdout: Output,
    stderr: Output,
    watchdog: Option<Watchdog>,
}

/// What a child left.
#[derive(Debug)]
pub struct Ended {
    /// The exit status; `None` if a signal ended it.
    pub status: Option<i32>,
    /// That signal.
    pub signal: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
    /// Processor time it took, where the system tells.
    pub cpu: Option<Duration>,
    what: String,
}

impl Process {
    /// Starts it with pipes for all three streams.
    pub fn start(command: Command) -> Process {
        Process::start_with_stdin(command, Stdio::piped())
    }

    /// With a standard input of the caller's.
    pub fn start_with_stdin(command: Command, stdin: Stdio) -> Process {
        let (mut process, stdout) = Process::spawn(command, stdin);
        process.stdout = Output::gather(stdout);
        process
    }

    /// Leaves reading its standard output to the caller.
    pub fn start_unread(command: Command) -> (Process, ChildStdout) {
        Process::spawn(command, Stdio::piped())
    }

    fn spawn(mut command: Command, stdin: Stdio) -> (Process, ChildStdout) {
        let args: Vec<_> = command.get_args().map(OsStr::to_string_lossy).collect();
        let what = format!("tinyhost {}", args.join(" "));
        // A group of its own, so that a shell's children end with it.
        command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn().expect("the child can be started");
        let stdout = child.stdout.take().expect("it is piped");
        let stderr = Output::gather(child.stderr.take().expect("it is piped"));
        let watchdog = Some(Watchdog::new(Pid::from_child(&child), LIMIT));
        let stdin = child.stdin.take();
        (Process { what, child, stdin, stdout: Output::none(), stderr, watchdog }, stdout)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Writes to its standard input, which stays open. That nobody reads is no error here.
    pub fn write(&mut self, bytes: &[u8]) {
        let stdin = self.stdin.as_mut().expect("stdin is a pipe and not closed yet");
        match stdin.write_all(bytes) {
            Err(error) if error.kind() != ErrorKind::BrokenPipe => panic!("{}: {error}", self.what),
            _ => {}
        }
    }

    /// Closes its standard input.
    pub fn close_stdin(&mut self) {
        self.stdin = None;
    }

    /// All of its standard input.
    pub fn input(mut self, bytes: &[u8]) -> Process {
        self.write(bytes);
        self.close_stdin();
        self
    }

    /// Waits until its standard output is exactly this.
    pub fn wait_for_stdout(&self, expected: &str) {
        let there = |bytes: &[u8]| (bytes == expected.as_bytes()).then_some(());
        self.wait_for(&self.stdout, &format!("{expected:?} on stdout"), there);
    }

    /// Waits until there is `text` in its standard output.
    pub fn wait_for_output(&self, text: &str) {
        let there = |bytes: &[u8]| String::from_utf8_lossy(bytes).contains(text).then_some(());
        self.wait_for(&self.stdout, &format!("{text:?} on stdout"), there);
    }

    /// Waits for a line with `text` in it on standard error, and answers the line.
    pub fn wait_for_line(&self, text: &str) -> String {
        self.wait_for(&self.stderr, &format!("a line with {text:?} on stderr"), |bytes| {
            let all = String::from_utf8_lossy(bytes);
            let mut lines = all.split_inclusive('\n').filter(|line| line.ends_with('\n'));
            lines.find(|line| line.contains(text)).map(|line| line.trim_end().to_owned())
        })
    }

    fn wait_for<T>(&self, from: &Output, what: &str, found: impl Fn(&[u8]) -> Option<T>) -> T {
        from.wait(found).unwrap_or_else(|| {
            let (stdout, stderr) = (self.stdout.bytes(), self.stderr.bytes());
            panic!(
                "{} ended, or was killed after {LIMIT:?}, while the test waited for {what}\n\
                 stdout: {:?}\nstderr: {:?}",
                self.what,
                String::from_utf8_lossy(&stdout),
                String::from_utf8_lossy(&stderr)
            )
        })
    }

    /// Waits until it has a handler for a signal.
    pub fn wait_until_it_catches(&self, signal: Signal) {
        let path = format!("/proc/{}/status", self.child.id());
        let bit = 1_u64 << (signal.as_raw() - 1);
        let caught = || {
            let status = std::fs::read_to_string(&path).expect("it runs");
            let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).expect("a mask")
        };
        while caught() & bit == 0 {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits until it computes.
    pub fn wait_until_busy(&self) {
        let used = || cpu_time(self.child.id()).expect("the system tells");
        let before = used();
        while used() < before + Duration::from_millis(50) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Waits for its end; standard input stays as it is.
    pub fn end(mut self) -> Ended {
        let pid = Pid::from_child(&self.child);
        // Waited for, but not yet reaped: its number is still its own, and so are its times.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while waitid(WaitId::Pid(pid), options).is_err_and(|error| error == rustix::io::Errno::INTR)
        {
        }
        let cpu = cpu_time(self.child.id());
        let killed = self.watchdog.take().is_some_and(Watchdog::call_off);
        let ended = self.child.wait().expect("it is waited for once");
        let (status, signal) = (ended.code(), ended.signal());
        let (stdout, stderr) = (self.stdout.all(), self.stderr.all());
        let stderr = String::from_utf8_lossy(&stderr).into_owned();
        assert!(
            !killed,
            "{}: killed after {LIMIT:?}, while the test waited for its end\n\
             stdout: {:?}\nstderr: {stderr:?}",
            self.what,
            String::from_utf8_lossy(&stdout[..stdout.len().min(1000)])
        );
        Ended { status, signal, stdout, stderr, cpu, what: self.what.clone() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Fails if it has ended, which is as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Asserts all of it.
    #[track_caller]
    pub fn expect(&self, status: i32, stdout: &str, stderr: &str) -> &Ended {
        let found = (self.status, String::from_utf8_lossy(&self.stdout), self.stderr.as_str());
        assert_eq!(found, (Some(status), stdout.into(), stderr), "{}", self.what);
        self
    }

    /// Asserts that it did not compute while it waited.
    #[track_caller]
    pub fn expect_idle(&self) {
        let limit = Duration::from_millis(400);
        assert!(self.cpu.is_none_or(|cpu| cpu < limit), "{}: {:?} busy", self.what, self.cpu);
    }
}

/// User and system time of a process, from `proc_pid_stat(5)`; ticks are 10 ms.
fn cpu_time(pid: u32) -> Option<Duration> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The second field is a name in parentheses and can contain anything.
    let fields = stat.rsplit_once(')')?.1.split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum();
    Some(Duration::from_millis(ticks * 10))
}

/// Kills a process group that outstays its time.
struct Watchdog {
    off: Sender<()>,
    thread: JoinHandle<bool>,
}

impl Watchdog {
    fn new(group: Pid, limit: Duration) -> Watchdog {
        let (off, called_off) = mpsc::channel();
        let thread = thread::spawn(move || {
            let killed = called_off.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
            if killed {
                let _ = kill_process_group(group, Signal::KILL);
            }
            killed
        });
        Watchdog { off, thread }
    }

    /// Whether it has killed.
    fn call_off(self) -> bool {
        drop(self.off);
        self.thread.join().expect("it can't panic")
    }
}

/// A server for one client, which gets its first line back and is hung up on.
pub fn echo_server(at: &str) -> std::io::Result<(SocketAddr, JoinHandle<Vec<u8>>)> {
    let listener = TcpListener::bind(at)?;
    let addr = listener.local_addr()?;
    let serve = move || {
        let mut client = accept(&listener);
        let mut line = Vec::new();
        BufReader::new(&client).read_until(b'\n', &mut line).expect("a line comes");
        client.write_all(&line).expect("the client reads");
        line
    };
    Ok((addr, thread::spawn(serve)))
}

/// The next client, which may take [`LIMIT`] to say or read something.
pub fn accept(listener: &TcpListener) -> TcpStream {
    let (client, _) = listener.accept().expect("a client comes");
    client.set_read_timeout(Some(LIMIT)).expect("a time");
    client.set_write_timeout(Some(LIMIT)).expect("a time");
    client
}
