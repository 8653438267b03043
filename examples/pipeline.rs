//! `cat /big | linefilter | markdown`: three guests in one process, with back-pressure. The
//! pipes between them hold 4 KiB each, and nobody runs ahead of its reader.

use std::error::Error;
use std::sync::Arc;

use tinyhost::vfs::pipe::{Capture, pipe};
use tinyhost::vfs::{self, Namespace};
use tinyhost::{Group, Guest, Program, Step, WasiCtx};

const PIPE_BYTES: usize = 4096;
const LINES: usize = 10_000;

fn main() -> Result<(), Box<dyn Error>> {
    let load = |name: &str| -> Result<Program, Box<dyn Error>> {
        Ok(Program::new(std::fs::read(format!("fixtures/{name}.wasm"))?)?)
    };
    let (cat, linefilter, markdown) = (load("cat")?, load("linefilter")?, load("markdown")?);
    let tree = vfs::mem::tree(None);
    vfs::write(&tree, "big", "* a line of the file\n".repeat(LINES).as_bytes())?;
    let files = Namespace::builder().mount("/", Arc::new(vfs::ReadOnly(tree)))?.build();

    let ((from_a, to_b), (from_b, to_c)) = (pipe(PIPE_BYTES), pipe(PIPE_BYTES));
    let html = Capture::new(16 << 20);
    let mut group = Group::new();

    let a = WasiCtx::builder().arg("cat")?.arg("/big")?.namespace(files).stdout(to_b);
    group.spawn(Guest::new(&cat, a.build()));
    group.turn(u64::MAX);
    println!("nobody reads: the first waits, with {} bytes in the pipe", from_a.len());

    let b = WasiCtx::builder().stdin(from_a).stdout(to_c);
    group.spawn(Guest::new(&linefilter, b.build()));
    group.turn(u64::MAX);
    println!("two of three: {} wait, with {} bytes in the pipe", group.len(), from_b.len());

    let c = WasiCtx::builder().stdin(from_b).stdout(html.clone());
    group.spawn(Guest::new(&markdown, c.build()));
    for (_, step, _) in group.turn(u64::MAX).ended {
        assert_eq!(step, Step::Exited(0));
    }
    assert!(group.is_empty());
    let html = String::from_utf8(html.take())?;
    println!("all three: {} list items", html.matches("<li>a line of the file</li>").count());
    Ok(())
}
