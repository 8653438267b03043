//! Clients in several languages, which open a file and know nothing of TLS.

use std::path::PathBuf;

use super::servers::{Trusted, fetch, secure};
use crate::tls_util::Authority;
use crate::util::{TempDir, run};
use crate::web::{Web, body};

/// A client in each language, and how it is told where to go: `@` is the name below `/dev`.
const CLIENTS: [&[&str]; 5] = [
    &["fixtures/httpget.wasm", "/dev/@"],
    &["fixtures/chttpget.wasm", "/dev/@"],
    &["fixtures/zighttpget.wasm", "@"],
    &["fixtures/gonet.wasm", "get", "/dev/@"],
    &["fixtures/gonet.wasm", "conn", "/dev/@"],
];

#[test]
fn clients_in_four_languages_fetch_a_page_over_tls() {
    let authority = Authority::new("test");
    let trusted = Trusted::new(&authority);
    let web = secure(&authority.server(), "");
    let port = web.at.port();
    let rule = format!("tls:localhost:{port}");
    let options = ["--net", &rule, "--tls-ca", &trusted.path];
    for client in CLIENTS {
        let name = format!("tls/localhost/{port}");
        let client: Vec<String> = client.iter().map(|word| word.replace('@', &name)).collect();
        let client: Vec<&str> = client.iter().map(String::as_str).collect();
        let ended = run(&[&options, &client[..], &["localhost", "/data.txt"]].concat(), b"");
        let stdout = String::from_utf8_lossy(&ended.stdout);
        assert_eq!((ended.status, &*ended.stderr), (Some(0), ""), "{client:?}");
        let (status, page) = stdout.split_once('\n').unwrap();
        assert!(status.ends_with("200 OK"), "{client:?}: {status}");
        assert!(page == body(), "{client:?}: {} bytes", page.len());
    }
}

/// CPython for preview1. It is no fixture: no build of it is small enough.
fn python() -> Option<PathBuf> {
    let named = std::env::var_os("TINYHOST_PYTHON_WASM").map(PathBuf::from);
    named.filter(|path| path.exists())
}

/// Runs the recipe of the page, with another name in place of its own.
fn python_fetches(port: u16, name: &str, options: &[&str]) {
    let Some(python) = python() else {
        eprintln!("SKIPPED: TINYHOST_PYTHON_WASM names no CPython for wasm32-wasip1");
        return;
    };
    let recipe = include_str!("../../docs/tls.md").split("```python\n").nth(1).unwrap();
    let recipe = recipe.split("```").next().unwrap();
    assert!(recipe.contains("/dev/tls/example.com/443"));
    let recipe = recipe.replace("/dev/tls/example.com/443", &format!("{name}{port}"));
    let recipe = recipe.replace("GET / ", "GET /data.txt ").replace("example.com", "localhost");
    let python = python.to_str().unwrap();
    let ended = run(&[options, &[python, "-c", &recipe]].concat(), b"");
    assert_eq!((ended.status, &*ended.stderr), (Some(0), ""));
    assert!(String::from_utf8_lossy(&ended.stdout).contains(&body()));
}

#[test]
fn python_fetches_a_page_over_tls() {
    let authority = Authority::new("test");
    let trusted = Trusted::new(&authority);
    let web = secure(&authority.server(), "");
    let port = web.at.port();
    let rule = format!("tls:localhost:{port}");
    python_fetches(port, "/dev/tls/localhost/", &["--net", &rule, "--tls-ca", &trusted.path]);
}

#[test]
fn python_fetches_a_page_in_the_plain() {
    let web = Web::start();
    let port = web.at.port();
    let rule = format!("localhost:{port}");
    python_fetches(port, "/dev/localhost:", &["--net", &rule]);
}

#[test]
fn go_net_http_fetches_a_page_over_tls() {
    let Some(go) = std::env::var_os("TINYHOST_GO") else {
        eprintln!("SKIPPED: TINYHOST_GO names no Go toolchain");
        return;
    };
    let recipe = include_str!("../../docs/tls.md").split("```go\n").nth(1).unwrap();
    let folder = TempDir::new();
    folder.file("main.go", recipe.split("```").next().unwrap().as_bytes());
    folder.file("go.mod", b"module gohttps\n");
    let guest = folder.path().join("gohttps.wasm").display().to_string();
    let mut build = std::process::Command::new(go);
    build.args(["build", "-o", &guest, "."]).current_dir(folder.path());
    build.envs([("GOOS", "wasip1"), ("GOARCH", "wasm")]);
    assert!(build.status().unwrap().success());
    let authority = Authority::new("test");
    let trusted = Trusted::new(&authority);
    let web = secure(&authority.server(), "");
    let rule = format!("tls:localhost:{}", web.at.port());
    let url = format!("https://localhost:{}/data.txt", web.at.port());
    let ended = run(&["--net", &rule, "--tls-ca", &trusted.path, &guest, &url], b"");
    assert_eq!((ended.status, &*ended.stderr), (Some(0), ""));
    assert!(ended.stdout == body().as_bytes(), "{} bytes", ended.stdout.len());
}

#[test]
fn what_was_dialled_is_learned_and_the_policy_allows_it_again() {
    let authority = Authority::new("test");
    let trusted = Trusted::new(&authority);
    let web = secure(&authority.server(), "");
    let port = web.at.port();
    let folder = TempDir::new();
    let policy = folder.path().join("learned").display().to_string();
    let path = format!("/dev/tls/localhost/{port}");
    let wide = ["--net", "localhost:*", "--tls-ca", &trusted.path, "--learn", &policy];
    let ended = fetch(&wide, &path);
    assert_eq!(ended.status, Some(0), "{ended:?}");
    let learned = std::fs::read_to_string(&policy).unwrap();
    assert!(learned.contains(&format!("\nnet tls:localhost:{port}\n")), "{learned}");
    // Not whom to trust: the operator says that.
    let ended = fetch(&["--policy", &policy, "--tls-ca", &trusted.path], &path);
    assert_eq!((ended.status, &*ended.stderr), (Some(0), ""));
    let plain = fetch(&["--policy", &policy], &format!("/dev/tcp/localhost/{port}"));
    assert!(plain.stderr.contains("denied: dial localhost"), "{plain:?}");
}
