//! `inside [--env NAME=VALUE]... PROGRAM.wasm [ARGS...]`: the core of `tinyhost run` for
//! systems that have no more than std: standard streams, arguments, environment, exit status,
//! and `/data`, a copy of the directory `data` if there is one.
//!
//! Built for wasm32-wasip1 it runs inside tinyhost:
//!
//!     cargo build --example inside --no-default-features --features os-random \
//!         --target wasm32-wasip1
//!     tinyhost run --dir fixtures::/ target/wasm32-wasip1/debug/examples/inside.wasm /hello.wasm

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use tinyhost::vfs::{self, File, Filetype, Namespace, Node, Stat};
use tinyhost::{Guest, Program, Step, WasiCtx};

/// A stream of std. It blocks its thread, and with one guest nobody minds.
struct Std<T>(T);

impl<T: Send + Stream> File for Std<T> {
    fn stat(&mut self) -> vfs::Result<Stat> {
        Ok(Stat::of(Filetype::Unknown))
    }

    fn read(&mut self, bufs: &mut [IoSliceMut<'_>], _offset: u64) -> vfs::Result<usize> {
        Ok(self.0.get(bufs)?)
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> vfs::Result<usize> {
        Ok(self.0.put(bufs)?)
    }

    fn append(&mut self, bufs: &[IoSlice<'_>]) -> vfs::Result<(usize, u64)> {
        Ok((self.0.put(bufs)?, 0))
    }
}

/// What a stream of std can do.
trait Stream {
    fn get(&mut self, _bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn put(&mut self, _bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

impl Stream for io::Stdin {
    fn get(&mut self, bufs: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.lock().read_vectored(bufs)
    }
}

impl Stream for io::Stdout {
    fn put(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut out = self.lock();
        let n = out.write_vectored(bufs)?;
        out.flush()?;
        Ok(n)
    }
}

impl Stream for io::Stderr {
    fn put(&mut self, bufs: &[IoSlice<'_>]) -> io::Result<usize> {
        self.lock().write_vectored(bufs)
    }
}

fn main() -> ExitCode {
    match run(std::env::args().skip(1).collect()) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("inside: {error}");
            ExitCode::from(125)
        }
    }
}

fn run(words: Vec<String>) -> Result<u8, Box<dyn std::error::Error>> {
    let mut cx = WasiCtx::builder();
    let mut words = words.into_iter().peekable();
    while words.next_if(|word| word == "--env").is_some() {
        let variable = words.next().unwrap_or_default();
        let (name, value) = variable.split_once('=').ok_or("--env wants NAME=VALUE")?;
        cx = cx.env(name, value)?;
    }
    let path = words.next().ok_or("no program given")?;
    cx = cx.arg(path.rsplit('/').next().unwrap_or(&path))?;
    for arg in words {
        cx = cx.arg(arg)?;
    }
    let program = Program::new(std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?)?;
    if Path::new("/data").is_dir() {
        let tree = vfs::mem::tree(Some(64 << 20));
        copy(Path::new("/data"), "", &tree)?;
        cx = cx.namespace(Namespace::builder().mount("/", tree)?.build());
    }
    let cx = cx.stdin(Std(io::stdin())).stdout(Std(io::stdout())).stderr(Std(io::stderr()));
    let mut guest = Guest::new(&program, cx.build());
    loop {
        match guest.step(10_000_000) {
            Step::Exited(status) => return Ok(u8::try_from(status & 0xff)?),
            Step::Trapped(trap) => return Err(trap.into()),
            Step::Yielded => {}
            Step::Parked => guest.wait()?,
        }
    }
}

/// Copies the files below a directory of std's into a tree.
fn copy(from: &Path, to: &str, tree: &Arc<dyn Node>) -> Result<(), Box<dyn std::error::Error>> {
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|_| "a name is not UTF-8")?;
        let to = format!("{to}/{name}");
        match entry.file_type()? {
            kind if kind.is_dir() => copy(&entry.path(), &to, tree)?,
            kind if kind.is_file() => vfs::write(tree, &to, &std::fs::read(entry.path())?)?,
            _ => {}
        }
    }
    Ok(())
}
