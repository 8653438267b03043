//! The ten lines of the read-me, for any program: `hello PROGRAM.wasm [ARGS...]`. Also what the
//! size of the core is measured by (benches/sizes).

use std::process::ExitCode;

use tinyhost::vfs::pipe::Capture;
use tinyhost::{Guest, Program, Step, WasiCtx};

fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let path = words.first().ok_or("hello PROGRAM.wasm [ARGS...]")?;
    let program = Program::new(std::fs::read(path)?)?;
    let stdout = Capture::new(1 << 20);
    let mut cx = WasiCtx::builder().stdout(stdout.clone());
    for word in &words {
        cx = cx.arg(word)?;
    }
    let step = Guest::new(&program, cx.build()).run()?;
    print!("{}", String::from_utf8_lossy(&stdout.take()));
    match step {
        Step::Exited(status) => Ok(ExitCode::from((status & 0xff) as u8)),
        step => Err(format!("{step:?}").into()),
    }
}
