//! `tinyhost run`, with words in which `NAME.wasm` stands for the fixture of that name.

use std::net::SocketAddr;
use std::process::Stdio;

use crate::util::{Process, fixture, tinyhost};

pub struct Running(Process);

/// What it came to.
#[derive(Debug)]
pub struct Ended {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

pub fn start(words: &[&str]) -> Running {
    start_reading(words, Stdio::null())
}

/// With something on standard input.
pub fn start_reading(words: &[&str], stdin: impl Into<Stdio>) -> Running {
    let word = |word: &&str| word.strip_suffix(".wasm").map_or((*word).to_owned(), fixture);
    let words = std::iter::once("run".to_owned()).chain(words.iter().map(word));
    Running(Process::start_with_stdin(tinyhost(words), stdin.into()))
}

/// Runs it to its end.
pub fn run(words: &[&str]) -> Ended {
    start(words).end()
}

impl Running {
    /// Where it says that it listens.
    pub fn listening(&self) -> SocketAddr {
        let line = self.0.wait_for_line("tinyhost: listening on ");
        line.rsplit(' ').next().unwrap().parse().unwrap()
    }

    pub fn end(self) -> Ended {
        let ended = self.0.end();
        let stdout = String::from_utf8(ended.stdout).unwrap();
        Ended { status: ended.status, stdout, stderr: ended.stderr }
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
