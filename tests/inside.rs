//! tinyhost inside tinyhost: the example `inside`, built for wasm32-wasip1, is run by the real
//! binary and runs fixtures in its turn.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The inner tinyhost, if it was built; `.ci/run` does.
fn inner() -> Option<PathBuf> {
    let exe = std::env::current_exe().expect("a test has a file");
    // target/PROFILE/deps/inside-HASH
    let target = exe.ancestors().nth(3).expect("it is below target");
    let path = ["release", "debug"]
        .map(|profile| target.join("wasm32-wasip1").join(profile).join("examples/inside.wasm"))
        .into_iter()
        .find(|path| path.exists());
    if path.is_none() {
        assert!(std::env::var_os("CI").is_none(), "CI builds the inner tinyhost first");
        eprintln!(
            "SKIPPED: no inner tinyhost: cargo build --example inside --no-default-features \
             --features os-random --target wasm32-wasip1"
        );
    }
    path
}

fn run(inner: &Path, options: &[&str], args: &[&str], stdin: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tinyhost"))
        .args(["run", "--timeout", "100s", "--dir", "fixtures::/wasm::ro"])
        .args(options)
        .arg(inner)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary is there");
    child.stdin.take().expect("piped").write_all(stdin.as_bytes()).expect("it fits the pipe");
    child.wait_with_output().expect("it ends")
}

/// Options of the outer one, what the inner one is given, and what is to come of it.
type Case<'a> = (&'a [&'a str], &'a [&'a str], &'a str, &'a str, i32);

#[test]
fn fixtures_run_in_a_tinyhost_in_a_tinyhost() {
    let Some(inner) = inner() else { return };
    let data = ["--dir", "fixtures/tree::/data"];
    let cases: [Case<'_>; 6] = [
        (&[], &["/wasm/hello.wasm"], "", "hello, world\n", 0),
        (
            &[],
            &["--env", "A=1", "/wasm/envdump.wasm", "x", "y z"],
            "",
            "arg[0]=envdump.wasm\narg[1]=x\narg[2]=y z\nA=1\n",
            0,
        ),
        (&data, &["/wasm/cat.wasm", "/hello.txt", "-"], "in\n", "hello from the tree\nin\n", 0),
        (
            &[],
            &["/wasm/markdown.wasm"],
            "# Title\n\n*a* b\n",
            "<h1>Title</h1>\n<p><em>a</em> b</p>\n",
            0,
        ),
        (&[], &["/wasm/exit42.wasm"], "", "", 42),
        (&[], &["/wasm/sleeper.wasm", "20"], "", "slept\n", 0),
    ];
    for (options, args, stdin, stdout, status) in cases {
        let output = run(&inner, options, args, stdin);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let got = (text(&output.stdout), text(&output.stderr), output.status.code());
        assert_eq!(got, (stdout.to_owned(), String::new(), Some(status)), "{args:?}");
    }
}

/// What the inner one can't run, it says; the outer one passes that on.
#[test]
fn the_inner_one_says_what_is_wrong() {
    let Some(inner) = inner() else { return };
    let output = run(&inner, &[], &["/wasm/trap.wasm"], "");
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(125), "{stderr}");
    assert!(stderr.contains("inside: unreachable executed"), "{stderr}");
}
