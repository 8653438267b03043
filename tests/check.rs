//! `tinyhost check` and `tinyhost inspect`: what would be started, and what a program is.
#![cfg(all(unix, feature = "serve"))]

mod util;

use std::os::unix::net::UnixListener;

use util::{TempDir, answer, fixture, typed};

/// The line that begins with this name.
#[track_caller]
fn row<'t>(text: &'t str, name: &str) -> &'t str {
    let line = text.lines().find(|line| line.trim_start().starts_with(name));
    line.unwrap_or_else(|| panic!("no {name} in {text}"))
}

#[test]
fn a_program_is_shown_with_what_it_needs() {
    let text = answer(&["inspect", &fixture("cat")]);
    assert!(row(&text, "built with").ends_with("it does not say"), "{text}");
    assert!(row(&text, "imports").contains("wasi_snapshot_preview1: "), "{text}");
    assert!(text.contains("path_open"), "{text}");
    assert!(row(&text, "can use").contains("files"), "{text}");
    assert!(row(&text, "exports").contains("memory (memory)"), "{text}");
    for name in ["can be run", "recycled", "can be warmed"] {
        assert!(row(&text, name).ends_with("yes"), "{text}");
    }
}

#[test]
fn a_program_says_what_built_it_and_how_large_it_is() {
    let text = r#"(module
        (@producers (language "Rust" "") (processed-by "rustc" "1.95.0"))
        (memory 2 16) (table 1 funcref)
        (func (export "_start") (table.set (i32.const 0) (ref.null func))))"#;
    let dir = TempDir::new();
    let module = dir.file("x.wasm", &wat::parse_str(text).unwrap());
    let text = answer(&["inspect", &module]);
    assert!(row(&text, "built with").ends_with("Rust; rustc 1.95.0"), "{text}");
    assert!(row(&text, "memory").ends_with("128 KiB at the start, at most 1 MiB"), "{text}");
    assert!(row(&text, "imports").ends_with("none"), "{text}");
    assert!(
        row(&text, "recycled").contains("no: it has instructions that change a table"),
        "{text}"
    );
    assert!(row(&text, "can be warmed").contains("no: "), "{text}");
}

#[test]
fn what_can_not_be_run_is_still_shown_and_why_is_said() {
    let text = answer(&["inspect", &fixture("badimport")]);
    assert!(row(&text, "can be run").contains("no: it imports"), "{text}");
    assert!(text.contains("(not here: func"), "{text}");
    let text = answer(&["inspect", &fixture("nostart")]);
    assert!(row(&text, "can be run").contains("no: it exports no function"), "{text}");
    // What is not a module can't be shown.
    let dir = TempDir::new();
    let script = dir.file("x.wasm", b"#!/bin/sh\n");
    let ended = typed(&["inspect", &script]);
    assert_eq!(ended.status, Some(125));
    assert!(ended.stderr.contains("not a WebAssembly module but a script"), "{ended:?}");
    let ended = typed(&["inspect", "/nowhere/x.wasm"]);
    assert!(ended.stderr.contains("can't read the file"), "{ended:?}");
    assert_eq!(ended.status, Some(125));
}

#[test]
fn what_run_would_be_given_is_shown_as_a_tree() {
    let words = ["check", "--dir", "fixtures/tree::/data::ro", "--mount=/data/tmp=mem,quota=1M"];
    let more = ["--net=example.org:443", "--env=A=b"];
    let text = answer(&[&words[..], &more, &[&fixture("cat"), "x"]].concat());
    assert!(
        row(&text, "files").ends_with(" /data  the directory fixtures/tree, read only"),
        "{text}"
    );
    assert!(row(&text, "/data/tmp").ends_with("a tree in memory, read and write"), "{text}");
    assert!(row(&text, "may dial").ends_with("localhost:1997 example.org:443"), "{text}");
    assert!(row(&text, "environment").ends_with(" A"), "{text}");
    assert!(!text.contains("A=b"), "values may be secret");
    assert!(text.ends_with("\nok\n"), "{text}");
    // `run` may be written or left out.
    let cat = fixture("cat");
    assert_eq!(answer(&["check", &cat]), answer(&["check", "run", &cat]));
}

#[test]
fn what_serve_would_be_started_with_is_shown_and_nothing_is_started() {
    let dir = TempDir::new();
    let path = dir.path().join("s.sock");
    // In use, which does not matter: nothing is bound.
    let _live = UnixListener::bind(&path).unwrap();
    let bind = format!("--bind=unix:{},mode=0660", path.display());
    let options = ["check", "serve", &bind, "--bind=127.0.0.1:1", "--metrics=127.0.0.1:2"];
    let more = ["--keep-open", "--proxy-protocol=required", "--proxy-from=10.0.0.0/8"];
    let text = answer(&[&options[..], &more, &[&fixture("linefilter")]].concat());
    let listens = row(&text, "listens at");
    assert!(text.contains(",mode=0660 127.0.0.1:1") || listens.contains("unix:"), "{text}");
    assert!(row(&text, "a guest for").contains("each line"), "{text}");
    assert!(row(&text, "metrics at").ends_with("127.0.0.1:2"), "{text}");
    assert!(row(&text, "PROXY header").ends_with("required, of 10.0.0.0/8"), "{text}");
    assert!(row(&text, "may dial").ends_with("nothing"), "{text}");
    assert!(answer(&["check", "serve"]).contains("127.0.0.1:1997 [::1]:1997"));
}

#[test]
fn what_could_not_be_started_is_said_as_it_would_be() {
    let cat = fixture("cat");
    for (words, status) in [
        (&["run", "--dir=/nowhere::/d", &cat][..], 125),
        (&["run", "--timeout=5", &cat], 2),
        (&["run", "--mount=/w=disk", &cat], 2),
        (&["run", &fixture("badimport")], 125),
        (&["serve", "--dir=/nowhere::/d", &cat], 125),
        (&["serve", "--bind=8080", &cat], 2),
        (&["serve", "--http"], 2),
        (&["serve", "--tls-cert=/nowhere/cert.pem", "--tls-key=/nowhere/key.pem", &cat], 2),
        (&["serve", "--policy=/nowhere/policy", &cat], 2),
        (&["serve", &fixture("nostart")], 125),
    ] {
        let started = typed(words);
        let checked = typed(&[&["check"], words].concat());
        assert_eq!(checked.stderr, started.stderr, "{words:?}");
        assert_eq!((checked.status, started.status), (Some(status), Some(status)), "{words:?}");
        assert_eq!(checked.stdout, b"");
    }
    for words in [&["check"][..], &["check", "run"], &["check", "--dir", "."]] {
        let ended = typed(words);
        assert_eq!(ended.status, Some(2), "{words:?}");
        assert!(ended.stderr.contains("no program given: write tinyhost check"), "{ended:?}");
    }
    let ended = typed(&["check", "pipe", &cat]);
    assert!(ended.stderr.contains("write tinyhost check [run|serve] [OPTIONS]"), "{ended:?}");
    assert_eq!(ended.status, Some(2));
}

/// The journal takes the level of a record from the line (sd-daemon(3)).
#[cfg(target_os = "linux")]
#[test]
fn the_journal_is_given_priorities() {
    use std::process::{Command, Stdio};
    let dir = TempDir::new();
    let log = std::fs::File::create(dir.path().join("log")).unwrap();
    let stat = rustix::fs::fstat(&log).unwrap();
    for (stream, expected) in [
        (format!("{}:{}", stat.st_dev, stat.st_ino), "<3>"),
        // Standard error is no longer the journal's.
        (format!("{}:{}", stat.st_dev, stat.st_ino + 1), ""),
        (String::new(), ""),
    ] {
        let stderr = log.try_clone().unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_tinyhost"));
        command.args(["serve", "--bind=8080"]).env("JOURNAL_STREAM", stream);
        let status = command.stdin(Stdio::null()).stderr(stderr).status().unwrap();
        assert_eq!(status.code(), Some(2));
        let text = std::fs::read_to_string(dir.path().join("log")).unwrap();
        let line = text.lines().last().unwrap();
        assert!(line.starts_with(&format!("{expected}tinyhost: invalid --bind")), "{line}");
    }
    // Records of a server.
    let stderr = log.try_clone().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tinyhost"));
    command.args(["serve", "--bind=127.0.0.1:0"]);
    command.env("JOURNAL_STREAM", format!("{}:{}", stat.st_dev, stat.st_ino));
    let mut server = command.stdin(Stdio::null()).stderr(stderr).spawn().unwrap();
    let said = || std::fs::read_to_string(dir.path().join("log")).unwrap();
    while !said().contains("listening on") {
        assert_eq!(server.try_wait().unwrap(), None);
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    server.kill().unwrap();
    server.wait().unwrap();
    let text = said();
    let line = text.lines().find(|line| line.contains("listening on")).unwrap();
    assert!(line.starts_with("<6>2"), "{line}");
}
