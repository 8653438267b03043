//! A plugin host: three guests share a namespace with a tree in memory and a node of the
//! application's own, `/app/score`, that they read and write like a file.

use std::error::Error;
use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tinyhost::vfs::pipe::{Capture, Input};
use tinyhost::vfs::{self, Errno, File, Filetype, Namespace, Node, Open, Opened, Stat};
use tinyhost::{Guest, Program, Step, WasiCtx};

/// The application's state, as a file: reading tells it, writing a number adds to it.
struct Score(Arc<AtomicU64>);

impl Node for Score {
    fn stat(&self) -> vfs::Result<Stat> {
        Ok(Stat::of(Filetype::CharacterDevice))
    }

    fn open(&self, _how: Open) -> vfs::Result<Opened> {
        let now = format!("{}\n", self.0.load(Ordering::Relaxed));
        Ok(Opened::file(OpenScore { text: Input::new(now), score: self.0.clone() }))
    }
}

struct OpenScore {
    text: Input<String>,
    score: Arc<AtomicU64>,
}

impl File for OpenScore {
    fn stat(&mut self) -> vfs::Result<Stat> {
        Ok(Stat::of(Filetype::CharacterDevice))
    }

    fn read(&mut self, bufs: &mut [std::io::IoSliceMut<'_>], offset: u64) -> vfs::Result<usize> {
        self.text.read(bufs, offset)
    }

    fn write(&mut self, bufs: &[IoSlice<'_>], _offset: u64) -> vfs::Result<usize> {
        let text = bufs.iter().flat_map(|buf| buf.iter().copied()).collect::<Vec<u8>>();
        let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
        let number: u64 = number.ok_or(Errno::Inval)?;
        self.score.fetch_add(number, Ordering::Relaxed);
        Ok(text.len())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let load = |name: &str| -> Result<Program, Box<dyn Error>> {
        Ok(Program::new(std::fs::read(format!("fixtures/{name}.wasm"))?)?)
    };
    let score = Arc::new(AtomicU64::new(40));
    let shared = vfs::mem::tree(Some(1 << 20));
    vfs::write(&shared, "notes/today", b"written by the host\n")?;
    let names = Namespace::builder()
        .mount("/shared", shared.clone())?
        .mount("/app/score", Arc::new(Score(score.clone())))?
        .build();

    // One plugin tours the shared tree, as any program would a disk, and cleans up behind it.
    run(&load("fstour")?, &["fstour", "/shared"], &names)?;
    // One adds to the score: it opens the node, writes "2", and reads what it was.
    run(&load("dial")?, &["dial", "/app/score", "2"], &names)?;
    // One reads both.
    run(&load("cat")?, &["cat", "/shared/notes/today", "/app/score"], &names)?;
    println!("the application: {}", score.load(Ordering::Relaxed));
    Ok(())
}

fn run(program: &Program, args: &[&str], names: &Namespace) -> Result<(), Box<dyn Error>> {
    let out = Capture::new(64 << 10);
    let mut cx = WasiCtx::builder().namespace(names.clone());
    for arg in args {
        cx = cx.arg(arg)?;
    }
    // A plugin may have 16 MiB, 64 files, and a second or so of computing.
    let cx = cx.memory_max(16 << 20).fds_max(64).stdout(out.clone()).stderr(out.clone());
    let mut guest = Guest::new(program, cx.build());
    guest.limit_fuel(500_000_000);
    let step = guest.run()?;
    print!("{}: {}", args[0], String::from_utf8(out.take())?);
    if step != Step::Exited(0) {
        println!("{}: {step:?}", args[0]);
    }
    Ok(())
}
