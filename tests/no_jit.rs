//! No JIT: the binary and the library run where the kernel refuses any gain of executable
//! memory, and under a filter that kills whoever asks for it. See docs/no-jit.md.

#![cfg(target_os = "linux")]

use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::OnceLock;

use tinyhost::vfs::pipe::{Capture, Input};
use tinyhost::{Guest, Program, Step, WasiCtx};

/// Killed by the filter.
const SIGSYS: i32 = 31;

fn compile(source: &str, name: &str, shared: bool) -> Option<PathBuf> {
    let out = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let flags: &[&str] = if shared { &["-shared", "-fPIC"] } else { &[] };
    let cc = std::env::var("CC").unwrap_or_else(|_| "gcc".into());
    let built = Command::new(&cc).args(flags).args(["-O1", "-o"]).arg(&out).arg(source).status();
    match built {
        Ok(status) => {
            assert!(status.success(), "{source} can't be built");
            Some(out)
        }
        Err(error) => {
            assert!(std::env::var_os("CI").is_none(), "CI has a C compiler: {error}");
            eprintln!("SKIPPED: no C compiler ({cc}: {error})");
            None
        }
    }
}

/// The library that takes the right to executable memory away; `None` where it can't.
fn harden() -> Option<&'static PathBuf> {
    static BUILT: OnceLock<Option<PathBuf>> = OnceLock::new();
    BUILT.get_or_init(|| compile("tests/nojit/harden.c", "harden.so", true)).as_ref()
}

fn hardened(mut command: Command) -> Option<Output> {
    let output = command.env("LD_PRELOAD", harden()?).output().expect("it can be started");
    if output.status.code() == Some(77) {
        eprintln!("SKIPPED: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(output)
}

/// First of all that the harness bites: each way to executable memory ends in it.
#[test]
fn the_harness_kills_who_maps_executable_memory() {
    let Some(gain) = compile("tests/nojit/gain.c", "gain", false) else { return };
    for (how, alone, signal) in [
        ("none", Some(0), None),
        ("mmap", Some(0), Some(SIGSYS)),
        ("mprotect", Some(0), Some(SIGSYS)),
        ("thread", Some(0), Some(SIGSYS)),
    ] {
        use std::os::unix::process::ExitStatusExt;
        let plain = Command::new(&gain).arg(how).output().expect("it can be started");
        assert_eq!(plain.status.code(), alone, "{how}, not hardened");
        let mut command = Command::new(&gain);
        command.arg(how);
        let Some(output) = hardened(command) else { return };
        assert_eq!(output.status.signal(), signal, "{how}");
        // Without the filter it is the kernel that refuses.
        let mut command = Command::new(&gain);
        command.arg(how).env("HARDEN", "mdwe");
        let Some(output) = hardened(command) else { return };
        assert_eq!(output.status.success(), how == "none", "{how}, refused");
    }
}

#[test]
fn the_binary_needs_no_executable_memory() {
    for (args, stdout, status) in [
        (&["fixtures/hello.wasm"][..], "hello, world\n", 0),
        (&["--mount", "/=mem", "fixtures/treewalk.wasm", "/"], "", 0),
        (&["--dir", "fixtures/tree::/", "fixtures/cat.wasm", "/hello.txt"], "hello from", 0),
        (&["fixtures/exit42.wasm"], "", 42),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tinyhost"));
        command.arg("run").args(args);
        let Some(output) = hardened(command) else { return };
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.starts_with(stdout), "{args:?}: {text}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {:?} {stderr}", output.status);
    }
}

/// This test's own process, hardened, with the library in it.
#[test]
fn the_library_needs_no_executable_memory() {
    let mut command = Command::new(std::env::current_exe().expect("a test has a file"));
    command.args(["--exact", "hardened_guests", "--ignored", "--nocapture"]);
    let Some(output) = hardened(command) else { return };
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("all of them ran"),
        "{:?} {text}",
        output.status
    );
}

#[test]
#[ignore = "started by the_library_needs_no_executable_memory"]
fn hardened_guests() {
    for (name, stdin, expected) in [
        ("hello", "", "hello, world\n"),
        ("promptreply", " x \n", "x\n"),
        ("markdown", "*a*", "<p><em>a</em></p>\n"),
        ("nihao", "you\n", ""),
    ] {
        let program = Program::new(std::fs::read(format!("fixtures/{name}.wasm")).expect("there"));
        let out = Capture::new(1 << 20);
        let cx = WasiCtx::builder().arg(name).expect("no NUL").stdin(Input::new(stdin));
        let mut guest = Guest::new(&program.expect("a program"), cx.stdout(out.clone()).build());
        assert_eq!(guest.run().expect("the host can wait"), Step::Exited(0));
        let text = String::from_utf8(out.take()).expect("text");
        assert!(text.starts_with(expected), "{text}");
    }
    println!("all of them ran");
}
