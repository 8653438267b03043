//! The real program, run as a child that can't hang a test.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use super::LIMIT;

/// `tinyhost run`, running.
pub struct Running {
    child: Child,
    what: String,
    /// Lines of stderr, and what has come of them so far.
    lines: Receiver<String>,
    stderr: String,
    stdout: Receiver<String>,
}

/// What it came to.
#[derive(Debug)]
pub struct Ended {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// `tinyhost run WORDS`, where `NAME.wasm` stands for the fixture of that name.
pub fn start(words: &[&str]) -> Running {
    start_reading(words, Stdio::null())
}

/// The same with something on standard input.
pub fn start_reading(words: &[&str], stdin: impl Into<Stdio>) -> Running {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tinyhost"));
    command.arg("run").stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    for word in words {
        if word.ends_with(".wasm") {
            command.arg(fixture(word))
        } else {
            command.arg(word)
        };
    }
    let mut child = command.spawn().unwrap();
    let (send_line, lines) = channel();
    let stderr = BufReader::new(child.stderr.take().unwrap());
    thread::spawn(move || {
        for line in stderr.lines() {
            let _ = send_line.send(line.unwrap());
        }
    });
    let (send_all, stdout) = channel();
    let mut out = child.stdout.take().unwrap();
    thread::spawn(move || {
        let mut all = Vec::new();
        out.read_to_end(&mut all).unwrap();
        let _ = send_all.send(String::from_utf8_lossy(&all).into_owned());
    });
    Running { child, what: words.join(" "), lines, stderr: String::new(), stdout }
}

/// Runs it to its end.
pub fn run(words: &[&str]) -> Ended {
    start(words).end()
}

pub fn fixture(file: &str) -> String {
    format!("{}/fixtures/{file}", env!("CARGO_MANIFEST_DIR"))
}

impl Running {
    /// Where it says that it listens.
    pub fn listening(&mut self) -> SocketAddr {
        loop {
            let line = self.line(LIMIT).unwrap_or_else(|| self.fail("where it listens"));
            if let Some(at) = line.strip_prefix("tinyhost: listening on ") {
                return at.parse().unwrap();
            }
        }
    }

    /// How it ended.
    pub fn end(mut self) -> Ended {
        // A guest of the dev profile can need a while to be compiled.
        while self.line(4 * LIMIT).is_some() {}
        let stdout = self.stdout.recv_timeout(LIMIT).unwrap_or_else(|_| self.fail("its end"));
        let status = self.child.wait().unwrap().code();
        Ended { status, stdout, stderr: std::mem::take(&mut self.stderr) }
    }

    /// The next line of stderr; `None` at its end.
    fn line(&mut self, limit: Duration) -> Option<String> {
        match self.lines.recv_timeout(limit) {
            Ok(line) => {
                self.stderr += &line;
                self.stderr.push('\n');
                Some(line)
            }
            Err(RecvTimeoutError::Disconnected) => None,
            Err(RecvTimeoutError::Timeout) => self.fail("its next word, or its end"),
        }
    }

    fn fail(&mut self, what: &str) -> ! {
        let _ = self.child.kill();
        panic!("'tinyhost run {}': waited for {what}; it said: {}", self.what, self.stderr)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Most often it has ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// Asserts that it ended by itself, without a word on stderr but where it listens.
    #[track_caller]
    pub fn well(self) -> String {
        let said = self.stderr.lines().filter(|line| !line.contains(": listening on "));
        assert_eq!((self.status, said.collect::<String>()), (Some(0), String::new()));
        self.stdout
    }
}

/// A folder of this test alone, removed at its end.
pub struct Scratch(pub std::path::PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("th-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        std::fs::create_dir(&path).unwrap();
        Scratch(path)
    }

    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    pub fn open(&self, name: &str) -> File {
        File::open(self.0.join(name)).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
